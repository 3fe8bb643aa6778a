"""Log-densities of points near some centres of each row, for every kind of target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from scfe_sklearn.densities.around import Around
from scfe_sklearn.densities.local import LocalDensity


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Densities of n rows, each near its centres.

    Parameters
    ----------
    parts : sequence of (rows, density)
        Positions of the rows (k,) of each kind of target, in rising order, and the density of
        that kind near their centres.
    weight : Tensor of shape (n,)
        Price of one unit of log-density.
    unit : Tensor of shape (n,)
        The same, but one squared unit per spread where the price is 0.
    limit : Tensor of shape (n,)
        Least log-density of a counterfactual, minus infinity without a floor.
    """

    parts: Sequence[tuple[torch.Tensor, Around]]
    weight: torch.Tensor
    unit: torch.Tensor
    limit: torch.Tensor

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """Log-densities (n, S) of points ``z`` (n, S, D); 0 for rows without price and limit."""
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

    def along(self, z: torch.Tensor, row: torch.Tensor, support: torch.Tensor) -> Along:
        """Densities around points ``z`` (N, D) along supports (N, w), padded with D.

        ``row`` (N,) holds the row of each point, in rising order.
        """
        if len(self.parts) == 1 and len(self.parts[0][0]) == len(self.weight):
            everything = torch.arange(len(row), device=row.device)
            return Along([(everything, self.parts[0][1].along(z, row, support))])
        parts = []
        for rows, density in self.parts:
            place = torch.full_like(self.weight, -1, dtype=torch.long)
            place[rows] = torch.arange(len(rows), device=rows.device)
            own = (place[row] >= 0).nonzero()[:, 0]
            if len(own):
                parts.append((own, density.along(z[own], place[row[own]], support[own])))
        return Along(parts)

    def take(self, index: torch.Tensor) -> Neighbourhood:
        """Return the neighbourhood of some distinct rows."""
        place = torch.full((len(self.weight),), -1, device=index.device)
        place[index] = torch.arange(len(index), device=index.device)
        parts = []
        for rows, density in self.parts:
            kept = (place[rows] >= 0).nonzero()[:, 0]
            if len(kept):
                now, order = place[rows[kept]].sort()
                parts.append((now, density.take(kept[order])))
        return Neighbourhood(parts, self.weight[index], self.unit[index], self.limit[index])


@dataclass(frozen=True, eq=False)
class Along:
    """Log-densities of N instances, each along w coordinates of its own.

    Parameters
    ----------
    parts : sequence of (instances, density)
        Positions of the instances (k,) of each kind of target, and their density.
    """

    parts: Sequence[tuple[torch.Tensor, LocalDensity]]

    def log_density(self, offset: torch.Tensor) -> torch.Tensor:
        """Log-densities (N, K) at offsets (N, K, w); 0 without price and limit."""
        value = torch.zeros_like(offset[..., 0])
        for own, density in self.parts:
            value[own] = density.log_prob(offset[own])
        return value

    def log_density_and_grad(self, offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-densities (N,) at offsets (N, w) and their gradients (N, w)."""
        if len(self.parts) == 1 and len(self.parts[0][0]) == len(offset):
            return self.parts[0][1].log_prob_and_grad(offset)
        value, gradient = torch.zeros_like(offset[:, 0]), torch.zeros_like(offset)
        for own, density in self.parts:
            value[own], gradient[own] = density.log_prob_and_grad(offset[own])
        return value, gradient
