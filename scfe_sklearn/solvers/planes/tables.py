"""Costs and margins on a coarse grid in every plane, and lower bounds around grid points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from scfe_sklearn.solvers.problem import TOLERANCE, Problem

DOUBT = 0.2
"""Share by which the cost may fall more than differences predict."""

SURE = 0.25
"""Weight of the cost itself, against the lowest one nearby, in the order of evaluation."""

PROBED = 64
"""Grid points per row that are evaluated first."""

FURTHER = 3
"""Factor by which rows without a valid point evaluate more points in the next round."""


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


class Places(NamedTuple):
    """Positions of k grid points: row, plane, place along each of its two axes."""

    row: torch.Tensor
    plane: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    line: torch.Tensor
    """The plane among those of all rows."""

    @classmethod
    def of(cls, flat: torch.Tensor, shape: torch.Size) -> Places:
        """Return the places of flat positions (k,) in costs of a shape (n, P, V, V)."""
        count = shape[3]
        edge, b = flat // count, flat % count
        line, a = edge // count, edge % count
        return cls(line // shape[1], line % shape[1], a, b, line)


@dataclass(frozen=True, eq=False)
class PlaneMargins:
    """Margins (n, P, V + 2, V + 2) of grid points, inside a border; NaN where not computed.

    Single precision is enough to predict.
    """

    problem: Problem
    costs: PlaneCosts
    margin: torch.Tensor

    @classmethod
    def unknown(cls, problem: Problem, costs: PlaneCosts) -> PlaneMargins:
        """Begin without any."""
        n, planes, count, _ = costs.cost.shape
        unknown = costs.cost.new_full((n, planes, count + 2, count + 2), torch.nan)
        return cls(problem, costs, unknown)

    @classmethod
    def of(cls, problem: Problem, costs: PlaneCosts) -> PlaneMargins:
        """Compute the margins of the promising grid points and of their neighbours."""
        known = cls.unknown(problem, costs)
        bound = known._probe()
        wanted = costs.lowest < bound[:, None, None, None]
        near = wanted.clone()
        near[..., 1:, :] |= wanted[..., :-1, :]
        near[..., :-1, :] |= wanted[..., 1:, :]
        near[..., 1:] |= wanted[..., :-1]
        near[..., :-1] |= wanted[..., 1:]
        near &= costs.lowest < torch.inf
        near &= known._inside.isnan()
        known.evaluate(near.flatten().nonzero()[:, 0])
        return known

    @property
    def _inside(self) -> torch.Tensor:
        """The margins without the border."""
        return self.margin[..., 1:-1, 1:-1]

    def known_places(self) -> torch.Tensor:
        """Flat positions (k,) of the grid points of known margin, in order."""
        return (~self._inside.isnan()).flatten().nonzero()[:, 0]

    def bordered(self, at: Places) -> torch.Tensor:
        """Flat positions (k,) of grid points among the margins with their border."""
        side = self.margin.shape[3]
        return (at.line * side + at.a + 1) * side + at.b + 1

    def evaluate(self, flat: torch.Tensor) -> torch.Tensor:
        """Compute, keep and return the margins (k,) of grid points at flat positions (k,)."""
        costs, at = self.costs, Places.of(flat, self.costs.cost.shape)
        count = costs.cost.shape[3]
        z = self.problem.domain.factual[at.row]
        values, start = costs.values.flatten(), 2 * at.line * count
        goal = torch.stack([values[start + at.a], values[start + count + at.b]], 1)
        z.scatter_(1, costs.pairs[at.plane], goal)
        margin = self.problem.objective.take(at.row).margin(z[:, None])[:, 0]
        self.margin.view(-1)[self.bordered(at)] = margin.float()
        return margin

    def _probe(self) -> torch.Tensor:
        """Evaluate the most promising points of every row until one of them is valid.

        Returns the cost (n,) of the best valid one of each row: points around which no lower
        cost is expected need no margin.
        """
        lowest, cost = self.costs.lowest.flatten(1), self.costs.cost.flatten(1)
        merit = torch.lerp(lowest, cost, SURE).where(lowest < torch.inf, torch.inf)
        bound = lowest.new_full((len(lowest),), torch.inf)
        left, count, done = torch.arange(len(lowest)), PROBED, 0
        while len(left) and done < lowest.shape[1]:
            best = merit[left].topk(min(count, lowest.shape[1]), dim=1, largest=False, sorted=False)
            index, place = (best.values < torch.inf).nonzero().T
            row = left[index]
            flat = row * lowest.shape[1] + best.indices[index, place]
            margin = self.evaluate(flat)
            merit.view(-1)[flat] = torch.inf
            value = torch.where(margin >= self.problem.floor, cost.view(-1)[flat], torch.inf)
            bound = bound.scatter_reduce(0, row, value, "amin")
            done, count = done + count, FURTHER * count
            left = left[bound[left] == torch.inf]
        return bound

    def slopes(self, at: Places) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Margins (k,) of grid points, and by how much they rise along each of the two axes."""
        # With a margin of grid points that are not there, neighbours are at fixed distances.
        bordered, here = self.margin.flatten(), self.bordered(at)
        margin = bordered[here].double()
        side, count = self.margin.shape[3], self.costs.cost.shape[3]
        gap = self.costs.gap.flatten()
        steep = []
        for axis, (stride, place) in enumerate(((side, at.a), (1, at.b))):
            start = (2 * at.line + axis) * (count - 1)
            up = (bordered[here + stride] - margin) / gap[start + place.clamp_max(count - 2)]
            down = (margin - bordered[here - stride]) / gap[start + (place - 1).clamp_min(0)]
            both = torch.where(up.isnan(), down, torch.where(down.isnan(), up, (up + down) / 2))
            steep.append(both.nan_to_num(0))
        return margin, steep

    def is_least(self, value: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
        """Whether none of the eight neighbours has a lower ``value`` (k,).

        ``here`` (k,) are positions inside the border; what is not named has no value.
        """
        table = torch.full((self.margin.numel(),), torch.inf, dtype=value.dtype)
        table[here] = value
        side = self.margin.shape[3]
        least = value
        for shift in (1, side - 1, side, side + 1):
            least = torch.minimum(least, torch.minimum(table[here + shift], table[here - shift]))
        return value <= least
