"""Narrow bounds, feature by feature, by what rules between columns imply for each alone."""

from __future__ import annotations

import numpy as np

from scfe_sklearn.data import FeatureSpace, level_numbers, own_levels
from scfe_sklearn.rules.actionability import Actionability

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
