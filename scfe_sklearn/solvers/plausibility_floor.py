"""Plausibility floor: an answer is as plausible as a greedy baseline of its row."""

from __future__ import annotations

from dataclasses import replace

import torch

from scfe_sklearn.solvers.problem import Problem
from scfe_sklearn.solvers.starts import Baselines

ROUNDING = 1e-9
"""Largest difference of the log-density of a point between batches."""


def floors(problem: Problem, baselines: Baselines) -> torch.Tensor:
    """Return the least log-density (n,) of an answer; minus infinity without a floor.

    One weight of plausibility serves all rows of all data, and some rows would need another
    one. An answer below the lower quartile of its class must therefore be at least as plausible
    as the row's greedy baseline, which meets that limit itself.

    Parameters
    ----------
    problem : Problem
        n rows.
    baselines : Baselines
        There is no limit where a baseline is no answer.

    Returns
    -------
    Tensor of shape (n,)
    """
    objective = problem.objective
    limit = torch.minimum(
        objective.log_density(baselines.ends) - ROUNDING, objective.lower_quartile()
    )
    return torch.where(baselines.valid, limit, -torch.inf)


def with_floors(problem: Problem, limit: torch.Tensor) -> Problem:
    """Return the problem with least log-densities (n,) of the answers of its rows."""
    return replace(problem, objective=problem.objective.limited(limit))
