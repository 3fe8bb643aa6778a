"""Constraints of points: margins of the target, rules and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from scfe_sklearn._utils import RowBatch

MOST = 1e30
"""Bound on the absolute value of scores."""


CERTAIN = 1e-7
"""Limits of probabilities this close to 0 or 1 count as 0 or 1."""


class Margin(Protocol):
    """Margins of points from their scores, for n rows with a target each."""

    def margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Margins (k,) of scores (k, C) of points of the rows ``rows`` (k,)."""

    def take(self, index: torch.Tensor) -> Margin:
        """Return the margins of some of the rows."""


@dataclass(frozen=True, eq=False)
class ProbabilityLimits(RowBatch):
    """Limits of the probability of each row's class, as log-odds.

    Parameters
    ----------
    low, high : Tensor of shape (n,)
        Least and greatest log-odds, infinite where there is no limit.
    decide : BoolTensor of shape (n,)
        Whether the limits of a row decide; else the prediction does.
    n_classes : int
        Number of classes C.
    """

    low: torch.Tensor
    high: torch.Tensor
    decide: torch.Tensor
    n_classes: int
    _by_row = ("low", "high", "decide")

    @classmethod
    def of(
        cls,
        low: torch.Tensor,
        high: torch.Tensor,
        decide: torch.Tensor,
        n_classes: int,
        slack: float,
    ) -> ProbabilityLimits:
        """Limits from probabilities (n,), wider by ``slack`` log-odds."""
        low = torch.logit(low.clamp(max=1 - CERTAIN)) - slack
        return cls(low, torch.logit(high.clamp(min=CERTAIN)) + slack, decide, n_classes)

    def margin(
        self, scores: torch.Tensor, target: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """Margins (k,) of the classes ``target`` (k,) by scores (k, C) or (k, 2 C).

        The softmax of the last C scores is what ``predict_proba`` returns.
        """
        own = lead(scores[:, : self.n_classes], target)
        # A probability of 0 or 1 may be an infinite score, which has no softmax.
        finite = scores[:, -self.n_classes :].clamp(-MOST, MOST)
        log_p = torch.log_softmax(finite, dim=1).gather(1, target[:, None])[:, 0]
        odds = log_p - torch.log(-torch.expm1(log_p.clamp(max=-1e-15)))
        within = torch.minimum(odds - self.low[rows], self.high[rows] - odds)
        return torch.where(self.decide[rows], within, own)


@dataclass(frozen=True, eq=False)
class ClassMargin(RowBatch):
    """Lead of a class over the others, or distance of its log-odds to their limits.

    Parameters
    ----------
    target : LongTensor of shape (n,)
        Position of the class of each row.
    limits : ProbabilityLimits or None
        Limits of its probability; None if predictions decide in all rows.
    """

    target: torch.Tensor
    limits: ProbabilityLimits | None = None

    def margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Score of the target minus the best other score, or log-odds within the limits."""
        target = self.target[rows]
        if self.limits is None:
            return lead(scores, target)
        return self.limits.margin(scores, target, rows)


@dataclass(frozen=True, eq=False)
class IntervalMargin(RowBatch):
    """Distance of a regressor's value to the nearer end of an interval.

    Parameters
    ----------
    low, high : Tensor of shape (n,)
        The interval of each row.
    unit : float
        Spread of the values: a margin of 1.
    """

    low: torch.Tensor
    high: torch.Tensor
    unit: float
    _by_row = ("low", "high")

    def margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Distance to the nearer end, in units; negative outside."""
        value = scores[:, 0]
        return torch.minimum(value - self.low[rows], self.high[rows] - value) / self.unit


def lead(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Score of the target (k,) minus the largest of the other scores (k, C)."""
    own = scores.gather(1, target[:, None])
    if scores.shape[1] == 2:
        # Their difference, also where one of them is infinite.
        return (own - scores.gather(1, 1 - target[:, None]))[:, 0]
    return own[:, 0] - scores.scatter(1, target[:, None], -torch.inf).amax(1)


class Requirement(Protocol):
    """A condition on several coordinates of a point, bound to rows."""

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Slacks (k,) of points ``z`` (k, D) of the bound rows (k,): 0 or more where it holds."""


@dataclass(frozen=True, eq=False)
class Constraints(RowBatch):
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
    _by_row = ("factual", "missing", "row", "log_density_floor", "origin")

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
