"""All pairs of numbers on one coarse grid each, read as functions rather than as points.

With two changes the problem falls apart into planes, one for each pair of numbers. On a grid in
every plane the cost comes almost for free, and the model is asked only where the cost does not
rule an answer out. Values and differences between neighbours predict, around every grid point,
where the cheapest valid point near it lies: so small valid regions between the grid points, and
boundaries that run across the cells, are not missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.domain import TOLERANCE
from scfe_sklearn.solvers.problem import Problem

FLATTEST = 0.5
"""Least curvature of a prediction."""

DOUBT = 0.2
"""By how much the cost may fall more than differences tell, as a share of that."""

SURE = 0.25
"""What a cost counts for against the hope for a lower one nearby, when points are asked about."""

PROBED = 64
"""Most hopeful grid points of a row, about which the model is asked first."""

FURTHER = 3
"""A row without a valid point asks about so many times as many points in the next round."""


@dataclass(frozen=True)
class Planes:
    """How finely the planes are searched.

    Parameters
    ----------
    values : int
        Grid values of each number.
    most : int
        The road is taken where there are at most so many grid points a row.
    starts : int
        Predicted points per row that are returned.
    singles : int
        Single moves among them, where a change has a price of its own.
    """

    values: int = 8
    most: int = 12_000
    starts: int = 14
    singles: int = 2


@dataclass(frozen=True, eq=False)
class Predicted:
    """Up to K predicted points a row, best first.

    Parameters
    ----------
    z : Tensor of shape (n, K, D)
        The points, inside the box and with at most two changes; valid or nearly so.
    bend : Tensor of shape (n, K, D)
        Second derivatives of the cost along what changes; 0 elsewhere.
    width : Tensor of shape (n, K, D)
        How far the prediction may be trusted along what changes; 0 elsewhere.
    value : Tensor of shape (n, K)
        Predicted cost; infinite where there is no point.
    """

    z: torch.Tensor
    bend: torch.Tensor
    width: torch.Tensor
    value: torch.Tensor

    @classmethod
    def none(cls, problem: Problem, settings: Planes) -> Predicted:
        """Return no points."""
        factual = problem.domain.factual
        z = factual[:, None].repeat(1, settings.starts + settings.singles, 1)
        value = torch.full_like(z[..., 0], torch.inf)
        return cls(z, torch.zeros_like(z), torch.zeros_like(z), value)

    def joined(self, other: Predicted) -> Predicted:
        """Return these points and others of the same rows."""
        return Predicted(
            torch.cat([self.z, other.z], 1),
            torch.cat([self.bend, other.bend], 1),
            torch.cat([self.width, other.width], 1),
            torch.cat([self.value, other.value], 1),
        )

    def scattered(self, rows: torch.Tensor, part: Predicted) -> Predicted:
        """Return the points with those of the ``rows`` replaced."""
        whole = [self.z.clone(), self.bend.clone(), self.width.clone(), self.value.clone()]
        for mine, new in zip(whole, (part.z, part.bend, part.width, part.value), strict=True):
            space = mine[rows]
            space[:, : new.shape[1]] = new
            mine[rows] = space
        return Predicted(*whole)


def fits(problem: Problem, settings: Planes, coarsest: float) -> bool:
    """Return whether a problem is about two numbers each, and of a size to be searched so."""
    if not problem.objective.has_gradient or len(problem) == 0:
        return False
    domain = problem.domain
    width = domain.factual.shape[1]
    size = width * (width - 1) // 2 * settings.values**2
    numbers = bool((domain.scalar & (domain.step < coarsest)).all())
    two = bool((problem.max_changes == 2).all())
    return numbers and two and width > 1 and size <= settings.most


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
    """Shift and scale each row of ``rising`` (D, T) to what its name says; constants become 0."""
    up = rising - rising[:, :1]
    return up / torch.where(up[:, -1:] > 0, up[:, -1:], 1.0)


def predict(problem: Problem, anchors: torch.Tensor, settings: Planes) -> Predicted | None:
    """Predict the cheapest valid points of all planes of all rows.

    Parameters
    ----------
    problem : Problem
        n rows whose features are all numbers, with a budget of two.
    anchors : Tensor of shape (T, D)
        Training rows of the target: the range of the grid.
    settings : Planes
        Fineness.

    Returns
    -------
    Predicted or None
        Points to be refined; None where the costs of all pairs are not cheap.
    """
    values = _row_values(problem, anchors, settings.values)
    grid = _Grid.of(problem, values)
    if grid is None:
        return None
    found = _best(problem, grid, settings)
    if bool((problem.beta > 0).any()):
        return found.joined(_singles(problem, values, settings))
    return found


def _row_values(problem: Problem, anchors: torch.Tensor, count: int) -> torch.Tensor:
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


def _prices(problem: Problem, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Price (n, D, V) of setting a coordinate to a value, and whether that is a change at all."""
    offset = values - problem.domain.factual[..., None]
    price = offset**2 + problem.beta[:, None, None]
    if problem.cost is not None:
        price = price * problem.cost[..., None]
    return price, (offset.abs() > TOLERANCE) & problem.domain.allowed[..., None]


def _singles(problem: Problem, values: torch.Tensor, settings: Planes) -> Predicted:
    """Best valid single changes of different numbers: they save the price of a second one."""
    n, width, count = values.shape
    price, permitted = (part.flatten(1) for part in _prices(problem, values))
    own = torch.eye(width, dtype=torch.bool).repeat_interleave(count, 0)
    single = torch.where(own, values.reshape(n, -1, 1), problem.domain.factual[:, None])
    valid = permitted & (problem.margin(single, permitted) >= problem.floor)
    cost = price - problem.plausibility(single, valid)
    least, place = torch.where(valid, cost, torch.inf).reshape(n, width, count).min(2)
    best = least.topk(min(settings.singles, width), dim=1, largest=False)
    move = best.indices * count + place.gather(1, best.indices)
    z = single.gather(1, move[..., None].expand(-1, -1, width))
    along = torch.nn.functional.one_hot(best.indices, width).to(z.dtype)
    return Predicted(z, 2 * along, along / 2, best.values)


@dataclass(frozen=True, eq=False)
class _Grid:
    """Costs (n, P, V, V) on the grids of P planes, and what they say around the grid points.

    Parameters
    ----------
    pairs : LongTensor of shape (P, 2)
        The two coordinates of each plane.
    values, gap : Tensor of shape (n, P, 2, V); (n, P, 2, V - 1)
        Grid values along them, and the distances between neighbours.
    low, high : Tensor of shape (2, n, P, V)
        How far a grid point speaks for its surroundings: to its neighbours, or to the box.
    cost, slope, bend : Tensor of shape (n, P, V, V); slope and bend for each of two axes
        Costs and their first and second differences.
    hope : Tensor of shape (n, P, V, V)
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
    hope: torch.Tensor

    @classmethod
    def of(cls, problem: Problem, values: torch.Tensor) -> _Grid | None:
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
        price, inside = _prices(problem, values)
        price = price.float()
        square = plausibility.reshape(n, width, count, width, count)
        cost = price[:, i, :, None] + price[:, j, None, :]
        cost -= square[:, i, :, j, :].permute(1, 0, 2, 3)
        there = inside[:, i, :, None] & inside[:, j, None, :] & (cost < torch.inf)
        gap = values.diff(dim=2).clamp_min(1e-6)
        low, high = (side.float() for side in _reach(problem, values, gap))
        slope, bend = cost.new_empty(2, *cost.shape), cost.new_empty(2, *cost.shape)
        hope = cost.clone()
        for axis, coordinates in enumerate((i, j)):
            _differences(cost, gap[:, coordinates].float(), 2 + axis, slope[axis], bend[axis])
            shape = (n, len(pairs), count, 1) if axis == 0 else (n, len(pairs), 1, count)
            ends = [side[:, coordinates].reshape(shape) for side in (low, high)]
            hope += _drop(slope[axis], bend[axis], *ends).mul_(1 + DOUBT)
        hope.masked_fill_(~there, torch.inf)
        return cls(
            pairs,
            values[:, pairs],
            gap[:, pairs],
            torch.stack([low[:, i], low[:, j]]),
            torch.stack([high[:, i], high[:, j]]),
            cost,
            slope,
            bend,
            hope,
        )


def _reach(
    problem: Problem, values: torch.Tensor, gap: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how far (n, D, V) each grid value speaks, down (negative) and up."""
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


def _best(problem: Problem, grid: _Grid, settings: Planes) -> Predicted:
    """Ask the model about hopeful grid points, and predict the best points nearby."""
    n, count = len(problem), settings.values
    shape = grid.cost.shape
    known = _Known.of(problem, grid)
    bound = _probed(problem, grid, known)
    wanted = grid.hope < bound[:, None, None, None]
    # Neighbours tell how the margin changes.
    near = wanted.clone()
    near[..., 1:, :] |= wanted[..., :-1, :]
    near[..., :-1, :] |= wanted[..., 1:, :]
    near[..., 1:] |= wanted[..., :-1]
    near[..., :-1] |= wanted[..., 1:]
    near &= grid.hope < torch.inf
    near &= known.margin[..., 1:-1, 1:-1].isnan()
    known.ask(near.flatten().nonzero()[:, 0])
    flat = (~known.margin[..., 1:-1, 1:-1].isnan()).flatten().nonzero()[:, 0]
    if len(flat) == 0:
        return Predicted.none(problem, settings)
    row, plane, a, b = _places(flat, shape)
    line = row * shape[1] + plane
    # With a margin of grid points that are not there, neighbours are at fixed distances.
    padded, at = known.margin.flatten(), (line * (count + 2) + a + 1) * (count + 2) + b + 1
    margin = padded[at].double()
    steep = []
    for axis, (stride, place) in enumerate(((count + 2, a), (1, b))):
        gap, start = grid.gap.flatten(), (2 * line + axis) * (count - 1)
        up = (padded[at + stride] - margin) / gap[start + place.clamp_max(count - 2)]
        down = (margin - padded[at - stride]) / gap[start + (place - 1).clamp_min(0)]
        both = torch.where(up.isnan(), down, torch.where(down.isnan(), up, (up + down) / 2))
        steep.append(both.nan_to_num(0))
    pull = grid.slope.flatten(1)[:, flat].double()
    bend = grid.bend.flatten(1)[:, flat].double()
    ends = torch.stack([line * count + a, line * count + b])
    low, high = (side.flatten(1).gather(1, ends).double() for side in (grid.low, grid.high))
    step, gain = _step(margin - problem.floor, steep, pull, bend, low, high)
    cost = grid.cost.flatten()[flat]
    value = cost + gain.float()
    # Of neighbours that predict the same, the best; of those that are valid, too: a prediction
    # may be too good to be true, and must not hide them.
    peak = _is_least(value, at, known.margin)
    held = (margin >= problem.floor).nonzero()[:, 0]
    peak[held] |= _is_least(cost[held], at[held], known.margin)
    # The list is in order of rows: one line of a table for each.
    place = torch.arange(len(row)) - torch.searchsorted(row, row)
    table = torch.full((n, int(place.max()) + 1), torch.inf)
    table[row, place] = torch.where(peak, value, torch.inf)
    best = table.topk(min(settings.starts, table.shape[1]), dim=1, largest=False)
    there = best.values < torch.inf
    entry = torch.searchsorted(row, torch.arange(n))[:, None] + best.indices
    entry = torch.where(there, entry, 0)
    plane, a, b = plane[entry], a[entry], b[entry]
    own = torch.arange(n)[:, None]
    at = torch.stack([grid.values[own, plane, 0, a], grid.values[own, plane, 1, b]], 2)
    factual, pair = problem.domain.factual[:, None], grid.pairs[plane]
    z = factual.repeat(1, entry.shape[1], 1)
    z = torch.where(there[..., None], z.scatter(2, pair, at + step.T[entry]), z)
    lower, upper = problem.domain.lower[:, None], problem.domain.upper[:, None]
    z = torch.where(z == factual, z, torch.minimum(torch.maximum(z, lower), upper))
    zeros = torch.zeros_like(z)
    curve = zeros.scatter(2, pair, bend.T[entry])
    width = zeros.scatter(2, pair, torch.maximum(high, -low).T[entry])
    return Predicted(z, curve, width, best.values.double())


def _is_least(value: torch.Tensor, at: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Whether none of the eight neighbours has a lower ``value`` (k,).

    ``at`` (k,) are positions in grids with a border, of the shape of ``like``.
    """
    table = torch.full((like.numel(),), torch.inf, dtype=value.dtype)
    table[at] = value
    line = like.shape[-1]
    least = value
    for shift in (1, line - 1, line, line + 1):
        least = torch.minimum(least, torch.minimum(table[at + shift], table[at - shift]))
    return value <= least


def _probed(problem: Problem, grid: _Grid, known: _Known) -> torch.Tensor:
    """Ask the model about the most hopeful points of every row, until one of them is valid.

    Returns the cost (n,) of the best valid one of each row: what is no more hopeful than that
    need not be asked about.
    """
    hope, cost = grid.hope.flatten(1), grid.cost.flatten(1)
    # What is cheap itself is hopeful for sure.
    merit = torch.lerp(hope, cost, SURE).where(hope < torch.inf, torch.inf)
    bound = hope.new_full((len(hope),), torch.inf)
    left, count, done = torch.arange(len(hope)), PROBED, 0
    while len(left) and done < hope.shape[1]:
        best = merit[left].topk(min(count, hope.shape[1]), dim=1, largest=False, sorted=False)
        index, place = (best.values < torch.inf).nonzero().T
        row = left[index]
        flat = row * hope.shape[1] + best.indices[index, place]
        margin = known.ask(flat)
        merit.view(-1)[flat] = torch.inf
        value = torch.where(margin >= problem.floor, cost.view(-1)[flat], torch.inf)
        bound = bound.scatter_reduce(0, row, value, "amin")
        done, count = done + count, FURTHER * count
        left = left[bound[left] == torch.inf]
    return bound


@dataclass(frozen=True, eq=False)
class _Known:
    """Margins (n, P, V + 2, V + 2) of grid points, inside a border; NaN where nobody asked.

    They are noted in single precision, which is enough to predict.
    """

    problem: Problem
    grid: _Grid
    margin: torch.Tensor

    @classmethod
    def of(cls, problem: Problem, grid: _Grid) -> _Known:
        n, planes, count, _ = grid.cost.shape
        unknown = grid.cost.new_full((n, planes, count + 2, count + 2), torch.nan)
        return cls(problem, grid, unknown)

    def ask(self, flat: torch.Tensor) -> torch.Tensor:
        """Margins (k,) of grid points at flat positions (k,); they are noted, too."""
        grid, shape = self.grid, self.grid.cost.shape
        row, plane, a, b = _places(flat, shape)
        line, count = row * shape[1] + plane, shape[3]
        z = self.problem.domain.factual[row]
        values, start = grid.values.flatten(), 2 * line * count
        goal = torch.stack([values[start + a], values[start + count + b]], 1)
        z.scatter_(1, grid.pairs[plane], goal)
        margin = self.problem.objective.take(row).margin(z[:, None])[:, 0]
        self.margin.view(-1)[(line * (count + 2) + a + 1) * (count + 2) + b + 1] = margin.float()
        return margin


def _places(flat: torch.Tensor, shape: torch.Size) -> tuple[torch.Tensor, ...]:
    """Row, plane and two places on the axes of flat positions (k,)."""
    count = shape[3]
    line, b = flat // count, flat % count
    plane, a = line // count, line % count
    return plane // shape[1], plane % shape[1], a, b


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
