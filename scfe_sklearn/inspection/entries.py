"""Entries of an explanation that belong to one person."""

from __future__ import annotations

from typing import Any

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.row_numbers import first_entries
from scfe_sklearn.presentation.wording import is_missing, is_number, plain, rounded_pair

__all__ = [
    "check_explanation",
    "check_row",
    "headline",
    "people",
    "percent",
    "row_name",
    "verdict",
]


def people(explanation: Explanation) -> list[np.ndarray]:
    """Positions of the entries of each person: the options are counted from 0 anew.

    Returns
    -------
    list of ndarray
    """
    if not len(explanation):
        return []
    return list(np.split(np.arange(len(explanation)), first_entries(explanation)[1:]))


def check_explanation(explanation: Any, display: str) -> None:
    """Refuse what is no explanation, or has no rows."""
    if not isinstance(explanation, Explanation):
        raise TypeError(
            f"The 'explanation' parameter of {display} must be an Explanation. "
            f"Got {type(explanation).__name__} instead."
        )
    if not len(explanation):
        raise ValueError(
            f"The 'explanation' parameter of {display} must have at least one row. Got none."
        )


def check_row(row: Any, n: int, display: str) -> int:
    """A position among n, as a plain number."""
    whole = isinstance(row, int | np.integer) and not isinstance(row, bool)
    if not whole or not -n <= row < n:
        raise ValueError(
            f"The 'row' parameter of {display} must be an int in [{-n}, {n}). Got {row!r} instead."
        )
    return int(row) % n


def verdict(explanation: Explanation, entry: int) -> str:
    """Prediction before and after: "refused \u2192 approved, 12 % \u2192 58 %"."""
    now, then = explanation.prediction[entry], explanation.prediction_after[entry]
    text = plain(now) if is_missing(then) else " \u2192 ".join(rounded_pair(now, then))
    before, after = explanation.probability_before[entry], explanation.probability_after[entry]
    if np.isfinite(before) and np.isfinite(after):
        text += f", probability {percent(before)} \u2192 {percent(after)}"
    return text


def headline(explanation: Explanation, entry: int) -> str:
    """Name of the row of an entry, and its prediction before and after."""
    return f"{row_name(explanation.index[entry])}: {verdict(explanation, entry)}"


def row_name(label: Any) -> str:
    """Return the name of a row; the number of a row is a name, without separators."""
    return f"Row {label}" if is_number(label) else plain(label)


def percent(share: float) -> str:
    """A share in whole per cent; a sign where it is nearly, but not, nothing or all."""
    if 0 < share < 0.005:
        return "<\u00a01\u00a0%"
    if 0.995 <= share < 1:
        return ">\u00a099\u00a0%"
    return f"{100 * share:.0f}\u00a0%"
