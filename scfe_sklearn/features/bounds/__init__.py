"""Rules in solver coordinates: where each row may go."""

from scfe_sklearn.features.bounds.actionability import Actionability, bind_rules
from scfe_sklearn.features.bounds.columns import ColumnBounds, column_bounds
from scfe_sklearn.features.bounds.joint import (
    BoundAtom,
    BoundRelation,
    Joint,
    bind_joint,
    codes_of,
)
from scfe_sklearn.features.bounds.requirements import Requirement

__all__ = [
    "Actionability",
    "BoundAtom",
    "BoundRelation",
    "ColumnBounds",
    "Joint",
    "Requirement",
    "bind_joint",
    "bind_rules",
    "codes_of",
    "column_bounds",
]
