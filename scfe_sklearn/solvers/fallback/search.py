"""Systematic search: training rows, single changes, pairs, ascents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.fallback.copies import copy_features, try_training_rows
from scfe_sklearn.solvers.fallback.ledger import Ledger
from scfe_sklearn.solvers.fallback.lines import Columns
from scfe_sklearn.solvers.fallback.sweeps import (
    Limits,
    ascend,
    by_feature,
    sweep_pairs,
    sweep_singles,
)
from scfe_sklearn.solvers.problem import Pool, Problem
from scfe_sklearn.solvers.starts import nearest_miss

NARROW = 64
"""Most features for trying the ends of all intervals."""


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
    limits: Limits,
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
    limits : Limits
        Limits.
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
