"""No answer is less usual than the plain walk: a limit of plausibility for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from scfe_sklearn.objective import RowObjective
from scfe_sklearn.solvers.problem import Pool, Problem
from scfe_sklearn.solvers.recourse import Effort, Kind, begin, improve
from scfe_sklearn.solvers.starts import greedy_baseline, too_wide

ROUNDING = 1e-9
"""What the log-density of one point may differ by from batch to batch."""

GUESSED = 0.6
"""Spreads by which an answer may still become less usual than what a search begins with."""

SET_BACK = 1e9
"""Added to the cost of points below the limit, so that they come last."""


def no_less_usual(problem: Problem, kinds: Sequence[Kind], pool: Pool, effort: Effort) -> Pool:
    """Solve rows again whose best answer is less usual than it has to be.

    tau is one price for all rows, and a data set may need another one. An answer that is less
    usual than three quarters of its class is compared with the plain walk; if that ends at a
    more usual point, the row is solved again with this point's log-density as a limit. The walk
    itself keeps the limit, so that the new answer costs no more than the walk does.

    Parameters
    ----------
    problem : Problem
        n rows.
    kinds : sequence of (rows, anchors, moves)
        What is different for the rows of each class.
    pool : Pool
        Their answers.
    effort : Effort
        Widths and lengths of the steps.

    Returns
    -------
    Pool
        Answers that keep the limit come first.
    """
    for rows, anchors, moves in kinds:
        part = replace(problem.take(rows), moves=moves)
        if not too_wide(part):
            again, found = _solved_again(part, anchors, pool.take(rows), effort)
            pool = pool.scattered(rows[again], found)
    return pool


def solved_at_once(problem: Problem, kinds: Sequence[Kind], effort: Effort) -> Pool:
    """Solve rows with and without their limits together, for models that can only be asked.

    The same as `no_less_usual` after an ordinary search. But which rows may need a limit is
    guessed by what the search begins with, so that the rounds of both searches are shared; rows
    for which the guess was wrong are solved again.

    Parameters
    ----------
    problem : Problem
        n rows.
    kinds : sequence of (rows, anchors, moves)
        What is different for the rows of each class.
    effort : Effort
        Widths and lengths of the steps.

    Returns
    -------
    Pool
        Answers that keep the limit come first.
    """
    objective = problem.objective
    assert isinstance(objective, RowObjective)
    common, weight = objective.common(), objective.weight()
    nearly = GUESSED * objective.spread()
    pool = Pool.empty(problem, effort.pool(objective.has_gradient))
    wide = torch.zeros(len(problem), dtype=torch.bool)
    for rows, anchors, moves in kinds:
        part = replace(problem.take(rows), moves=moves)
        pool = pool.scattered(rows, begin(part, anchors, effort))
        wide[rows] = too_wide(part)
    odd = ~wide & (pool.best < torch.inf) & (_usual(problem, pool)[:, 0] < common + nearly)
    walked, limit = problem.domain.factual.clone(), torch.full_like(common, -torch.inf)
    usual = limit.clone()
    for rows, anchors, _ in kinds:
        own = rows[odd[rows]]
        walked[own], usual[own], limit[own] = _walks(problem.take(own), anchors)
    guessed = (_usual(problem, pool)[:, 0] < limit + nearly).nonzero()[:, 0]
    there, now = problem.take(guessed), pool.take(guessed)
    # The walk and, of the points to begin with, those that keep the limit. All are answers.
    cost = torch.where(_usual(there, now) >= limit[guessed][:, None], now.cost, torch.inf)
    ends = walked[guessed][:, None]
    price = there.sparse_distance(ends) - (weight * usual)[guessed][:, None]
    limited = Pool(now.z, cost).merged(there, ends, price)
    everything = torch.arange(len(problem))
    index = torch.cat([everything, guessed])
    limits = torch.cat([torch.full_like(limit, -torch.inf), limit[guessed]])
    both = replace(problem.take(index), objective=objective.take(index).limited(limits))
    found = improve(both, pool.joined(limited), effort)
    pool, limited = found.take(everything), found.take(slice(len(problem), None))
    usual = _usual(problem, pool)[:, 0]
    unusual = ~wide & (pool.best < torch.inf) & (usual < common)
    less = (unusual & (usual < limit))[guessed].nonzero()[:, 0]
    rows = guessed[less]
    found = limited.take(less)
    again = unusual & (~odd | (usual < limit))
    again[guessed] = False
    first = _first(problem.take(rows), found, pool.take(rows))
    pool = pool.scattered(rows, first)
    for rows, anchors, moves in kinds:
        left = rows[again[rows]]
        if len(left):
            part = replace(problem.take(left), moves=moves)
            own, found = _solved_again(part, anchors, pool.take(left), effort)
            pool = pool.scattered(left[own], found)
    return pool


def _usual(problem: Problem, pool: Pool) -> torch.Tensor:
    """Log-densities (n, P) of the points of a pool, by what they cost; infinite for none."""
    objective = problem.objective
    assert isinstance(objective, RowObjective)
    value = (problem.sparse_distance(pool.z) - pool.cost) / objective.weight()[:, None]
    return torch.where(pool.cost < torch.inf, value, torch.inf)


def _walks(
    problem: Problem, anchors: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where the plain walks end (n, D), their log-density and the limit that they set (n,).

    The limit is minus infinity where a walk has no end.
    """
    objective = problem.objective
    assert isinstance(objective, RowObjective)
    walked, valid = greedy_baseline(problem, anchors)
    usual = objective.log_density(walked)
    # The walk keeps its own limit, however its log-density is rounded the next time.
    limit = torch.minimum(usual - ROUNDING, objective.common())
    return walked, usual, torch.where(valid, limit, -torch.inf)


def _first(problem: Problem, found: Pool, others: Pool) -> Pool:
    """The pool with what was found within the limit before all other points."""
    return found.merged(problem, others.z, others.cost + SET_BACK)


def _solved_again(
    problem: Problem, anchors: torch.Tensor, pool: Pool, effort: Effort
) -> tuple[torch.Tensor, Pool]:
    """Rows that need a limit, and their answers within it."""
    objective = problem.objective
    assert isinstance(objective, RowObjective)
    common = objective.common()
    usual = objective.log_density(pool.z[:, 0])
    odd = ((pool.best < torch.inf) & (usual < common)).nonzero()[:, 0]
    walked, _, limit = _walks(problem.take(odd), anchors)
    less = (usual[odd] < limit).nonzero()[:, 0]
    rows = odd[less]
    part, now = problem.take(rows), pool.take(rows)
    if len(rows) == 0:
        return rows, now
    limited = replace(part, objective=objective.take(rows).limited(limit[less]))
    starts = torch.cat([walked[less][:, None], now.z], 1)
    allowed = limited.valid(starts) & limited.domain.changed(starts).any(-1)
    cost = limited.sparse_distance(starts) - limited.plausibility(starts, allowed)
    cost = torch.where(allowed, cost, torch.inf)
    begun = Pool.empty(limited, now.cost.shape[1])
    if objective.has_gradient:  # without one, a new screen is more questions than it is worth
        begun = begin(limited, anchors, effort)
    found = improve(limited, begun.merged(limited, starts, cost), effort)
    return rows, _first(part, found, now)
