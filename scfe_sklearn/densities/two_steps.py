"""The points nearest to each row: found in single precision, settled in double precision."""

from __future__ import annotations

import numpy as np
import torch

from scfe_sklearn.densities.smallest import at_most, bound, gathered

FEW = 1000
"""Fewer points are not worth two steps: all distances are computed at once."""

MANY = 4
"""Times as many points as are wanted may be near enough; else there are ties, or rows far out."""

_UNIT = 2.0**-24
"""Half the distance from 1 to the next number of single precision."""


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
        if count.min() < k or len(row) > MANY * len(z) * k:
            return None
        gap = self.points.take(column, axis=0)
        gap -= np.repeat(rows.numpy(), count, axis=0)
        squared = np.einsum("ij,ij->i", gap, gap)
        return gathered(squared, row, column, count, k)
