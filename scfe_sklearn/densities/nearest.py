"""The smallest numbers of each row, and the points nearest to it.

Distances are found in single precision and settled in double precision.
"""

from __future__ import annotations

import numpy as np
import torch

GROUPS = 5
"""Groups for each number that is wanted: so many that two of them seldom share one."""

LARGEST = 16
"""Numbers in a group at most."""

MANY = 4
"""Times as many numbers as are wanted may be no larger than the bound; else rows have ties."""

FEW = 1000
"""Fewer points are not worth two steps: all distances are computed at once."""

MANY_POINTS = 4
"""Times as many points as are wanted may be near enough; else there are ties, or rows far out."""

_UNIT = 2.0**-24
"""Half the distance from 1 to the next number of single precision."""


def smallest(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k smallest numbers of each row, in order, and where they stand.

    The same as ``values.topk(k, largest=False)``, which of equal numbers it takes apart, in half
    of the time for wide rows: the k-th smallest of the minima of some groups is a bound that at
    least k numbers do not exceed, and hardly more. Only these are sorted.

    Parameters
    ----------
    values : Tensor of shape (n, S)
        Any numbers.
    k : int
        How many are wanted, at most S.

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
    if count.min() < k or len(row) > MANY * n * k:  # no numbers, or ties
        near = values.topk(k, dim=1, largest=False)
        return near.values, near.indices
    _, index = gathered(table[row, column], row, column, count, k)
    return values.gather(1, index), index  # gathered, so that they can be differentiated


def at_most(table: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns (L,) of the entries up to ``last`` (n, 1), and how many a row has (n,)."""
    found = np.flatnonzero(table <= last)
    row = found // table.shape[1]
    return row, found - row * table.shape[1], np.bincount(row, minlength=len(table))


def gathered(
    values: np.ndarray, row: np.ndarray, column: np.ndarray, count: np.ndarray, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k smallest numbers of each row (n, k), in order, of those listed (L,) row by row.

    Returns their columns as well.
    """
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    some = np.full((len(count), int(count.max())), np.inf, dtype=values.dtype)
    columns = np.zeros(some.shape, dtype=np.int64)
    some[row, place], columns[row, place] = values, column
    order = np.argsort(some, axis=1)[:, :k]
    near, index = (np.take_along_axis(part, order, axis=1) for part in (some, columns))
    return torch.from_numpy(near), torch.from_numpy(index)


def bound(table: np.ndarray, k: int) -> np.ndarray:
    """A number (n, 1) that at least k of each row (n, S) do not exceed."""
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

    The distances of all points are computed in single precision, which takes half of the time,
    and a bound of its rounding error tells which points may be among the nearest. Only their
    distances are computed again. So the result is that of double precision.

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
        """Squares (n, k) of the distances to the nearest points, in order, and their positions.

        None where it would take too long: many points are about as far as the last of them.

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
