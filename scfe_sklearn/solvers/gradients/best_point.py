"""The best point of each row of an ascent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class BestPoint:
    """Points ``u`` (n, D) of the largest ``value`` (n,) so far, and their ``gradient`` (n, D).

    Examples
    --------
    >>> first = BestPoint(torch.zeros(2, 1), torch.tensor([1.0, 1.0]), torch.zeros(2, 1))
    >>> best = first.after(torch.ones(2, 1), torch.tensor([2.0, 0.0]), torch.ones(2, 1))
    >>> best.u.flatten().tolist(), best.value.tolist()
    ([1.0, 0.0], [2.0, 1.0])
    """

    u: Tensor
    value: Tensor
    gradient: Tensor

    def after(self, u: Tensor, value: Tensor, gradient: Tensor) -> BestPoint:
        """Return the best of the points so far and new ones."""
        return BestPoint(u, value, gradient)._or(value > self.value, self)

    def instead(self, rows: Tensor, u: Tensor, value: Tensor, gradient: Tensor) -> BestPoint:
        """Return these points, with the best ones in some ``rows`` (n,)."""
        return self._or(rows, BestPoint(u, value, gradient))

    def _or(self, rows: Tensor, other: BestPoint) -> BestPoint:
        """Return these points in some rows, and others in the rest."""
        return BestPoint(
            torch.where(rows[:, None], self.u, other.u),
            torch.where(rows, self.value, other.value),
            torch.where(rows[:, None], self.gradient, other.gradient),
        )
