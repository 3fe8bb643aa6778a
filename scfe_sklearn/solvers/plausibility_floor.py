"""The plausibility floor: an answer is no less plausible than a greedy baseline of its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from scfe_sklearn.solvers.problem import Kind, Problem
from scfe_sklearn.solvers.starts import TRIED, greedy_baseline

ROUNDING = 1e-9
"""What the log-density of one point may differ by from batch to batch."""


@dataclass(frozen=True, eq=False)
class Baselines:
    """Greedy baselines of n rows.

    Parameters
    ----------
    ends : Tensor of shape (n, D)
        Where they end.
    valid : BoolTensor of shape (n,)
        Whether that is an answer.
    near : Tensor of shape (n, K, D)
        What the rules let the rows become of the nearest training rows, nearest first; the
        factuals where there are fewer.
    """

    ends: torch.Tensor
    valid: torch.Tensor
    near: torch.Tensor

    @classmethod
    def of(cls, problem: Problem, kinds: Sequence[Kind]) -> Baselines:
        """Run the baselines of all rows."""
        ends = problem.domain.factual.clone()
        near = ends[:, None].repeat(1, TRIED, 1)
        valid = torch.zeros(len(problem), dtype=torch.bool, device=ends.device)
        for rows, anchors, _ in kinds:
            ends[rows], valid[rows], rest = greedy_baseline(problem.take(rows), anchors)
            near[rows, : rest.shape[1]] = rest
        return cls(ends, valid, near)


def floors(problem: Problem, baselines: Baselines) -> torch.Tensor:
    """Return the least log-density (n,) of an answer of each row; minus infinity for any.

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
    limit = torch.minimum(objective.log_density(baselines.ends) - ROUNDING, objective.common())
    return torch.where(baselines.valid, limit, -torch.inf)


def with_floors(problem: Problem, limit: torch.Tensor) -> Problem:
    """Return the problem with least log-densities (n,) of the answers of its rows."""
    return replace(problem, objective=problem.objective.limited(limit))
