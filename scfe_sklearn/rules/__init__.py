"""Rules: constraints on a counterfactual, one file per kind."""

# ruff: noqa: F401 (names that are not listed at the end are for other rooms of the package)

from scfe_sklearn.rules.base import BoundRule
from scfe_sklearn.rules.bounds import (
    Actionability,
    ColumnBounds,
    Requirement,
    column_bounds,
)
from scfe_sklearn.rules.linear import Linear
from scfe_sklearn.rules.one_row import RowAtom, RowImplication, RowRelation, RowRules
from scfe_sklearn.rules.parsed import ParsedRules
from scfe_sklearn.rules.ranges import Relative
from scfe_sklearn.rules.rules import FLAGS, KINDS, PARAMETERS, Rules

__all__ = [
    "Actionability",
    "Linear",
    "Relative",
    "Requirement",
    "RowAtom",
    "RowImplication",
    "RowRelation",
    "RowRules",
    "Rules",
]
