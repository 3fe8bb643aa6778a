"""Narrow down the values of changed numbers, for models without a gradient.

Along one number the best value is mostly just beyond a step of the model. Several values between
factual and start are tried at once, then several between the best one and its neighbours: the
interval shrinks by a factor per round, and a round is one call of the model for all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from scfe_sklearn._utils import RowBatch, first_flagged
from scfe_sklearn.solvers.problem import TOLERANCE, Pool, Problem, Subspace

LATE = 3
"""First round with more values."""

SAME = 1e-12
"""Difference below which two places of an interval are equal."""


@dataclass(frozen=True)
class NarrowSettings:
    """Settings of `narrow`.

    Parameters
    ----------
    first : int
        Values of each changed number tried in the first round, between the factual and the
        start; half as many more are tried beyond the start.
    values : int
        Values tried in every later round.
    late : int
        Values tried in late rounds, when few intervals are left.
    rounds : int
        Rounds at most.
    reach : float
        Largest step beyond the start, as a share of the change.
    finest : float
        Final precision of a continuous number, as a share of the change.
    flat : float
        Final precision between two answers, as a share of the change.
    """

    first: int = 8
    values: int = 6
    late: int = 16
    rounds: int = 12
    reach: float = 0.5
    finest: float = 1e-6
    flat: float = 0.02


def narrow(problem: Problem, pool: Pool, settings: NarrowSettings, starts: int) -> Pool:
    """Improve the first points of the pool along the numbers that they change.

    Changes of any kind that do not pay are undone first. A number on a lattice ends where the
    next lattice point on the way back is no better; a continuous one within ``finest`` of such
    a place, on the valid side.

    Parameters
    ----------
    problem : Problem
        n rows.
    pool : Pool
        Valid points.
    settings : NarrowSettings
        Widths and lengths of the search.
    starts : int
        Points per row that are improved.

    Returns
    -------
    Pool
        The pool with the improved points.
    """
    domain, z = problem.domain, pool.z[:, :starts]
    number = ((z - domain.factual[:, None]).abs() > TOLERANCE) & domain.scalar
    # A single change of level can neither be shortened nor undone.
    several = number.any(-1) | (domain.changed(z).sum(-1) > 1)
    rows, entry = ((pool.cost[:, :starts] < torch.inf) & several).nonzero().T
    if len(rows) == 0:
        return pool
    part, start, cost = problem.take(rows), z[rows, entry], pool.cost[rows, entry]
    # First, while there is margin left: a useless change restricts the others.
    found = undo(part, start)
    less = ((found - start).abs() > TOLERANCE).any(1).nonzero()[:, 0]
    if len(less):
        there, lean = part.take(less), found[less][:, None]
        price = there.sparse_distance(lean) - there.plausibility(lean)
        cost = cost.index_copy(0, less, price[:, 0])
    found = _along_numbers(part, found, cost, rows, pool.best, settings)
    moved = ((found - start).abs() > TOLERANCE).any(1).nonzero()[:, 0]
    if len(moved) == 0:
        return pool
    rows, entry, found = rows[moved], entry[moved], found[moved][:, None]
    part = problem.take(rows)
    points = domain.factual[:, None].repeat(1, z.shape[1], 1)
    costs = torch.full_like(pool.cost[:, : z.shape[1]], torch.inf)
    points[rows, entry] = found[:, 0]
    plausibility, bound = part.plausibility(found)[:, 0], part.objective.plausibility_floor()
    cost = part.sparse_distance(found)[:, 0] - plausibility
    if bound is not None:  # the local density differs by rounding
        cost = torch.where(plausibility >= bound, cost, torch.inf)
    costs[rows, entry] = cost
    return pool.merged(problem, points, costs)


def _along_numbers(
    problem: Problem,
    z: torch.Tensor,
    cost: torch.Tensor,
    rows: torch.Tensor,
    rivals: torch.Tensor,
    settings: NarrowSettings,
) -> torch.Tensor:
    """Improve points ``z`` (k, D) along the numbers that they change.

    Several points may belong to one of the ``rows`` (k,), whose best known cost is in
    ``rivals`` (n,): those which are unlikely to become the best of their row are given up.
    """
    domain = problem.domain
    free = ((z - domain.factual).abs() > TOLERANCE) & domain.scalar
    moving = free.any(1).nonzero()[:, 0]
    if len(moving) == 0:
        return z
    space = Subspace.around(problem.take(moving), z[moving], free[moving])
    ways, judge = _Ways.of(space, settings), _LineObjective.of(space)
    x, cost, rows = space.start.clone(), cost[moving].clone(), rows[moving]
    for turn in range(settings.rounds):
        # Possible gain in distance, at the present plausibility.
        length = (x - space.factual).abs()
        # Between two answers the objective is flat: full precision is used at its border only.
        inner = torch.where(ways.blocked | (ways.inner > settings.flat * length), ways.inner, 0.0)
        gain = (space.weight * (length**2 - (length - inner).clamp_min(0) ** 2)).sum(1)
        active = (cost - gain < rivals[rows] + TOLERANCE) & (inner > ways.finest).any(1)
        active = active.nonzero()[:, 0]
        if len(active) == 0:
            break
        here, part = x[active], ways.take(active)
        tried, fresh = part.values(here, turn, settings)
        value, valid = judge(active, here, tried, fresh, cost[active])
        least, place = value.flatten(1).min(1)
        better = least < cost[active] - 1e-9
        goes = torch.zeros_like(fresh[..., 0])
        goes = goes.scatter(1, place[:, None] // tried.shape[2], better[:, None])
        goal = torch.where(goes, tried.flatten(1).gather(1, place[:, None]), here)
        part = part.narrowed(here, goal, tried, fresh, valid)
        # Numbers that stay while another one moves keep their gaps, for the next round.
        ways.update(active, part, goes | ~better[:, None])
        x[active] = goal
        cost[active] = torch.where(better, least, cost[active])
        rivals = rivals.scatter_reduce(0, rows[active], cost[active], "amin")
    return z.index_copy(0, moving, space.problem.domain.snap(space.embed(x)))


@dataclass(frozen=True, eq=False)
class _Ways(RowBatch):
    """Intervals of k instances along w numbers each, all of shape (k, w).

    Parameters
    ----------
    way : Tensor
        Direction of the change: 1 or -1; 0 for padding.
    step, offset, lower, upper : Tensor
        Lattice and interval.
    inner, outer : Tensor
        Distances to the nearest values that are known, or taken, to be no better: back towards
        the factual and away from it.
    blocked : Tensor of bool
        Whether the inner one is no answer at all.
    finest : Tensor
        Where an inner gap is narrow enough.
    """

    way: torch.Tensor
    step: torch.Tensor
    offset: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    inner: torch.Tensor
    outer: torch.Tensor
    blocked: torch.Tensor
    finest: torch.Tensor

    @classmethod
    def of(cls, space: Subspace, settings: NarrowSettings) -> _Ways:
        x = space.start
        way = torch.sign(x - space.factual)
        inner = (x - space.factual).abs()
        room = torch.where(way > 0, space.upper - x, x - space.lower).clamp_min(0)
        offset = torch.cat([space.problem.domain.offset, x.new_zeros(1)])[space.support]
        return cls(
            way,
            space.step,
            offset,
            space.lower,
            space.upper,
            inner,
            torch.minimum(settings.reach * inner, room),
            torch.ones_like(way, dtype=torch.bool),
            torch.maximum(1.5 * space.step, settings.finest * inner),
        )

    def values(
        self, x: torch.Tensor, turn: int, settings: NarrowSettings
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Values (a, w, K) to try around ``x`` (a, w), and whether they are new."""
        if turn == 0:
            back, on = settings.first, settings.first // 2
            share = _shares(back, on, x)
        else:
            values = settings.values if turn < LATE else settings.late
            half = values // 2
            # Next to an invalid value the best one is between both, else on either side.
            share = torch.where(
                self.blocked[..., None],
                _shares(values - 1, 1, x),
                _shares(half, values - half, x),
            )
        reach = torch.where(share < 0, self.inner[..., None], self.outer[..., None])
        tried = x[..., None] + self.way[..., None] * share * reach
        step, offset = self.step[..., None], self.offset[..., None]
        safe = torch.where(step > 0, step, torch.ones_like(step))
        tried = torch.where(step > 0, offset + torch.round((tried - offset) / safe) * safe, tried)
        gap = self.along(x, tried)
        # By distance: rounding to the lattice may make values equal.
        fresh = (gap.abs() > SAME) & (self.way[..., None] != 0)
        fresh &= (gap > SAME - self.inner[..., None]) & (gap <= self.outer[..., None] + SAME)
        fresh[..., 1:] &= (gap[..., 1:] - gap[..., :-1]).abs() > SAME
        return tried, fresh

    def along(self, x: torch.Tensor, tried: torch.Tensor) -> torch.Tensor:
        """Return the offsets (a, w, K) of values from ``x``, away from the factual."""
        return self.way[..., None] * (tried - x[..., None])

    def narrowed(
        self,
        x: torch.Tensor,
        goal: torch.Tensor,
        tried: torch.Tensor,
        fresh: torch.Tensor,
        valid: torch.Tensor,
    ) -> _Ways:
        """Return the intervals around ``goal`` (a, w), after values around ``x`` were tried."""
        zero = torch.zeros_like(x)[..., None]
        place = torch.cat(
            [self.along(x, tried), zero, -self.inner[..., None], self.outer[..., None]], -1
        )
        known = torch.ones_like(zero, dtype=torch.bool)
        counts = torch.cat([fresh, known, known, known], -1)
        answer = torch.cat([valid, known, ~self.blocked[..., None], known], -1)
        gap = place - self.along(x, goal[..., None])
        below = torch.where(counts & (gap < -SAME), gap, -torch.inf)
        above = torch.where(counts & (gap > SAME), gap, torch.inf)
        inner, nearest = below.max(-1, keepdim=True)
        outer = above.amin(-1)
        return replace(
            self,
            inner=torch.where(inner[..., 0] > -torch.inf, -inner[..., 0], zero[..., 0]),
            outer=torch.where(outer < torch.inf, outer, zero[..., 0]),
            blocked=~answer.gather(-1, nearest)[..., 0],
        )

    def update(self, rows: torch.Tensor, part: _Ways, where: torch.Tensor) -> None:
        """Set the gaps of some of the instances, ``where`` (a, w) is true."""
        for name in ("inner", "outer", "blocked"):
            own, new = getattr(self, name), getattr(part, name)
            own[rows] = torch.where(where, new, own[rows])


def _shares(back: int, on: int, like: torch.Tensor) -> torch.Tensor:
    """Shares of the gaps: ``back`` negative ones of the inner, then ``on`` of the outer gap."""
    inner = -torch.arange(1, back + 1, dtype=like.dtype, device=like.device) / (back + 1)
    outer = torch.arange(1, on + 1, dtype=like.dtype, device=like.device) / (on + 1)
    return torch.cat([inner, outer])


@dataclass(frozen=True, eq=False)
class _LineObjective:
    """Objective along the numbers, apart from constant terms.

    Parameters
    ----------
    space : Subspace
        The k instances.
    best : Tensor of shape (k,)
        Plausibility that few points exceed.
    fixed : Tensor of shape (k,)
        Distance of the other coordinates, and price of their changes.
    """

    space: Subspace
    best: torch.Tensor
    fixed: torch.Tensor

    @classmethod
    def of(cls, space: Subspace) -> _LineObjective:
        problem, rows = space.problem, torch.arange(len(space.start), device=space.start.device)
        changed = problem.change_price(space.centre[:, None])[:, 0]
        own = (space.start - space.factual).abs() > TOLERANCE
        fixed = space.rest + changed - problem.beta * (space.weight * own).sum(-1)
        return cls(space, problem.objective.best_plausibility(rows), fixed)

    def __call__(
        self,
        rows: torch.Tensor,
        x: torch.Tensor,
        tried: torch.Tensor,
        fresh: torch.Tensor,
        cost: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Objective (a, w, K) of ``x`` (a, w) with one value replaced, and validity.

        The objective is infinite for values that are invalid or cannot pay.
        """
        a, w, k = tried.shape
        space = self.space
        own = torch.eye(w, dtype=torch.bool, device=x.device)[None, :, None]
        points = torch.where(own, tried[..., None], x[:, None, None]).reshape(a, w * k, w)
        inside = (tried >= space.lower[rows, :, None]) & (tried <= space.upper[rows, :, None])
        offset, weight = points - space.factual[rows][:, None], space.weight[rows][:, None]
        numbers = (weight * (offset.abs() > TOLERANCE)).sum(-1)
        price = (weight * offset**2).sum(-1) + self.fixed[rows, None]
        price += space.problem.beta[rows, None] * numbers
        selected = (fresh & inside).reshape(a, -1) & (price - self.best[rows, None] < cost[:, None])
        # Only these points are built.
        instance, place = selected.nonzero().T
        objective, owner = space.problem.objective, rows[instance]
        found = points[instance, place]
        good = objective.valid_before_floor(space.embed(found, owner), owner, space.problem.floor)
        instance, place, owner, found = (part[good] for part in (instance, place, owner, found))
        plausibility = space.local.value((found - space.start[owner])[:, None], owner)[:, 0]
        bound = objective.plausibility_floor()
        if bound is not None:
            within = plausibility >= bound[owner]
            instance, place, plausibility = (p[within] for p in (instance, place, plausibility))
        valid = torch.zeros_like(selected)
        valid[instance, place] = True
        value = torch.full_like(price, torch.inf)
        value[instance, place] = price[instance, place] - plausibility
        return value.reshape(a, w, k), valid.reshape(a, w, k)


def undo(problem: Problem, z: torch.Tensor, rounds: int = 3) -> torch.Tensor:
    """Undo changes of ``z`` (n, D), one per round, while that lowers the objective."""
    domain = problem.domain
    z = z.clone()
    active = (domain.changed(z).sum(1) > 1).nonzero()[:, 0]
    for _ in range(rounds):
        if len(active) == 0:
            break
        part, here = problem.take(active), z[active]
        changed = part.domain.changed(here)
        count = int(changed.sum(1).max())
        there, features = first_flagged(changed, count)
        owns = domain.groups == features[..., None]
        trial = torch.where(owns, part.domain.factual[:, None], here[:, None])
        trial = torch.cat([here[:, None], trial], 1)
        asked = torch.cat([torch.ones_like(there[:, :1]), there], 1)
        valid, plausibility = part.evaluate(trial, asked)
        cost = part.sparse_distance(trial) - plausibility
        cost = torch.where(valid, cost, torch.full_like(cost, torch.inf))
        position = cost.argmin(1)
        z[active] = trial.gather(1, position[:, None, None].expand(-1, 1, z.shape[1]))[:, 0]
        active = active[(position > 0) & (count > 2)]
    return z
