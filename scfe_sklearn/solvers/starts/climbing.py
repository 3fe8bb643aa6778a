"""Starts by the largest margins: features pushed one by one, and nearest misses."""

from __future__ import annotations

import torch

from scfe_sklearn.solvers.problem import TOLERANCE, VERTEX, Pool, Problem
from scfe_sklearn.solvers.starts.anchors import undo_changes

SHARES = (0.5, 1.0)
"""Lengths of pushes, as shares of the distance from the factual to an end of the interval."""


PUSHES = 1024
"""Pushes that are tried after the first one: the best single ones."""

PUSHED = 2**24
"""Coordinates of pushed points that are held at once."""

ROUNDS = 2
"""Rounds in which `nearest_miss` tries every feature."""


def climb(problem: Problem, size: int) -> Pool:
    """Climb in chunks of rows; see `_climb`."""
    width = problem.domain.factual.shape[1]
    at_once = max(1, PUSHED // ((2 * len(SHARES) + 1) * width**2))
    if len(problem) <= at_once:
        return _climb(problem, size)
    pool = Pool.empty(problem, size)
    for index in torch.arange(len(problem), device=pool.z.device).split(at_once):
        pool = pool.scattered(index, _climb(problem.take(index), size))
    return pool


def _climb(problem: Problem, size: int) -> Pool:
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
    useful: torch.Tensor | None = None
    for _ in range(min(domain.n_features, int(problem.max_changes.max()))):
        part, here = problem.take(active), z[active]
        trial, live = pushes(part, here)
        if useful is not None:
            live &= useful[active]
        tried = part.margin(trial, live)
        if useful is None and tried.shape[1] > PUSHES:
            useful = torch.zeros_like(live)
            useful.scatter_(1, tried.topk(PUSHES, dim=1).indices, True)
        got, move = tried.max(1)
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


def pushes(
    problem: Problem, here: torch.Tensor, chosen: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (k, K, D) one further change away from ``here`` (k, D); whether permitted.

    ``chosen`` (D,) are the coordinates that are pushed; None for all.
    """
    domain = problem.domain
    changed = domain.changed(here[:, None])[:, 0]
    may = domain.allowed & ~changed[:, domain.groups]
    may &= (changed.sum(1) < problem.max_changes)[:, None]
    of_number, of_level = domain.scalar, ~domain.scalar
    if chosen is not None:
        of_number, of_level = of_number & chosen, of_level & chosen
    numbers, levels = of_number.nonzero()[:, 0], of_level.nonzero()[:, 0]
    values = []
    for bound in (domain.lower, domain.upper):
        for share in SHARES:
            value = bound
            if share < 1:
                inside = domain.factual + share * (bound - domain.factual)
                value = domain.snap(torch.where(domain.scalar, inside, domain.factual))
            values.append(value[:, numbers])
    value, at = torch.cat(values, 1), numbers.repeat(len(values))
    trial = here[:, None].repeat(1, len(at) + len(levels), 1)
    trial[:, torch.arange(len(at), device=at.device), at] = value
    step = (value - here[:, at]).abs()
    if len(levels):
        own = torch.arange(len(domain.groups), device=levels.device) == levels[:, None]
        feature = domain.groups[levels, None] == domain.groups
        level = torch.where(own, VERTEX, 0.0).to(here.dtype)
        trial[:, len(at) :] = torch.where(feature, level, here[:, None])
        moved = (trial[:, len(at) :] - here[:, None]).abs().amax(-1)
        step = torch.cat([step, moved], 1)
    live = torch.cat([may[:, at], may[:, levels]], 1)
    # An open interval has no end.
    return trial, live & (step > TOLERANCE) & (step < torch.inf)


def nearest_miss(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Raise the margin as far as the rules and the budget permit.

    One feature after the other is pushed to the value that raises the margin most; then every
    change is tried anew beside the others.

    Parameters
    ----------
    problem : Problem
        n rows.

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
    for _ in range(ROUNDS):
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
