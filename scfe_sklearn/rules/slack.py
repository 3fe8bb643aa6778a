"""Slacks of points: signed distances to the border of what rules allow, with gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.data import FeatureSpace, level_numbers, own_levels
from scfe_sklearn.rules.actionability import Requirement

UNJUDGED = 1e6
"""Slack of a point that a rule cannot judge, as a number that it needs is missing."""


@dataclass(frozen=True, eq=False)
class OrdinalInterpolation:
    """A number for every rank of an ordinal feature, linear in between.

    Parameters
    ----------
    coordinate : int
        Its solver coordinate.
    center, scale : float
        ``rank = center + scale * z``.
    numbers : ndarray of shape (L,) or (n, L)
        The number of each rank, for all rows or row by row.
    """

    coordinate: int
    center: float
    scale: float
    numbers: np.ndarray

    def __call__(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Numbers (N,) of points; NaN where the rank is."""
        numbers = as_tensor(self.numbers, z)
        rank = self.center + self.scale * z[:, self.coordinate]
        top = numbers.shape[-1] - 1
        if top == 0:
            return (numbers[0] if numbers.dim() == 1 else numbers[rows, 0]) + 0.0 * rank
        below = torch.nan_to_num(torch.floor(rank.detach())).clamp(0, top - 1).long()
        if numbers.dim() == 1:
            first, second = numbers[below], numbers[below + 1]
        else:
            first, second = numbers[rows, below], numbers[rows, below + 1]
        return first + (rank - below) * (second - first)

    @property
    def has_gaps(self) -> bool:
        """Whether the numbers of neighbouring ranks differ by other than 1."""
        return bool((np.diff(self.numbers) != 1).any())


def ordinal_numbers(space: FeatureSpace, j: int) -> OrdinalInterpolation | None:
    """The declared ranks of an ordinal feature; None of another."""
    feature = space.features_[j]
    if feature.kind != "ordinal":
        return None
    numbers = level_numbers(feature, own_levels(feature))
    return OrdinalInterpolation(space.slices_[j].start, feature.center, feature.scale, numbers)


@dataclass(frozen=True, eq=False)
class AllOf(RowBatch):
    """Several requirements as one, whose violations add up.

    Their least slack does not grow until the worst of them is mended; the sum grows with each.

    Parameters
    ----------
    requirements : tuple of Requirement
        The requirements.
    """

    requirements: tuple[Requirement, ...]
    _by_row = ("requirements",)

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The least slack where all hold, else the sum of the violations."""
        every = torch.stack([one.slack(z, rows) for one in self.requirements])
        least, broken = every.amin(dim=0), every.clamp(max=0.0).sum(dim=0)
        return torch.where(least < 0, broken, least)


def as_tensor(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Values as a tensor of the type and device of another."""
    # A copy where needed: torch warns of arrays that it may not write to.
    values = values if values.flags.writeable else values.copy()
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def zero_if_missing(values: torch.Tensor) -> torch.Tensor:
    """Zero where a value is missing, also for the gradient."""
    return torch.where(torch.isnan(values), torch.zeros_like(values), values)


def forgiven(slack: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Zero where only rounding is missing."""
    hair = (slack < 0) & (slack >= -tolerance)
    return slack - torch.where(hair, slack, torch.zeros_like(slack)).detach()


def capped(slack: torch.Tensor, judged: torch.Tensor | None = None) -> torch.Tensor:
    """`UNJUDGED` where a point is not judged, and at most that elsewhere."""
    if judged is not None:
        slack = torch.where(judged, slack, torch.full_like(slack, UNJUDGED))
    return slack.clamp(max=UNJUDGED)
