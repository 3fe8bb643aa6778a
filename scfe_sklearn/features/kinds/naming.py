"""Positions of the columns that a parameter names, and the error if there is no such column."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any


def is_listing(value: Any) -> bool:
    """Whether a value is a collection, and no text that happens to be iterable."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes))


def position(names: Sequence[Hashable], name: Hashable, parameter: str, owner: str) -> int:
    """Return the position of a column that a parameter names; ValueError if there is none."""
    try:
        return list(names).index(name)
    except ValueError:
        shown = list(names[:20])
        raise ValueError(
            f"The {parameter!r} parameter of {owner} must name columns of X, which are {shown}"
            f"{' and more' if len(names) > 20 else ''}. Got {name!r} instead."
        ) from None


def positions(
    names: Sequence[Hashable], wanted: Any, parameter: str, owner: str = "FeatureSpace"
) -> frozenset[int]:
    """The positions of a list of columns (None: no columns)."""
    if wanted is None:
        return frozenset()
    if not is_listing(wanted):
        raise ValueError(
            f"The {parameter!r} parameter of {owner} must be a list of columns. "
            f"Got {wanted!r} instead."
        )
    return frozenset(position(names, name, parameter, owner) for name in wanted)
