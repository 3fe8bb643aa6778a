"""Nearest misses: points of the largest margin for rows without an answer."""

from __future__ import annotations

import torch

from scfe_sklearn.solvers.problem import Problem
from scfe_sklearn.solvers.starts.climbing import pushes


def nearest_miss(problem: Problem, rounds: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Raise the margin as far as the rules and the budget permit.

    One feature after the other is pushed to the value that raises the margin most; then every
    change is tried anew beside the others.

    Parameters
    ----------
    problem : Problem
        n rows.
    rounds : int
        How often the changes are tried anew.

    Returns
    -------
    z : Tensor of shape (n, D)
        The points that come closest; the factual where no change helps.
    margin : Tensor of shape (n,)
        Their margins.
    """
    domain = problem.domain
    z = domain.factual.clone()
    margin = problem.margin(z[:, None])[:, 0]
    for _ in range(min(domain.n_features, int(problem.max_changes.max()))):
        trial, live = pushes(problem, z)
        z, margin, better = _best(problem, z, margin, trial, live)
        if not bool(better.any()):
            break
    for _ in range(rounds):
        before = margin
        for feature in range(domain.n_features):
            own = domain.groups == feature
            # The best value of this feature.
            without = torch.where(own, domain.factual, z)
            trial, live = pushes(problem, without, own)
            if bool(live.any()):
                z, margin, _ = _best(problem, z, margin, trial, live)
        if bool((margin <= before).all()):
            break
    return z, margin


def _best(
    problem: Problem,
    z: torch.Tensor,
    margin: torch.Tensor,
    trial: torch.Tensor,
    live: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Take the point of the largest margin if it is an improvement."""
    got, place = problem.margin(trial, live).max(1)
    better = got > margin
    best = trial.gather(1, place[:, None, None].expand(-1, 1, z.shape[1]))[:, 0]
    return torch.where(better[:, None], best, z), torch.where(better, got, margin), better
