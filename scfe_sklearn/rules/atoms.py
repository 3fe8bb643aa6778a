"""Atoms: conditions on the values of one column; and slacks, distances to the border of rules."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.data import (
    MISSING,
    VERTEX,
    Feature,
    FeatureSpace,
    as_stored,
    level_numbers,
    match_levels,
    own_levels,
    rounding,
)
from scfe_sklearn.rules.base import TOLERANCE, RawRows
from scfe_sklearn.rules.bounds import Narrowing, Requirement, codes_of
from scfe_sklearn.rules.one_row import RowAtom

UNJUDGED = 1e6
"""Slack of a point that a rule cannot judge, as a number that it needs is missing."""


@dataclass(frozen=True, eq=False)
class OrdinalInterpolation:
    """A number for every rank of an ordinal feature, linear in between.

    Parameters
    ----------
    coordinate : int
        Its solver coordinate.
    center, scale : float
        ``rank = center + scale * z``.
    numbers : ndarray of shape (L,) or (n, L)
        The number of each rank, for all rows or row by row.
    """

    coordinate: int
    center: float
    scale: float
    numbers: np.ndarray

    def __call__(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Numbers (N,) of points; NaN where the rank is."""
        numbers = as_tensor(self.numbers, z)
        rank = self.center + self.scale * z[:, self.coordinate]
        top = numbers.shape[-1] - 1
        if top == 0:
            return (numbers[0] if numbers.dim() == 1 else numbers[rows, 0]) + 0.0 * rank
        below = torch.nan_to_num(torch.floor(rank.detach())).clamp(0, top - 1).long()
        if numbers.dim() == 1:
            first, second = numbers[below], numbers[below + 1]
        else:
            first, second = numbers[rows, below], numbers[rows, below + 1]
        return first + (rank - below) * (second - first)

    @property
    def has_gaps(self) -> bool:
        """Whether the numbers of neighbouring ranks differ by other than 1."""
        return bool((np.diff(self.numbers) != 1).any())


def ordinal_numbers(space: FeatureSpace, j: int) -> OrdinalInterpolation | None:
    """The declared ranks of an ordinal feature; None of another."""
    feature = space.features_[j]
    if feature.kind != "ordinal":
        return None
    numbers = level_numbers(feature, own_levels(feature))
    return OrdinalInterpolation(space.slices_[j].start, feature.center, feature.scale, numbers)


@dataclass(frozen=True, eq=False)
class AllOf(RowBatch):
    """Several requirements as one, whose violations add up.

    Their least slack does not grow until the worst of them is mended; the sum grows with each.

    Parameters
    ----------
    requirements : tuple of Requirement
        The requirements.
    """

    requirements: tuple[Requirement, ...]
    _by_row = ("requirements",)

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The least slack where all hold, else the sum of the violations."""
        every = torch.stack([one.slack(z, rows) for one in self.requirements])
        least, broken = every.amin(dim=0), every.clamp(max=0.0).sum(dim=0)
        return torch.where(least < 0, broken, least)


def as_tensor(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Values as a tensor of the type and device of another."""
    # A copy where needed: torch warns of arrays that it may not write to.
    values = values if values.flags.writeable else values.copy()
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def zero_if_missing(values: torch.Tensor) -> torch.Tensor:
    """Zero where a value is missing, also for the gradient."""
    return torch.where(torch.isnan(values), torch.zeros_like(values), values)


def forgiven(slack: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Zero where only rounding is missing."""
    hair = (slack < 0) & (slack >= -tolerance)
    return slack - torch.where(hair, slack, torch.zeros_like(slack)).detach()


def capped(slack: torch.Tensor, judged: torch.Tensor | None = None) -> torch.Tensor:
    """`UNJUDGED` where a point is not judged, and at most that elsewhere."""
    if judged is not None:
        slack = torch.where(judged, slack, torch.full_like(slack, UNJUDGED))
    return slack.clamp(max=UNJUDGED)


# ----------------------------------------------------------------------------------------- atoms


def end_tolerance(feature: Feature) -> float:
    """Tolerance of a value at the ends of an interval."""
    if feature.levels is not None:
        return TOLERANCE
    return TOLERANCE * feature.scale + rounding(feature)


@dataclass(frozen=True, eq=False)
class Atom(RowBatch):
    """Condition on the values of one column: in an interval, or among some levels.

    Parameters
    ----------
    feature : int
        Position of the column.
    low, high : ndarray of shape (n,)
        Ends of the interval, infinite where there is none; of an ordinal column as positions
        among its declared levels. Not used where there are levels.
    levels : frozenset or None
        The levels, None among them for a missing value.
    """

    feature: int
    low: np.ndarray
    high: np.ndarray
    levels: frozenset[Hashable] | None = None
    _by_row = ("low", "high")

    def holds(self, rows: RawRows, unknown: bool) -> np.ndarray:
        """Whether the atom holds (n,); ``unknown`` for a missing number or rank."""
        feature = rows.space.features_[self.feature]
        if self.levels is not None:
            codes, levels = rows.coded(self.feature)
            inside = np.array([level in self.levels for level in levels], dtype=bool)[codes]
            if feature.kind == "ordinal" and MISSING not in self.levels:
                inside = np.where(codes == len(levels) - 1, unknown, inside)
            return inside
        values, near = rows.numbers(self.feature), end_tolerance(feature)
        low, high = (as_stored(end, rows.bits(self.feature)) for end in (self.low, self.high))
        inside = (values >= low - near) & (values <= high + near)
        return np.where(np.isnan(values), unknown, inside)

    def towards(self, factual: np.ndarray) -> Atom:
        """The atom with its interval up to a value (n,), NaN for none."""
        if self.levels is not None:
            return self
        return replace(self, low=np.fmin(self.low, factual), high=np.fmax(self.high, factual))

    def bind(self, rows: RawRows) -> BoundAtom:
        """The atom in values or ranks that the search has."""
        space, j = rows.space, self.feature
        feature = space.features_[j]
        if self.levels is not None:
            member = np.array([level in self.levels for level in own_levels(feature)], dtype=bool)
            return BoundAtom.of_levels(space, j, np.repeat(member[None], len(self.low), axis=0))
        if feature.levels is None:
            low, high = (as_stored(end, rows.bits(j)) for end in (self.low, self.high))
        else:
            # Positions among all declared levels become ranks among those that training showed.
            seen = match_levels(np.asarray(feature.declared), np.asarray(feature.levels))
            low = np.searchsorted(seen, self.low)
            high = np.searchsorted(seen, self.high, "right") - 1
            low = np.where(np.isfinite(self.low), low, self.low)
            high = np.where(np.isfinite(self.high), high, self.high)
        return BoundAtom(j, feature, space.slices_[j], low, high)


@dataclass(frozen=True, eq=False)
class BoundAtom(RowBatch):
    """Condition on one feature in raw values, or in ranks of the levels of training.

    Parameters
    ----------
    j : int
        The feature.
    feature : Feature
        What is known of it.
    block : slice
        Its solver coordinates.
    low, high : ndarray of shape (n,)
        An interval.
    member : ndarray of shape (n, L), bool, or None
        The levels, instead of an interval.
    """

    j: int
    feature: Feature
    block: slice
    low: np.ndarray
    high: np.ndarray
    member: np.ndarray | None = None
    _by_row = ("low", "high", "member")

    @classmethod
    def of_levels(cls, space: FeatureSpace, j: int, member: np.ndarray) -> BoundAtom:
        """The condition to be at one of some levels (n, L)."""
        free = np.full(len(member), np.inf)
        return cls(j, space.features_[j], space.slices_[j], -free, free, member)

    def anything(self) -> BoundAtom:
        """The atom of the same feature that holds for every known value."""
        free, member = np.full(len(self.low), np.inf), None
        if self.feature.kind == "categorical" or self.member is not None:
            member = np.ones((len(self.low), len(own_levels(self.feature))), dtype=bool)
        return replace(self, low=-free, high=free, member=member)

    def with_factual(self, rows: RawRows, Z: np.ndarray, already: np.ndarray) -> BoundAtom:
        """The atom with the factual value of the rows that break its rule ``already``."""
        numeric = self.feature.levels is None
        values = rows.numbers(self.j) if numeric else codes_of(rows.space, self.j, Z)
        if self.member is None:
            values = np.where(already & np.isfinite(values), values, np.nan)
            low, high = np.fmin(self.low, values), np.fmax(self.high, values)
            return replace(self, low=low, high=high)
        member, known = self.member.copy(), np.flatnonzero(already & ~np.isnan(values))
        member[known, values[known].astype(np.intp)] = True
        return replace(self, member=member)

    # --------------------------------------------------------------------------- as a slack

    @property
    def tolerance(self) -> float:
        """Solver distance outside of an interval that counts as inside."""
        return 0.0 if self.member is not None else end_tolerance(self.feature) / self.feature.scale

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The interval in solver coordinates."""
        # No point is so far out; finite ends keep infinities out of the arithmetic.
        center, scale = self.feature.center, self.feature.scale
        low, high = (
            np.clip((end - center) / scale, -UNJUDGED, UNJUDGED) for end in (self.low, self.high)
        )
        return low, high

    @cached_property
    def _membership(self) -> OrdinalInterpolation:
        """1 at every rank of an ordinal feature that fulfils the atom, and 0 at others."""
        numbers = np.asarray(self.member, dtype=np.float64)
        return OrdinalInterpolation(
            self.block.start, self.feature.center, self.feature.scale, numbers
        )

    def margin(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Signed distance (N,) of points to the border; NaN where the coordinate is.

        Of levels it is 1/2 inside and -1/2 outside.
        """
        if self.member is None:
            value = z[:, self.block.start]
            low, high = (as_tensor(end, z)[rows] for end in self._ends)
            return torch.minimum(high - value, value - low)
        if self.feature.kind == "ordinal":
            return (self._membership(z, rows) - 0.5) / self.feature.scale
        member = as_tensor(self.member, z)[rows]
        return (z[:, self.block] * member).sum(dim=1) / VERTEX - 0.5

    # -------------------------------------------------------------------- within some bounds

    def certain(self, narrowing: Narrowing) -> np.ndarray:
        """Rows in which the atom holds wherever the feature goes."""
        if self.member is not None:
            holds = (self.member | ~narrowing.levels(self.j)).all(axis=1)
        else:
            (low, high), near = narrowing.ends(self.j), end_tolerance(self.feature)
            holds = (low >= self.low - near) & (high <= self.high + near)
        return holds & narrowing.known(self.j)

    def excluded(self, narrowing: Narrowing) -> np.ndarray:
        """Rows in which the atom fails wherever the feature goes."""
        if self.member is not None:
            fails = (~self.member | ~narrowing.levels(self.j)).all(axis=1)
        else:
            (low, high), near = narrowing.ends(self.j), end_tolerance(self.feature)
            fails = (high < self.low - near) | (low > self.high + near)
        return fails & narrowing.known(self.j)

    def restrict(self, narrowing: Narrowing, rows: np.ndarray) -> None:
        """Keep the feature where the atom holds, in some rows (n,)."""
        if self.member is not None:
            narrowing.restrict_levels(self.j, self.member | ~rows[:, None])
            return
        low, high = np.where(rows, self.low, -np.inf), np.where(rows, self.high, np.inf)
        if self.feature.levels is None:
            narrowing.restrict_interval(self.j, low, high, end_tolerance(self.feature))
        else:
            narrowing.restrict_ranks(self.j, low, high)

    def of_row(self, row: int) -> RowAtom:
        """The atom of one row, as the exact methods read it."""
        if self.member is not None:
            return RowAtom(self.j, member=self.member[row])
        low, high = float(self.low[row]), float(self.high[row])
        near = end_tolerance(self.feature)
        if self.feature.levels is None:
            return RowAtom(self.j, low - near, high + near)
        rank = np.arange(len(own_levels(self.feature)))
        return RowAtom(self.j, member=(rank >= low - near) & (rank <= high + near))
