"""Descent inside the supports of the points of a pool."""

from __future__ import annotations

import torch

from scfe_sklearn.solvers.gradients import ProximalMap
from scfe_sklearn.solvers.problem import Pool, Problem, Subspace
from scfe_sklearn.solvers.refinement.trade_off import Descent, descend, restore

COARSE_STEP = 0.1
"""Lattices coarser than this (in standard deviations) are searched, not relaxed."""


def refine(problem: Problem, pool: Pool, settings: Descent, starts: int) -> Pool:
    """Improve the points of the pool by proximal gradient within their supports.

    The continuous (or finely stepped) coordinates that a point changes are free in their
    interval, all others stay; so the budget holds by construction.

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    pool : Pool
        Valid starting points.
    settings : Descent
        Length of the run.
    starts : int
        Points per row that are refined.

    Returns
    -------
    Pool
        The pool with the refined points.
    """
    domain = problem.domain
    moved = (pool.z[:, :starts] - domain.factual[:, None]).abs() > 0
    free = moved & domain.scalar & (domain.step < COARSE_STEP)
    instance = ((pool.cost[:, :starts] < torch.inf) & free.any(-1)).nonzero()
    if len(instance) == 0:
        return pool
    rows, entry = instance[:, 0], instance[:, 1]
    space = Subspace.around(problem.take(rows), pool.z[rows, entry], free[rows, entry])
    run = descend(space, _box(space), settings)
    x = restore(space, run.z)
    snap = space.problem.domain.snap
    pool = merge_instances(problem, pool, rows, entry, snap(space.embed(x)))
    if not bool((space.step > 0).any()):
        return pool
    # An answer lies where the margin is just met: rounding there to the nearest lattice point
    # often misses it, rounding along the slope of the margin seldom does.
    _, slope = space.margin_and_grad(x, torch.arange(len(x), device=x.device))
    uphill = x + (0.5 - 1e-6) * space.step * torch.sign(slope)
    return merge_instances(problem, pool, rows, entry, snap(space.embed(uphill)))


def _box(space: Subspace) -> ProximalMap:
    """Return the proximal map of the intervals of a subspace."""

    def prox(
        v: torch.Tensor, step: torch.Tensor, index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        lower, upper = space.lower, space.upper
        if len(index) < len(lower):
            lower, upper = lower[index], upper[index]
        return v.clamp(lower, upper), torch.zeros_like(step)

    return prox


def merge_instances(
    problem: Problem, pool: Pool, rows: torch.Tensor, entry: torch.Tensor, z: torch.Tensor
) -> Pool:
    """Return the pool after one point ``z`` (k, D) for each (row, entry), evaluated again."""
    n, size = pool.cost.shape
    points = problem.domain.factual[:, None].repeat(1, size, 1)
    points[rows, entry] = z
    there = torch.zeros(n, size, dtype=torch.bool, device=z.device)
    there[rows, entry] = True
    there &= problem.domain.changed(points).sum(-1) <= problem.max_changes[:, None]
    valid = there & (problem.margin(points, there) >= problem.floor)
    cost = problem.sparse_distance(points) - problem.plausibility(points, valid)
    cost = torch.where(valid, cost, torch.full_like(cost, torch.inf))
    return pool.merged(problem, points, cost)
