"""Where to start when the rules leave little room: push one feature after the other."""

from __future__ import annotations

import torch

from scfe_sklearn.solvers.problem import TOLERANCE, Pool, Problem
from scfe_sklearn.solvers.starts.anchors import undo_changes

SHARES = (0.5, 1.0)
"""How far a push goes, as a share of the way from the factual to an end of the interval."""


def climb(problem: Problem, size: int) -> Pool:
    """Raise the margin by the best single push, feature by feature, until the row is valid.

    The screen tries the values of training rows. Where a range allows a narrow interval, none
    of them may lie in it; but a monotone model has its largest margin at the ends.

    Parameters
    ----------
    problem : Problem
        n rows.
    size : int
        Size of the pool that is returned.

    Returns
    -------
    Pool
        At most one valid point per row, within the budget; what is not needed is undone.
    """
    domain = problem.domain
    z = domain.factual.clone()
    margin = problem.margin(z[:, None])[:, 0]
    active = torch.arange(len(z), device=z.device)
    for _ in range(min(domain.n_features, int(problem.max_changes.max()))):
        part, here = problem.take(active), z[active]
        trial, live = pushes(part, here)
        got, move = part.margin(trial, live).max(1)
        better = got > margin[active]
        active, got, move = active[better], got[better], move[better]
        z[active] = trial[better, move]
        margin[active] = got
        active = active[got < problem.floor]
        if len(active) == 0:
            break
    rows = (margin >= problem.floor).nonzero()[:, 0]
    pool = Pool.empty(problem, size)
    if len(rows) == 0:
        return pool
    part = problem.take(rows)
    lean, cost = undo_changes(part, z[rows])
    found = Pool.of(part, lean[:, None], cost[:, None], size)
    return pool.scattered(rows, found)


def pushes(problem: Problem, here: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (k, K, D) one further change away from ``here`` (k, D), and which are permitted."""
    domain, width = problem.domain, here.shape[1]
    own = torch.eye(width, dtype=torch.bool, device=here.device)
    changed = domain.changed(here[:, None])[:, 0]
    may = domain.allowed & ~changed[:, domain.groups]
    may &= (changed.sum(1) < problem.max_changes)[:, None]
    pushes, flags = [], []
    for bound in (domain.lower, domain.upper):
        for share in SHARES:
            value = bound
            if share < 1:
                inside = domain.factual + share * (bound - domain.factual)
                value = domain.snap(torch.where(domain.scalar, inside, domain.factual))
            pushes.append(torch.where(own & domain.scalar, value[:, None], here[:, None]))
            flags.append(may & domain.scalar)
    feature = domain.groups[:, None] == domain.groups
    level = torch.where(own, 0.5**0.5, 0.0).to(here.dtype)
    pushes.append(torch.where(feature & ~domain.scalar, level, here[:, None]))
    flags.append(may & ~domain.scalar)
    trial, live = torch.cat(pushes, 1), torch.cat(flags, 1)
    step = (trial - here[:, None]).abs().amax(-1)
    # An open interval has no end to go to.
    return trial, live & (step > TOLERANCE) & (step < torch.inf)
