"""The objective of rows that each want something: margin of the model, plausibility, limits."""

from scfe_sklearn.objective.conditions import Conditions
from scfe_sklearn.objective.plausible import Plausible
from scfe_sklearn.objective.readings import (
    ClassReading,
    ProbabilityLimits,
    Reading,
    ValueReading,
    margins,
)
from scfe_sklearn.objective.rows import RowObjective

__all__ = [
    "ClassReading",
    "Conditions",
    "Plausible",
    "ProbabilityLimits",
    "Reading",
    "RowObjective",
    "ValueReading",
    "margins",
]
