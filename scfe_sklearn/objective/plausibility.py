"""Plausibility of points: log-densities, the densities around a row, and those of tree cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scfe_sklearn.densities.around import Around
from scfe_sklearn.densities.base import Density
from scfe_sklearn.densities.class_conditional import ClassConditionalDensity
from scfe_sklearn.densities.kernel import GaussianKDE
from scfe_sklearn.densities.local import LocalDensity, near

if TYPE_CHECKING:
    from scfe_sklearn.objective.rows import RowObjective

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


@dataclass(frozen=True, eq=False)
class RowCells:
    """Cells of a model, read as margins of n rows.

    Parameters
    ----------
    cells : object
        The cells of the model, with `coordinate`, `value`, `side`, `places` and `scores`.
    objective : RowObjective
        The rows.
    """

    cells: Any
    objective: RowObjective

    @property
    def coordinate(self) -> torch.Tensor:
        """Coordinate (M,) of each value that enters a cell."""
        return self.cells.coordinate

    @property
    def value(self) -> torch.Tensor:
        """The values (M,)."""
        return self.cells.value

    @property
    def side(self) -> torch.Tensor:
        """1 (M,) where a number grows into the cell, -1 where it shrinks, 0 for levels."""
        return self.cells.side

    def places(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Places (n, d) of points (n, D) of the rows, and whether the model accepts them."""
        constraints = self.objective.constraints
        rows = torch.arange(len(z))
        return self.cells.places(z if constraints is None else constraints.restore_missing(z, rows))

    def places_of_values(self, target: torch.Tensor) -> torch.Tensor:
        """Places (M, d) of points (M, D) of which one feature is used."""
        return self.cells.places(target)[0]

    def margins(
        self,
        rows: torch.Tensor,
        places: torch.Tensor,
        state: torch.Tensor,
        feature: torch.Tensor,
        place: torch.Tensor,
    ) -> torch.Tensor:
        """Margins (k,) of states (S, d) of ``rows`` (S,) after one change each."""
        scores = self.cells.scores(places, state, feature, place)
        return self.objective.criterion.margin(scores, rows[state])
