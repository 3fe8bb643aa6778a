"""Targets row by row: classes, probabilities of classes, or values of a regressor."""

from scfe_sklearn.targets.classes import ClassTarget, Outcome, class_target
from scfe_sklearn.targets.types import Interval, Probability, in_row_order
from scfe_sklearn.targets.values import IntervalTarget, interval_target

__all__ = [
    "ClassTarget",
    "Interval",
    "Outcome",
    "Probability",
    "IntervalTarget",
    "class_target",
    "in_row_order",
    "interval_target",
]
