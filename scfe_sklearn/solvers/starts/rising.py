"""Greedy starts for rows of very many features, by the largest margins."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from scfe_sklearn._utils import least, repeated
from scfe_sklearn.solvers.problem import (
    BUCKETS,
    EQUAL,
    Pool,
    Problem,
    feature_key,
    support_key,
)
from scfe_sklearn.solvers.starts import beams
from scfe_sklearn.solvers.starts.beams import ScreenSettings, Singles, collect, gather

LISTED = 512
"""Most single moves that are tried in every round: those of the largest gain."""

RISEN = 1
"""Points to which they are added, of each of two orders."""

TIE = 1e-7
"""Margin per unit of price, so that ties go to the cheaper point."""


def rise(problem: Problem, settings: ScreenSettings, pool: Pool, singles: Singles) -> Pool:
    """Add moves to the points of the largest margins, until one is valid.

    All moves that gain most on their own are tried on the model in every round.
    """
    moves, root = problem.moves, problem.domain.factual[:, None]
    gain = torch.where(singles.permitted & ~_between_equals(problem, singles), singles.gain, 0.0)
    order = least(-gain, LISTED)
    useful = gain.gather(1, order) > 0
    active = torch.arange(len(root), device=root.device)
    known = singles.margin, singles.price, singles.plausibility, singles.permitted
    best = _highest(*known[:2], moves.group.expand_as(gain))
    beam = gather(moves.apply(root, best), *known, best)
    for size in range(2, int(problem.max_changes.max()) + 1):
        keep = (pool.best[active] == torch.inf) & (problem.max_changes[active] >= size)
        active, beam = active[keep], beam.take(keep.nonzero()[:, 0])
        if len(active) == 0:
            break
        part, own, listed = problem.take(active), singles.take(active), order[active]
        changed, group = part.domain.changed(beam.z), moves.group[listed]
        free = ~changed.gather(2, group[:, None].expand(-1, changed.shape[1], -1))
        live = (free & useful[active, None] & beam.live[..., None]).flatten(1)
        price = (beam.price[..., None] + own.price.gather(1, listed)[:, None]).flatten(1)
        lift = own.lift.gather(1, listed)
        plausibility = (beam.plausibility[..., None] + lift[:, None]).flatten(1)
        written = partial(_written, part, beam.z, listed)
        margin = torch.full_like(price, -torch.inf)
        for some in live.nonzero().split(max(1, beams.AT_ONCE // root.shape[2])):
            rows, at = some.T
            margin[rows, at] = part.objective.margin_at(written(rows, at), rows)
        picked = partial(_written_of_rows, written)
        found, plausibility = collect(part, settings, picked, margin, price, plausibility, live)
        pool = pool.scattered(active, found)
        key = support_key(changed)[..., None] + feature_key(group + 1)[:, None]
        best = _highest(margin, price, (key % BUCKETS).flatten(1))
        beam = gather(picked(best), margin, price, plausibility, live, best)
    return pool


def _between_equals(problem: Problem, singles: Singles) -> torch.Tensor:
    """Whether moves (n, M) set a number to a value with the effect of its neighbours.

    The moves of a number are adjacent, with values in rising order.
    """
    at = problem.moves.coordinate
    gain = (singles.gain * EQUAL).round()
    edge = torch.zeros_like(gain[:, :1], dtype=torch.bool)
    joined = (at[1:] == at[:-1]) & problem.domain.scalar[at[1:]]
    same = joined & (gain[:, 1:] == gain[:, :-1])
    return torch.cat([edge, same], 1) & torch.cat([same, edge], 1)


def _highest(margin: torch.Tensor, price: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    """Return the positions of the largest margins of each row, one per support at most.

    Ties go to the cheapest point and to the most expensive one in turn: an end of a range may
    gain more together with others.
    """
    own = (margin * EQUAL).round() / EQUAL
    found = []
    for way in (TIE, -TIE):
        order = (way * price - own).argsort(dim=1, stable=True)
        twin = repeated(support.gather(1, order))
        found.append(order.gather(1, twin.to(torch.uint8).argsort(dim=1, stable=True)[:, :RISEN]))
    return torch.cat(found, 1)


def _written(
    problem: Problem, z: torch.Tensor, listed: torch.Tensor, rows: torch.Tensor, at: torch.Tensor
) -> torch.Tensor:
    """Return some of the points ``z`` (n, B, D) after moves of a list (n, G): (k, D).

    The list is applied to the first point, then to the second; ``at`` (k,) counts all of these.
    """
    moves, move = problem.moves, listed[rows, at % listed.shape[1]]
    points, coordinate = z[rows, at // listed.shape[1]], moves.coordinate[move]
    level = (~problem.domain.scalar[coordinate]).nonzero()[:, 0]
    if len(level):
        points[level] *= moves.keeps[move[level]]
    return points.scatter_(1, coordinate[:, None], moves.value[move, None])


def _written_of_rows(
    written: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], order: torch.Tensor
) -> torch.Tensor:
    rows = torch.arange(len(order), device=order.device)[:, None].expand_as(order)
    return written(rows.flatten(), order.flatten()).unflatten(0, order.shape)
