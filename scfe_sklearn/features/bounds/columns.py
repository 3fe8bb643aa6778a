"""Bounds of rows in the raw units of column space."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scfe_sklearn.features.bounds.actionability import Actionability

if TYPE_CHECKING:
    from scfe_sklearn.features.space import FeatureSpace

_WHOLE = 1e-6  # how far a rank may be from the whole number that it is


class ColumnBounds(NamedTuple):
    """Intervals of numbers and permitted levels, (n, U) each."""

    lower: np.ndarray
    upper: np.ndarray
    allowed: np.ndarray


def column_bounds(space: FeatureSpace, bounds: Actionability) -> ColumnBounds:
    """Bounds of n rows over column space.

    Parameters
    ----------
    space : FeatureSpace
        The fitted space.
    bounds : Actionability
        Where the rows may go, in solver coordinates.

    Returns
    -------
    ColumnBounds
        ``allowed``: for a number whether it may move, for a level whether it may be the new one.
        Intervals are infinite at levels, and else end at values that the data can have.
    """
    widths = [1 if levels is None else len(levels) for levels in space.levels_]
    starts = np.concatenate([[0], np.cumsum(widths)]).astype(np.intp)
    shape = (len(bounds.lower), int(starts[-1]))
    lower, upper = np.full(shape, -np.inf), np.full(shape, np.inf)
    allowed = np.zeros(shape, dtype=bool)
    for j, part in enumerate(space.slices_):
        block = slice(int(starts[j]), int(starts[j + 1]))
        if space.kinds_[j] == "categorical":
            allowed[:, block] = bounds.allowed[:, part]
            continue
        low, high = (
            space.center_[j] + space.scale_[j] * ends[:, part]
            for ends in (bounds.lower, bounds.upper)
        )
        if space.levels_[j] is not None:
            rank = np.arange(widths[j])
            allowed[:, block] = (rank >= low - _WHOLE) & (rank <= high + _WHOLE)
            allowed[:, block] &= bounds.allowed[:, part]
            continue
        lattice = space.lattice(np.array([j]))
        lower[:, block], upper[:, block] = lattice.nearest(low), lattice.nearest(high)
        allowed[:, block] = bounds.allowed[:, part]
    return ColumnBounds(lower, upper, allowed)
