"""Points seen along the numbers that they change, with densities around each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from scfe_sklearn._utils import first_flagged, picked
from scfe_sklearn.solvers.descent.state import LOCAL_ERROR, Evaluated, Search
from scfe_sklearn.solvers.problem import EQUAL, TOLERANCE, Along, Domain, Problem

FLATTER = 1e-2
"""Change of a number below which a penalty with p < 1 counts as no steeper."""

CHOICES = 12
"""Moves of either kind of which pairs are made."""

PAIRS = 8
"""Pairs of moves that are tried."""

WORTHLESS = 1e-9
"""Saving that does not count."""

CLEAR = 1e-9
"""Margin lost by rounding that does not count."""

REGAINED = (1.0, 1.5, 3.0)
"""Shares of the margin lost by rounding that are regained on the lattice."""


@dataclass(frozen=True, eq=False)
class Supports:
    """N points, each free along w numbers of its own; levels and other numbers stay.

    Parameters
    ----------
    problem : Problem
        The problem of the N points.
    at : Tensor of shape (N, D)
        The points.
    support : LongTensor of shape (N, w)
        The coordinates of their numbers, padded with D.
    domain : Domain
        Bounds and lattices along the supports, of changes: the factual is 0.
    start : Tensor of shape (N, w)
        The changes of the points.
    scale, price : Tensor of shape (N, w)
        Weights of the squared changes and of their penalties; 0 at padded places.
    rest : Tensor of shape (N,)
        Squared distance and penalty of everything else.
    near : Along
        Densities around the points.
    weight, unit, limit, short : Tensor of shape (N,)
        Price, unit and limit of log-density; margin that the factual is short of.
    """

    problem: Problem
    at: torch.Tensor
    support: torch.Tensor
    domain: Domain
    start: torch.Tensor
    scale: torch.Tensor
    price: torch.Tensor
    rest: torch.Tensor
    near: Along
    weight: torch.Tensor
    unit: torch.Tensor
    limit: torch.Tensor
    short: torch.Tensor

    @classmethod
    def of(cls, search: Search, at: torch.Tensor, row: torch.Tensor, free: torch.Tensor) -> Self:
        """Take points ``at`` (N, D) of rising rows ``row`` (N,), free along ``free`` (N, D)."""
        problem, near = search.problem.take(row), search.near
        domain, size = problem.domain, at.shape[1]
        there, column = first_flagged(free, max(int(free.sum(1).max()), 1))
        factual = domain.factual.gather(1, column)

        def along(values: torch.Tensor) -> torch.Tensor:
            return torch.where(there, values.expand_as(at).gather(1, column), 0.0)

        start = along(at - domain.factual)
        weights = torch.ones_like(domain.factual)
        if problem.cost is not None:
            weights = problem.cost[:, domain.groups]
        scale = along(weights)
        price = scale * problem.beta[:, None]
        support = torch.where(there, column, size)
        numbers = Domain(
            torch.zeros_like(start),
            along(domain.lower) - torch.where(there, factual, 0.0),
            along(domain.upper) - torch.where(there, factual, 0.0),
            there,
            torch.arange(start.shape[1], device=at.device),
            torch.ones_like(start[0], dtype=torch.bool),
            along(domain.step[None]),
            along(domain.offset[None]) - torch.where(there, factual, 0.0),
        )
        own = (scale * start.square() + price * _powers(start, problem.exponent)).sum(1)
        return cls(
            problem,
            at,
            support,
            numbers,
            start,
            scale,
            price,
            problem.sparse_distance(at[:, None])[:, 0] - own,
            near.along(at, row, support),
            near.weight[row],
            search.unit[row],
            near.limit[row],
            search.short[row],
        )

    def evaluate(self, change: torch.Tensor, fine: float) -> Evaluated:
        """Evaluate objective, margin and gradients at changes (N, w); see `Search.cost`."""
        margin, slope = self.problem.objective.margin_and_grad(self.points(change))
        slope = torch.cat([slope, torch.zeros_like(slope[:, :1])], 1).gather(1, self.support)
        density, lift = self.near.log_density_and_grad(change - self.start)
        cost = self._cost(change, density, fine)
        beyond = margin - self.problem.floor
        pull = 2 * change * self.scale
        return Evaluated(beyond, slope, density, lift, pull, cost, beyond >= 0)

    def penalty_slope(self, change: torch.Tensor) -> torch.Tensor:
        """Gradient (N, w) of the penalty where a number changes."""
        power = self.problem.exponent
        if power == 0:
            return torch.zeros_like(change)
        steep = change.abs().clamp_min(FLATTER).pow(power - 1)
        return power * self.price * steep * torch.sign(change)

    def points(self, change: torch.Tensor) -> torch.Tensor:
        """Return changes (..., N, w) as points (..., N, D)."""
        at = torch.cat([self.at, torch.zeros_like(self.at[:, :1])], 1)
        shift = change - self.start
        at = at.expand(*shift.shape[:-1], -1)
        return at.scatter_add(-1, self.support.expand_as(shift), shift)[..., :-1]

    def settled(self, change: torch.Tensor, slope: torch.Tensor, fine: float) -> torch.Tensor:
        """Return the best points (N, D) on the lattice around changes (N, w).

        The nearest one is tried, and those on either side that the margin favours, by its
        ``slope`` (N, w); without any valid one it is the nearest.
        """
        tried = self._rounded(change, slope)
        if tried.shape[1] == 1:
            return self.points(tried[:, 0])
        return self._best(tried, torch.ones_like(tried[..., 0], dtype=torch.bool), fine)[0]

    def stepped(self, shares: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the best points (N, D) with one or two numbers moved, and which are better.

        A number moves by shares of its change, and by a step of its lattice, either way. Of two
        numbers, one saves cost and the other one gains the margin that this takes.
        """
        start, step = self.start, self.domain.step
        moves = [sign * share * start for share in shares for sign in (1, -1)] + [step, -step]
        value = self.domain.snap(start + torch.stack([move.expand_as(start) for move in moves]))
        own = torch.eye(start.shape[1], dtype=torch.bool, device=start.device)
        tried = torch.where(own[:, None], value[:, None], start[None, None])
        there = ((value - start).abs() > TOLERANCE)[:, None] & own[:, None]
        now = start[:, None], torch.ones_like(self.rest, dtype=torch.bool)[:, None]
        tried = torch.cat([now[0], tried.flatten(0, 1).transpose(0, 1)], 1)
        there = torch.cat([now[1], there.any(-1).flatten(0, 1).T], 1)
        margin, cost = self._judged(tried, there)
        both, some = self._paired(tried, margin, cost)
        reached, price = self._judged(both, some)
        tried, margin = torch.cat([tried, both], 1), torch.cat([margin, reached], 1)
        cost = torch.cat([cost, price], 1)
        cost = torch.where(margin >= self.problem.floor, cost, torch.inf)
        best = (cost * EQUAL).round().argmin(1)
        return self.points(picked(tried, best[:, None])[:, 0]), best > 0

    def _paired(
        self, tried: torch.Tensor, margin: torch.Tensor, cost: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Changes (N, P, w) by two of the moves ``tried`` (N, K, w), and which exist.

        What two moves save and gain is predicted as the sum of what each does.
        """
        saved, gained = cost - cost[:, :1], margin - margin[:, :1]
        rate = torch.where(gained > 0, saved / gained.clamp_min(1e-12), torch.inf)
        first, second = _first(saved, CHOICES), _first(rate, CHOICES)
        moved = tried - self.start[:, None]
        coordinate = moved.abs().argmax(-1)
        i, j = first[:, :, None], second[:, None]
        shape = len(tried), first.shape[1], second.shape[1]
        index = [side.expand(shape).flatten(1) for side in (i, j)]
        total = sum(saved.gather(1, side) for side in index)
        reached = margin[:, :1] + sum(gained.gather(1, side) for side in index)
        apart = coordinate.gather(1, index[0]) != coordinate.gather(1, index[1])
        fits = apart & (reached >= self.problem.floor)
        order = _first(torch.where(fits, total, torch.inf), PAIRS)
        index = [side.gather(1, order) for side in index]
        both = self.start[:, None] + picked(moved, index[0]) + picked(moved, index[1])
        return both, (fits & (total < -WORTHLESS)).gather(1, order)

    def _judged(
        self, tried: torch.Tensor, where: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Margins and objectives (N, K) of changes (N, K, w); infinite outside ``where``."""
        there, place = first_flagged(where, max(int(where.sum(1).max()), 1))
        some = picked(tried, place)
        margin = self.problem.margin(self.points(some.transpose(0, 1)).transpose(0, 1), there)
        density = self.near.log_density(some - self.start[:, None])
        cost = self._cost(some.transpose(0, 1), density.T, torch.inf).T
        far = torch.full_like(where, torch.inf, dtype=tried.dtype)
        cost = far.scatter(1, place, torch.where(there, cost, torch.inf))
        return (-far).scatter(1, place, margin), cost

    def _best(
        self, tried: torch.Tensor, where: torch.Tensor, fine: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the best (N, D) of changes (N, K, w) among ``where`` (N, K), and its place (N,).

        It is the first one where none is valid.
        """
        points = self.points(tried.transpose(0, 1)).transpose(0, 1)
        where = self.problem.valid(points, where)
        there, place = first_flagged(where, int(where.sum(1).max()))
        some = picked(tried, place)
        density = self.near.log_density(some - self.start[:, None])
        cost = self._cost(some.transpose(0, 1), density.T, fine).T
        cost = torch.full_like(tried[..., 0], torch.inf).scatter(
            1, place, torch.where(there, cost, torch.inf)
        )
        # Equal costs differ by rounding, which depends on the batch: the first one counts.
        best = (cost * EQUAL).round().argmin(1)
        return picked(points, best[:, None])[:, 0], best

    def _rounded(self, change: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Changes (N, K, w) on the lattice around ``change`` (N, w): the nearest, and higher ones.

        Numbers are moved on by a step until the margin that rounding cost is regained, those
        first whose cost rises least for what the margin gains.
        """
        step = self.domain.step * (self.start.abs() > TOLERANCE)
        if not bool((step > 0).any()):
            return change[:, None]
        nearest = self.domain.snap(change)
        moved = self.domain.snap(nearest + step * torch.sign(slope))
        gain = slope * (moved - nearest)
        rise = self.scale * ((moved - change).square() - (nearest - change).square())
        rate = torch.where(gain > 0, rise / gain.clamp_min(1e-12), torch.inf)
        order = rate.argsort(dim=1, stable=True)
        before = gain.gather(1, order).cumsum(1) - gain.gather(1, order)
        lost = (slope * (change - nearest)).sum(1, keepdim=True)
        found = [nearest]
        for share in REGAINED:
            turned = torch.zeros_like(moved, dtype=torch.bool)
            turned = turned.scatter(1, order, before < share * lost - CLEAR) & (gain > 0)
            found.append(torch.where(turned, moved, nearest))
        uphill = change + (0.5 - 1e-6) * step * torch.sign(slope)
        found.append(self.domain.snap(uphill))
        return torch.stack(found).transpose(0, 1)

    def _cost(self, change: torch.Tensor, density: torch.Tensor, fine: float) -> torch.Tensor:
        """Objective (..., N) at changes (..., N, w) of known log-density (..., N)."""
        own = self.scale * change.square() + self.price * _powers(change, self.problem.exponent)
        missing = (self.limit - LOCAL_ERROR - density).clamp_min(0)
        cost = own.sum(-1) + self.rest - self.weight * density
        if fine == torch.inf:
            return torch.where(missing > 0, torch.inf, cost)
        return cost + fine * self.unit * missing


def _first(values: torch.Tensor, count: int) -> torch.Tensor:
    """Positions (N, K) of the least values of each row; of those equal but for rounding, first."""
    return (values * EQUAL).round().argsort(dim=1, stable=True)[:, :count]


def _powers(change: torch.Tensor, power: float) -> torch.Tensor:
    """Penalties of changes, before their weights."""
    if power == 0:
        return (change.abs() > TOLERANCE).to(change.dtype)
    return change.abs().pow(power)
