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
    Search,
    descend,
    exchange,
    polish,
    settle,
    survey,
)
from scfe_sklearn.solvers.planes import predict_pairs
from scfe_sklearn.solvers.problem import Kind, Pool, Problem, of_rows
from scfe_sklearn.solvers.starts import (
    Baselines,
    RecallSettings,
    WideSettings,
    climb,
    descend_wide,
    feature_sets,
    floors,
    recall,
    too_wide,
    with_floors,
)

RESTARTED = 3
"""Points per row that the search for a missed limit begins with."""

PAIR_STEPS = ((3, 3), (28, 2))
"""Steps inside of predicted pairs, and how many of a row go on after these."""

CLOSE = 1.0
"""Largest error of the objective by local densities."""

STRICT_EXCHANGED = 3
"""Factor of the exchanges that are tried in the search within the limit."""

STRICT_ROUNDS = 3
"""Rounds of exchanges of that search at most."""

MISSED = 0.005
"""Share of the objective by which meeting the limit must cost more, for a second search."""

WORTH = 1e-3
"""Share of the objective that an exchange must save for another round."""


def solve_by_gradient(
    problem: Problem,
    kinds: Sequence[Kind],
    settings: GradientSettings,
    with_floor: bool = False,
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

    Where two numbers out of few may change, the steps begin at the best of all pairs, which are
    predicted on coarse grids (`predict_pairs`). Rows of very many features take one descent
    (`descend_wide`).

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    kinds : sequence of (rows, anchors, moves)
        What is different for the rows of each kind of answer.
    settings : GradientSettings
        Lengths and widths of the steps.
    with_floor : bool
        Whether answers must be as plausible as a greedy baseline.

    Returns
    -------
    Pool
        Valid points, cheapest first; no point for a row that was not answered.
    """
    pool = _in_pairs(problem, kinds, settings)
    left = (pool.best == torch.inf).nonzero()[:, 0]
    if len(left) == 0:
        return pool
    part, own = problem.take(left), of_rows(kinds, left)
    if too_wide(part):
        return pool.scattered(left, _wide(part, own, settings))
    baselines = Baselines.of(part, own)
    if with_floor:
        part = with_floors(part, floors(part, baselines))
    found = _descended(part, own, baselines, settings)
    for more in settings.further:
        other = _descended(part, own, baselines, more)
        found = found.merged(part, other.z, other.cost)
    return pool.scattered(left, found)


def improve_by_gradient(problem: Problem, pool: Pool, settings: GradientSettings) -> Pool:
    """Improve the first points of a pool inside of their supports."""
    search = _searched(problem, pool.z[:, :2], settings)
    first, there = pool.z[:, : settings.settled], pool.cost[:, : settings.settled] < torch.inf
    found = settle(search, _ranked(search, pool), first, there, settings, STRICT)
    found = _exact(problem, polish(search, _ranked(search, found), settings), settings)
    return pool.merged(problem, found.z, found.cost)


def _in_pairs(problem: Problem, kinds: Sequence[Kind], settings: GradientSettings) -> Pool:
    """Settle the most promising of all pairs, where an answer changes two numbers out of few."""
    pool = Pool.empty(problem, settings.pool)
    starts = predict_pairs(problem, kinds, settings.planes)
    if starts is None:
        return pool
    z, value = starts
    there = value < torch.inf
    search = _searched(problem, z, settings)
    for steps, kept in PAIR_STEPS:
        pool = settle(search, pool, z, there, replace(settings, settling=steps), STRICT)
        kept = max(kept, settings.settled - 1)
        z, there = pool.z[:, :kept], pool.cost[:, :kept] < torch.inf
    if bool((problem.domain.step > 0).any()):
        pool = polish(search, pool, replace(settings, polishing=1))
    return _exact(problem, pool, settings)


def _descended(
    problem: Problem, kinds: Sequence[Kind], baselines: Baselines, settings: GradientSettings
) -> Pool:
    """Survey, descend, settle and exchange, meet the floor, polish."""
    free = replace(problem, objective=problem.objective.unlimited())
    search, pool, starts = survey(free, problem, kinds, baselines, settings)
    open_, factual = _open_rows(free, pool), problem.domain.factual
    if len(open_):
        first, most = _sparse(starts[open_], factual[open_], settings)
        z, cost = descend(search.take(open_), first, settings, FINE, most=most)
        pool = pool.scattered(open_, pool.take(open_).merged(free.take(open_), z, cost))
    pool = _rescued(problem, pool, kinds, settings)
    search, pool = _improved(search, problem, kinds, pool, settings, FINE)
    strict = _repaired(search, problem, kinds, pool, baselines.ends, settings)
    pool = polish(search, strict, settings)
    return _exact(problem, pool, settings, baselines.ends)


def _wide(problem: Problem, kinds: Sequence[Kind], settings: GradientSettings) -> Pool:
    """Descend once over all features of rows that have very many, and settle."""
    pool = Pool.empty(problem, settings.pool)
    for rows, anchors, _ in kinds:
        part = problem.take(rows)
        found = descend_wide(part, anchors, WideSettings(), settings.pool)
        pool = pool.scattered(rows, improve_by_gradient(part, found, settings))
    return pool


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
    missed = (strict.best > pool.best + MISSED * pool.best.abs() + 1e-9).nonzero()[:, 0]
    if len(missed) == 0:
        return strict
    part, there, old = problem.take(missed), search.take(missed), pool.take(missed)
    own = of_rows(kinds, missed)
    # Around the baseline as well, which meets the limit.
    centres = torch.cat([old.z[:, :2], baseline[missed, None]], 1)
    there = replace(there, near=part.objective.neighbourhood(centres, settings.points))
    starts = torch.cat([old.z[:, :RESTARTED], baseline[missed, None]], 1)
    starts, most = _sparse(starts, part.domain.factual, settings)
    z, cost = descend(there, starts, settings, STRICT, DEMANDED, most)
    found = _ranked(there, old, STRICT).merged(there.problem, z, cost)
    there, found = _improved(there, part, own, found, settings, STRICT)
    found = _ranked(there, found)
    both = strict.take(missed).merged(there.problem, found.z, found.cost)
    return strict.scattered(missed, both)


def _sparse(
    starts: torch.Tensor, factual: torch.Tensor, settings: GradientSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the starts (n, S, D) and the factual once for each small budget, and budgets (S,).

    All of them once for each length of the steps.
    """
    more = len(settings.sparse)
    z = torch.cat([starts, factual[:, None].expand(-1, more, -1)], 1)
    most = torch.full((z.shape[1],), starts.shape[2], device=z.device)
    most[starts.shape[1] :] = torch.tensor(settings.sparse, device=z.device)
    again = len(settings.lengths)
    return z.repeat(1, again, 1), most.repeat(again)


def _improved(
    search: Search,
    problem: Problem,
    kinds: Sequence[Kind],
    pool: Pool,
    settings: GradientSettings,
    fine: float,
) -> tuple[Search, Pool]:
    """Settle the best points, and exchange their features as long as that helps a row.

    Densities are taken around the present points in every round.
    """
    if fine == STRICT:
        wider = STRICT_EXCHANGED * settings.exchanged
        settings = replace(settings, exchanged=wider, exchanges=STRICT_ROUNDS)
    first = pool.z[:, : settings.settled], pool.cost[:, : settings.settled] < torch.inf
    search = _centred(search, problem, pool, settings)
    pool = settle(search, _refreshed(search, pool, settings, fine), *first, settings, fine)
    # Of the other rows all single changes have been looked at.
    moving = _open_rows(problem, pool)
    for _ in range(settings.exchanges):
        if len(moving) == 0:
            break
        part, now, there = problem.take(moving), pool.take(moving), search.take(moving)
        there = _centred(there, part, now, settings)
        now = _refreshed(there, now, settings, fine)
        z, some = exchange(there, of_rows(kinds, moving), now, settings, fine)
        # The best points themselves may not have come to rest yet.
        z = torch.cat([now.z[:, : settings.settled], z], 1)
        some = torch.cat([now.cost[:, : settings.settled] < torch.inf, some], 1)
        better = settle(there, now, z, some, settings, fine)
        pool = pool.scattered(moving, better)
        moving = moving[better.best < now.best - WORTH * now.best.abs()]
    return _centred(search, problem, pool, settings), pool


def _searched(problem: Problem, centres: torch.Tensor, settings: GradientSettings) -> Search:
    """Return the search of a problem, with densities around centres (n, C, D)."""
    free = replace(problem, objective=problem.objective.unlimited())
    near = problem.objective.neighbourhood(centres, settings.points)
    short = (problem.floor - problem.margin(problem.domain.factual[:, None])[:, 0]).clamp_min(0)
    return Search(free, feature_sets(problem.domain), near, short)


def _centred(search: Search, problem: Problem, pool: Pool, settings: GradientSettings) -> Search:
    """Return the search with densities around the best two points of each row."""
    return replace(search, near=problem.objective.neighbourhood(pool.z[:, :2], settings.points))


def _ranked(search: Search, pool: Pool, fine: float = torch.inf) -> Pool:
    """Return the pool ranked by the densities near by; see `Search.cost`."""
    cost = search.cost(pool.z, pool.cost < torch.inf, fine)
    return Pool.of(search.problem, pool.z, cost, pool.cost.shape[1])


def _refreshed(search: Search, pool: Pool, settings: GradientSettings, fine: float) -> Pool:
    """Return the pool ranked anew by the densities near by, as far as points are looked at."""
    z, old = pool.z[:, : 2 * settings.settled], pool.cost[:, : 2 * settings.settled]
    cost = torch.cat([search.cost(z, old < torch.inf, fine), pool.cost[:, z.shape[1] :]], 1)
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
        found = recall(part, anchors, RecallSettings(), settings.pool)
        left = (found.best == torch.inf).nonzero()[:, 0]
        if len(left):
            found = found.scattered(left, climb(part.take(left), settings.pool))
        pool = pool.scattered(own, found)
    return pool


def _exact(
    problem: Problem,
    pool: Pool,
    settings: GradientSettings,
    baseline: torch.Tensor | None = None,
) -> Pool:
    """Return the pool with its costs computed by the densities themselves.

    Points that cost much more by the densities near by are left out. The baseline meets every
    limit, so that it is an answer where nothing else turned out as one.
    """
    most = pool.cost[:, settings.settled - 1 : settings.settled] + CLOSE
    z, there = pool.z, (pool.cost < torch.inf) & (pool.cost <= most)
    if baseline is not None:
        z = torch.cat([z, baseline[:, None]], 1)
        there = torch.cat([there, torch.ones_like(there[:, :1])], 1)
    changed = problem.domain.changed(z)
    there = there & changed.any(-1) & (changed.sum(-1) <= problem.max_changes[:, None])
    valid, plausibility = problem.evaluate(z, there)
    cost = torch.where(valid, problem.sparse_distance(z) - plausibility, torch.inf)
    return Pool.of(problem, z, cost, pool.cost.shape[1])


def _open_rows(problem: Problem, pool: Pool) -> torch.Tensor:
    """Rows (k,) for which two changes could cost less than the best single one."""
    everything = torch.arange(len(problem), device=pool.z.device)
    least = 2 * problem.least_change_price - problem.objective.best_plausibility(everything)
    return (pool.best > least).nonzero()[:, 0]
