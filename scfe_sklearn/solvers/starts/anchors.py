"""Starts from training rows of the target class, within the rules."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn._utils import first_flagged
from scfe_sklearn.solvers.problem import TOLERANCE, Domain, Pool, Problem

CHUNK = 4_000_000
"""Coordinates compared at once."""

UNDONE = 2**24
"""Coordinates of points with one change undone that are held at once."""

SHARES = 4
"""One in `SHARES` tries goes to the nearest affordable anchors, one to the nearest of all."""

SAMPLED = 1024
"""Anchors from which the rest of the tries are drawn."""


@dataclass(frozen=True)
class RecallSettings:
    """Settings of `recall`.

    Parameters
    ----------
    anchors : int
        Training rows tried per row.
    beyond : int
        Most changes of an answer whose row is not tried.
    undone : int
        Valid ones per row whose changes are undone, without a gradient.
    undoable : int
        Least budget for which rows of very many features are tried without a gradient.
    """

    anchors: int = 24
    beyond: int = 3
    undone: int = 8
    undoable: int = 16


def recall(problem: Problem, anchors: torch.Tensor, settings: RecallSettings, size: int) -> Pool:
    """Start from near training rows of the target class, and undo changes.

    A row takes over from a training row all levels that its rules permit, and of the numbers the
    nearest that they permit. Where they permit all of them it becomes a row that is already
    predicted to have the target: so a row is answered whenever the rules let it become any of
    the anchors and the budget is not binding. Half of the tries are spread over all distances:
    within tight rules the nearest anchors may all lead to the same few points.

    Parameters
    ----------
    problem : Problem
        n rows, all with the same target.
    anchors : Tensor of shape (T, D)
        Training rows that are predicted to have the target.
    settings : RecallSettings
        How many are tried.
    size : int
        Size of the pool that is returned.

    Returns
    -------
    Pool
        Valid points within the budget.
    """
    n = len(problem)
    if n == 0 or len(anchors) == 0:
        return Pool.empty(problem, size)
    chunk = max(1, CHUNK // anchors.numel())
    starts = [
        _nearest_hybrids(problem.take(index), anchors, settings.anchors)
        for index in torch.arange(n, device=anchors.device).split(chunk)
    ]
    z = torch.cat([part[0] for part in starts])
    there = torch.cat([part[1] for part in starts])
    valid = problem.valid(z, there)
    if not problem.objective.has_gradient:
        # Undoing takes many evaluations: only the nearest are used.
        distance = torch.where(valid, problem.sparse_distance(z), torch.inf)
        valid &= distance.argsort(dim=1, stable=True).argsort(1) < settings.undone
    instance = valid.nonzero()
    if len(instance) == 0:
        return Pool.empty(problem, size)
    rows, entry = instance[:, 0], instance[:, 1]
    part = problem.take(rows)
    lean, price = undo_changes(part, z[rows, entry])
    z[rows, entry] = lean
    cost = torch.full_like(valid, torch.inf, dtype=z.dtype)
    cost[rows, entry] = price
    return Pool.of(problem, z, cost, size)


def hybrids(domain: Domain, anchors: torch.Tensor) -> torch.Tensor:
    """Return the permitted points (n, T, D) nearest to ``anchors``, (T, D) or (n, T, D)."""
    factual = domain.factual[:, None]
    # Numbers are clipped to their interval.
    nearest = torch.minimum(torch.maximum(anchors, domain.lower[:, None]), domain.upper[:, None])
    # A level is copied with its whole feature; only the vertex coordinate must be allowed.
    refuses = ~domain.scalar & ~domain.allowed[:, None] & (anchors > TOLERANCE)
    refused = torch.zeros(
        *refuses.shape[:2], domain.n_features, dtype=anchors.dtype, device=anchors.device
    ).index_add_(2, domain.groups, refuses.to(anchors.dtype))
    blocked = (refused > 0)[..., domain.groups]
    # Staying is always permitted, even outside the interval.
    stays = ((anchors - factual).abs() <= TOLERANCE) | ~domain.allowed[:, None]
    number = torch.where(stays, factual, nearest)
    return torch.where(domain.scalar, number, torch.where(blocked, factual, anchors))


def nearest_anchors(domain: Domain, anchors: torch.Tensor, count: int) -> torch.Tensor:
    """Return the training rows (n, K, D) nearest to each row along what may change."""
    moves = domain.allowed & (domain.upper > domain.lower)
    weight = moves.to(anchors.dtype)
    # The square is expanded: a product of matrices in place of n T D differences.
    apart = weight @ anchors.square().T - 2 * (weight * domain.factual) @ anchors.T
    return anchors[apart.topk(min(count, len(anchors)), dim=1, largest=False).indices]


def _nearest_hybrids(
    problem: Problem, anchors: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return hybrids (n, K, D) with the nearest anchors and whether each stands (n, K)."""
    hybrid = hybrids(problem.domain, anchors)
    distance = ((hybrid - problem.domain.factual[:, None]) ** 2).sum(-1)
    whole = ((hybrid - anchors).abs() <= TOLERANCE).all(-1)
    share = max(count // SHARES, 1)
    # Anchors within the rules are valid.
    sure = torch.where(whole, distance, torch.full_like(distance, torch.inf))
    first = sure.topk(min(share, sure.shape[1]), dim=1, largest=False)
    taken = torch.where(first.values < torch.inf, torch.inf, distance.gather(1, first.indices))
    rest = distance.scatter(1, first.indices, taken)
    second = rest.topk(min(share, rest.shape[1]), dim=1, largest=False)
    rest = rest.scatter(1, second.indices, torch.inf)
    third = _spread(rest, max(count - 2 * share, 0))
    order = torch.cat([first.indices, second.indices, third], 1)
    there = torch.cat([first.values, second.values, rest.gather(1, third)], 1)
    z = hybrid.gather(1, order[..., None].expand(-1, -1, hybrid.shape[2]))
    return z, (there > TOLERANCE) & (there < torch.inf)


def _spread(distance: torch.Tensor, count: int) -> torch.Tensor:
    """Return positions (n, count) spread over the ranks of the distances (n, T), ends included.

    Ranks are taken in an even sample of the columns.
    """
    n, total = distance.shape
    size = min(total, SAMPLED)
    sample = torch.arange(size, device=distance.device) * total // max(size, 1)
    order = distance[:, sample].argsort(1)
    finite = (distance[:, sample] < torch.inf).sum(1, keepdim=True)
    steps = torch.linspace(0, 1, min(count, size), dtype=distance.dtype, device=distance.device)
    rank = (steps * (finite - 1).clamp_min(0)).round().long().expand(n, -1)
    return sample[order.gather(1, rank)]


def undo_changes(problem: Problem, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Undo changes of valid points, and return the cheapest point on the way, some at a time.

    Parameters and results are those of `_undo_changes`.
    """
    if len(z) == 0:
        return z, z[:, 0]
    most = int(problem.domain.changed(z[:, None]).sum(-1).max())
    size = max(1, UNDONE // (max(most, 1) * z.shape[1]))
    if len(z) <= size:
        return _undo_changes(problem, z)
    parts = [
        _undo_changes(problem.take(index), z[index])
        for index in torch.arange(len(z), device=z.device).split(size)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _undo_changes(problem: Problem, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Undo changes of valid points, and return the cheapest point on the way.

    In each round every change is undone on its own, which gives them an order: by the margin
    that is left, per price saved. Then the first of this order are undone together, the first
    two, and so on, as far as the points stay valid. So a round is two calls of the model,
    and after the last one no change can be undone. The fewest changes are not always the
    cheapest answer: some of them may be what makes it plausible.

    Parameters
    ----------
    problem : Problem
        n instances.
    z : Tensor of shape (n, D)
        Valid points.

    Returns
    -------
    z : Tensor of shape (n, D)
        The cheapest points within the budget, of those with the fewest changes where none is.
    cost : Tensor of shape (n,)
        Their objective, infinite where the budget is exceeded.
    """
    domain = problem.domain
    best, cost = z.clone(), _affordable(problem, z[:, None])[:, 0]
    here, active = z, torch.arange(len(z), device=z.device)
    while len(active):
        part = problem.take(active)
        changed = part.domain.changed(here[:, None])[:, 0]
        count = int(changed.sum(1).max())
        if count <= 1:
            break
        there, features = first_flagged(changed, count)
        there &= (changed.sum(1) > 1)[:, None]
        owns = domain.groups == features[..., None]
        factual = part.domain.factual[:, None]
        undone = torch.where(owns, factual, here[:, None])
        margin = part.margin(undone, there)
        saved = part.sparse_distance(here[:, None]) - part.sparse_distance(undone)
        score = (margin - problem.floor) * (saved + 1e-6)
        score = torch.where(margin >= problem.floor, score, torch.full_like(score, -torch.inf))
        score, order = score.sort(dim=1, descending=True, stable=True)
        # At least one change stays.
        may = (score > -torch.inf) & (torch.arange(count, device=z.device) < count - 1)
        may &= torch.arange(1, count + 1, device=z.device) < changed.sum(1, keepdim=True)
        keep = may[:, 0].nonzero()[:, 0]
        if len(keep) == 0:
            break
        part, active, may, order = part.take(keep), active[keep], may[keep], order[keep]
        owns = owns[keep].gather(1, order[..., None].expand(-1, -1, owns.shape[2]))
        together = owns.to(torch.uint8).cumsum(1) > 0
        tried = torch.where(together, part.domain.factual[:, None], here[keep][:, None])
        # The first one is valid.
        valid = part.valid(tried[:, 1:], may[:, 1:])
        valid = torch.cat([may[:, :1], valid], 1).cumprod(1).bool()
        price = _affordable(part, tried, valid)
        least, place = price.min(1)
        fewer = tried.gather(1, place[:, None, None].expand(-1, 1, z.shape[1]))[:, 0]
        last = valid.sum(1) - 1
        here = tried.gather(1, last[:, None, None].expand(-1, 1, z.shape[1]))[:, 0]
        # Above the budget, fewer changes are better.
        fewer = torch.where((least < torch.inf)[:, None], fewer, here)
        better = (least < cost[active]) | (cost[active] == torch.inf)
        best[active[better]], cost[active[better]] = fewer[better], least[better]
    return best, cost


def _affordable(
    problem: Problem, z: torch.Tensor, where: torch.Tensor | None = None
) -> torch.Tensor:
    """Objective (n, K) of valid points ``z`` (n, K, D); infinite above the budget."""
    fits = problem.domain.changed(z).sum(-1) <= problem.max_changes[:, None]
    fits = fits if where is None else fits & where
    cost = problem.sparse_distance(z) - problem.plausibility(z, fits)
    return torch.where(fits, cost, torch.full_like(cost, torch.inf))
