"""Raw data frames and solver coordinates, and the rules that a change must keep."""

from scfe_sklearn.features.bounds import Actionability, Requirement
from scfe_sklearn.features.derived import Derived
from scfe_sklearn.features.rules import Rules
from scfe_sklearn.features.space import FeatureSpace
from scfe_sklearn.features.stated import Linear, Relative

__all__ = [
    "Actionability",
    "Derived",
    "FeatureSpace",
    "Linear",
    "Relative",
    "Requirement",
    "Rules",
]
