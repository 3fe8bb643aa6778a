"""Predicted points that are not yet evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.problem.problem import Problem


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
    def none(cls, problem: Problem, count: int) -> Predicted:
        """Return ``count`` empty places."""
        z = problem.domain.factual[:, None].repeat(1, count, 1)
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
