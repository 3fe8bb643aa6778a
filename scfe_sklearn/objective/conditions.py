"""What an answer must keep besides the verdict of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


class Requirement(Protocol):
    """A condition on points beyond boxes and levels, bound to rows."""

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Slacks (k,) of points ``z`` (k, D) of the bound rows (k,): 0 or more where it holds."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """What an answer must keep besides the verdict of the model, and how it is read.

    Parameters
    ----------
    factual : Tensor of shape (n, D)
        The rows asked about.
    holes : BoolTensor of shape (n, D) or None
        Coordinates that are missing in the factual row, where it holds a stand-in: they are
        given to the model as missing as long as they are not changed. None where none is.
    requirements : sequence of Requirement
        Relations and implications.
    row : LongTensor of shape (n,)
        The row of the requirements that each instance stands for.
    shortfall : float
        Share of every change that may be left undone without losing the answer.
    movable : BoolTensor of shape (D,)
        Coordinates of which a share can be left undone: numbers.
    floor : float
        Least margin of a valid point.
    limit : Tensor of shape (n,) or None
        Log-density that an answer of each row must have, minus infinity for any; None where no
        row has a limit.
    origin : LongTensor of shape (n,) or None
        Position of each row in the query, for models that read the row's own cells.
    """

    factual: torch.Tensor
    holes: torch.Tensor | None
    requirements: Sequence[Requirement]
    row: torch.Tensor
    shortfall: float
    movable: torch.Tensor
    floor: float
    limit: torch.Tensor | None = None
    origin: torch.Tensor | None = None

    def take(self, index: torch.Tensor) -> Conditions:
        """Return the conditions of some of the rows."""
        return Conditions(
            self.factual[index],
            None if self.holes is None else self.holes[index],
            self.requirements,
            self.row[index],
            self.shortfall,
            self.movable,
            self.floor,
            None if self.limit is None else self.limit[index],
            None if self.origin is None else self.origin[index],
        )

    def opened(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return points (k, D) with what is missing and unchanged as NaN."""
        if self.holes is None:
            return points
        still = self.holes[rows] & (points.detach() == self.factual[rows])
        return torch.where(still, torch.nan, points)

    def fallen_short(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return points (k, D) where a share of each change is left undone; None if all is done."""
        if not self.shortfall:
            return None
        short = points + self.shortfall * (self.factual[rows] - points)
        return torch.where(self.movable, short, points)
