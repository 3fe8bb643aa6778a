"""Admissible points of rows: boxes, levels, lattices and grouping into raw features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

TOLERANCE = 1e-9
"""Coordinates closer than this are the same value."""

VERTEX = 0.5**0.5
"""Coordinate of the level that a category has; two levels are 1 apart."""


@dataclass(frozen=True, eq=False)
class Domain:
    """The admissible points of a batch of n rows in D solver coordinates.

    A row's point differs from its factual in whole raw features: a *scalar* feature (one
    coordinate) moves inside ``[lower, upper]``, on its lattice if it has one; a *categorical*
    feature (one coordinate per level) moves from one vertex to another one that is allowed.
    Staying at the factual is always admissible, even where the interval excludes it.

    Parameters
    ----------
    factual : Tensor of shape (n, D)
        The rows to explain.
    lower, upper : Tensor of shape (n, D)
        Interval of every scalar coordinate, ends included.
    allowed : Tensor of shape (n, D), bool
        Levels that a categorical feature may take; for a scalar coordinate, whether it may move.
    groups : Tensor of shape (D,), long
        Raw feature of each coordinate.
    scalar : Tensor of shape (D,), bool
        Coordinates that are a feature of their own.
    step, offset : Tensor of shape (D,)
        Lattice of a scalar coordinate: ``offset + k * step``; a step of 0 is a continuous one.
    """

    factual: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    allowed: torch.Tensor
    groups: torch.Tensor
    scalar: torch.Tensor
    step: torch.Tensor
    offset: torch.Tensor

    @cached_property
    def n_features(self) -> int:
        """Number of raw features."""
        return int(self.groups[-1]) + 1

    @cached_property
    def owner(self) -> torch.Tensor:
        """The feature of each coordinate (D, d), as zeros and ones of single precision."""
        features = torch.arange(self.n_features, device=self.groups.device)
        return (self.groups[:, None] == features).to(torch.float32)

    def take(self, rows: torch.Tensor) -> Domain:
        """Return the domain of some of the rows, repetitions included."""
        part = Domain(
            self.factual[rows],
            self.lower[rows],
            self.upper[rows],
            self.allowed[rows],
            self.groups,
            self.scalar,
            self.step,
            self.offset,
        )
        # Computed once: it does not depend on the rows.
        part.__dict__.update(n_features=self.n_features, owner=self.owner)
        return part

    def changed(self, z: torch.Tensor) -> torch.Tensor:
        """Whether raw features of ``z`` (n, ..., D) differ from the factual: (n, ..., d)."""
        factual = self.factual.reshape(
            self.factual.shape[0], *([1] * (z.dim() - 2)), self.factual.shape[1]
        )
        return self.features_of((z - factual).abs() > TOLERANCE)

    def features_of(self, moved: torch.Tensor) -> torch.Tensor:
        """Whether raw features (..., d) have a flagged coordinate (..., D)."""
        if self.n_features == moved.shape[-1]:
            return moved
        # Flagged coordinates of each feature are counted: exact in single precision.
        return moved.to(torch.float32) @ self.owner > 0

    def snap(self, z: torch.Tensor) -> torch.Tensor:
        """Round moved scalar coordinates of ``z`` (..., n, D) onto their lattice, in the interval.

        The bounds are lattice points themselves, so rounding and clipping commute.
        """
        stepped = self.step > 0
        safe = torch.where(stepped, self.step, torch.ones_like(self.step))
        rounded = self.offset + torch.round((z - self.offset) / safe) * safe
        inside = torch.minimum(
            torch.maximum(torch.where(stepped, rounded, z), self.lower), self.upper
        )
        stays = ((z - self.factual).abs() <= TOLERANCE) | ~self.scalar
        # A lattice point beside an off-lattice factual may round back onto it: that is staying.
        same = (inside - self.factual).abs() <= TOLERANCE
        return torch.where(
            stays,
            torch.where(self.scalar, self.factual, z),
            torch.where(same, self.factual, inside),
        )
