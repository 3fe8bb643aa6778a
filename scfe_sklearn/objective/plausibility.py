"""The plausibility term of the objective, for one kind of target."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from scfe_sklearn.densities.base import Density
from scfe_sklearn.densities.class_conditional import ClassConditionalDensity
from scfe_sklearn.densities.kernel import GaussianKDE
from scfe_sklearn.densities.local import LocalDensity, near

COMBINATIONS = 2**25
"""Most kernel values of one table; combinations of moves above it are not evaluated."""

NEAREST = 96
"""Training points that are used for pairs of changes."""


@dataclass(frozen=True, eq=False)
class PlausibilityTerm:
    """Weighted log-density of the training rows that have a target.

    Parameters
    ----------
    density : Density
        Density of these rows.
    weight : float
        Price of one unit of log-density, in squared solver units.
    ceiling : float
        Log-density that few of these rows exceed.
    spread : float
        Size of one unit of log-density.
    lower_quartile : float
        Log-density that three quarters of these rows exceed.
    """

    density: Density | None
    weight: float
    ceiling: float
    spread: float = 1.0
    lower_quartile: float = -math.inf

    @classmethod
    def of_class(cls, density: ClassConditionalDensity, code: int, tau: float) -> PlausibilityTerm:
        """Weigh the density of a class by ``tau`` per spread of its training log-densities.

        The spread is the step from the lower quartile to the median, so that tau means the same
        for every density and data set.
        """
        reference = density.reference_log_prob_[code]
        quartile, median, high = np.quantile(reference, [0.25, 0.5, 0.95]).tolist()
        spread = median - quartile if median - quartile > 1e-9 else 1.0
        return cls(density.densities_[code], tau / spread, high, spread, quartile)

    @property
    def best(self) -> float:
        """Value that few training rows exceed."""
        return self.weight * self.ceiling

    def value(self, points: torch.Tensor) -> torch.Tensor:
        """Weighted log-densities (k,) of points (k, D)."""
        if self.weight == 0 or self.density is None:
            return torch.zeros_like(points[:, 0])
        return self.weight * self.density.log_prob(points)

    def log_density(self, points: torch.Tensor) -> torch.Tensor:
        """Log-densities (k,) of points (k, D), without a price."""
        assert self.density is not None
        return self.density.log_prob(points)

    def slack(self, points: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
        """Log-density (k,) of points (k, D) minus their limits (k,), in spreads."""
        return (self.log_density(points) - limit) / self.spread

    def slack_and_grad(
        self, points: torch.Tensor, limit: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density (k,) minus the limits (k,), in spreads, and its gradient (k, D)."""
        assert self.density is not None
        value, gradient = self.density.log_prob_and_grad(points)
        return (value - limit) / self.spread, gradient / self.spread

    def combined(
        self, z: torch.Tensor, factual: torch.Tensor, target: torch.Tensor, keeps: torch.Tensor
    ) -> torch.Tensor | None:
        """Values (n, B, M) of points ``z`` (n, B, D) after one of M further moves each.

        A move writes ``target`` (M, D) where ``keeps`` (M, D) is 0; ``z`` equals ``factual``
        (n, D) there. None if the table is too large or the density is no kernel estimate.
        """
        density = self.density
        if self.weight == 0 or not isinstance(density, GaussianKDE):
            return None
        samples = torch.as_tensor(density.samples_, dtype=z.dtype, device=z.device)
        if len(z) * len(samples) * (z.shape[1] + len(target)) > COMBINATIONS:
            return None
        clears = 1 - keeps
        squared = (z.square().sum(-1, keepdim=True) - 2 * z @ samples.T).add_(
            samples.square().sum(1)
        )
        after = clears @ (samples**2).T - 2 * target @ samples.T + (target**2).sum(1)[:, None]
        before = ((factual[:, None] - samples) ** 2) @ clears.T
        change = after[None] - before.transpose(1, 2)
        return self.weight * density.from_sums(squared, change)

    def pairs(self, factual: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
        """Approximate values (n, M, M) of ``factual`` (n, D) after two of M = D V changes.

        A change sets a coordinate to one of its ``values`` (n, D, V). Only the training points
        nearest to any result of two changes are used. None as in `combined`.
        """
        density = self.density
        n, width, size = values.shape
        moves = width * size
        if self.weight == 0 or density is None:
            return factual.new_zeros(n, moves, moves)
        if not isinstance(density, GaussianKDE):
            return None
        samples = torch.as_tensor(density.samples_, dtype=factual.dtype, device=factual.device)
        count = min(NEAREST, len(samples))
        if n * moves * max(count, moves) > COMBINATIONS:
            return None
        apart = (factual[:, None] - samples).square_()
        squared = apart.sum(-1)
        # Two changes can remove the two largest differences.
        most = apart.topk(min(2, width), dim=-1, sorted=False).values.sum(-1)
        index = (squared - most).topk(count, dim=1, largest=False, sorted=False).indices
        near = samples[index].transpose(1, 2)
        # (v - y)^2 - (x - y)^2 = (v - x) (v + x - 2 y)
        change = (values + factual[..., None])[..., None] - 2 * near[:, :, None]
        change *= (values - factual[..., None])[..., None]
        return self.weight * density.from_pairs(
            squared.gather(1, index), change.reshape(n, moves, count), index
        )

    def around(self, z: torch.Tensor, support: torch.Tensor) -> LocalPlausibility:
        """Values at points that differ from the rows of ``z`` along ``support`` only."""
        if not self.weight or self.density is None:
            return LocalPlausibility(None, self.weight)
        return LocalPlausibility(near(self.density, z, support), self.weight)


@dataclass(frozen=True, eq=False)
class LocalPlausibility:
    """Weighted log-density around n instances, along the coordinates that they change.

    Parameters
    ----------
    density : LocalDensity or None
        The density around the instances; None if its weight is 0.
    weight : float
        Price of one unit of log-density.
    """

    density: LocalDensity | None
    weight: float

    @torch.no_grad()
    def value(self, offset: torch.Tensor, instances: torch.Tensor) -> torch.Tensor:
        """Plausibilities (k, K) at offsets (k, K, w) from ``instances`` (k,)."""
        if self.density is None:
            return torch.zeros_like(offset[..., 0])
        return self.weight * self.density.log_prob(offset, instances)

    @torch.no_grad()
    def value_and_grad(
        self, offset: torch.Tensor, instances: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Plausibilities (k,) at offsets (k, w) from ``instances`` (k,), and gradients (k, w)."""
        if self.density is None:
            return torch.zeros_like(offset[:, 0]), torch.zeros_like(offset)
        value, gradient = self.density.log_prob_and_grad(offset, instances)
        return self.weight * value, self.weight * gradient


@dataclass(frozen=True, eq=False)
class MixedPlausibility:
    """Weighted log-densities around instances with several kinds of targets.

    Parameters
    ----------
    parts : list of (kind, LocalPlausibility)
        One per kind that occurs.
    owner, place : LongTensor of shape (n,)
        Kind of each instance, and its position among the instances of that kind.
    """

    parts: list[tuple[int, LocalPlausibility]]
    owner: torch.Tensor
    place: torch.Tensor

    def value(self, offset: torch.Tensor, instances: torch.Tensor) -> torch.Tensor:
        """Plausibilities (k, K) at offsets (k, K, w) from ``instances`` (k,)."""
        out = torch.empty_like(offset[..., 0])
        for code, part in self.parts:
            rows = (self.owner[instances] == code).nonzero()[:, 0]
            if len(rows):
                out[rows] = part.value(offset[rows], self.place[instances[rows]])
        return out

    def value_and_grad(
        self, offset: torch.Tensor, instances: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Plausibilities (k,) at offsets (k, w) from ``instances`` (k,), and gradients (k, w)."""
        value, gradient = torch.empty_like(offset[:, 0]), torch.empty_like(offset)
        for code, part in self.parts:
            rows = (self.owner[instances] == code).nonzero()[:, 0]
            if len(rows):
                value[rows], gradient[rows] = part.value_and_grad(
                    offset[rows], self.place[instances[rows]]
                )
        return value, gradient
