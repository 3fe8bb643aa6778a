"""Candidate single-feature changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from scfe_sklearn.solvers.problem.domain import TOLERANCE, Domain

LARGEST = 2**26
"""Most entries of a table of moves: half a gibibyte."""


@dataclass(frozen=True, eq=False)
class Moves:
    """A list of M moves; move i sets one coordinate to a value and clears the rest of its feature.

    Parameters
    ----------
    coordinate : Tensor of shape (M,), long
        The coordinate that is set.
    value : Tensor of shape (M,)
        What it is set to.
    group : Tensor of shape (M,), long
        The raw feature that the move changes.
    target : Tensor of shape (M, D)
        The coordinates that the move writes.
    keeps : Tensor of shape (M, D)
        1 where the move leaves a coordinate as it is, else 0.
    """

    coordinate: torch.Tensor
    value: torch.Tensor
    group: torch.Tensor
    target: torch.Tensor
    keeps: torch.Tensor

    @classmethod
    def from_values(
        cls, coordinate: torch.Tensor, value: torch.Tensor, groups: torch.Tensor
    ) -> Moves:
        """Build the table from coordinates and values; ``groups`` (D,) names their features."""
        group = groups[coordinate]
        target = torch.zeros(len(coordinate), len(groups), dtype=value.dtype, device=value.device)
        target[torch.arange(len(coordinate), device=value.device), coordinate] = value
        keeps = (groups[None, :] != group[:, None]).to(value.dtype)
        return cls(coordinate, value, group, target, keeps)

    @classmethod
    def from_samples(
        cls, samples: torch.Tensor, groups: torch.Tensor, scalar: torch.Tensor, values: int
    ) -> Moves:
        """Build the table from the values of training rows ``samples`` (T, D).

        Every level that occurs, as long as the table is not too large, and else the most common
        ones; of a number all values, or about ``values`` of them: half
        spread by how many rows have them, half by rank among the distinct ones, since heavy
        tails hold few rows.
        """
        coordinates, targets = [], []
        # A level is 0 or 1.
        height = samples.amax(0) if len(samples) else samples.new_zeros(samples.shape[1])
        height = torch.where(_listed(samples, scalar, values), height, 0.0)
        for j, number in enumerate(scalar.tolist()):
            column = typical_values(samples[:, j], values) if number else height[j : j + 1]
            column = column if number else column[column > 0]
            coordinates.append(torch.full((len(column),), j, device=samples.device))
            targets.append(column)
        return cls.from_values(torch.cat(coordinates), torch.cat(targets), groups)

    def __len__(self) -> int:
        return len(self.coordinate)

    def subset(self, index: torch.Tensor) -> Moves:
        """Return some of the moves."""
        return Moves(
            self.coordinate[index],
            self.value[index],
            self.group[index],
            self.target[index],
            self.keeps[index],
        )

    def permitted(self, domain: Domain) -> torch.Tensor:
        """Return whether moves change rows and are permitted, (n, M)."""
        now = domain.factual[:, self.coordinate]
        inside = (self.value >= domain.lower[:, self.coordinate] - TOLERANCE) & (
            self.value <= domain.upper[:, self.coordinate] + TOLERANCE
        )
        fits = torch.where(domain.scalar[self.coordinate], inside, torch.ones_like(inside))
        return fits & domain.allowed[:, self.coordinate] & ((now - self.value).abs() > TOLERANCE)

    def distance(self, domain: Domain) -> torch.Tensor:
        """Return the squared distances (n, M) that moves add, whatever else changes."""
        # ||target - z0||^2 over the move's own feature, by expanding the square.
        factual = domain.factual
        cleared = (factual**2) @ (1 - self.keeps).T
        return (cleared - 2 * factual[:, self.coordinate] * self.value + self.value**2).clamp_min(0)

    def effect(self, slope: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return the gains (n, M) of moves of points ``z`` (n, D) along ``slope`` (n, D)."""
        return slope[:, self.coordinate] * self.value - (slope * z) @ (1 - self.keeps).T

    def apply(self, z: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
        """Apply move ``moves`` (...) to the points ``z`` (..., D)."""
        return torch.addcmul(self.target[moves], z, self.keeps[moves])


def _listed(samples: torch.Tensor, scalar: torch.Tensor, values: int) -> torch.Tensor:
    """Whether coordinates (D,) have moves: of too many levels the most frequent ones."""
    width = samples.shape[1]
    room = max(LARGEST // max(width, 1) - values * int(scalar.sum()), 1)
    if int((~scalar).sum()) <= room:
        return torch.ones_like(scalar)
    count = torch.where(scalar, -1, (samples > 0).sum(0))
    listed = scalar.clone()
    listed[count.argsort(descending=True, stable=True)[:room]] = True
    return listed


def typical_values(column: torch.Tensor, count: int) -> torch.Tensor:
    """Return ``count`` of the values of a column (all if there are fewer), both ends among them.

    Examples
    --------
    >>> import torch
    >>> typical_values(torch.tensor([1.0, 1.0, 1.0, 2.0, 9.0]), 3).tolist()
    [1.0, 2.0, 9.0]
    """
    ordered = column.sort().values
    distinct = ordered.unique_consecutive()
    if len(distinct) <= count:
        return distinct
    by_rows = ordered[_spread(len(ordered), max(count // 2, 2), column.device)]
    picked = torch.zeros_like(distinct, dtype=torch.bool)
    picked[torch.searchsorted(distinct, by_rows).clamp_max(len(distinct) - 1)] = True
    # Ranks are counted among the remaining values, so that no value is drawn twice.
    picked[[0, -1]] = True
    left = (~picked).nonzero()[:, 0]
    wanted = min(max(count - int(picked.sum()), 0), len(left))
    inner = (2 * torch.arange(wanted, device=column.device) + 1) * len(left) // (2 * max(wanted, 1))
    picked[left[inner]] = True
    return distinct[picked]


@lru_cache(maxsize=16)
def _spread(length: int, count: int, device: torch.device) -> torch.Tensor:
    return torch.linspace(0, length - 1, count, dtype=torch.float64, device=device).round().long()
