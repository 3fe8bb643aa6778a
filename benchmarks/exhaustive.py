"""The best answer that changes two numbers, by trying all pairs of features on zooming grids.

It shares no code with the solvers: it knows a cost per point and a box per row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

CHUNK = 2**16

Cost = Callable[[torch.Tensor], torch.Tensor]
"""Points (k, D) to costs (k,), infinite where the model does not give the target."""


def best_pair(
    cost: Cost,
    factual: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
    *,
    grid: int = 41,
    per_pair: int = 3,
    finalists: int = 32,
    zooms: int = 30,
) -> tuple[torch.Tensor, float]:
    """Minimise ``cost`` over all points that differ from ``factual`` (D,) in at most two places.

    Every pair of coordinates gets a grid over its box, with the factual value on both axes (a
    single change is a pair of which one half stays). The best cells of every pair compete, and
    around the finalists a grid of 15 x 15 points shrinks ``zooms`` times by the factor 0.7,
    always about the best point so far; slowly enough to slide along a curved boundary.

    Returns the point and its cost, which is infinite if no valid point was met.
    """
    pairs = torch.tensor(list(itertools.combinations(range(len(factual)), 2)))
    width = (upper - lower) / (grid - 1)
    axes = torch.cat(
        [lower[:, None] + width[:, None] * torch.arange(grid), factual[:, None]], dim=1
    ).clamp(lower[:, None], upper[:, None])
    starts, values, owners = [], [], []
    for pair in pairs:
        points = _crossed(factual, pair[None], axes[pair[0]][None], axes[pair[1]][None])[0]
        value, index = _costs(cost, points).topk(per_pair, largest=False)
        starts.append(points[index])
        values.append(value)
        owners.append(pair.expand(per_pair, 2))
    value, order = torch.cat(values).topk(min(finalists, per_pair * len(pairs)), largest=False)
    order = order[value < torch.inf]
    value = value[value < torch.inf]
    if len(order) == 0:
        return factual, float("inf")
    point, pair = torch.cat(starts)[order], torch.cat(owners)[order]
    rows, radius = torch.arange(len(order)), width[pair]
    ticks = torch.linspace(-1, 1, 15)
    for _ in range(zooms):
        first, second = (
            (point[rows, pair[:, k]][:, None] + radius[:, k, None] * ticks).clamp(
                lower[pair[:, k]][:, None], upper[pair[:, k]][:, None]
            )
            for k in (0, 1)
        )
        around = _crossed(factual, pair, first, second)
        best, index = _costs(cost, around.flatten(0, 1)).reshape(len(rows), -1).min(dim=1)
        better = best < value
        point = torch.where(better[:, None], around[rows, index], point)
        value = torch.minimum(value, best)
        radius = radius * 0.7
    winner = value.argmin()
    return point[winner], float(value[winner])


def _crossed(
    factual: torch.Tensor, pair: torch.Tensor, first: torch.Tensor, second: torch.Tensor
) -> torch.Tensor:
    """Points (p, a * b, D) with all combinations of values (p, a) and (p, b) of pairs (p, 2)."""
    count, a, b = len(pair), first.shape[1], second.shape[1]
    points = factual.repeat(count, a, b, 1)
    rows = torch.arange(count)
    points[rows, :, :, pair[:, 0]] = first[:, :, None].expand(count, a, b)
    points[rows, :, :, pair[:, 1]] = second[:, None, :].expand(count, a, b)
    return points.flatten(1, 2)


def _costs(cost: Cost, points: torch.Tensor) -> torch.Tensor:
    return torch.cat([cost(part) for part in points.split(CHUNK)])
