"""Relations and implications in solver coordinates, as functions that a solver differentiates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from scfe_sklearn.features.kinds import VERTEX

if TYPE_CHECKING:
    import torch

UNJUDGED = 1e6
"""Slack of a point that a rule cannot judge, as a number that it needs is missing."""

STRICT = 4e-9
"""How far a condition that holds on its edge is from no longer holding."""


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
class Ladder:
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
        import torch

        numbers = _tensor(self.numbers, z)
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

    def take(self, rows: np.ndarray) -> Ladder:
        """The ladder of some rows."""
        return replace(self, numbers=self.numbers[rows]) if self.numbers.ndim == 2 else self


@dataclass(frozen=True, eq=False)
class LinearRequirement:
    """A linear relation between values.

    Parameters
    ----------
    coordinates, weights : ndarray of shape (m,)
        Solver coordinates that count, and how much.
    bias : float
        The constant of the sum.
    ladders : tuple of (float, Ladder)
        Ordinal features whose levels have gaps, with their coefficients.
    absent : ndarray of shape (q,), int
        Coordinates of missing levels: a point there has no sum.
    low, high : ndarray of shape (n,)
        Limits of the sum.
    judged : ndarray of shape (n,), bool
        False for rows in which a number is missing for good.
    norm : float
        Change of the sum by one unit of distance.
    tolerance : float
        Slack, in units of distance, that counts as none.
    """

    coordinates: np.ndarray
    weights: np.ndarray
    bias: float
    ladders: tuple[tuple[float, Ladder], ...]
    absent: np.ndarray
    low: np.ndarray
    high: np.ndarray
    judged: np.ndarray
    norm: float
    tolerance: float

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Signed distance to the nearer limit."""
        import torch

        values = z[:, torch.as_tensor(self.coordinates, device=z.device)]
        total = (values * _tensor(self.weights, z)).sum(dim=1) + self.bias
        for coefficient, ladder in self.ladders:
            total = total + coefficient * ladder(z, rows)
        judged = torch.as_tensor(self.judged, device=z.device)[rows] & ~torch.isnan(total)
        if len(self.absent):
            gone = z[:, torch.as_tensor(self.absent, device=z.device)] > VERTEX / 2
            judged = judged & ~gone.any(dim=1)
        total = torch.where(judged, total, torch.zeros_like(total))
        low, high = _tensor(self.low, z)[rows], _tensor(self.high, z)[rows]
        slack = torch.minimum(high - total, total - low) / self.norm
        return _free(_forgiven(slack, self.tolerance), judged)

    def take(self, rows: np.ndarray) -> LinearRequirement:
        """Bind the given rows, in their order."""
        return replace(
            self,
            ladders=tuple((c, ladder.take(rows)) for c, ladder in self.ladders),
            low=self.low[rows],
            high=self.high[rows],
            judged=self.judged[rows],
        )


@dataclass(frozen=True, eq=False)
class ChangeRequirement:
    """A budget of weighted changes.

    Parameters
    ----------
    coordinates, weights : ndarray of shape (m,)
        Solver coordinates of numbers, and the price of a unit.
    home : ndarray of shape (n, m)
        Their values in the factual rows; a change of a missing one is free.
    ladders : tuple of (float, Ladder)
        Ordinal features whose levels have gaps, with their prices.
    ladder_home : ndarray of shape (n, len(ladders))
        Their numbers in the factual rows.
    level : ndarray of shape (n, q), int
        The coordinate of the factual level of every categorical feature; -1 for none.
    prices : ndarray of shape (q,)
        The price of another level.
    high : ndarray of shape (n,)
        The budget.
    norm, tolerance : float
        As in `LinearRequirement`.
    """

    coordinates: np.ndarray
    weights: np.ndarray
    home: np.ndarray
    ladders: tuple[tuple[float, Ladder], ...]
    ladder_home: np.ndarray
    level: np.ndarray
    prices: np.ndarray
    high: np.ndarray
    norm: float
    tolerance: float

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Rest of the budget, as a distance."""
        import torch

        total = torch.zeros_like(z[:, 0])
        if len(self.coordinates):
            moved = z[:, torch.as_tensor(self.coordinates, device=z.device)]
            moved = _known(moved - _tensor(self.home, z)[rows])
            total = total + (moved.abs() * _tensor(self.weights, z)).sum(dim=1)
        for k, (price, ladder) in enumerate(self.ladders):
            home = _tensor(self.ladder_home[:, k], z)[rows]
            total = total + price * _known(ladder(z, rows) - home).abs()
        if len(self.prices):
            level = torch.as_tensor(self.level, device=z.device)[rows]
            kept = torch.gather(z, 1, level.clamp(min=0)) / VERTEX
            left = torch.where(level >= 0, 1.0 - _known(kept), torch.zeros_like(kept))
            total = total + (left * _tensor(self.prices, z)).sum(dim=1)
        slack = (_tensor(self.high, z)[rows] - total) / self.norm
        return _free(_forgiven(slack, self.tolerance))

    def take(self, rows: np.ndarray) -> ChangeRequirement:
        """Bind the given rows, in their order."""
        return replace(
            self,
            home=self.home[rows],
            ladder_home=self.ladder_home[rows],
            level=self.level[rows],
            high=self.high[rows],
        )


@dataclass(frozen=True, eq=False)
class Span:
    """Slack of a numeric or ordinal feature in an interval.

    Parameters
    ----------
    coordinate : int
        Its solver coordinate.
    low, high : ndarray of shape (n,)
        The interval in solver coordinates.
    tolerance : float
        Distance outside that counts as inside.
    """

    coordinate: int
    low: np.ndarray
    high: np.ndarray
    tolerance: float

    def __call__(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Signed distance (N,) to the nearer end; NaN where the coordinate is."""
        import torch

        value = z[:, self.coordinate]
        low, high = _tensor(self.low, z)[rows], _tensor(self.high, z)[rows]
        return torch.minimum(high - value, value - low)

    def take(self, rows: np.ndarray) -> Span:
        """The interval of some rows."""
        return replace(self, low=self.low[rows], high=self.high[rows])


@dataclass(frozen=True, eq=False)
class Choice:
    """Slack of a feature at one of some levels: 1/2 at such a level, -1/2 at another.

    Parameters
    ----------
    block : slice
        Solver coordinates of a categorical feature.
    member : ndarray of shape (n, L), bool
        The levels.
    ladder : Ladder or None
        For an ordinal feature: 1 at every such rank and 0 at others.
    tolerance : float
        Of no use here; a `Span` has one.
    """

    block: slice
    member: np.ndarray
    ladder: Ladder | None = None
    tolerance: float = 0.0

    def __call__(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Signed distance (N,) to the border between the two; NaN where a rank is."""
        if self.ladder is not None:
            return (self.ladder(z, rows) - 0.5) / self.ladder.scale
        member = _tensor(self.member, z)[rows]
        return (z[:, self.block] * member).sum(dim=1) / VERTEX - 0.5

    def take(self, rows: np.ndarray) -> Choice:
        """The levels of some rows."""
        ladder = None if self.ladder is None else self.ladder.take(rows)
        return replace(self, member=self.member[rows], ladder=ladder)


@dataclass(frozen=True, eq=False)
class ImplicationRequirement:
    """An implication: out of the condition, or within the consequence.

    Parameters
    ----------
    condition, consequence : tuple of Span or Choice
        What must hold, row by row.
    """

    condition: tuple[Span | Choice, ...]
    consequence: tuple[Span | Choice, ...]

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The larger of the distances out of the condition and into the consequence."""
        import torch

        def worst(function: Callable, atoms: tuple[Span | Choice, ...]) -> torch.Tensor:
            found = []
            for atom in atoms:
                margin = atom(z, rows)
                known = ~torch.isnan(margin)
                margin = torch.where(known, margin, torch.zeros_like(margin))
                found.append(function(margin, known, atom.tolerance))
            return torch.stack(found).amin(dim=0)

        inside = worst(_inside, self.consequence)
        held = worst(_held, self.condition)
        return _free(torch.maximum(-held, inside))

    def take(self, rows: np.ndarray) -> ImplicationRequirement:
        """Bind the given rows, in their order."""
        return ImplicationRequirement(
            tuple(atom.take(rows) for atom in self.condition),
            tuple(atom.take(rows) for atom in self.consequence),
        )


@dataclass(frozen=True, eq=False)
class Together:
    """Several requirements as one, whose violations add up.

    Their least slack does not grow until the worst of them is mended; the sum grows with each.

    Parameters
    ----------
    requirements : tuple of Requirement
        The requirements.
    """

    requirements: tuple[Requirement, ...]

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The least slack where all hold, else the sum of the violations."""
        import torch

        every = torch.stack([one.slack(z, rows) for one in self.requirements])
        least, broken = every.amin(dim=0), every.clamp(max=0.0).sum(dim=0)
        return torch.where(least < 0, broken, least)

    def take(self, rows: np.ndarray) -> Together:
        """Bind the given rows, in their order."""
        return Together(tuple(one.take(rows) for one in self.requirements))


def _inside(margin: torch.Tensor, known: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Slack of an atom of a consequence; a missing value breaks nothing."""
    return _free(_forgiven(margin, tolerance), known)


def _held(margin: torch.Tensor, known: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Slack of an atom of a condition, away from zero; a missing value fulfils nothing."""
    import torch

    edge = torch.where(margin >= -tolerance, margin.clamp(min=STRICT), margin)
    return -_free(-(margin + (edge - margin).detach()), known)


def _tensor(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    import torch

    # A copy where needed: torch warns of arrays that it may not write to.
    values = values if values.flags.writeable else values.copy()
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def _known(values: torch.Tensor) -> torch.Tensor:
    """Zero where a value is missing, also for the gradient."""
    import torch

    return torch.where(torch.isnan(values), torch.zeros_like(values), values)


def _forgiven(slack: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Zero where only rounding is missing."""
    import torch

    hair = (slack < 0) & (slack >= -tolerance)
    return slack - torch.where(hair, slack, torch.zeros_like(slack)).detach()


def _free(slack: torch.Tensor, judged: torch.Tensor | None = None) -> torch.Tensor:
    """`UNJUDGED` where a point is not judged, and at most that elsewhere."""
    import torch

    if judged is not None:
        slack = torch.where(judged, slack, torch.full_like(slack, UNJUDGED))
    return slack.clamp(max=UNJUDGED)
