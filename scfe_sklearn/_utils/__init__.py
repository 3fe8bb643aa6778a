"""Helpers that every room may use; they know nothing of the package."""

from scfe_sklearn._utils.row_batch import RowBatch, taken
from scfe_sklearn._utils.selection import (
    cheapest,
    first_flagged,
    least,
    picked,
    rank_within,
    repeated,
)
from scfe_sklearn._utils.validation import invalid

__all__ = [
    "RowBatch",
    "cheapest",
    "first_flagged",
    "invalid",
    "least",
    "picked",
    "rank_within",
    "repeated",
    "taken",
]
