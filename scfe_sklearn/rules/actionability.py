"""Bounds of rows: where each row may go, in solver coordinates and in column space."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.data import FeatureSpace

_WHOLE = 1e-6  # how far a rank may be from the whole number that it is


class Requirement(Protocol):
    """Joint conditions on several features, for the n rows that were bound."""

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Signed distance (N,) to the border of what is allowed; not negative where it holds.

        Parameters
        ----------
        z : Tensor of shape (N, D)
            Points.
        rows : LongTensor of shape (N,)
            The bound row of every point.
        """
        ...

    def take(self, rows: np.ndarray) -> Requirement:
        """Bind the given rows, in their order."""
        ...


@dataclass(frozen=True, eq=False)
class Actionability(RowBatch):
    """The set of points that a row may become, one row of each array per query.

    Attributes
    ----------
    lower, upper : ndarray of shape (n, D)
        Bounds of numeric and ordinal coordinates, at points that the data can have. They hold
        the factual coordinate, unless a range excludes it: then the feature stays, or jumps
        into the interval. Level coordinates: 0 and 1/sqrt(2).
    allowed : ndarray of shape (n, D), bool
        Level coordinates: whether the level may be the new one (the factual level always may).
        Numeric and ordinal coordinates: whether the feature may move.
    mutable : ndarray of shape (n, d), bool
        Whether the raw feature may take any value but the factual one.
    conflict : ndarray of shape (n,), object
        None, or why the rules of the row contradict each other.
    cost : ndarray of shape (n, d)
        The price of changing a raw feature, relative to the others; defaults to 1.
    requirements : tuple of Requirement
        What a point must fulfil in addition to the bounds: relations, implications, and ranks
        between others that an ordinal feature may not have. The bounds are as narrow already as
        each of these implies for one feature alone.
    infeasible : ndarray of shape (n,), object, or None
        None, or why a row cannot come within strict rules; None where no rule is strict.
    """

    lower: np.ndarray
    upper: np.ndarray
    allowed: np.ndarray
    mutable: np.ndarray
    conflict: np.ndarray
    cost: np.ndarray = field(default=None)  # type: ignore[arg-type]
    requirements: tuple[Requirement, ...] = ()
    infeasible: np.ndarray | None = None
    _by_row = (
        "lower",
        "upper",
        "allowed",
        "mutable",
        "conflict",
        "cost",
        "requirements",
        "infeasible",
    )

    def __post_init__(self) -> None:
        """Costs default to 1."""
        if self.cost is None:
            object.__setattr__(self, "cost", np.ones(self.mutable.shape))


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
