"""Bounds of rows: where each row may go; and what rules between columns imply for each alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.data import FeatureSpace, level_numbers, own_levels

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


SAME = 1e-9  # in training standard deviations


def codes_of(space: FeatureSpace, j: int, Z: np.ndarray) -> np.ndarray:
    """The level of each point as a float, NaN where it has none."""
    block = Z[:, space.slices_[j]]
    if space.kinds_[j] == "ordinal":
        return np.rint(space.center_[j] + space.scale_[j] * block[:, 0])
    return np.where(np.isnan(block).any(axis=1), np.nan, block.argmax(axis=1))


class Narrowing:
    """Bounds of n rows that are narrowed in place.

    A feature may stay as it is whatever the others do, so factual values are never excluded.

    Parameters
    ----------
    bounds : Actionability
        The bounds.
    space : FeatureSpace
        The fitted space.
    Z : ndarray of shape (n, D)
        Coordinates of the factual rows.
    """

    def __init__(self, bounds: Actionability, space: FeatureSpace, Z: np.ndarray) -> None:
        self.bounds = bounds
        self.space = space
        self.Z = Z

    # ------------------------------------------------------------------ where a feature may be

    def known(self, j: int) -> np.ndarray:
        """Rows in which the feature has a value."""
        return ~np.isnan(self.Z[:, self.space.slices_[j]]).any(axis=1)

    def ends(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest raw value or rank of a number, its factual one included."""
        feature, at = self.space.features_[j], self.space.slices_[j].start
        z = self.Z[:, at]
        low = feature.center + feature.scale * np.fmin(self.bounds.lower[:, at], z)
        high = feature.center + feature.scale * np.fmax(self.bounds.upper[:, at], z)
        return (low, high) if feature.levels is None else (np.rint(low), np.rint(high))

    def levels(self, j: int) -> np.ndarray:
        """(n, L) the levels that a feature may be at."""
        if self.space.kinds_[j] == "categorical":
            return self.bounds.allowed[:, self.space.slices_[j]]
        return _between(*self.ends(j), len(own_levels(self.space.features_[j])))

    def numbers(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest number that a relation may read."""
        feature, block = self.space.features_[j], self.space.slices_[j]
        if feature.levels is None:
            return self.ends(j)
        numbers = level_numbers(feature, own_levels(feature))
        if feature.kind == "ordinal":
            low, high = (np.clip(np.nan_to_num(end), 0, len(numbers) - 1) for end in self.ends(j))
            return numbers[low.astype(np.intp)], numbers[high.astype(np.intp)]
        options = np.where(self.bounds.allowed[:, block], numbers, np.nan)
        low = np.fmin.reduce(options, axis=1, initial=np.inf)
        high = np.fmax.reduce(options, axis=1, initial=-np.inf)
        return low, high

    def may_be_missing(self, features: tuple[int, ...]) -> np.ndarray:
        """Rows in which one of the features may be missing."""
        missing = np.zeros(len(self.Z), dtype=bool)
        for j in features:
            missing |= ~self.known(j)
            level = self.space.features_[j].missing_level
            if level >= 0:
                missing |= self.bounds.allowed[:, self.space.slices_[j].start + level]
        return missing

    # ------------------------------------------------------------------------ narrower bounds

    def restrict_numbers(self, j: int, low: np.ndarray, high: np.ndarray, near: float) -> None:
        """Keep a feature within limits of the number that relations read."""
        feature = self.space.features_[j]
        if feature.levels is None:
            self.restrict_interval(j, low, high, near)
            return
        numbers = level_numbers(feature, own_levels(feature))
        # A missing level has no number, and breaks no relation.
        outside = (numbers < (low - near)[:, None]) | (numbers > (high + near)[:, None])
        self.restrict_levels(j, ~outside)

    def restrict_ranks(self, j: int, low: np.ndarray, high: np.ndarray) -> None:
        """Keep an ordinal feature within ranks."""
        self.restrict_levels(j, _between(low, high, len(own_levels(self.space.features_[j]))))

    def restrict_levels(self, j: int, member: np.ndarray) -> None:
        """Keep a feature at some levels (n, L) or its factual one."""
        block, codes = self.space.slices_[j], codes_of(self.space, j, self.Z)
        known = np.flatnonzero(~np.isnan(codes))
        member = member.copy()
        member[known, codes[known].astype(np.intp)] = True
        if self.space.kinds_[j] == "categorical":
            self.bounds.allowed[:, block] &= member
            self.bounds.mutable[:, j] &= self.bounds.allowed[:, block].sum(axis=1) > 1
            return
        # Bounds hold one interval: it ends at the outermost of the levels.
        feature, at, width = self.space.features_[j], block.start, member.shape[1]
        low = np.rint(feature.center + feature.scale * self.bounds.lower[:, at])
        high = np.rint(feature.center + feature.scale * self.bounds.upper[:, at])
        member &= _between(low, high, width)
        first = np.where(member.any(axis=1), member.argmax(axis=1), width)
        last = width - 1 - member[:, ::-1].argmax(axis=1)
        self._restrict(
            j, (first - feature.center) / feature.scale, (last - feature.center) / feature.scale
        )

    def restrict_interval(self, j: int, low: np.ndarray, high: np.ndarray, near: float) -> None:
        """Keep a number within limits, rounded inward to values that it can have."""
        feature, lattice = self.space.features_[j], self.space.lattice(np.array([j]))
        ends = [np.where(np.isfinite(end), end, 0.0)[:, None] for end in (low, high)]
        low = np.where(np.isfinite(low), lattice.at_least(ends[0], near)[:, 0], low)
        high = np.where(np.isfinite(high), lattice.at_most(ends[1], near)[:, 0], high)
        self._restrict(
            j, (low - feature.center) / feature.scale, (high - feature.center) / feature.scale
        )

    def _restrict(self, j: int, low: np.ndarray, high: np.ndarray) -> None:
        """Intersect the interval of a feature with limits in solver coordinates."""
        bounds, at = self.bounds, self.space.slices_[j].start
        z, lower, upper = self.Z[:, at], bounds.lower[:, at], bounds.upper[:, at]
        inside = (lower <= z) & (z <= upper)
        free = bounds.mutable[:, j]
        # Bounds that are met already keep their digits.
        new_lower = np.where(low > lower + SAME, low, lower)
        new_upper = np.where(high < upper - SAME, high, upper)
        new_lower = np.where(inside, np.fmin(new_lower, z), new_lower)
        new_upper = np.where(inside, np.fmax(new_upper, z), new_upper)
        stuck = (new_upper - new_lower <= SAME) & (np.abs(new_lower - z) <= SAME)
        free &= ~(stuck | (new_lower > new_upper + SAME))
        bounds.lower[:, at] = np.where(free, np.fmin(new_lower, new_upper), z)
        bounds.upper[:, at] = np.where(free, new_upper, z)
        bounds.allowed[:, at] = free
        bounds.mutable[:, j] = free


def _between(low: np.ndarray, high: np.ndarray, width: int) -> np.ndarray:
    """(n, width) ranks within limits (n,)."""
    ranks = np.arange(width)
    return (ranks >= low[:, None]) & (ranks <= high[:, None])
