"""The plausibility floor: an answer is no less plausible than a greedy baseline of its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from scfe_sklearn.solvers.problem import Kind, Problem
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


def floors(problem: Problem, ends: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return the least log-density (n,) of an answer of each row; minus infinity for any.

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
    Tensor of shape (n,)
    """
    objective = problem.objective
    limit = torch.minimum(objective.log_density(ends) - ROUNDING, objective.common())
    return torch.where(valid, limit, -torch.inf)


def with_floors(problem: Problem, limit: torch.Tensor) -> Problem:
    """Return the problem with least log-densities (n,) of the answers of its rows."""
    return replace(problem, objective=problem.objective.limited(limit))
