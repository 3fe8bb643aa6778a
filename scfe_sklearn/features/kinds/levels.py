"""The levels of a category: matching, ordering, and the vertices that stand for them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scfe_sklearn.features.frames import Table

VERTEX = 1.0 / np.sqrt(2.0)  # so that a changed category adds 1 to the squared distance
MISSING = None  # how a missing level is written in rules


def match_levels(levels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each value its place among the levels, -1 where it is none of them."""
    import pandas as pd

    asked = values.tolist()
    if all(type(value) is str for value in asked):  # a fraction of the time, for few of them
        places = {level: place for place, level in enumerate(levels.tolist())}
        return np.array([places.get(value, -1) for value in asked], dtype=np.intp)
    known = pd.Index(levels.astype(object), dtype=object)
    return np.asarray(known.get_indexer(pd.Index(values.astype(object), dtype=object)))


def level_codes(table: Table, j: int, levels: np.ndarray, missing_level: int) -> np.ndarray:
    """The level of every row as a position in ``levels``, -1 where it is none of them.

    ``missing_level`` is the position of the missing value, the last one, or -1.
    """
    codes, distinct = table.factorize(j)
    present = levels[:missing_level] if missing_level >= 0 else levels
    # Code -1 is a missing value, and picks the last place.
    place = np.append(match_levels(present, distinct), missing_level)
    return place[codes]


def vertices(block: np.ndarray) -> np.ndarray:
    """The nearest vertex of the scaled simplex; NaN rows stay NaN."""
    out = np.zeros_like(block)
    out[np.arange(len(block)), block.argmax(axis=1)] = VERTEX
    out[np.isnan(block).any(axis=1)] = np.nan
    return out


def level_array(listed: list[Any], missing: list[Any]) -> np.ndarray:
    """Levels as an array: numbers or booleans where all are, objects otherwise."""
    if all(isinstance(v, (bool, np.bool_)) for v in listed) and not missing:
        return np.array(listed, dtype=bool)
    if all(
        isinstance(v, (int, float, np.number)) and not isinstance(v, (bool, np.bool_))
        for v in listed
    ):
        numbers = np.array(listed)
        if numbers.dtype.kind in "iuf":
            if not missing:
                return numbers
            if isinstance(missing[0], float):
                return np.append(numbers.astype(np.float64), np.nan)
    out = np.empty(len(listed) + len(missing), dtype=object)
    out[:] = listed + missing
    return out


def sorted_levels(listed: list[Any]) -> list[Any]:
    """Levels in their natural order; of mixed types by type and text."""
    try:
        return sorted(listed)
    except TypeError:
        return sorted(listed, key=lambda v: (type(v).__name__, str(v)))


def plain_level(value: Any) -> Hashable:
    """A level as a dictionary key; None for whatever means missing."""
    if value is None:
        return MISSING
    try:
        return MISSING if bool(value != value) else value
    except (TypeError, ValueError):  # pandas.NA is neither equal nor unequal
        return MISSING
