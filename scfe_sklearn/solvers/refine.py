"""Descent inside the supports that the screen found."""

from __future__ import annotations

import torch

from scfe_sklearn.solvers.pool import Pool
from scfe_sklearn.solvers.problem import Problem
from scfe_sklearn.solvers.subspace import Subspace
from scfe_sklearn.solvers.trade_off import Descent, descend, restore

COARSE_STEP = 0.1
"""Lattices coarser than this (in standard deviations) are searched, not relaxed."""


def refine(problem: Problem, pool: Pool, settings: Descent, starts: int) -> Pool:
    """Improve the first points of the pool by proximal gradient within their supports.

    The continuous (or finely stepped) coordinates that a point changes are free in their
    interval, all others stay; so the budget holds by construction.

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    pool : Pool
        Valid starting points.
    settings : Descent
        Lengths of the runs.
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
    part, start = problem.take(rows), pool.z[rows, entry]
    space = Subspace.around(part, start, free[rows, entry])

    def prox(
        v: torch.Tensor, step: torch.Tensor, index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        box = torch.minimum(torch.maximum(v, space.lower[index]), space.upper[index])
        return box, torch.zeros_like(step)

    x, _ = descend(space, prox, settings)
    x = restore(space, x)
    z = part.domain.snap(space.embed(x))
    pool = merge_instances(problem, pool, rows, entry, z)
    if not bool((space.step > 0).any()):
        return pool
    # An answer lies where the margin is just met: rounding there to the nearest lattice point
    # often misses it, rounding along the slope of the margin seldom does.
    _, slope = space.margin_and_grad(x, torch.arange(len(x), device=x.device))
    z = part.domain.snap(space.embed(x + (0.5 - 1e-6) * space.step * torch.sign(slope)))
    return merge_instances(problem, pool, rows, entry, z)


def merge_instances(
    problem: Problem, pool: Pool, rows: torch.Tensor, entry: torch.Tensor, z: torch.Tensor
) -> Pool:
    """Return the pool after one point ``z`` (k, D) for each (row, entry), judged afresh."""
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
