"""How a model's scores are read: by how much a row has what it wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

MOST = 1e30
"""Scores beyond this are as good as infinite."""


class Reading(Protocol):
    """Turns the scores of points into margins, for n rows that each want something."""

    def margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Margins (k,) of scores (k, C) of points of the rows ``rows`` (k,)."""

    def take(self, index: torch.Tensor) -> Reading:
        """Return the reading of some of the rows."""


@dataclass(frozen=True, eq=False)
class ClassReading:
    """The lead of a class over the others, and of its probability over a level.

    Parameters
    ----------
    target : LongTensor of shape (n,)
        Position of the wanted class of each row.
    level : Tensor of shape (n,) or None
        Log-odds that the class must have; minus infinity for any, None where no row asks.
    """

    target: torch.Tensor
    level: torch.Tensor | None = None

    def margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Score of the target minus the best other score, or log-odds beyond the level."""
        target = self.target[rows]
        lead = margins(scores, target)
        if self.level is None:
            return lead
        # A probability of 0 or 1 may be an infinite score, of which there is no softmax.
        finite = scores.clamp(-MOST, MOST)
        log_p = torch.log_softmax(finite, dim=1).gather(1, target[:, None])[:, 0]
        odds = log_p - torch.log(-torch.expm1(log_p.clamp(max=-1e-15)))
        return torch.minimum(lead, odds - self.level[rows])

    def take(self, index: torch.Tensor) -> ClassReading:
        """Return the reading of some of the rows."""
        return ClassReading(self.target[index], None if self.level is None else self.level[index])


@dataclass(frozen=True, eq=False)
class ValueReading:
    """How far inside of an interval the value of a regressor lies.

    Parameters
    ----------
    low, high : Tensor of shape (n,)
        The interval of each row.
    unit : float
        What a margin of 1 is: the spread of the values.
    """

    low: torch.Tensor
    high: torch.Tensor
    unit: float

    def margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Distance to the nearer end, in units; negative outside."""
        value = scores[:, 0]
        return torch.minimum(value - self.low[rows], self.high[rows] - value) / self.unit

    def take(self, index: torch.Tensor) -> ValueReading:
        """Return the reading of some of the rows."""
        return ValueReading(self.low[index], self.high[index], self.unit)


def margins(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Score of the target (k,) minus the largest of the other scores (k, C)."""
    own = scores.gather(1, target[:, None])
    if scores.shape[1] == 2:
        # Their difference, also where one of them is infinite.
        return (own - scores.gather(1, 1 - target[:, None]))[:, 0]
    return own[:, 0] - scores.scatter(1, target[:, None], -torch.inf).amax(1)
