"""Pattern search on the changed features: lattices, levels, models without a gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.problem import TOLERANCE, Pool, Problem, Subspace, first_flagged
from scfe_sklearn.solvers.refinement.refining import merge_instances

TURNS = 3
"""Number of searches, each after changes have been undone."""


@dataclass(frozen=True)
class Pattern:
    """Settings of the pattern search.

    Parameters
    ----------
    rounds : int
        Rounds at most; in each, every neighbour of every point is tried.
    reach : float
        First length of a step, as a share of the change.
    finest : float
        Least length of a step, in solver units.
    """

    rounds: int = 12
    reach: float = 0.5
    finest: float = 1e-3


def polish(
    problem: Problem, pool: Pool, settings: Pattern, starts: int, smooth: bool = False
) -> Pool:
    """Improve the first points of the pool by small steps.

    A neighbour moves one changed number towards or away from the factual by a step, which is
    quartered when no neighbour is better, or all the way back. Every neighbour is on the
    lattice. Then changes of any kind that do not pay are undone, and what is left of such a
    point is searched again.

    Parameters
    ----------
    problem : Problem
        n rows.
    pool : Pool
        Valid starting points.
    settings : Pattern
        Lengths of the search.
    starts : int
        Points per row that are polished.
    smooth : bool
        Whether a descent has settled continuous coordinates already, so that points which
        change nothing else are left alone.

    Returns
    -------
    Pool
        The pool with the polished points.
    """
    instance = (pool.cost[:, :starts] < torch.inf).nonzero()
    if len(instance) == 0:
        return pool
    rows, entry = instance[:, 0], instance[:, 1]
    part, z = problem.take(rows), pool.z[rows, entry]
    movable = part.domain.scalar & (part.domain.step > 0) if smooth else part.domain.scalar
    left = torch.arange(len(z), device=z.device)
    for _ in range(TURNS):
        here, before = part.take(left), z[left]
        searched = _search_moved(here, before, movable, settings)
        after = undo(here, searched)
        z = z.index_copy(0, left, after)
        # Undone changes leave margin for the rest.
        settled = before if smooth else searched
        smooth = False
        left = left[((settled != after) & (after == here.domain.factual)).any(1)]
        movable = part.domain.scalar
        if len(left) == 0:
            break
    return merge_instances(problem, pool, rows, entry, z)


def _search_moved(
    problem: Problem, z: torch.Tensor, movable: torch.Tensor, settings: Pattern
) -> torch.Tensor:
    """Pattern search along the ``movable`` (D,) coordinates that ``z`` (n, D) changes."""
    free = ((z - problem.domain.factual).abs() > TOLERANCE) & movable
    moving = free.any(1).nonzero()[:, 0]
    if len(moving) == 0:
        return z
    found = _search(problem.take(moving), z[moving], free[moving], settings)
    return z.index_copy(0, moving, found)


def _search(
    problem: Problem, z: torch.Tensor, free: torch.Tensor, settings: Pattern
) -> torch.Tensor:
    """Pattern search along the free coordinates of ``z`` (n, D)."""
    space = Subspace.around(problem, z, free)
    everything = torch.arange(len(z), device=z.device)
    x = space.start.clone()
    cost = _cost(space, x[:, None], everything, torch.ones_like(x[:, :1], dtype=torch.bool))[:, 0]
    step = settings.reach * (x - space.factual).abs()
    finest = torch.maximum(space.step, torch.full_like(step, settings.finest))
    active = everything
    for _ in range(settings.rounds):
        trial = _neighbours(space, x[active], step[active], active)
        best, value = _best(space, trial, cost[active], active)
        better = value < cost[active] - 1e-9
        improved, stuck = active[better], active[~better]
        x[improved], cost[improved] = best[better], value[better]
        # A step below the lattice equals one lattice step.
        worth = ((x != space.factual) & (step > finest)).any(1)
        step[stuck] /= 4
        active = active[better | worth[active]]
        if len(active) == 0:
            break
    return problem.domain.snap(space.embed(x))


def _neighbours(
    space: Subspace, x: torch.Tensor, step: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """Return the neighbours (k, 3 w, w) of ``x`` (k, w) on the lattice, some equal to it."""
    width = x.shape[1]
    factual, lattice = space.factual[rows], space.step[rows]
    stepped = lattice > 0
    safe = torch.where(stepped, lattice, torch.ones_like(lattice))
    # Whole lattice steps stay on the lattice.
    reach = torch.where(stepped, (step / safe).round().clamp_min(1) * safe, step)
    way = torch.sign(x - factual)
    back = torch.where((x - factual).abs() <= reach, factual, x - way * reach)
    lower, upper = space.lower[rows], space.upper[rows]
    inside = (back >= lower) & (back <= upper)
    back = torch.where(inside, back, factual)
    out = torch.minimum(torch.maximum(x + way * reach, lower), upper)
    own = torch.eye(width, dtype=torch.bool, device=x.device)
    values = torch.stack([back, out, factual], 1)
    return torch.where(own[None, None], values[:, :, None], x[:, None, None]).flatten(1, 2)


def _best(
    space: Subspace, x: torch.Tensor, cost: torch.Tensor, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best valid neighbour of each row and its cost (infinite if none is better)."""
    best = space.problem.objective.best_plausibility(rows)
    bound = _price(space, x, rows) - best[:, None]
    value = _cost(space, x, rows, bound < cost[:, None])
    least, position = value.min(1)
    return x.gather(1, position[:, None, None].expand(-1, 1, x.shape[2]))[:, 0], least


def _price(space: Subspace, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Squared distance and price of the changes (k, K) of ``x`` (k, K, w)."""
    offset = x - space.factual[rows][:, None]
    weight = space.weight[rows][:, None]
    count = (weight * (offset.abs() > TOLERANCE)).sum(-1)
    distance = (weight * offset**2).sum(-1) + space.rest[rows][:, None]
    return distance + space.problem.beta[rows][:, None] * count


def _cost(
    space: Subspace, x: torch.Tensor, rows: torch.Tensor, where: torch.Tensor
) -> torch.Tensor:
    """Objective (k, K) of ``x`` (k, K, w): infinite if invalid or not selected."""
    margin = space.problem.objective.take(rows).margin(space.embed(x, rows), where)
    price = _price(space, x, rows)
    plausibility = space.local.value(x - space.start[rows][:, None], rows)
    valid = where & (margin >= space.problem.floor)
    return torch.where(valid, price - plausibility, torch.full_like(price, torch.inf))


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
        selected = torch.cat([torch.ones_like(there[:, :1]), there], 1)
        valid, plausibility = part.evaluate(trial, selected)
        cost = part.sparse_distance(trial) - plausibility
        cost = torch.where(valid, cost, torch.full_like(cost, torch.inf))
        position = cost.argmin(1)
        z[active] = trial.gather(1, position[:, None, None].expand(-1, 1, z.shape[1]))[:, 0]
        active = active[(position > 0) & (count > 2)]
    return z
