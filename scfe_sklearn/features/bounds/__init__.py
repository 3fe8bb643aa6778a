"""Rules in solver coordinates: where each row may go."""

from scfe_sklearn.features.bounds.actionability import Actionability, bind_rules
from scfe_sklearn.features.bounds.columns import column_bounds
from scfe_sklearn.features.bounds.requirements import Requirement

__all__ = ["Actionability", "Requirement", "bind_rules", "column_bounds"]
