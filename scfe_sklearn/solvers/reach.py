"""Margin first: some valid point of a wide row whose budget is tight."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.proximal.feature_sets import FeatureSets
from scfe_sklearn.solvers.domain import TOLERANCE
from scfe_sklearn.solvers.problem import Problem

CELLS = 2**25
"""Coordinates of swapped points that are held at once."""


@dataclass(frozen=True)
class Reach:
    """How hard a valid point is looked for.

    Parameters
    ----------
    rises : tuple of (float, float, float)
        For each try the first and the last length of its steps, in units of the length that the
        slope at the factual asks for, and the inertia of their direction. A later try is for
        the rows that the ones before it did not help.
    steps : int
        Steps of a try.
    leaves, enters : int
        Features that are tried to leave and to enter the support, every pair of them.
    swaps : int
        Rounds of swaps at most.
    """

    rises: tuple[tuple[float, float, float], ...] = (
        (8.0, 0.4, 0.5),
        (16.0, 0.8, 0.3),
        (4.0, 0.2, 0.9),
    )
    steps: int = 80
    leaves: int = 8
    enters: int = 32
    swaps: int = 20


def reach(
    problem: Problem, sets: FeatureSets, anchors: torch.Tensor, settings: Reach
) -> torch.Tensor:
    """Look for the largest margin within the budget, until every row is valid.

    Projected gradient ascent with steps so long that the support changes with the gradient,
    which then shorten; where it stops short, single features are swapped, judged by the margin
    itself instead of its slope; then the same with other lengths.

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    sets : FeatureSets
        Their admissible sets.
    anchors : Tensor of shape (T, D)
        Training rows of the target: the last try starts towards the nearest.
    settings : Reach
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
    for (first, last, inertia), aimed in zip(rises, toward, strict=False):
        if len(left) == 0:
            break
        part, some = problem.take(left), sets.take(left)
        z = part.domain.factual
        if aimed:
            z = z + some.project(anchors[torch.cdist(z, anchors).argmin(1)] - z, part.max_changes)
        lengths = (first * unit[left], last * unit[left])
        z, margin = _rise(part, some, z, lengths, inertia, settings.steps)
        short = (margin < problem.floor).nonzero()[:, 0]
        if len(short):
            z[short], margin[short] = _swap(part.take(short), z[short], settings)
        better = margin > most[left]
        best[left[better]], most[left[better]] = z[better], margin[better]
        left = left[margin < problem.floor]
    return best


def _unit(problem: Problem) -> torch.Tensor:
    """Length (n,) of the change that the margin's slope at the factual asks for."""
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
    """Raise the margin from ``z`` (n, D); returns the best points met and their margins."""
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
        # What is at its bound already would only shorten the rest.
        stuck = torch.where(slope > 0, z >= domain.upper, z <= domain.lower) & domain.scalar
        slope = torch.where(stuck, torch.zeros_like(slope), slope)
        way = inertia * way + slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-12)
        length = lengths[0] * (lengths[1] / lengths[0].clamp_min(1e-300)) ** (step / steps)
        ahead = z - domain.factual + length[:, None] * way
        z = domain.factual + sets.project(ahead, problem.max_changes)
    return best, most


def _swap(problem: Problem, z: torch.Tensor, settings: Reach) -> tuple[torch.Tensor, torch.Tensor]:
    """Swap single numbers of the support for the pair with the largest margin, round by round."""
    z = z.clone()
    most, slope = problem.objective.margin_and_grad(z)
    left = torch.arange(len(z), device=z.device)
    size = max(CELLS // (settings.leaves * settings.enters * z.shape[1]), 1)
    for _ in range(settings.swaps):
        kept = []
        for rows in left.split(size):
            part = problem.take(rows)
            trial, live = _pairs(part, z[rows], slope[rows], settings)
            got, pair = part.margin(trial, live).max(1)
            better = (got > most[rows] + 1e-9).nonzero()[:, 0]
            rows = rows[better]
            z[rows], most[rows] = trial[better, pair[better]], got[better]
            kept.append(rows[most[rows] < problem.floor])
        left = torch.cat(kept)
        if len(left) == 0:
            break
        _, slope[left] = problem.objective.take(left).margin_and_grad(z[left])
    return z, most


def _pairs(
    problem: Problem, z: torch.Tensor, slope: torch.Tensor, settings: Reach
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (n, K, D) with one number back at its factual and another pushed to its bound.

    Those whose linear model promises most are paired; the flags (n, K) tell which pairs exist.
    """
    domain = problem.domain
    change = z - domain.factual
    inside = (change.abs() > TOLERANCE) & domain.scalar
    bound = torch.where(slope > 0, domain.upper, domain.lower)
    # An unbounded number is pushed as far as the largest change so far.
    far = change.abs().amax(1, keepdim=True).clamp_min(1.0)
    bound = torch.maximum(torch.minimum(bound, domain.factual + far), domain.factual - far)
    bound = domain.snap(torch.where(domain.scalar, bound, z))
    outside = torch.full_like(z, -torch.inf)
    free = ~inside & domain.scalar & domain.allowed
    gain = torch.where(free, slope * (bound - z), outside)
    spare = torch.where(inside, -slope * change, outside)
    count = min(settings.leaves, z.shape[1]), min(settings.enters, z.shape[1])
    leave, enter = spare.topk(count[0], dim=1), gain.topk(count[1], dim=1)
    n, K = len(z), count[0] * count[1]
    out = leave.indices[:, :, None].expand(n, *count).reshape(n, K, 1)
    into = enter.indices[:, None, :].expand(n, *count).reshape(n, K, 1)
    trial = z[:, None].repeat(1, K, 1)
    trial.scatter_(2, out, domain.factual.gather(1, out[..., 0])[..., None])
    trial.scatter_(2, into, bound.gather(1, into[..., 0])[..., None])
    live = ((leave.values > -torch.inf)[:, :, None] & (enter.values > 0)[:, None]).reshape(n, K)
    if domain.n_features < z.shape[1]:
        # A number may leave a feature of several, which then stays changed.
        live &= domain.changed(trial).sum(-1) <= problem.max_changes[:, None]
    return trial, live
