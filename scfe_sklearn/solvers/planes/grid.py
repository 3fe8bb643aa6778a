"""The best points of all pairs of numbers, predicted on one coarse grid for each pair.

With two changes the problem falls apart into planes, one for each pair of numbers. On a grid in
every plane the cost is cheap to compute, and the model is evaluated only where the cost does not
rule an answer out. Values and differences between neighbours predict, around every grid point,
where the cheapest valid point near it lies, so that small valid regions between the grid points
and boundaries that run across the cells are not missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from scfe_sklearn._utils import rank_within
from scfe_sklearn.solvers.planes.tables import Places, PlaneCosts, PlaneMargins, prices
from scfe_sklearn.solvers.problem import Kind, Problem

COARSEST = 0.1
"""Lattice step from which numbers are no longer searched in planes."""

FLATTEST = 0.5
"""Least curvature of a prediction."""


@dataclass(frozen=True)
class PlaneSettings:
    """Fineness of the grids.

    Parameters
    ----------
    values : int
        Grid values of each number.
    most : int
        Grid points per row above which pairs are not predicted.
    starts : int
        Predicted points per row that are returned.
    singles : int
        Single moves among them, where a change has a price of its own.
    """

    values: int = 8
    most: int = 12_000
    starts: int = 6
    singles: int = 2


def predict_pairs(
    problem: Problem, kinds: Sequence[Kind], settings: PlaneSettings
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Predict the cheapest valid points of all planes of all rows.

    Parameters
    ----------
    problem : Problem
        n rows.
    kinds : sequence of (rows, anchors, moves)
        The training rows ``anchors`` of each kind of answer are the range of its grid.
    settings : PlaneSettings
        Fineness.

    Returns
    -------
    z, value : Tensor of shape (n, K, D), (n, K), or None
        Points that change two numbers, valid or nearly so, and their predicted costs, infinite
        where there is no point. None where the rows have other features than a few numbers,
        another budget than two, or no cheap densities of all pairs.
    """
    if not _fits(problem, settings):
        return None
    count = settings.starts + settings.singles
    z = problem.domain.factual[:, None].repeat(1, count, 1)
    value = torch.full_like(z[..., 0], torch.inf)
    for rows, anchors, _ in kinds:
        part = problem.take(rows)
        values = row_values(part, anchors, settings.values)
        costs = PlaneCosts.of(part, values)
        if costs is None:
            return None
        found = [_best(part, costs, settings)]
        if bool((part.beta > 0).any()):
            found.append(_singles(part, values, settings))
        points, cost = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        z[rows, : points.shape[1]], value[rows, : points.shape[1]] = points, cost
    return z, value


def _fits(problem: Problem, settings: PlaneSettings) -> bool:
    """Return whether a problem is about two numbers each, and of a size to be searched so."""
    if not problem.objective.has_gradient or len(problem) == 0:
        return False
    domain = problem.domain
    width = domain.factual.shape[1]
    size = width * (width - 1) // 2 * settings.values**2
    numbers = bool((domain.scalar & (domain.step < COARSEST)).all())
    two = bool((problem.max_changes == 2).all()) and problem.exponent == 0
    return numbers and two and width > 1 and size <= settings.most


def _singles(
    problem: Problem, values: torch.Tensor, settings: PlaneSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Best valid single changes of different numbers: they save the price of a second one."""
    n, width, count = values.shape
    price, permitted = (part.flatten(1) for part in prices(problem, values))
    own = torch.eye(width, dtype=torch.bool).repeat_interleave(count, 0)
    single = torch.where(own, values.reshape(n, -1, 1), problem.domain.factual[:, None])
    valid = permitted & (problem.margin(single, permitted) >= problem.floor)
    cost = price - problem.plausibility(single, valid)
    least, place = torch.where(valid, cost, torch.inf).reshape(n, width, count).min(2)
    best = least.topk(min(settings.singles, width), dim=1, largest=False)
    move = best.indices * count + place.gather(1, best.indices)
    return single.gather(1, move[..., None].expand(-1, -1, width)), best.values


def _best(
    problem: Problem, costs: PlaneCosts, settings: PlaneSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Predict the best points near the grid points that the model is evaluated at."""
    known = PlaneMargins.of(problem, costs)
    flat = known.known_places()
    if len(flat) == 0:
        return problem.domain.factual[:, None], torch.full_like(costs.cost[:, :1, 0, 0], torch.inf)
    near = _Nearby.of(problem, known, flat)
    # The list is in order of rows: one line of a table for each.
    row, n = near.at.row, len(problem)
    place = rank_within(row)
    table = torch.full((n, int(place.max()) + 1), torch.inf)
    table[row, place] = torch.where(near.peak, near.value, torch.inf)
    best = table.topk(min(settings.starts, table.shape[1]), dim=1, largest=False)
    there = best.values < torch.inf
    entry = torch.searchsorted(row, torch.arange(n))[:, None] + best.indices
    return _placed(problem, costs, near, torch.where(there, entry, 0), best.values.double())


@dataclass(frozen=True, eq=False)
class _Nearby:
    """The cheapest valid points that are predicted around k grid points, in order of rows.

    Parameters
    ----------
    at : Places
        The grid points.
    step : Tensor of shape (2, k)
        The way to the predicted point.
    value : Tensor of shape (k,)
        Its cost; infinite where the margin cannot be met nearby.
    peak : BoolTensor of shape (k,)
        Whether no neighbour predicts a lower cost, or has one where both are valid.
    """

    at: Places
    step: torch.Tensor
    value: torch.Tensor
    peak: torch.Tensor

    @classmethod
    def of(cls, problem: Problem, known: PlaneMargins, flat: torch.Tensor) -> _Nearby:
        """Predict around the grid points at flat positions (k,), of which margins are known."""
        costs = known.costs
        at = Places.of(flat, costs.cost.shape)
        margin, steep = known.slopes(at)
        pull = costs.slope.flatten(1)[:, flat].double()
        bend = costs.bend.flatten(1)[:, flat].double()
        count = costs.cost.shape[3]
        ends = torch.stack([at.line * count + at.a, at.line * count + at.b])
        low, high = (side.flatten(1).gather(1, ends).double() for side in (costs.low, costs.high))
        step, gain = _step(margin - problem.floor, steep, pull, bend, low, high)
        cost = costs.cost.flatten()[flat]
        value = cost + gain.float()
        # Of neighbours that predict the same, the best; of those that are valid, too: a prediction
        # may be too good to be true, and must not hide them.
        here = known.bordered(at)
        peak = known.is_least(value, here)
        held = (margin >= problem.floor).nonzero()[:, 0]
        peak[held] |= known.is_least(cost[held], here[held])
        return cls(at, step, value, peak)


def _placed(
    problem: Problem,
    costs: PlaneCosts,
    near: _Nearby,
    entry: torch.Tensor,
    value: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put the predicted points of some entries (n, K) into the box; infinite values are none."""
    at = near.at
    plane, a, b = at.plane[entry], at.a[entry], at.b[entry]
    own = torch.arange(len(entry))[:, None]
    start = torch.stack([costs.values[own, plane, 0, a], costs.values[own, plane, 1, b]], 2)
    factual, pair = problem.domain.factual[:, None], costs.pairs[plane]
    z = factual.repeat(1, entry.shape[1], 1)
    goal = z.scatter(2, pair, start + near.step.T[entry])
    z = torch.where((value < torch.inf)[..., None], goal, z)
    lower, upper = problem.domain.lower[:, None], problem.domain.upper[:, None]
    return torch.where(z == factual, z, torch.minimum(torch.maximum(z, lower), upper)), value


def _step(
    margin: torch.Tensor,
    steep: list[torch.Tensor],
    pull: torch.Tensor,
    bend: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cheapest step (2, k) to where the linear margin is met, and what it changes the cost by.

    Slopes, curvatures and bounds come as one line for each of the two coordinates.
    """
    (s, t), (c, d) = steep, bend.clamp_min(FLATTEST)
    x, y = -pull[0] / c, -pull[1] / d
    weight = -(margin + s * x + t * y)
    weight = weight.clamp_min(0) / (s * s / c + t * t / d).clamp_min(1e-12)
    x = torch.minimum(torch.maximum(x + weight * s / c, low[0]), high[0])
    y = torch.minimum(torch.maximum(y + weight * t / d, low[1]), high[1])
    # What a bound cut off is made up for by the other coordinate.
    missing = (-(margin + s * x + t * y)).clamp_min(0)
    x = x + torch.where(s.abs() > 1e-9, missing / s, 0.0)
    x = torch.minimum(torch.maximum(x, low[0]), high[0])
    missing = (-(margin + s * x + t * y)).clamp_min(0)
    y = y + torch.where(t.abs() > 1e-9, missing / t, 0.0)
    y = torch.minimum(torch.maximum(y, low[1]), high[1])
    missing = -(margin + s * x + t * y)
    gain = (pull[0] + c * x / 2) * x + (pull[1] + d * y / 2) * y
    found = missing <= 1e-6 + 0.05 * margin.abs()
    return torch.stack([x, y]), torch.where(found, gain, torch.inf)


def grid_values(columns: torch.Tensor, count: int) -> torch.Tensor:
    """Return ``count`` values from the least to the largest of every column (D, T): (D, count).

    They are evenly spread over a mixture of ranks and values: dense where the rows are, but
    without gaps in between.

    Examples
    --------
    >>> import torch
    >>> grid_values(torch.tensor([[0.0, 1.0, 2.0, 10.0]]), 3)
    tensor([[ 0.0000,  2.9412, 10.0000]])
    """
    value = columns.contiguous().sort(dim=1).values
    # Equal values share the mean of their ranks.
    rank = torch.searchsorted(value, value) + torch.searchsorted(value, value, right=True)
    share = (_from_0_to_1(rank.to(value.dtype)) + _from_0_to_1(value)) / 2
    wanted = torch.linspace(0, 1, count, dtype=value.dtype, device=value.device)
    wanted = wanted.expand(len(value), count).contiguous()
    last = value.shape[1] - 1
    after = torch.searchsorted(share, wanted).clamp(min(1, last), last)
    before = (after - 1).clamp_min(0)
    low, high = share.gather(1, before), share.gather(1, after)
    part = ((wanted - low) / (high - low).clamp_min(torch.finfo(low.dtype).tiny)).clamp(0, 1)
    return torch.lerp(value.gather(1, before), value.gather(1, after), part)


def _from_0_to_1(rising: torch.Tensor) -> torch.Tensor:
    """Shift and scale each row of ``rising`` (D, T) to the unit interval; constants become 0."""
    up = rising - rising[:, :1]
    return up / torch.where(up[:, -1:] > 0, up[:, -1:], 1.0)


def row_values(problem: Problem, anchors: torch.Tensor, count: int) -> torch.Tensor:
    """Grid values (n, D, V) of every row: those of the anchors, squeezed into its interval."""
    domain = problem.domain
    values = grid_values(anchors.T, count)
    first, last = values[:, 0], values[:, -1]
    low, high = torch.maximum(domain.lower, first), torch.minimum(domain.upper, last)
    # An interval beside all anchors is searched as a whole.
    beside = low >= high
    low = torch.where(beside & domain.lower.isfinite(), domain.lower, low)
    high = torch.where(beside & domain.upper.isfinite(), domain.upper, high)
    share = (values - first[:, None]) / (last - first).clamp_min(1e-12)[:, None]
    return low[..., None] + share * (high - low).clamp_min(0)[..., None]
