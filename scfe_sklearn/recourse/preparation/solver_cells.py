"""The cells into which the thresholds of trees cut solver space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from scfe_sklearn.data import VERTEX, FeatureSpace
from scfe_sklearn.models import BlackBox


@dataclass(frozen=True, eq=False)
class SolverCells:
    """The cells of trees in solver space, and the values that enter them.

    Parameters
    ----------
    model : BlackBox
        The model, which is a sum of trees.
    exact : callable
        Points of solver space to points of column space.
    coordinate : LongTensor of shape (M,)
        Coordinate that a value is of.
    value : Tensor of shape (M,)
        The value of a number nearest to the other side of a threshold; every rank and level.
    side : Tensor of shape (M,)
        1 for a number above its threshold, -1 for one below, 0 for ranks and levels.
    """

    model: BlackBox
    exact: Callable[[torch.Tensor], torch.Tensor]
    coordinate: torch.Tensor
    value: torch.Tensor
    side: torch.Tensor

    @classmethod
    def of(
        cls,
        model: BlackBox,
        exact: Callable[[torch.Tensor], torch.Tensor],
        space: FeatureSpace,
    ) -> SolverCells:
        """List the values of all features."""
        assert model.cells is not None
        coordinate, value, side = [], [], []
        for j, cuts in enumerate(model.cells.thresholds):
            at = space.slices_[j]
            if space.kinds_[j] == "categorical":
                found = [(np.full(1, VERTEX), c, 0) for c in range(at.start, at.stop)]
            elif (levels := space.levels_[j]) is not None:
                ranks = np.arange(len(levels))
                found = [((ranks - space.center_[j]) / space.scale_[j], at.start, 0)]
            else:
                lattice = space.lattice(np.array([j]))
                below = lattice.at_most(cuts[:, None])[:, 0]
                above = lattice.at_least(np.nextafter(cuts, np.inf)[:, None])[:, 0]
                found = [
                    ((raw - space.center_[j]) / space.scale_[j], at.start, way)
                    for raw, way in ((np.unique(below), -1), (np.unique(above), 1))
                ]
            for values, c, way in found:
                values = values[np.isfinite(values)]
                value.append(values)
                coordinate.append(np.full(len(values), c))
                side.append(np.full(len(values), way))
        parts = (np.concatenate(part) for part in (coordinate, value, side))
        return cls(model, exact, *(torch.from_numpy(part) for part in parts))

    def places(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Places (n, d) of points (n, D), and whether the trees accept the points (n,)."""
        u, cells = self.exact(z).numpy(), self.model.cells
        assert cells is not None
        return torch.from_numpy(cells.places(u)), torch.from_numpy(self.model.readable(u))

    def scores(
        self,
        places: torch.Tensor,
        state: torch.Tensor,
        feature: torch.Tensor,
        place: torch.Tensor,
    ) -> torch.Tensor:
        """Scores (k, C) of states (S, d) after one feature changes its place.

        ``state``, ``feature`` and ``place`` have shape (k,); states ascend.
        """
        at = (part.numpy() for part in (places, state, feature, place))
        return torch.from_numpy(np.ascontiguousarray(self.model.scores_changed(*at)))
