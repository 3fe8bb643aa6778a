"""Systematic search: training rows, their features, single changes, pairs, ascents, variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from scfe_sklearn.solvers.fallback.ledger import COORDINATES, Ledger, smallest_of_rows, with_value
from scfe_sklearn.solvers.fallback.lines import Columns
from scfe_sklearn.solvers.fallback.sweeps import (
    FallbackSettings,
    ascend,
    by_feature,
    sweep,
    sweep_pairs,
    sweep_singles,
)
from scfe_sklearn.solvers.problem import TOLERANCE, VERTEX, Pool, Problem
from scfe_sklearn.solvers.starts import hybrids, nearest_miss

NARROW = 64
"""Most features for trying the ends of all intervals."""

WAVES = (64, 4096)
"""Training rows whose margin is computed, nearest first: a few, then more."""

LOOKED_AT = 256
"""Near training rows from which those to copy are chosen."""

COPIED = 8192
"""Points per row that are evaluated while features are copied, about."""

MOST = 8
"""Features that are copied at most."""

SPACING = 0.5
"""Least difference of two values of a number, in training standard deviations."""

OF_A_LINE = 3
"""Values of one number that are kept."""


@dataclass(frozen=True, eq=False)
class Found:
    """Result of a systematic search.

    Parameters
    ----------
    valid : Pool
        Points of a margin of at least the floor, cheapest first.
    near : Pool
        Points of the largest margins; minus the margin is their cost.
    """

    valid: Pool
    near: Pool


def fall_back(
    problem: Problem,
    anchors: torch.Tensor,
    columns: Columns,
    limits: FallbackSettings,
    size: int,
) -> Found:
    """Search rows systematically, until they have a valid point.

    1. Training rows of the target that the rules and the budget permit.
    2. Every feature alone: levels, training values and evenly spread values. Between the best
       values of a number and their neighbours the search closes in on the target.
    3. Features of near training rows, copied one by one within the budget.
    4. Every pair of features on a coarse grid, which closes in on the target in the same way.
    5. From the points of the largest margin, the best further change, again and again.
    6. The ends of the intervals, one feature after the other, if there are not too many.

    Parameters
    ----------
    problem : Problem
        n rows with the same target.
    anchors : Tensor of shape (T, D)
        Training rows of the target.
    columns : Columns
        Values of all training rows.
    limits : FallbackSettings
        Limits of the evaluations.
    size : int
        Points that are kept per row.

    Returns
    -------
    Found
    """
    ledger = Ledger(problem, size)
    n, d = len(problem), problem.domain.n_features
    alone = torch.full((n, d), -torch.inf).to(problem.domain.factual)

    def alone_and_in_pairs(part: Ledger, rows: torch.Tensor) -> None:
        swept = sweep_singles(part, columns, part.problem.domain.factual, limits)
        alone[rows] = by_feature(part.problem, swept)
        left = part.missing()
        pairs = part.part(left)
        if len(left):
            sweep_pairs(pairs, swept.take(left), limits)
            part.put_back(left, pairs)

    def misses(part: Ledger, rows: torch.Tensor) -> None:
        if d > NARROW:
            return
        z, margin = nearest_miss(part.problem)
        part.note(torch.arange(len(z), device=z.device), z, margin)

    steps: list[Callable[[Ledger, torch.Tensor], None]] = [
        lambda part, rows: try_training_rows(part, anchors),
        alone_and_in_pairs,
        lambda part, rows: copy_features(part, anchors, limits.copies),
        lambda part, rows: ascend(part, columns, limits, alone[rows]),
        misses,
    ]
    for step in steps:
        left = ledger.missing()
        if len(left) == 0:
            break
        part = ledger.part(left)
        step(part, left)
        ledger.put_back(left, part)
    return Found(ledger.valid, ledger.near)


def try_training_rows(ledger: Ledger, anchors: torch.Tensor) -> None:
    """Evaluate the training rows (T, D) that the rules and budget of each row permit."""
    done = 0
    for wave in WAVES:
        left = ledger.missing()
        if len(left) == 0 or done >= len(anchors):
            return
        for rows in left.split(max(COORDINATES // max(anchors.numel(), 1), 1)):
            problem = ledger.problem.take(rows)
            hybrid = hybrids(problem.domain, anchors)
            changes = problem.domain.changed(hybrid).sum(-1)
            fits = ((hybrid - anchors).abs() <= TOLERANCE).all(-1)
            fits &= (changes > 0) & (changes <= problem.max_changes[:, None])
            distance = torch.where(fits, problem.sparse_distance(hybrid), torch.inf)
            order = distance.argsort(dim=1, stable=True)[:, done:wave]
            row, entry = (distance.gather(1, order) < torch.inf).nonzero().T
            points = anchors[order[row, entry]]
            ledger.evaluate(rows[row], points, torch.arange(len(row), device=row.device))
        done = wave


def copy_features(ledger: Ledger, anchors: torch.Tensor, count: int) -> None:
    """Copy features of near training rows greedily, within the budget.

    Parameters
    ----------
    ledger : Ledger
        n rows.
    anchors : Tensor of shape (T, D)
        Training rows of the target.
    count : int
        Training rows per row at most, the nearest that are valid.
    """
    if len(anchors) == 0:
        return
    features = ledger.problem.domain.n_features
    count = max(min(count, COPIED // (features * min(MOST, features))), 1)
    everything = torch.arange(len(ledger.problem), device=anchors.device)
    chunk = max(COORDINATES // max(anchors.numel(), anchors.shape[1] ** 2 * count), 1)
    for rows in everything.split(chunk):
        problem = ledger.problem.take(rows)
        hybrid = hybrids(problem.domain, anchors)
        distance = (hybrid - problem.domain.factual[:, None]).square().sum(-1)
        distance = torch.where(distance > TOLERANCE, distance, torch.inf)
        order = distance.argsort(dim=1, stable=True)[:, :LOOKED_AT]
        ends = hybrid.gather(1, order[..., None].expand(-1, -1, hybrid.shape[2]))
        valid = problem.valid(ends, distance.gather(1, order) < torch.inf)
        row, entry = (valid & (valid.cumsum(1) <= count)).nonzero().T
        _copied(ledger, rows[row], ends[row, entry])


def _copied(ledger: Ledger, rows: torch.Tensor, ends: torch.Tensor) -> None:
    """Copy features of the points ``ends`` (k, D) to the rows (k,), one after the other."""
    domain = ledger.problem.domain
    here = domain.factual[rows]
    left = domain.take(rows).changed(ends[:, None])[:, 0]
    features = torch.arange(domain.n_features, device=rows.device)
    belongs = domain.groups == features[:, None]
    budget = ledger.problem.max_changes[rows]
    for step in range(min(MOST, domain.n_features)):
        going = (ledger.valid.best[rows] == torch.inf) & left.any(1) & (budget > step)
        keep = going.nonzero()[:, 0]
        if len(keep) == 0:
            return
        rows, ends, here, left, budget = (part[keep] for part in (rows, ends, here, left, budget))
        instance, feature = left.nonzero().T
        points = torch.where(belongs[feature], ends[instance], here[instance])
        got = ledger.evaluate(
            rows[instance], points, torch.arange(len(instance), device=rows.device)
        )
        margin = torch.full(left.shape, -torch.inf, dtype=got.dtype, device=got.device)
        margin[instance, feature] = got
        best = margin.argmax(1)
        here = torch.where(belongs[best], ends, here)
        left = left.clone()
        left[torch.arange(len(best), device=best.device), best] = False


def vary(
    problem: Problem, columns: Columns, base: torch.Tensor, limits: FallbackSettings, size: int
) -> Pool:
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
    limits : FallbackSettings
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
    set_to = torch.cat([set_to, torch.full_like(base[level_row, 0], VERTEX)])
    z = with_value(problem, base[rows], at, set_to)
    part = problem.take(rows)
    cost = part.sparse_distance(z[:, None])[:, 0] - part.plausibility(z[:, None])[:, 0]
    cost = torch.where(cost.isfinite(), cost, torch.inf)
    kept, rank = smallest_of_rows(rows, cost, size)
    pool = Pool.empty(problem, size)
    points, costs = pool.z.clone(), pool.cost.clone()
    points[rows[kept], rank], costs[rows[kept], rank] = z[kept], cost[kept]
    return Pool(points, costs)
