"""Best valid points so far: the answers of a search that the time limit cuts short."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import torch

from scfe_sklearn.objective import RowObjective

__all__ = ["Record", "RecordedObjective"]


@dataclass(eq=False)
class Record:
    """Cheapest valid point of each row among those that a search has evaluated.

    Parameters
    ----------
    factual : Tensor of shape (n, D)
        The rows.
    beta : float
        Price of a changed coordinate.

    Attributes
    ----------
    z : ndarray of shape (n, D)
        The points.
    cost : ndarray of shape (n,)
        Squared distance and price of the changes; infinite where no valid point was met.
    """

    factual: torch.Tensor
    beta: float
    z: np.ndarray = field(init=False)
    cost: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Begin without a point."""
        self.z = self.factual.numpy().copy()
        self.cost = np.full(len(self.z), np.inf)

    def note(self, points: torch.Tensor, rows: torch.Tensor) -> None:
        """Keep valid points (k, D) of the rows (k,) that are cheaper than those so far."""
        z, at = points.detach().numpy(), rows.numpy()
        gap = z - self.factual.numpy()[at]
        cost = (gap**2).sum(axis=1) + self.beta * (gap != 0).sum(axis=1)
        better = np.flatnonzero((cost < self.cost[at]) & (gap != 0).any(axis=1))
        # Of several points of a row the cheapest is written last.
        better = better[np.argsort(-cost[better], kind="stable")]
        self.z[at[better]], self.cost[at[better]] = z[better], cost[better]


@dataclass(frozen=True, eq=False)
class RecordedObjective(RowObjective):
    """Objective of n rows that records the valid points that it evaluates.

    Parameters
    ----------
    record : Record
        Of all rows of a search.
    position : LongTensor of shape (n,)
        Position of each row in the record.
    """

    record: Record = None  # type: ignore[assignment]
    position: torch.Tensor = None  # type: ignore[assignment]
    _by_row = (*RowObjective._by_row, "position")  # type: ignore[assignment]

    @classmethod
    def of(cls, objective: RowObjective, record: Record, position: torch.Tensor) -> RowObjective:
        """Return an objective that records."""
        given = {one.name: getattr(objective, one.name) for one in fields(RowObjective)}
        return cls(**given, record=record, position=position)

    def _valid_at(
        self, points: torch.Tensor, rows: torch.Tensor, floor: float, limited: bool
    ) -> torch.Tensor:
        """Whether points (k, D) of the rows ``rows`` (k,) are valid; these are recorded."""
        good = super()._valid_at(points, rows, floor, limited)
        self.record.note(points[good], self.position[rows[good]])
        return good
