"""Points of a systematic search: answers and near misses."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from scfe_sklearn._utils import rank_within
from scfe_sklearn.solvers.problem import TOLERANCE, Pool, Problem

COORDINATES = 2**21
"""Coordinates of points that are evaluated at once."""

TIE = 1e-7
"""Margin per unit of squared distance among near misses, so that ties go to the nearest."""

ROUNDED = 2.0**30
"""Margins that are equal after scaling by this and rounding count as equal."""

PRICED = 32
"""Nearest valid points per row and evaluation whose density is computed."""


class Ledger:
    """The best points of n rows so far, updated by every evaluation.

    Parameters
    ----------
    problem : Problem
        n rows.
    size : int
        Points per row of each pool.

    Attributes
    ----------
    valid : Pool
        Points of a margin of at least the floor, by their objective.
    near : Pool
        Points of the largest margins; minus the margin is their cost.
    """

    def __init__(self, problem: Problem, size: int) -> None:
        self.problem, self.size = problem, size
        self.valid, self.near = (Pool.empty(problem, size) for _ in range(2))

    def missing(self) -> torch.Tensor:
        """Return the rows (m,) without a valid point."""
        return (self.valid.best == torch.inf).nonzero()[:, 0]

    def part(self, rows: torch.Tensor) -> Ledger:
        """Return the ledger of some of the rows."""
        part = Ledger(self.problem.take(rows), self.size)
        part.valid, part.near = self.valid.take(rows), self.near.take(rows)
        return part

    def put_back(self, rows: torch.Tensor, part: Ledger) -> None:
        """Write the ledger of some of the rows back."""
        self.valid = self.valid.scattered(rows, part.valid)
        self.near = self.near.scattered(rows, part.near)

    def evaluate(
        self,
        rows: torch.Tensor,
        bases: torch.Tensor,
        pick: torch.Tensor,
        *changes: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Return the margins (k,) of points, and update the pools.

        Parameters
        ----------
        rows : LongTensor of shape (k,)
            The row of each point.
        bases : Tensor of shape (m, D)
            Points to change.
        pick : LongTensor of shape (k,)
            The base of each point.
        *changes : (coordinate, value) of shape (k,) each
            Changes in order; the other levels of a feature are cleared.
        """
        margin = torch.full((len(rows),), -torch.inf, dtype=bases.dtype, device=bases.device)
        for part in chunks(len(rows), bases.shape[1]):
            z = bases[pick[part]]
            for coordinate, value in changes:
                z = with_value(self.problem, z, coordinate[part], value[part])
            got = self.problem.objective.margin_at(z, rows[part])
            margin[part] = got
            self.note(rows[part], z, got)
        return _rounded(margin)

    def note(self, rows: torch.Tensor, z: torch.Tensor, margin: torch.Tensor) -> None:
        """Update the pools with points ``z`` (k, D) of ``rows`` (k,) and margins (k,)."""
        problem, domain = self.problem, self.problem.domain
        margin = margin.nan_to_num(-torch.inf, torch.inf, -torch.inf)
        # Drop points whose margin is too small whatever their distance.
        least = self.near.cost[rows, -1]
        known = ((margin >= problem.floor) | (-_rounded(margin) < least)).nonzero()[:, 0]
        if len(known) < len(rows):
            rows, z, margin = rows[known], z[known], margin[known]
        change = z - domain.factual[rows]
        moved = domain.features_of(change.abs() > TOLERANCE).sum(1)
        fits = (moved > 0) & (moved <= problem.max_changes[rows]) & (margin > -torch.inf)
        distance = change.square().sum(1)
        loss = TIE * distance - _rounded(margin)
        self.near = self._merged(self.near, rows, z, torch.where(fits, loss, torch.inf), self.size)
        good = (fits & (margin >= problem.floor)).nonzero()[:, 0]
        if len(good):
            rows, z = rows[good], z[good]
            price = problem.take(rows).sparse_distance(z[:, None])[:, 0]
            first, _ = smallest_of_rows(rows, price, PRICED)
            rows, z = rows[first], z[first]
            cost = price[first] - problem.take(rows).plausibility(z[:, None])[:, 0]
            self.valid = self._merged(self.valid, rows, z, cost, PRICED)

    def _merged(
        self, pool: Pool, rows: torch.Tensor, z: torch.Tensor, cost: torch.Tensor, width: int
    ) -> Pool:
        """Return a pool after points (k, D) of the given costs (k,), the best of each row."""
        kept, place = smallest_of_rows(rows, cost, width)
        if len(kept) == 0:
            return pool
        own, owner = rows[kept].unique(return_inverse=True)
        part = self.problem.take(own)
        costs = torch.full((len(own), int(place.max()) + 1), torch.inf, dtype=z.dtype)
        costs = costs.to(z.device)
        points = part.domain.factual[:, None].repeat(1, costs.shape[1], 1)
        points[owner, place], costs[owner, place] = z[kept], cost[kept]
        return pool.scattered(own, pool.take(own).merged(part, points, costs))


def _rounded(margin: torch.Tensor) -> torch.Tensor:
    return (margin * ROUNDED).round() / ROUNDED


def smallest_of_rows(
    rows: torch.Tensor, key: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the positions (m,) of the ``count`` smallest finite keys of each row.

    Return their rank (m,) within the row, too. Ties keep their order.
    """
    finite = (key < torch.inf).nonzero()[:, 0]
    order = finite[key[finite].argsort(stable=True)]
    order = order[rows[order].argsort(stable=True)]
    own = rows[order]
    rank = rank_within(own)
    keep = rank < count
    return order[keep], rank[keep]


def with_value(
    problem: Problem, z: torch.Tensor, coordinate: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Set one coordinate (k,) of each of the points ``z`` (k, D) to a value (k,), in place."""
    domain = problem.domain
    level = (~domain.scalar[coordinate]).nonzero()[:, 0]
    if len(level):
        own = domain.groups == domain.groups[coordinate[level]][:, None]
        z[level] = torch.where(own, 0.0, z[level])
    return z.scatter_(1, coordinate[:, None], value[:, None])


def chunks(count: int, width: int) -> Iterator[slice]:
    """Yield slices of ``count`` points of ``width`` coordinates that are evaluated together."""
    size = max(COORDINATES // width, 1)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
