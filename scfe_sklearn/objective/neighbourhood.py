"""Log-densities of points near some centres of each row, whatever kind of answer it wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from scfe_sklearn.densities.around import Around


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Densities of n rows, each near its centres.

    Parameters
    ----------
    parts : sequence of (rows, density)
        Positions of the rows (k,) of each kind of answer, in rising order, and the density of
        that kind near their centres.
    weight : Tensor of shape (n,)
        Price of one unit of log-density.
    unit : Tensor of shape (n,)
        The same where that is 0: one squared unit per spread.
    limit : Tensor of shape (n,)
        Least log-density of an answer, minus infinity for any.
    """

    parts: Sequence[tuple[torch.Tensor, Around]]
    weight: torch.Tensor
    unit: torch.Tensor
    limit: torch.Tensor

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """Log-densities (n, S) of points ``z`` (n, S, D); 0 where neither price nor limit."""
        if len(self.parts) == 1 and len(self.parts[0][0]) == len(z):
            return self.parts[0][1].log_prob(z)
        value = torch.zeros(z.shape[:2], dtype=z.dtype, device=z.device)
        for rows, density in self.parts:
            value[rows] = density.log_prob(z[rows])
        return value

    def log_density_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-densities (n, S) of points ``z`` (n, S, D), and their gradients (n, S, D)."""
        if len(self.parts) == 1 and len(self.parts[0][0]) == len(z):
            return self.parts[0][1].log_prob_and_grad(z)
        value = torch.zeros(z.shape[:2], dtype=z.dtype, device=z.device)
        gradient = torch.zeros_like(z)
        for rows, density in self.parts:
            value[rows], gradient[rows] = density.log_prob_and_grad(z[rows])
        return value, gradient

    def take(self, index: torch.Tensor) -> Neighbourhood:
        """Return the neighbourhood of some of the rows, none of them twice."""
        place = torch.full((len(self.weight),), -1, device=index.device)
        place[index] = torch.arange(len(index), device=index.device)
        parts = []
        for rows, density in self.parts:
            kept = (place[rows] >= 0).nonzero()[:, 0]
            if len(kept):
                now, order = place[rows[kept]].sort()
                parts.append((now, density.take(kept[order])))
        return Neighbourhood(parts, self.weight[index], self.unit[index], self.limit[index])
