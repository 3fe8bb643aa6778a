"""The k smallest numbers of rows, and the k nearest points.

Distances are computed in single precision, and those of candidates in double precision.
"""

from __future__ import annotations

import numpy as np
import torch

GROUPS = 5
"""Groups per number to find: enough that two of them seldom share one."""

LARGEST = 16
"""Most numbers of a group."""

MANY = 4
"""Most numbers up to the bound, per number to find; more of them are ties."""

FEW = 1000
"""Least number of points for two steps; fewer are all computed in double precision."""

MANY_POINTS = 4
"""Most candidates per point to find; more are ties, or the row is far away."""

_UNIT = 2.0**-24
"""Half the distance from 1 to the next number of single precision."""


def smallest(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k smallest numbers of each row, in order, and their columns.

    The same as ``values.topk(k, largest=False)``, except for the choice among equal numbers, in
    half of the time for wide rows: the k-th smallest of the minima of groups is a bound that at
    least k numbers do not exceed, and few more. Only these are sorted.

    Parameters
    ----------
    values : Tensor of shape (n, S)
        Any numbers.
    k : int
        Numbers to find, at most S.

    Returns
    -------
    values : Tensor of shape (n, k)
        In ascending order.
    indices : LongTensor of shape (n, k)
        Their columns.

    Examples
    --------
    >>> import torch
    >>> value, column = smallest(torch.tensor([[3.0, 1.0, 2.0]]), 2)
    >>> value.tolist(), column.tolist()
    ([[1.0, 2.0]], [[1, 2]])
    """
    n, size = values.shape
    if n == 0 or 2 * k > size or values.device.type != "cpu":
        near = values.topk(k, dim=1, largest=False)
        return near.values, near.indices
    table = np.ascontiguousarray(values.detach().numpy())
    row, column, count = at_most(table, bound(table, k))
    if count.min() < k or len(row) > MANY * n * k:  # NaN, or ties
        near = values.topk(k, dim=1, largest=False)
        return near.values, near.indices
    _, index = gathered(table[row, column], row, column, count, k)
    return values.gather(1, index), index  # differentiable


def at_most(table: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns (L,) of the entries up to ``last`` (n, 1), and their number per row."""
    found = np.flatnonzero(table <= last)
    row = found // table.shape[1]
    return row, found - row * table.shape[1], np.bincount(row, minlength=len(table))


def gathered(
    values: np.ndarray, row: np.ndarray, column: np.ndarray, count: np.ndarray, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k smallest (n, k) of the numbers listed (L,) by row, in order, and their columns."""
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    some = np.full((len(count), int(count.max())), np.inf, dtype=values.dtype)
    columns = np.zeros(some.shape, dtype=np.int64)
    some[row, place], columns[row, place] = values, column
    order = np.argsort(some, axis=1)[:, :k]
    near, index = (np.take_along_axis(part, order, axis=1) for part in (some, columns))
    return torch.from_numpy(near), torch.from_numpy(index)


def bound(table: np.ndarray, k: int) -> np.ndarray:
    """Upper bound (n, 1) of the k smallest numbers of each row (n, S)."""
    least, size = table, table.shape[1]
    groups = max(GROUPS * k, -(-size // LARGEST))
    if 2 * groups <= size:
        least = table[:, :groups].copy()
        for start in range(groups, size, groups):
            part = table[:, start : start + groups]
            own = least[:, : part.shape[1]]
            np.minimum(own, part, out=own)
    return np.partition(least, k - 1, axis=1)[:, k - 1 : k]


class TwoSteps:
    """Distances to some points, prepared once.

    Single precision takes half of the time. A bound of its rounding error selects the points
    that may be among the nearest; their distances are computed in double precision. The result
    is that of double precision.

    Parameters
    ----------
    samples : Tensor of shape (m, D)
        The points, float64.
    """

    def __init__(self, samples: torch.Tensor) -> None:
        self.offset = samples.mean(0)
        centred = samples - self.offset
        self.points = centred.numpy()
        self.single = centred.to(torch.float32).T
        self.squares = centred.square().sum(1).to(torch.float32)
        # Squares, products of rounded numbers and their sums: see Higham, Accuracy and Stability
        # of Numerical Algorithms, section 3.1. Twice, as the bound is rounded too.
        self.error = 2 * (2 * samples.shape[1] + 8) * _UNIT

    def nearest(self, z: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Squared distances and positions (n, k) of the nearest points, in order.

        None if too many points are about as far away as the last of them.

        Examples
        --------
        >>> import torch
        >>> points = torch.arange(2000.0, dtype=torch.float64)[:, None]
        >>> near, place = TwoSteps(points).nearest(torch.tensor([[3.2]], dtype=torch.float64), 2)
        >>> near.sqrt().round(decimals=6).tolist(), place.tolist()
        ([[0.2, 0.8]], [[3, 4]])
        """
        rows = z - self.offset
        own = rows.square().sum(1)
        rough = torch.addmm(self.squares, rows.to(torch.float32), self.single, alpha=-2).numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            last = bound(rough, k)[:, 0].astype(np.float64)
            reach = 2 * np.sqrt(own.numpy()) + np.sqrt(np.maximum(last + own.numpy(), 0))
            last = (last + self.error * reach**2).astype(np.float32)
        if not np.isfinite(last).all():
            return None
        row, column, count = at_most(rough, np.nextafter(last, np.float32(np.inf))[:, None])
        if count.min() < k or len(row) > MANY_POINTS * len(z) * k:
            return None
        gap = self.points.take(column, axis=0)
        gap -= np.repeat(rows.numpy(), count, axis=0)
        squared = np.einsum("ij,ij->i", gap, gap)
        return gathered(squared, row, column, count, k)
