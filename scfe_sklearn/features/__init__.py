"""Raw data frames and solver coordinates, and the rules that a change must keep."""

from scfe_sklearn.features.actionability import Actionability
from scfe_sklearn.features.derived import Derived
from scfe_sklearn.features.relations import Linear
from scfe_sklearn.features.requirements import Requirement
from scfe_sklearn.features.rules import Relative, Rules
from scfe_sklearn.features.space import FeatureSpace

__all__ = [
    "Actionability",
    "Derived",
    "FeatureSpace",
    "Linear",
    "Relative",
    "Requirement",
    "Rules",
]
