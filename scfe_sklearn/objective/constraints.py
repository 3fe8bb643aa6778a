"""Constraints on a counterfactual, apart from the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


class Requirement(Protocol):
    """A condition on several coordinates of a point, bound to rows."""

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Slacks (k,) of points ``z`` (k, D) of the bound rows (k,): 0 or more where it holds."""


@dataclass(frozen=True, eq=False)
class Constraints:
    """Constraints on the counterfactuals of n rows, apart from the prediction.

    Parameters
    ----------
    factual : Tensor of shape (n, D)
        The rows to explain.
    missing : BoolTensor of shape (n, D) or None
        Coordinates that are missing in the factual row, where it holds a stand-in. The model
        gets them as NaN unless they are changed. None if no value is missing.
    requirements : sequence of Requirement
        Relations and implications.
    row : LongTensor of shape (n,)
        Row of the requirements, for each instance.
    shortfall : float
        Share of every change that may be left undone without losing the answer.
    movable : BoolTensor of shape (D,)
        Coordinates of numbers: of their changes a share can be left undone.
    min_margin : float
        Least margin of a valid point.
    log_density_floor : Tensor of shape (n,) or None
        Least log-density of a counterfactual; minus infinity where the row has no floor. None if
        no row has one.
    origin : LongTensor of shape (n,) or None
        Position of each row in the query, for models that use its raw cells.
    """

    factual: torch.Tensor
    missing: torch.Tensor | None
    requirements: Sequence[Requirement]
    row: torch.Tensor
    shortfall: float
    movable: torch.Tensor
    min_margin: float
    log_density_floor: torch.Tensor | None = None
    origin: torch.Tensor | None = None

    def take(self, index: torch.Tensor) -> Constraints:
        """Return the conditions of some of the rows."""
        return Constraints(
            self.factual[index],
            None if self.missing is None else self.missing[index],
            self.requirements,
            self.row[index],
            self.shortfall,
            self.movable,
            self.min_margin,
            None if self.log_density_floor is None else self.log_density_floor[index],
            None if self.origin is None else self.origin[index],
        )

    def restore_missing(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return points (k, D) with NaN where a missing value is unchanged."""
        if self.missing is None:
            return points
        still = self.missing[rows] & (points.detach() == self.factual[rows])
        return torch.where(still, torch.nan, points)

    def partial_changes(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return points (k, D) with a share of each change undone; None if the share is 0."""
        if not self.shortfall:
            return None
        short = points + self.shortfall * (self.factual[rows] - points)
        return torch.where(self.movable, short, points)
