"""The plausibility floor: an answer is no less plausible than a greedy baseline of its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from scfe_sklearn.objective import RowObjective
from scfe_sklearn.solvers.problem import Problem
from scfe_sklearn.solvers.recourse import Kind
from scfe_sklearn.solvers.starts import greedy_baseline

ROUNDING = 1e-9
"""What the log-density of one point may differ by from batch to batch."""


def baselines(problem: Problem, kinds: Sequence[Kind]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ends (n, D) of the greedy baselines of all rows, and whether they are valid."""
    ends = problem.domain.factual.clone()
    valid = torch.zeros(len(problem), dtype=torch.bool, device=ends.device)
    for rows, anchors, _ in kinds:
        ends[rows], valid[rows] = greedy_baseline(problem.take(rows), anchors)
    return ends, valid


def with_floor(problem: Problem, ends: torch.Tensor, valid: torch.Tensor) -> Problem:
    """Return the problem with a least log-density for every row.

    One weight of plausibility serves all rows of all data, and some rows would need another
    one. An answer below the lower quartile of its class must therefore be at least as plausible
    as the row's greedy baseline, which meets that limit itself.

    Parameters
    ----------
    problem : Problem
        n rows.
    ends : Tensor of shape (n, D)
        Ends of their baselines.
    valid : BoolTensor of shape (n,)
        Whether these are answers; there is no limit where they are not.

    Returns
    -------
    Problem
    """
    objective = problem.objective
    assert isinstance(objective, RowObjective)
    limit = torch.minimum(objective.log_density(ends) - ROUNDING, objective.common())
    limit = torch.where(valid, limit, -torch.inf)
    return replace(problem, objective=objective.limited(limit))
