"""Densities near some centres, from the training points around these centres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.densities.base import Density
from scfe_sklearn.densities.local import LocalDensity, LocalPoints, PointDensity, WholeDensity

BLOCK = 32
"""Rows whose distances to all training points are held at once: they fit the cache."""

HELD = 2**18
"""Distances between points and the table that are in memory at the same time."""

GROUPS = 5
"""Groups of training points per point to find; their minima bound the distances."""

WIDEST = 256
"""Most coordinates of rows with points of their own; wider rows use the whole density."""

TIE = 1e-12
"""Relative difference below which squared distances are equal."""

FAR = 1e12
"""Squared distance of an empty place of the table."""


class Around(Protocol):
    """A density at points (n, S, D) of n rows."""

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Log-densities (n, S) of points (n, S, D)."""

    def log_prob_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-densities (n, S) of points (n, S, D) and their gradients (n, S, D)."""

    def along(self, z: torch.Tensor, row: torch.Tensor, support: torch.Tensor) -> LocalDensity:
        """The density around points ``z`` (N, D) of the rows ``row`` (N,), along ``support``."""

    def take(self, rows: torch.Tensor) -> Around:
        """Return the density of some of the rows."""


def around(density: Density, centres: torch.Tensor, size: int) -> Around:
    """Restrict a density to the training points around centres (n, C, D) of n rows.

    Distant kernels and neighbours do not matter: each row keeps the nearest ``size`` points of
    each of its centres. All other densities are evaluated whole.

    Parameters
    ----------
    density : Density
        A fitted density.
    centres : Tensor of shape (n, C, D)
        Points around which the density is needed.
    size : int
        Training points per centre; raised to one and a half times the neighbours of the density.

    Returns
    -------
    Around

    Examples
    --------
    >>> import numpy as np, torch
    >>> from scfe_sklearn.densities import GaussianKDE
    >>> density = GaussianKDE(0.2).fit(np.random.default_rng(0).normal(size=(2000, 2)))
    >>> z = torch.tensor([[[0.1, 0.9]]], dtype=torch.float64)
    >>> local = around(density, torch.tensor([[[0.0, 1.0]]]).double(), 600)
    >>> bool(torch.isclose(local.log_prob(z)[0], density.log_prob(z[0]), atol=1e-2))
    True
    """
    if isinstance(density, PointDensity) and centres.shape[2] <= WIDEST:
        size = max(size, (3 * (getattr(density, "n_neighbors", None) or 0) + 1) // 2)
        return _Table.of(density, centres, min(size, len(density.samples_)))
    return _Whole(density)


@dataclass(frozen=True, eq=False)
class _Whole:
    """The whole density for every row."""

    density: Density

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        return self.density.log_prob(z.flatten(0, 1)).reshape(z.shape[:2])

    def log_prob_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value, gradient = self.density.log_prob_and_grad(z.flatten(0, 1))
        return value.reshape(z.shape[:2]), gradient.reshape(z.shape)

    def along(self, z: torch.Tensor, row: torch.Tensor, support: torch.Tensor) -> LocalDensity:
        return WholeDensity(self.density, z, support)

    def take(self, rows: torch.Tensor) -> _Whole:
        return self


@dataclass(frozen=True, eq=False)
class _Table(RowBatch):
    """T training points of each of n rows, shared by all points of the row.

    Parameters
    ----------
    density : PointDensity
    facts : tuple of Tensor of shape (n, T)
        `PointDensity.facts` of the points.
    origin : Tensor of shape (n, D)
        First centre of each row.
    points : Tensor of shape (n, T, D)
        Their differences from the origin.
    squares : Tensor of shape (n, T)
        Squared lengths of these; ``FAR`` at empty places.
    """

    density: PointDensity
    facts: tuple[torch.Tensor, ...]
    origin: torch.Tensor
    points: torch.Tensor
    squares: torch.Tensor
    _by_row = ("facts", "origin", "points", "squares")

    @classmethod
    def of(cls, density: PointDensity, centres: torch.Tensor, size: int) -> _Table:
        single: _Single = density._prepared("single", centres, _Single)
        near, count = _near_any(single, centres, size)
        width = int(count.max()) if len(count) else 0
        place = torch.arange(width, device=near.device)
        there = place < count[:, None]
        start = (count.cumsum(0) - count)[:, None]
        index = near[(start + place).clamp_max(max(len(near) - 1, 0))]
        origin = centres[:, 0]
        points = density._tensor("samples_", centres)[index] - origin[:, None]
        squares = points.square().sum(-1).masked_fill_(~there, FAR)
        return cls(density, density.facts(index, centres), origin, points, squares)

    def along(self, z: torch.Tensor, row: torch.Tensor, support: torch.Tensor) -> LocalDensity:
        """Return the nearest points of the table to each of ``z``, along its support."""
        offset, real = z - self.origin[row], support < z.shape[1]
        # By row, without a copy of the table for every point.
        order = torch.arange(len(row), device=row.device)
        place = order - torch.searchsorted(row, row)
        width = int(place.max()) + 1 if len(row) else 0
        grid = torch.zeros(len(self.origin), width, z.shape[1], dtype=z.dtype, device=z.device)
        grid[row, place] = offset
        squares = self._squares_from(grid)[row, place]
        size = (3 * (getattr(self.density, "n_neighbors", None) or 20)) // 2
        columns = torch.where(real, support, torch.zeros_like(support))
        there = _smallest(squares, size)
        index = row[:, None]
        points = self.points[index[..., None], there[..., None], columns[:, None]]
        points -= offset.gather(1, columns)[:, None]
        points *= real[:, None]
        facts = tuple(part[index, there] for part in self.facts)
        return LocalPoints(self.density, facts, squares.gather(1, there), points, real)

    @torch.no_grad()
    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        found = []
        for rows, table in self._in_parts(z.shape[1]):
            squared = table._squares_from(z[rows] - table.origin[:, None])
            found.append(self.density.value_from_distances(squared, table.facts))
        return found[0] if len(found) == 1 else torch.cat(found)

    @torch.no_grad()
    def log_prob_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, slopes = [], []
        for rows, table in self._in_parts(z.shape[1]):
            offset = z[rows] - table.origin[:, None]
            value, pull = self.density.from_distances(table._squares_from(offset), table.facts)
            values.append(value)
            slopes.append(torch.bmm(pull, table.points) - pull.sum(-1, keepdim=True) * offset)
        if len(values) == 1:
            return values[0], slopes[0]
        return torch.cat(values), torch.cat(slopes)

    def _in_parts(self, n_points: int) -> Iterator[tuple[slice, _Table]]:
        """Yield rows, and their table, such that all distances of a part are held at once."""
        n, size = self.squares.shape
        step = max(1, HELD // max(n_points * size, 1))
        if step >= n:
            yield slice(n), self
            return
        for start in range(0, n, step):
            rows = slice(start, start + step)
            facts = tuple(fact[rows] for fact in self.facts)
            yield (
                rows,
                _Table(
                    self.density, facts, self.origin[rows], self.points[rows], self.squares[rows]
                ),
            )

    def _squares_from(self, offset: torch.Tensor) -> torch.Tensor:
        """Squared distances (n, S, T) at offsets (n, S, D) from the origin."""
        squared = torch.baddbmm(
            self.squares[:, None], offset, self.points.transpose(1, 2), alpha=-2
        )
        squared += offset.square().sum(-1, keepdim=True)
        return squared.clamp_min_(0)


def _smallest(values: torch.Tensor, size: int) -> torch.Tensor:
    """Columns (n, size) of the smallest values of each row of (n, T), in rising order.

    Ties go to the first column, so that the result does not depend on T.
    """
    total = values.shape[1]
    place = torch.arange(total, device=values.device)
    if size >= total:
        return place.expand(len(values), -1)
    values = values * (1 + TIE * place)
    if values.device.type != "cpu":
        found = values.topk(size, dim=1, largest=False, sorted=False).indices
    else:
        found = torch.from_numpy(np.argpartition(values.numpy(), size - 1, axis=1)[:, :size].copy())
    return found.sort(1).values


class _Single:
    """Training points in single precision, relative to their mean."""

    def __init__(self, samples: torch.Tensor) -> None:
        self.offset = samples.mean(0)
        points = samples - self.offset
        self.squares = points.square().sum(1)
        self.transposed = points.T.contiguous()


def _near_any(
    single: _Single, centres: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions (L,) of the points near any centre, row by row, and their number (n,)."""
    total, width = len(single.squares), centres.shape[1]
    found, counts = [torch.empty(0, dtype=torch.long)], [torch.empty(0, dtype=torch.long)]
    for part in (centres - single.offset).split(BLOCK):
        if size >= total:
            near = torch.ones(len(part), total, dtype=torch.bool, device=centres.device)
        else:
            rough = torch.addmm(single.squares, part.flatten(0, 1), single.transposed, alpha=-2)
            inside = (rough <= _bound(rough, size)).reshape(len(part), width, total)
            near = inside[:, 0]
            for other in range(1, width):
                near = near | inside[:, other]
        found.append(near.nonzero()[:, 1])
        counts.append(near.sum(1))
    return torch.cat(found), torch.cat(counts)


def _bound(rough: torch.Tensor, size: int) -> torch.Tensor:
    """Upper bound (n, 1), close to it, of the ``size`` smallest numbers of rows (n, m)."""
    groups, total = GROUPS * size, rough.shape[1]
    least = rough
    if 2 * groups <= total:
        least = rough[:, : total // groups * groups].reshape(len(rough), -1, groups).amin(1)
    if rough.device.type != "cpu":
        return least.kthvalue(size, dim=1, keepdim=True).values
    last = np.partition(least.numpy(), size - 1, axis=1)[:, size - 1 : size]
    return torch.from_numpy(np.ascontiguousarray(last))
