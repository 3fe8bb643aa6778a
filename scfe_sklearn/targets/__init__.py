"""Targets row by row: classes, probabilities of classes, or values of a regressor."""

from scfe_sklearn.targets.asked import Interval, Probability, in_row_order
from scfe_sklearn.targets.classes import ClassWishes, class_wishes
from scfe_sklearn.targets.outcome import Outcome
from scfe_sklearn.targets.values import ValueWishes, value_wishes

__all__ = [
    "ClassWishes",
    "Interval",
    "Outcome",
    "Probability",
    "ValueWishes",
    "class_wishes",
    "in_row_order",
    "value_wishes",
]
