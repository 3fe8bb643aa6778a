"""Proximal gradient from a few starts per row: survey, descend, settle, exchange, polish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from scfe_sklearn.solvers.descent import (
    DEMANDED,
    FINE,
    STRICT,
    GradientSettings,
    Kind,
    Search,
    descend,
    exchange,
    polish,
    settle,
    survey,
)
from scfe_sklearn.solvers.problem import Pool, Problem
from scfe_sklearn.solvers.starts import Recall, climb, recall

RESTARTED = 3
"""Points per row that this begins with."""


def solve_by_gradient(
    problem: Problem, kinds: Sequence[Kind], baseline: torch.Tensor, settings: GradientSettings
) -> Pool:
    r"""Answer rows by proximal gradient from several starts, all features and rows at once.

    One step of length s from the change w goes to

    .. math::
        \arg\min_{u \in A} \; \tfrac12 \|u - w + s \nabla h(w)\|^2 + s \, g(u)
        \quad \text{s.t.} \quad m(w) + \langle \nabla m(w), u - w \rangle \ge c

    with h the squared distance minus the plausibility, g the penalty and budget of changed
    features, and A what the rules allow. For a given multiplier of the margin this is the
    proximal map of :class:`~scfe_sklearn.proximal.FeatureSets`; the multiplier is found per
    row. A limit of log-density has a multiplier as well, which follows its violation.

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    kinds : sequence of (rows, anchors, moves)
        What is different for the rows of each kind of answer.
    baseline : Tensor of shape (n, D)
        Ends of the greedy baseline, starts among others.
    settings : GradientSettings
        Lengths and widths of the steps.

    Returns
    -------
    Pool
        Valid points, cheapest first; no point for a row that was not answered.
    """
    free = replace(problem, objective=problem.objective.unlimited())
    search, pool, starts = survey(free, problem, kinds, baseline, settings)
    open_, factual = _open_rows(free, pool), problem.domain.factual
    if len(open_):
        first, most = _sparse(starts[open_], factual[open_], settings)
        z, cost = descend(search.take(open_), first, settings, FINE, most=most)
        pool = pool.scattered(open_, pool.take(open_).merged(free.take(open_), z, cost))
    pool = _rescued(problem, pool, kinds, settings)
    search, pool = _improved(search, problem, kinds, pool, settings, FINE)
    strict = _repaired(search, problem, kinds, pool, baseline, settings)
    pool = polish(search, strict, settings)
    return _exact(problem, pool, baseline)


def _repaired(
    search: Search,
    problem: Problem,
    kinds: Sequence[Kind],
    pool: Pool,
    baseline: torch.Tensor,
    settings: GradientSettings,
) -> Pool:
    """Return the points that meet their limits, searched again where the best one does not.

    The search begins with the points that miss the limit, with a multiplier of the limit.
    """
    strict = _ranked(search, pool)
    missed = (strict.best > pool.best + 1e-9).nonzero()[:, 0]
    if len(missed) == 0:
        return strict
    part, there, old = problem.take(missed), search.take(missed), pool.take(missed)
    own = [(_places(rows, missed), anchors, moves) for rows, anchors, moves in kinds]
    starts = torch.cat([old.z[:, :RESTARTED], baseline[missed, None]], 1)
    starts, most = _sparse(starts, part.domain.factual, settings)
    z, cost = descend(there, starts, settings, STRICT, DEMANDED, most)
    found = _ranked(there, old, STRICT).merged(there.problem, z, cost)
    for _ in range(settings.strict):
        there, found = _improved(there, part, own, found, settings, STRICT)
    found = _ranked(there, found)
    both = strict.take(missed).merged(there.problem, found.z, found.cost)
    return strict.scattered(missed, both)


def _sparse(
    starts: torch.Tensor, factual: torch.Tensor, settings: GradientSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the starts (n, S, D) and the factual once for each small budget, and budgets (S,)."""
    more = len(settings.sparse)
    z = torch.cat([starts, factual[:, None].expand(-1, more, -1)], 1)
    most = torch.full((z.shape[1],), starts.shape[2], device=z.device)
    most[starts.shape[1] :] = torch.tensor(settings.sparse, device=z.device)
    return z, most


def _places(rows: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
    """Positions in ``picked`` of those of the rows that are in it."""
    return torch.isin(picked, rows).nonzero()[:, 0]


def _improved(
    search: Search,
    problem: Problem,
    kinds: Sequence[Kind],
    pool: Pool,
    settings: GradientSettings,
    fine: float,
) -> tuple[Search, Pool]:
    """Settle the best points of the pool, and exchange their features."""
    search = replace(search, near=problem.objective.neighbourhood(pool.z[:, :2], settings.points))
    pool = _ranked(search, pool, fine)
    first, there = pool.z[:, : settings.settled], pool.cost[:, : settings.settled] < torch.inf
    pool = settle(search, pool, first, there, settings, fine)
    for _ in range(settings.exchanges):
        others = exchange(
            search, problem, kinds, pool, _wider(settings) if fine == STRICT else settings, fine
        )
        pool = settle(search, pool, *others, settings, fine)
    return search, pool


def _wider(settings: GradientSettings) -> GradientSettings:
    return replace(settings, exchanged=3 * settings.exchanged)


def _ranked(search: Search, pool: Pool, fine: float = torch.inf) -> Pool:
    """Return the pool ranked by the densities near by; see `Search.cost`."""
    cost = search.cost(pool.z, pool.cost < torch.inf, fine)
    return Pool.of(search.problem, pool.z, cost, pool.cost.shape[1])


def _rescued(
    problem: Problem, pool: Pool, kinds: Sequence[Kind], settings: GradientSettings
) -> Pool:
    """Return the pool with answers from training rows and from single pushes where it has none."""
    for rows, anchors, moves in kinds:
        own = rows[pool.best[rows] == torch.inf]
        if len(own) == 0:
            continue
        part = replace(problem.take(own), moves=moves)
        found = recall(part, anchors, Recall(), settings.pool)
        left = (found.best == torch.inf).nonzero()[:, 0]
        if len(left):
            found = found.scattered(left, climb(part.take(left), settings.pool))
        pool = pool.scattered(own, found)
    return pool


def _exact(problem: Problem, pool: Pool, baseline: torch.Tensor) -> Pool:
    """Return the pool with its costs computed by the densities themselves.

    The baseline meets every limit, so that it is an answer where nothing else turned out as one.
    """
    z = torch.cat([pool.z, baseline[:, None]], 1)
    there = torch.cat([pool.cost < torch.inf, torch.ones_like(pool.cost[:, :1]) > 0], 1)
    changed = problem.domain.changed(z)
    there &= changed.any(-1) & (changed.sum(-1) <= problem.max_changes[:, None])
    valid, plausibility = problem.appraised(z, there)
    cost = torch.where(valid, problem.sparse_distance(z) - plausibility, torch.inf)
    return Pool.of(problem, z, cost, pool.cost.shape[1])


def _open_rows(problem: Problem, pool: Pool) -> torch.Tensor:
    """Rows (k,) for which two changes could cost less than the best single one."""
    everything = torch.arange(len(problem), device=pool.z.device)
    least = 2 * problem.least_change_price - problem.objective.best_plausibility(everything)
    return (pool.best > least).nonzero()[:, 0]
