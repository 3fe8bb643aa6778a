"""Objective of n rows: margin of the model, plausibility and constraints."""

from scfe_sklearn.objective.margins import (
    ClassMargin,
    Constraints,
    IntervalMargin,
    Margin,
    ProbabilityLimits,
)
from scfe_sklearn.objective.plausibility import PlausibilityTerm
from scfe_sklearn.objective.rows import RowObjective

__all__ = [
    "ClassMargin",
    "Constraints",
    "PlausibilityTerm",
    "ProbabilityLimits",
    "Margin",
    "RowObjective",
    "IntervalMargin",
]
