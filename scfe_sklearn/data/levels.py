"""Levels of categories and names of columns: matching, ordering, and levels as numbers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from scfe_sklearn._utils import invalid
from scfe_sklearn.data.table import Table

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


def is_listing(value: Any) -> bool:
    """Whether a value is a collection, and no text that happens to be iterable."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes))


def position(names: Sequence[Hashable], name: Hashable, parameter: str, owner: str) -> int:
    """Return the position of a column that a parameter names; ValueError if there is none."""
    try:
        return list(names).index(name)
    except ValueError:
        more = " and more" if len(names) > 20 else ""
        must = f"name columns of X, which are {list(names[:20])}{more}"
        raise invalid(parameter, owner, must, name) from None


def positions(
    names: Sequence[Hashable], wanted: Any, parameter: str, owner: str = "FeatureSpace"
) -> frozenset[int]:
    """The positions of a list of columns (None: no columns)."""
    if wanted is None:
        return frozenset()
    if not is_listing(wanted):
        raise invalid(parameter, owner, "be a list of columns", wanted)
    return frozenset(position(names, name, parameter, owner) for name in wanted)


def coded(table: Table, at: int) -> tuple[np.ndarray, list[Hashable]]:
    """Codes and the levels that occur, missing last (whether or not it occurs)."""
    codes, distinct = table.factorize(at)
    used = np.unique(codes[codes >= 0])
    place = np.full(len(distinct) + 1, len(used))
    place[used] = np.arange(len(used))
    return place[codes], [*(plain_level(v) for v in distinct[used]), None]


def ranks(order: np.ndarray, levels: Sequence[Hashable]) -> np.ndarray:
    """The place of each level in an order, NaN where it has none."""
    objects = np.empty(len(levels), dtype=object)
    objects[:] = levels
    place = match_levels(order, objects).astype(np.float64)
    place[place < 0] = np.nan
    return place


def is_number(value: Any) -> bool:
    """Whether a level is a number or a boolean."""
    return isinstance(value, (bool, int, float, np.number, np.bool_))
