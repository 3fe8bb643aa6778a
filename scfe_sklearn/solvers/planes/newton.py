"""Newton steps in planes: two numbers change, and the model of the cost is solved exactly.

Every step minimises a quadratic model of the cost plus the weighted violation of the linearised
margin over a small box. In two dimensions that needs no iteration: the minimiser lies at the
unconstrained minimum, at the best point of a line, or where two lines meet, and all of these are
tried. At a kink of the margin, where one linear piece meets another, the piece on the other side
of the last step is kept as a second line; so the corner itself is found, not approached.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.problem import Pool, Predicted, Problem, Subspace
from scfe_sklearn.solvers.refinement import merge_instances

AIM = 1e-7
"""Margin above the floor that is aimed at, so that points on the border count as valid."""

SKEWED = 0.05
"""A difference of gradients that is nearly orthogonal to the step tells nothing of curvature."""

CROSSINGS = torch.tensor(
    [[i, j] for i in range(6) for j in range(i + 1, 6) if (i, j) not in ((2, 3), (4, 5))]
)
"""Pairs of lines that may meet: two cuts and the four sides of the box."""


@dataclass(frozen=True)
class Rounds:
    """Successive halving: many starts for a few steps, few starts for many.

    Parameters
    ----------
    steps : tuple of int
        Steps in each round.
    kept : tuple of int
        Starts per row that are left after each round but the last.
    """

    steps: tuple[int, ...] = (2, 2, 3)
    kept: tuple[int, ...] = (3, 2)


@dataclass(frozen=True, eq=False)
class _Here:
    """What is known of k points: values x (k, 2), cost, its gradient, margin and its slope."""

    x: torch.Tensor
    cost: torch.Tensor
    pull: torch.Tensor
    margin: torch.Tensor
    slope: torch.Tensor

    def merit(self, gamma: torch.Tensor) -> torch.Tensor:
        return self.cost + gamma * (-self.margin).clamp_min(0)

    def take(self, keep: torch.Tensor) -> _Here:
        """Return some of the points."""
        return _Here(
            self.x[keep],
            self.cost[keep],
            self.pull[keep],
            self.margin[keep],
            self.slope[keep],
        )

    def chosen(self, first: torch.Tensor, other: _Here) -> _Here:
        """Return these points where ``first``, and the other ones elsewhere."""
        column = first[:, None]
        return _Here(
            torch.where(column, self.x, other.x),
            torch.where(first, self.cost, other.cost),
            torch.where(column, self.pull, other.pull),
            torch.where(first, self.margin, other.margin),
            torch.where(column, self.slope, other.slope),
        )


@dataclass(frozen=True, eq=False)
class _Walk:
    """k walks: where they are, the last point beside, curvature (k, 2, 2), trust and weight."""

    index: torch.Tensor
    here: _Here
    beside: _Here
    bend: torch.Tensor
    trust: torch.Tensor
    gamma: torch.Tensor
    best: torch.Tensor
    least: torch.Tensor

    def take(self, keep: torch.Tensor) -> _Walk:
        """Return some of the walks."""
        return _Walk(
            self.index[keep],
            self.here.take(keep),
            self.beside.take(keep),
            self.bend[keep],
            self.trust[keep],
            self.gamma[keep],
            self.best[keep],
            self.least[keep],
        )


def descend_planes(problem: Problem, starts: Predicted, settings: Rounds, size: int) -> Pool:
    """Walk from predicted points to the local minima of their planes.

    Parameters
    ----------
    problem : Problem
        n rows of numbers; the objective must have gradients.
    starts : Predicted
        Where to start.
    settings : Rounds
        How many starts, and how far.
    size : int
        Size of the pool that is returned.

    Returns
    -------
    Pool
        Valid points.
    """
    pool = Pool.empty(problem, max(size, settings.kept[-1]))
    there = starts.value < torch.inf
    free = starts.width > 0
    rows, entry = there.nonzero().T
    if not bool((free.sum(-1) == 2)[there].any()):
        return pool
    z = starts.z[rows, entry]
    space = Subspace.around(problem.take(rows), z, free[rows, entry])
    bend, trust = (
        torch.cat([part, torch.zeros_like(part[:, :1])], 1).gather(1, space.support)
        for part in (starts.bend[rows, entry], starts.width[rows, entry])
    )
    walk = _begin(space, bend, trust)
    charge = problem.take(rows).change_price(z[:, None])[:, 0]
    for turn, steps in enumerate(settings.steps):
        if turn:
            walk = walk.take(_leaders(walk, rows, charge, len(problem), settings.kept[turn - 1]))
        for _ in range(steps):
            walk = _stepped(space, walk)
    found = (walk.least < torch.inf).nonzero()[:, 0]
    index = walk.index[found]
    owner = rows[index]
    z = problem.domain.take(owner).snap(space.embed(walk.best[found], index))
    # The pool counts its entries: those of a row one after the other.
    place = torch.arange(len(owner)) - torch.searchsorted(owner, owner)
    return merge_instances(problem, pool, owner, place, z)


def _look(space: Subspace, x: torch.Tensor, index: torch.Tensor) -> _Here:
    """Evaluate the values ``x`` (k, 2) of the instances ``index`` (k,)."""
    margin, slope = space.margin_and_grad(x, index)
    plausibility, lift = space.plausibility_and_grad(x, index)
    offset, weight = x - space.factual[index], space.weight[index]
    cost = (weight * offset**2).sum(1) - plausibility
    return _Here(x, cost, 2 * weight * offset - lift, margin - space.problem.floor - AIM, slope)


def _begin(space: Subspace, curve: torch.Tensor, trust: torch.Tensor) -> _Walk:
    index = torch.arange(len(space.start), device=space.start.device)
    here = _look(space, space.start, index)
    bend = torch.diag_embed(torch.maximum(curve, 2 * space.weight))
    strength = here.slope.norm(dim=1).clamp_min(1e-6)
    gamma = 2 * (here.pull.norm(dim=1) + 1) / strength
    least = torch.where(here.margin >= -AIM / 2, here.cost, torch.inf)
    return _Walk(index, here, here, bend, trust.clamp_min(1e-3), gamma, here.x, least)


def _leaders(
    walk: _Walk, rows: torch.Tensor, charge: torch.Tensor, n: int, count: int
) -> torch.Tensor:
    """Return the positions of the ``count`` most promising walks of each row, in order of rows."""
    owner = rows[walk.index]
    value = torch.minimum(walk.here.merit(walk.gamma), walk.least) + charge[walk.index]
    place = torch.arange(len(owner)) - torch.searchsorted(owner, owner)
    table = torch.full((n, int(place.max()) + 1), torch.inf, dtype=value.dtype)
    table[owner, place] = value
    rank = table.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return (rank[owner, place] < count).nonzero()[:, 0]


def _stepped(space: Subspace, walk: _Walk) -> _Walk:
    """One step of every walk; where it does not help, the next one is shorter."""
    here, index = walk.here, walk.index
    low = torch.maximum(space.lower[index] - here.x, -walk.trust)
    high = torch.minimum(space.upper[index] - here.x, walk.trust)
    # The other piece of a kink: only where it says more than what is known here.
    beyond = walk.beside
    level = beyond.margin + (beyond.slope * (here.x - beyond.x)).sum(1)
    consistent = level >= here.margin - 1e-9
    slope = torch.where(consistent[:, None], beyond.slope, here.slope)
    level = torch.where(consistent, level, here.margin)
    step, expected, gamma = _solved(here, walk.bend, low, high, level, slope, walk.gamma)
    trial = _look(space, here.x + step, index)
    before, after = here.merit(gamma), trial.merit(gamma)
    better = after < before
    ratio = (before - after) / expected.clamp_min(1e-12)
    longer = torch.where(ratio > 0.7, 1.5, torch.where(ratio > 0.2, 1.0, 0.5))
    length = step.abs().amax(1, keepdim=True)
    trust = torch.where(
        better[:, None],
        walk.trust * longer[:, None],
        torch.minimum(walk.trust, 0.35 * torch.maximum(length, 1e-3 * walk.trust)),
    )
    valid = (trial.margin >= -AIM / 2) & (trial.cost < walk.least)
    return _Walk(
        index,
        trial.chosen(better, here),
        here.chosen(better, trial),
        _curved(walk.bend, step, trial.pull - here.pull),
        trust,
        gamma,
        torch.where(valid[:, None], trial.x, walk.best),
        torch.where(valid, trial.cost, walk.least),
    )


def _curved(bend: torch.Tensor, step: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Curvature after a change of the gradient: the symmetric update of rank one."""
    rest = change - (bend @ step[..., None])[..., 0]
    along = (rest * step).sum(1)
    sure = along.abs() > SKEWED * rest.norm(dim=1) * step.norm(dim=1)
    sure &= step.abs().amax(1) > 1e-9
    update = rest[:, :, None] * rest[:, None] / torch.where(sure, along, 1.0)[:, None, None]
    return torch.where(sure[:, None, None], bend + update, bend)


def _solved(
    here: _Here,
    bend: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    level: torch.Tensor,
    slope: torch.Tensor,
    gamma: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Minimise the model of merit over a box.

    Returns the step (k, 2), by how much the model falls (k,), and the weights (k,) of the
    violation, which are raised to what the step needs.
    """
    model = _Model.of(here.pull, bend)
    (s, t), (u, v), one = here.slope.T[..., None], slope.T[..., None], torch.ones_like(low)
    zero = torch.zeros_like(one)
    # Lines p x + q y = r: two cuts, then the sides of the box.
    p, q = torch.cat([s, u, one, zero], 1), torch.cat([t, v, zero, one], 1)
    ends = torch.stack([low, high], 2).flatten(1)
    r = torch.cat([-here.margin[:, None], -level[:, None], ends], 1)
    points = [
        torch.cat(parts, 1)
        for parts in zip(model.bottom(), model.along(p, q, r), _crossed(p, q, r), strict=True)
    ]
    x, y = (
        torch.minimum(
            torch.maximum(part.nan_to_num_(0.0, 0.0, 0.0), low[:, [axis]]), high[:, [axis]]
        )
        for axis, part in enumerate(points)
    )
    value = model.value(x, y)
    short = torch.minimum(here.margin[:, None] + s * x + t * y, level[:, None] + u * x + v * y)
    short = short.neg_().clamp_min_(0)
    place = (value + gamma[:, None] * short).argmin(1, keepdim=True)
    x, y, value, short = (part.gather(1, place) for part in (x, y, value, short))
    along, across = model.slope(x, y)
    multiplier = (along * s + across * t) / (s * s + t * t).clamp_min(1e-12)
    short, value = short[:, 0], value[:, 0]
    gamma = torch.where(short > AIM, 4 * gamma, torch.maximum(gamma, 2 * multiplier[:, 0]))
    now = gamma * (-torch.minimum(here.margin, level)).clamp_min(0)
    return torch.cat([x, y], 1), now - value - gamma * short, gamma


@dataclass(frozen=True, eq=False)
class _Model:
    """Quadratic f x + g y + (a x^2 + 2 b x y + c y^2) / 2 of each walk: columns (k, 1)."""

    f: torch.Tensor
    g: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    c: torch.Tensor

    @classmethod
    def of(cls, pull: torch.Tensor, bend: torch.Tensor) -> _Model:
        return cls(*pull.T[..., None], *(bend[:, i, j, None] for i, j in ((0, 0), (0, 1), (1, 1))))

    def slope(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient at points (k, C)."""
        return self.f + self.a * x + self.b * y, self.g + self.b * x + self.c * y

    def value(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Value at points (k, C)."""
        p, q = self.slope(x, y)
        return ((p + self.f) * x + (q + self.g) * y) / 2

    def bottom(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Stationary point."""
        det = self.a * self.c - self.b * self.b
        x, y = self.b * self.g - self.c * self.f, self.b * self.f - self.a * self.g
        return x / det, y / det

    def along(
        self, p: torch.Tensor, q: torch.Tensor, r: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stationary points on the lines ``p x + q y = r``."""
        share = r / (p * p + q * q)
        x, y = p * share, q * share
        stiff = self.a * q * q - 2 * self.b * p * q + self.c * p * p
        slant, across = self.slope(x, y)
        slant = across * p - slant * q
        way = torch.where(stiff > 0, slant / stiff, 0.0)
        return x + way * q, y - way * p


def _crossed(
    p: torch.Tensor, q: torch.Tensor, r: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (k, C) where two of the lines ``p x + q y = r`` (k, L) meet."""
    i, j = CROSSINGS.T
    (p, pp), (q, qq), (r, rr) = ((part[:, i], part[:, j]) for part in (p, q, r))
    det = p * qq - q * pp
    return (r * qq - rr * q) / det, (rr * p - r * pp) / det
