"""No answer is less usual than the plain walk: a limit of plausibility for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from scfe_sklearn.objective import RowObjective
from scfe_sklearn.solvers.plain_walk import plain_walk
from scfe_sklearn.solvers.pool import Pool
from scfe_sklearn.solvers.problem import Problem
from scfe_sklearn.solvers.recourse import Effort, Kind, begin, improve
from scfe_sklearn.solvers.wide import too_wide

ROUNDING = 1e-9
"""What the log-density of one point may differ by from batch to batch."""

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
            again, found = _solved_again(part, anchors, Pool(pool.z[rows], pool.cost[rows]), effort)
            pool = pool.scattered(rows[again], found)
    return pool


def _solved_again(
    problem: Problem, anchors: torch.Tensor, pool: Pool, effort: Effort
) -> tuple[torch.Tensor, Pool]:
    """Rows that need a limit, and their answers within it."""
    objective = problem.objective
    assert isinstance(objective, RowObjective)
    common = objective.common()
    usual = objective.log_density(pool.z[:, 0])
    odd = ((pool.best < torch.inf) & (usual < common)).nonzero()[:, 0]
    walked, valid = plain_walk(problem.take(odd), anchors)
    # The walk keeps its own limit, however its log-density is rounded the next time.
    limit = torch.minimum(objective.take(odd).log_density(walked) - ROUNDING, common[odd])
    less = (valid & (usual[odd] < limit)).nonzero()[:, 0]
    rows = odd[less]
    part = problem.take(rows)
    now = Pool(pool.z[rows], pool.cost[rows])
    if len(rows) == 0:
        return rows, now
    limited = replace(part, objective=objective.take(rows).limited(limit[less]))
    starts = torch.cat([walked[less][:, None], now.z], 1)
    allowed = limited.margin(starts) >= limited.floor
    allowed &= limited.domain.changed(starts).any(-1)
    cost = limited.sparse_distance(starts) - limited.plausibility(starts, allowed)
    cost = torch.where(allowed, cost, torch.inf)
    begun = Pool.empty(limited, now.cost.shape[1])
    if objective.has_gradient:  # without one, a new screen is more questions than it is worth
        begun = begin(limited, anchors, effort)
    found = improve(limited, begun.merged(limited, starts, cost), effort)
    return rows, found.merged(part, now.z, now.cost + SET_BACK)
