"""Variants of a valid point: other single changes, other values of its changes."""

from __future__ import annotations

from dataclasses import replace

import torch

from scfe_sklearn.solvers.fallback.ledger import Ledger, smallest_of_rows, with_value
from scfe_sklearn.solvers.fallback.lines import Columns
from scfe_sklearn.solvers.fallback.sweeps import Limits, sweep
from scfe_sklearn.solvers.problem import TOLERANCE, Pool, Problem

SPACING = 0.5
"""Least difference of two values of a number, in training standard deviations."""

OF_A_LINE = 3
"""Values of one number that are kept."""


def vary(problem: Problem, columns: Columns, base: torch.Tensor, limits: Limits, size: int) -> Pool:
    """Return valid points that differ from ``base`` (n, D) in one feature.

    Parameters
    ----------
    problem : Problem
        n rows.
    columns : Columns
        Training values.
    base : Tensor of shape (n, D)
        The factual rows, of which every feature may change, or valid points, of which those
        features may change that are changed already.
    limits : Limits
        Limits of the evaluations.
    size : int
        Points per row.

    Returns
    -------
    Pool
        The cheapest points: of a number the nearest valid value, and some at a clear distance.
    """
    domain = problem.domain
    count = domain.changed(base[:, None])[:, 0].sum(1)
    tight = replace(problem, max_changes=torch.where(count > 0, count, 1))
    values = limits.singles // max(len(columns.coordinate), 1)
    swept = sweep(Ledger(tight, 1), columns, base, values)
    factual = domain.factual[:, swept.coordinate]
    moved = (swept.value - factual[..., None]).abs()
    away = (swept.value - base[:, swept.coordinate, None]).abs()
    other = away >= torch.where(count > 0, SPACING, TOLERANCE)[:, None, None]
    valid = (swept.margin >= problem.floor) & (moved > TOLERANCE) & other
    row, line, place = valid.nonzero().T
    value = swept.value[row, line, place]
    near = moved[row, line, place]
    # The nearest valid value of a line, then of each further step.
    least = torch.where(valid, moved, torch.inf).amin(2)
    own = row * len(swept.coordinate) + line
    step = ((near - least[row, line]) / SPACING).floor()
    side = (value > factual[row, line]).long()
    bucket = (own * 2 + side) * 64 + step.clamp(max=63).long()
    first, _ = smallest_of_rows(bucket, near, 1)
    few, _ = smallest_of_rows(own[first], near[first], OF_A_LINE)
    keep = first[few]
    at, set_to = swept.coordinate[line[keep]], value[keep]
    rows = row[keep]
    entered = (swept.entered >= problem.floor) & (domain.factual[:, swept.level] <= TOLERANCE)
    level_row, level = entered.nonzero().T
    rows = torch.cat([rows, level_row])
    at = torch.cat([at, swept.level[level]])
    set_to = torch.cat([set_to, torch.full_like(base[level_row, 0], 0.5**0.5)])
    z = with_value(problem, base[rows], at, set_to)
    part = problem.take(rows)
    cost = part.sparse_distance(z[:, None])[:, 0] - part.plausibility(z[:, None])[:, 0]
    cost = torch.where(cost.isfinite(), cost, torch.inf)
    kept, rank = smallest_of_rows(rows, cost, size)
    pool = Pool.empty(problem, size)
    points, costs = pool.z.clone(), pool.cost.clone()
    points[rows[kept], rank], costs[rows[kept], rank] = z[kept], cost[kept]
    return Pool(points, costs)
