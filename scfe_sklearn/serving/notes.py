"""Notes on moved values: outside of the training data, or against a rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from scfe_sklearn.presentation.containers import column_values
from scfe_sklearn.presentation.wording import exact, is_number
from scfe_sklearn.rules import Rules

__all__ = ["broken_rules", "notes"]


def notes(rules: Rules, space: Any, before: Any, after: Any) -> list[dict[str, Any]]:
    """Return notes on values of one row that break a rule or leave the training data.

    Parameters
    ----------
    rules : Rules
        All rules of the row.
    space : FeatureSpace
        Fitted; knows the ranges of the training rows.
    before, after : DataFrame or ndarray of shape (1, d)
        The row as it is, and with moved values.

    Returns
    -------
    list of dict
        ``{"feature": position, "text": sentence}``, in the order of the features.
    """
    found = []
    broken = broken_rules(rules, space, before, after)
    for j in range(len(space.names_)):
        texts = [
            *_outside(space, after, j),
            *(f"Breaks a rule: {rule}." for rule in broken.get(j, ())),
        ]
        found += [{"feature": j, "text": text} for text in texts]
    return found


def broken_rules(rules: Rules, space: Any, before: Any, after: Any) -> dict[int, list[str]]:
    """Return the rules that each feature breaks, as sentences, by the position of the feature."""
    rules = rules.in_row_order(before)
    broken = rules.violations(space, before, after)[0]
    if not broken.any():
        return {}
    filled = Rules().violations(space, before, after)[0]
    found: dict[int, list[str]] = {
        int(j): ["a missing value stays missing"] for j in np.flatnonzero(broken & filled)
    }
    for rule in rules.one_by_one():
        own = rule.violations(space, before, after)[0] & broken & ~filled
        for j in np.flatnonzero(own):
            found.setdefault(int(j), []).extend(rule.describe(space))
    return {j: list(dict.fromkeys(texts)) for j, texts in found.items()}


def _outside(space: Any, row: Any, j: int) -> list[str]:
    """Return a note if a number lies outside of the training data."""
    if space.levels_[j] is not None:
        return []
    value = column_values(row, j, np.array([0]))[0]
    low, high = space.min_[j], space.max_[j]
    if not is_number(value) or low <= float(value) <= high:
        return []
    return [f"Outside of the training data, which go from {exact(low)} to {exact(high)}."]
