"""Find a valid point of wide rows with a tight budget."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.proximal.feature_sets import FeatureSets
from scfe_sklearn.solvers.problem import TOLERANCE, Problem

CELLS = 2**25
"""Coordinates of swapped points that are held at once."""


@dataclass(frozen=True)
class ReachSettings:
    """Settings of `reach`.

    Parameters
    ----------
    rises : tuple of (float, float, float)
        For each try the first and the last length of its steps, in units of the length that the
        slope at the factual suggests, and the inertia of their direction. Later tries are for
        the rows that are left.
    steps : int
        Steps of a try.
    leaves, enters : int
        Numbers that are tried to leave and to enter the support, by their slopes.
    pairs : int
        Swaps that are tried, by the sum of their two measured effects.
    swaps : int
        Rounds of swaps at most.
    """

    rises: tuple[tuple[float, float, float], ...] = (
        (8.0, 0.4, 0.5),
        (16.0, 0.8, 0.3),
        (4.0, 0.2, 0.9),
    )
    steps: int = 80
    leaves: int = 32
    enters: int = 128
    pairs: int = 256
    swaps: int = 20


def reach(
    problem: Problem, sets: FeatureSets, anchors: torch.Tensor, settings: ReachSettings
) -> torch.Tensor:
    """Raise the margin within the budget, until every row is valid.

    Projected gradient ascent starts with steps that are long enough to change the support, and
    shortens them. If it fails, single numbers are swapped by the margin itself; then the same
    follows with other lengths. Rows that are left try all numbers at both ends, from the end of
    each ascent: a number may have no slope there, and an effect at larger values.

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    sets : FeatureSets
        Their admissible sets.
    anchors : Tensor of shape (T, D)
        Training rows of the target: the last try starts towards the nearest.
    settings : ReachSettings
        Lengths of the search.

    Returns
    -------
    Tensor of shape (n, D)
        Admissible points within the budget, of the largest margin found.
    """
    factual = problem.domain.factual
    best = factual.clone()
    most = problem.margin(factual[:, None])[:, 0]
    unit = _unit(problem)
    left = (most < problem.floor).nonzero()[:, 0]
    toward = [False] * len(settings.rises) + [True] * bool(len(anchors))
    rises = (*settings.rises, *settings.rises[-1:])
    ends = []
    for (first, last, inertia), aimed in zip(rises, toward, strict=False):
        if len(left) == 0:
            return best
        part, some = problem.take(left), sets.take(left)
        z = part.domain.factual
        if aimed:
            z = z + some.project(anchors[torch.cdist(z, anchors).argmin(1)] - z, part.max_changes)
        lengths = (first * unit[left], last * unit[left])
        z, margin = _rise(part, some, z, lengths, inertia, settings.steps)
        z, margin = _swap(part, z, margin, settings)
        ends.append(factual.index_copy(0, left, z))
        left = _kept(best, most, left, z, margin)[margin < problem.floor]
    for end in ends:
        if len(left) == 0:
            return best
        part = problem.take(left)
        z, margin = _swap(part, end[left], part.margin(end[left][:, None])[:, 0], settings, True)
        left = _kept(best, most, left, z, margin)[margin < problem.floor]
    return best


def _kept(
    best: torch.Tensor, most: torch.Tensor, rows: torch.Tensor, z: torch.Tensor, got: torch.Tensor
) -> torch.Tensor:
    """Update the ``best`` points and their margins; return the ``rows``."""
    better = got > most[rows]
    best[rows[better]], most[rows[better]] = z[better], got[better]
    return rows


def _unit(problem: Problem) -> torch.Tensor:
    """Length (n,) of the change that the margin's slope at the factual suggests."""
    domain = problem.domain
    margin, slope = problem.objective.margin_and_grad(domain.factual)
    strength = torch.where(domain.allowed, slope, torch.zeros_like(slope)).square()
    width = min(int(problem.max_changes.max()), strength.shape[1])
    top = strength.topk(width, dim=1).values
    own = torch.arange(width, device=top.device) < problem.max_changes[:, None]
    return (problem.floor - margin).clamp_min(0) / (top * own).sum(1).sqrt().clamp_min(1e-12)


def _rise(
    problem: Problem,
    sets: FeatureSets,
    z: torch.Tensor,
    lengths: tuple[torch.Tensor, torch.Tensor],
    inertia: float,
    steps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Raise the margin from ``z`` (n, D); return the best points and their margins."""
    domain = problem.domain
    best, most = z.clone(), torch.full_like(lengths[0], -torch.inf)
    way = torch.zeros_like(z)
    for step in range(steps + 1):
        margin, slope = problem.objective.margin_and_grad(z)
        better = margin > most
        best = torch.where(better[:, None], z, best)
        most = torch.where(better, margin, most)
        if step == steps:
            break
        # Coordinates at their bound would only shorten the rest.
        stuck = torch.where(slope > 0, z >= domain.upper, z <= domain.lower) & domain.scalar
        slope = torch.where(stuck, torch.zeros_like(slope), slope)
        way = inertia * way + slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-12)
        length = lengths[0] * (lengths[1] / lengths[0].clamp_min(1e-300)) ** (step / steps)
        ahead = z - domain.factual + length[:, None] * way
        z = domain.factual + sets.project(ahead, problem.max_changes)
    return best, most


def _swap(
    problem: Problem,
    z: torch.Tensor,
    margin: torch.Tensor,
    settings: ReachSettings,
    everything: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Swap numbers of the support, or set them again, while that raises the margin.

    ``everything`` tries all numbers at both ends instead of those that the slope favours.
    """
    z, most = z.clone(), margin.clone()
    left = (most < problem.floor).nonzero()[:, 0]
    count = 2 * z.shape[1] if everything else min(settings.enters, z.shape[1])
    size = max(CELLS // (max(count, settings.pairs) * z.shape[1]), 1)
    for _ in range(settings.swaps):
        if len(left) == 0:
            break
        kept = []
        for rows in left.split(size):
            here = problem.take(rows)
            entering = _ends(here, z[rows]) if everything else _promising(here, z[rows], count)
            trial, got = _exchanged(here, z[rows], entering, settings)
            better = got > most[rows] + 1e-9
            rows = rows[better]
            z[rows], most[rows] = trial[better], got[better]
            kept.append(rows[most[rows] < problem.floor])
        left = torch.cat(kept)
    return z, most


Entering = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Coordinates (n, E), their new values, and whether these are changes."""


def _promising(problem: Problem, z: torch.Tensor, count: int) -> Entering:
    """Numbers of the steepest slopes at ``z`` (n, D), each at the end in its direction."""
    _, slope = problem.objective.margin_and_grad(z)
    low, high = _bounds(problem, z)
    goal = torch.where(slope > 0, high, low)
    gain = slope * (goal - z)
    gain = torch.where(problem.domain.scalar & problem.domain.allowed, gain, -torch.inf)
    best = gain.topk(count, dim=1)
    return best.indices, goal.gather(1, best.indices), best.values > 0


def _ends(problem: Problem, z: torch.Tensor) -> Entering:
    """All numbers, at both ends."""
    goal = torch.cat(_bounds(problem, z), 1)
    index = torch.arange(z.shape[1], device=z.device).repeat(2).expand_as(goal)
    free = problem.domain.scalar & problem.domain.allowed
    return index, goal, free.gather(1, index) & ((goal - z.repeat(1, 2)).abs() > TOLERANCE)


def _bounds(problem: Problem, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both ends of every number; the largest change of ``z`` for unbounded ones."""
    domain = problem.domain
    far = (z - domain.factual).abs().amax(1, keepdim=True).clamp_min(1.0)
    low = torch.where(domain.lower.isfinite(), domain.lower, domain.factual - far)
    high = torch.where(domain.upper.isfinite(), domain.upper, domain.factual + far)
    # A level has no ends.
    low, high = (domain.snap(torch.where(domain.scalar, end, z)) for end in (low, high))
    return low, high


def _exchanged(
    problem: Problem, z: torch.Tensor, entering: Entering, settings: ReachSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best points (n, D) with one number set, or one set and another undone.

    With them come their margins (n,). Each number is tried alone first. What two of them do
    together is predicted as a sum, and the best predictions are tried.
    """
    domain = problem.domain
    into, goal, live = entering
    changed = ((z - domain.factual).abs() > TOLERANCE) & domain.scalar
    inside = changed.gather(1, into)
    room = (domain.changed(z).sum(1) < problem.max_changes)[:, None]
    alone = z[:, None].repeat(1, into.shape[1], 1).scatter_(2, into[..., None], goal[..., None])
    gain = problem.margin(alone, live)
    single, place = gain.where(inside | room, -torch.inf).max(1)
    best = alone[torch.arange(len(z)), place]
    del alone
    # Leave: the numbers of the least effect, one by one.
    count = min(settings.leaves, int(changed.sum(1).max()))
    if count == 0:
        return best, single
    _, slope = problem.objective.margin_and_grad(z)
    spare = torch.where(changed, -slope * (z - domain.factual), -torch.inf).topk(count, dim=1)
    out, there = spare.indices, spare.values > -torch.inf
    back = domain.factual.gather(1, out)
    without = z[:, None].repeat(1, count, 1).scatter_(2, out[..., None], back[..., None])
    loss = problem.margin(without, there)
    total = (gain[..., None] + loss[:, None]).nan_to_num(-torch.inf, torch.inf, -torch.inf)
    pairs = total.flatten(1).topk(min(settings.pairs, total[0].numel()), dim=1)
    enters, leaves = pairs.indices // count, pairs.indices % count
    trial = z[:, None].repeat(1, enters.shape[1], 1)
    trial.scatter_(2, out.gather(1, leaves)[..., None], back.gather(1, leaves)[..., None])
    trial.scatter_(2, into.gather(1, enters)[..., None], goal.gather(1, enters)[..., None])
    live = pairs.values > -torch.inf
    if domain.n_features < z.shape[1]:
        # A feature of several numbers stays changed if one leaves.
        live = live & (domain.changed(trial).sum(-1) <= problem.max_changes[:, None])
    double, place = problem.margin(trial, live).max(1)
    first = single >= double
    pair = trial[torch.arange(len(z)), place]
    return torch.where(first[:, None], best, pair), torch.where(first, single, double)
