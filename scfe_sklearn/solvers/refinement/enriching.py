"""Add changes that make an answer more plausible, towards the training rows around it.

A change that the margin does not need pays if it moves the answer towards rows of the target
class. The nearest of these rows suggest it, without the model or the density.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.problem import Pool, Problem

CHUNK = 4_000_000
"""Distances computed at once."""

EXACT = 9
"""Decimals of squared distances that count."""


@dataclass(frozen=True)
class EnrichSettings:
    """Settings of `enrich`.

    Parameters
    ----------
    neighbours : int
        Training rows around an answer that suggest changes.
    starts : int
        Answers per row that are extended.
    moves : int
        Further changes of each that are tried on the model.
    rounds : int
        Most changes that are added, as long as they pay.
    """

    neighbours: int = 20
    starts: int = 1
    moves: int = 8
    rounds: int = 1


def enrich(problem: Problem, pool: Pool, anchors: torch.Tensor, settings: EnrichSettings) -> Pool:
    """Add changes to the first points of the pool if they lower the objective.

    Parameters
    ----------
    problem : Problem
        n rows, all with the same target.
    pool : Pool
        Valid points.
    anchors : Tensor of shape (T, D)
        Training rows that are predicted to have the target.
    settings : EnrichSettings
        Settings.

    Returns
    -------
    Pool
        The pool with the points that were found.
    """
    if len(problem.moves) == 0 or len(anchors) == 0:
        return pool
    starts = min(settings.starts, pool.cost.shape[1])
    active = torch.arange(len(problem), device=pool.z.device)
    for _ in range(settings.rounds):
        part, now = problem.take(active), Pool(pool.z[active], pool.cost[active])
        best = part.objective.best_plausibility(torch.arange(len(active), device=active.device))
        z = now.z[:, :starts]
        # Least cost of a further change.
        price = part.sparse_distance(z) + (part.beta * part.least_cost)[:, None]
        room = part.domain.changed(z).sum(-1) < part.max_changes[:, None]
        worth = (
            (now.cost[:, :starts] < torch.inf) & room & (price - best[:, None] < now.best[:, None])
        )
        rows, entry = worth.nonzero().T
        if len(rows) == 0:
            break
        tried, selected = _extended(part.take(rows), z[rows, entry], anchors, settings)
        there = part.take(rows)
        selected &= there.sparse_distance(tried) - best[rows, None] < now.best[rows, None]
        valid, plausibility = there.evaluate(tried, selected)
        cost = there.sparse_distance(tried) - plausibility
        cost = torch.where(valid, cost, torch.full_like(cost, torch.inf))
        points = part.domain.factual[:, None, None].repeat(1, starts, tried.shape[1], 1)
        costs = points.new_full(points.shape[:3], torch.inf)
        points[rows, entry], costs[rows, entry] = tried, cost
        after = now.merged(part, points.flatten(1, 2), costs.flatten(1))
        pool = pool.scattered(active, after)
        active = active[after.best < now.best]
        if len(active) == 0:
            break
    return pool


def _extended(
    problem: Problem, z: torch.Tensor, anchors: torch.Tensor, settings: EnrichSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (k, K, D) one move further than ``z`` (k, D), and whether they are permitted.

    The moves are those that come nearest to the training rows around: a row counts by how much
    its squared distance shrinks, and one that gets farther away does not count.
    """
    moves = problem.moves
    owner = problem.domain.owner.to(z.dtype)
    size = max(1, CHUNK // len(anchors))
    gains = []
    for part in z.split(size):
        around = anchors[_nearest(part, anchors, settings.neighbours)]
        # By feature: the distance, and the distance without the coordinate that is set.
        before = (part[:, None] - around) ** 2 @ owner
        beside = before - around**2 @ owner
        after = moves.value * (moves.value - 2 * around[..., moves.coordinate])
        gains.append((beside[..., moves.group] - after).clamp_min_(0).mean(1))
    gain = torch.cat(gains)
    changed = problem.domain.changed(z[:, None])[:, 0]
    may = moves.permitted(problem.domain) & ~changed[:, moves.group] & (gain > 1e-9)
    # Moves of equal gain keep their order despite rounding.
    gain = torch.where(may, gain.round(decimals=EXACT), torch.full_like(gain, -torch.inf))
    best = gain.topk(min(settings.moves, gain.shape[1]), dim=1)
    return moves.apply(z[:, None], best.indices), best.values > -torch.inf


def _nearest(z: torch.Tensor, anchors: torch.Tensor, count: int) -> torch.Tensor:
    """Positions (k, count) of the anchors nearest to ``z`` (k, D)."""
    squared = (anchors**2).sum(1) - 2 * z @ anchors.T
    # Equal distances must be equal in every batch.
    squared = squared.round_(decimals=EXACT)
    return squared.topk(min(count, len(anchors)), dim=1, largest=False).indices
