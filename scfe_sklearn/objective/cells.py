"""Cells on which the scores of trees are constant, with the margins of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from scfe_sklearn.objective.rows import RowObjective


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
