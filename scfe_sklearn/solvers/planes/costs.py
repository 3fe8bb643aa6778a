"""Costs on a coarse grid in every plane, and lower bounds of the costs around the grid points."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.problem import TOLERANCE, Problem

DOUBT = 0.2
"""Share by which the cost may fall more than differences predict."""


@dataclass(frozen=True, eq=False)
class PlaneCosts:
    """Costs (n, P, V, V) on the grids of P planes, and predictions around the grid points.

    Parameters
    ----------
    pairs : LongTensor of shape (P, 2)
        The two coordinates of each plane.
    values, gap : Tensor of shape (n, P, 2, V); (n, P, 2, V - 1)
        Grid values along them, and the distances between neighbours.
    low, high : Tensor of shape (2, n, P, V)
        Distance to which a grid point predicts: to its neighbours, or to the box.
    cost, slope, bend : Tensor of shape (n, P, V, V); slope and bend for each of two axes
        Costs and their first and second differences.
    lowest : Tensor of shape (n, P, V, V)
        Least cost nearby, by these differences; infinite where the row may not go.
    """

    pairs: torch.Tensor
    values: torch.Tensor
    gap: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    cost: torch.Tensor
    slope: torch.Tensor
    bend: torch.Tensor
    lowest: torch.Tensor

    @classmethod
    def of(cls, problem: Problem, values: torch.Tensor) -> PlaneCosts | None:
        """Compute the costs of all pairs of changes; None where that is not cheap."""
        n, width, count = values.shape
        # Single precision is enough to predict: what comes of it is evaluated anew.
        plausibility = problem.objective.pair_plausibility(
            problem.domain.factual.float(), values.float()
        )
        if plausibility is None:
            return None
        pairs = torch.triu_indices(width, width, 1, device=values.device).T
        i, j = pairs.T
        price, inside = prices(problem, values)
        price = price.float()
        square = plausibility.reshape(n, width, count, width, count)
        cost = price[:, i, :, None] + price[:, j, None, :]
        cost -= square[:, i, :, j, :].permute(1, 0, 2, 3)
        there = inside[:, i, :, None] & inside[:, j, None, :] & (cost < torch.inf)
        gap = values.diff(dim=2).clamp_min(1e-6)
        low, high = (side.float() for side in _reach(problem, values, gap))
        slope, bend = cost.new_empty(2, *cost.shape), cost.new_empty(2, *cost.shape)
        lowest = cost.clone()
        for axis, coordinates in enumerate((i, j)):
            _differences(cost, gap[:, coordinates].float(), 2 + axis, slope[axis], bend[axis])
            shape = (n, len(pairs), count, 1) if axis == 0 else (n, len(pairs), 1, count)
            ends = [side[:, coordinates].reshape(shape) for side in (low, high)]
            lowest += _drop(slope[axis], bend[axis], *ends).mul_(1 + DOUBT)
        lowest.masked_fill_(~there, torch.inf)
        return cls(
            pairs,
            values[:, pairs],
            gap[:, pairs],
            torch.stack([low[:, i], low[:, j]]),
            torch.stack([high[:, i], high[:, j]]),
            cost,
            slope,
            bend,
            lowest,
        )


def _reach(
    problem: Problem, values: torch.Tensor, gap: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distances (n, D, V) to which grid values predict, down (negative) and up."""
    domain = problem.domain
    below = torch.cat([gap[..., :1], gap], 2)
    above = torch.cat([gap, gap[..., -1:]], 2)
    low = torch.maximum(domain.lower[..., None] - values, -below)
    high = torch.minimum(domain.upper[..., None] - values, above)
    return low.clamp_max(0), high.clamp_min(0)


def _differences(
    cost: torch.Tensor, gap: torch.Tensor, dim: int, slope: torch.Tensor, bend: torch.Tensor
) -> None:
    """First and second differences of costs (n, P, V, V) along an axis with gaps (n, P, V - 1).

    They are written to ``slope`` and ``bend``.
    """
    gap = gap.unsqueeze(5 - dim)
    rise = cost.diff(dim=dim).mul_(1 / gap)
    count = gap.shape[dim]
    left, right = rise.narrow(dim, 0, count - 1), rise.narrow(dim, 1, count - 1)
    near, far = gap.narrow(dim, 0, count - 1), gap.narrow(dim, 1, count - 1)
    inner = bend.narrow(dim, 1, count - 1)
    torch.sub(right, left, out=inner).mul_(2 / (near + far))
    bend.narrow(dim, 0, 1).copy_(bend.narrow(dim, 1, 1))
    bend.narrow(dim, count, 1).copy_(bend.narrow(dim, count - 1, 1))
    # Where the parabola through three points is level with the point itself.
    torch.addcmul(left, inner, near, value=0.5, out=slope.narrow(dim, 1, count - 1))
    first, last = bend.narrow(dim, 0, 1), bend.narrow(dim, count, 1)
    ends = gap.narrow(dim, 0, 1), gap.narrow(dim, count - 1, 1)
    torch.addcmul(rise.narrow(dim, 0, 1), first, ends[0], value=-0.5, out=slope.narrow(dim, 0, 1))
    torch.addcmul(
        rise.narrow(dim, count - 1, 1), last, ends[1], value=0.5, out=slope.narrow(dim, count, 1)
    )
    slope.nan_to_num_(0, 0, 0)
    bend.nan_to_num_(0, 0, 0)


def _drop(
    slope: torch.Tensor, bend: torch.Tensor, low: torch.Tensor, high: torch.Tensor
) -> torch.Tensor:
    """Least change of the cost along an axis between ``low`` and ``high``."""
    stiff = bend.clamp_min(1e-6)
    way = slope.neg().div_(stiff)
    torch.minimum(torch.maximum(way, low, out=way), high, out=way)
    return stiff.mul_(0.5).mul_(way).add_(slope).mul_(way)


def prices(problem: Problem, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Price (n, D, V) of setting a coordinate to a value, and whether that is a change at all."""
    offset = values - problem.domain.factual[..., None]
    price = offset**2 + problem.beta[:, None, None]
    if problem.cost is not None:
        price = price * problem.cost[..., None]
    return price, (offset.abs() > TOLERANCE) & problem.domain.allowed[..., None]
