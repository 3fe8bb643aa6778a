"""Greedy baseline, and the least plausibility that it sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from scfe_sklearn.solvers.problem import ROUNDING, TOLERANCE, Kind, Problem
from scfe_sklearn.solvers.starts.anchors import hybrids, nearest_anchors

TRIED = 8
"""Near training rows; the nearest valid one is copied."""

STEPS = 24
"""Features that are copied at most."""


@dataclass(frozen=True, eq=False)
class Baselines:
    """Greedy baselines of n rows.

    Parameters
    ----------
    ends : Tensor of shape (n, D)
        Where they end.
    valid : BoolTensor of shape (n,)
        Whether they are valid.
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


def greedy_baseline(
    problem: Problem, anchors: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Copy features of the nearest training row of the target until the prediction flips.

    The feature that raises the margin most comes first, as in NICE (Brughmans, Leyman, Martens
    2024) with its reward for sparsity. Changes that the rules forbid are left out.

    Parameters
    ----------
    problem : Problem
        n rows, all with the same target.
    anchors : Tensor of shape (T, D)
        Training rows that are predicted to have the target.

    Returns
    -------
    z : Tensor of shape (n, D)
        Ends of the baselines.
    valid : BoolTensor of shape (n,)
        Whether they are valid.
    ends : Tensor of shape (n, K, D)
        Permitted points of the rows nearest to training rows, nearest first.
    """
    domain = problem.domain
    here = domain.factual.clone()
    valid = torch.zeros(len(problem), dtype=torch.bool, device=here.device)
    if len(problem) == 0 or len(anchors) == 0:
        return here, valid, here[:, None, :].repeat(1, 0, 1)
    ends = hybrids(domain, nearest_anchors(domain, anchors, TRIED))
    distance = (ends - domain.factual[:, None]).square().sum(-1)
    good = problem.valid(ends, distance > TOLERANCE)
    least, nearest = torch.where(good, distance, torch.inf).min(1)
    end = ends[torch.arange(len(ends)), nearest]
    left = domain.changed(end[:, None])[:, 0]
    # (d, D): the coordinates of each feature.
    belongs = domain.groups == torch.arange(domain.n_features, device=here.device)[:, None]
    walking = (least < torch.inf).nonzero()[:, 0]
    for _ in range(min(STEPS, domain.n_features)):
        if len(walking) == 0:
            break
        part, own = problem.take(walking), left[walking]
        options = torch.where(belongs, end[walking][:, None], here[walking][:, None])
        margin, feature = part.margin(options, own).max(1)
        here[walking] = options[torch.arange(len(walking)), feature]
        left[walking, feature] = False
        valid[walking] = margin >= problem.floor
        walking = walking[~valid[walking] & left[walking].any(1)]
    return here, valid, ends


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
