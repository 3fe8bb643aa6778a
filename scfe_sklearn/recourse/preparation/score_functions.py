"""The models of an explainer as functions of solver space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from scfe_sklearn.data import FeatureSpace, Table
from scfe_sklearn.models import (
    BlackBox,
    LinearScores,
    ScoreModel,
    TreeEnsemble,
    UnsupportedModelError,
    as_torch,
    read_linear,
    read_trees,
    verify,
)
from scfe_sklearn.recourse.preparation.solver_cells import SolverCells

ROUNDING = 1e-9
"""Relative difference of a number that comes back from solver units."""


@dataclass(frozen=True, eq=False)
class ScoreFunction:
    """Scores of one model at points of solver space.

    Parameters
    ----------
    scores : callable
        Points (k, D) to scores (k, C).
    has_gradient : bool
        Whether they can be differentiated.
    single_precision : bool
        Whether a part of the model computes in float32.
    has_probabilities : bool
        Whether the softmax of the scores is what ``predict_proba`` returns.
    width : int
        Number of scores C of a point.
    """

    scores: Callable[[torch.Tensor], torch.Tensor]
    has_gradient: bool
    single_precision: bool
    has_probabilities: bool
    width: int


@dataclass(frozen=True, eq=False)
class BlackBoxScores:
    """Scores of a black box at points of solver space.

    Parameters
    ----------
    model : BlackBox
        The black box.
    exact : callable
        Points of solver space to points of column space.
    space : FeatureSpace
        The fitted feature space.
    """

    model: BlackBox
    exact: Callable[[torch.Tensor], torch.Tensor]
    space: FeatureSpace

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Scores (k, C) of points (k, D)."""
        return self.model.scores(self.exact(z))

    @cached_property
    def cells(self) -> SolverCells | None:
        """The cells into which trees cut solver space; None for other models."""
        if self.model.cells is None:
            return None
        return SolverCells.of(self.model, self.exact, self.space)

    def after_moves(
        self, z: torch.Tensor, target: torch.Tensor, feature: torch.Tensor
    ) -> torch.Tensor | None:
        """Scores (n, M, C) of points (n, D) after each of M moves; None if not cheaper.

        A move sets a ``feature`` (M,) to what it is in ``target`` (M, D).
        """
        return self.model.scores_after(self.exact(z), self.exact(target), feature.numpy())


@dataclass(frozen=True, eq=False)
class WholeRows:
    """Scores of a black box at points of solver space, each decoded into its own row.

    What a point does not change is what its row holds, whatever that is: unseen levels,
    infinity, columns that are held as they are.

    Parameters
    ----------
    model : BlackBox
        The black box.
    space : FeatureSpace
        The fitted feature space.
    rows : Table
        The rows of the query, with their columns in the order of training.
    Z : ndarray of shape (n, D)
        Their coordinates.
    """

    model: BlackBox
    space: FeatureSpace
    rows: Table
    Z: np.ndarray

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Scores (n, C) of one point (n, D) for each row of the query, in their order."""
        return self.of_rows(z, torch.arange(len(z)))

    def of_rows(self, z: torch.Tensor, origin: torch.Tensor) -> torch.Tensor:
        """Scores (k, C) of points (k, D) of the rows ``origin`` (k,)."""
        at = origin.numpy()
        before = self.Z[at]
        points = z.detach().numpy()
        points = np.where(np.isnan(points) & ~np.isfinite(before), before, points)
        frame = self.space.decode(points, self.rows, at, reference=before)
        return torch.from_numpy(np.ascontiguousarray(self.model.scores_of_rows(frame)))


class CompiledModels:
    """The models of a fitted explainer, each compiled when it is first used.

    Parameters
    ----------
    models : sequence of estimators
        The model that is explained and those that must agree.
    space : FeatureSpace
        The fitted feature space.
    sample : DataFrame or ndarray
        Some training rows, from which the types of the columns are read.
    classes : ndarray of shape (C,) or None
        Class labels; None for a regressor.
    """

    def __init__(self, models: Sequence[Any], space: FeatureSpace, sample: Any, classes: Any):
        self.models = models
        self.space = space
        self.sample = sample
        self.classes = classes

    @cached_property
    def torch_models(self) -> list[ScoreModel]:
        """Exact torch versions; raise UnsupportedModelError if a model has none."""
        return [as_torch(model, self.space.columns_) for model in self.models]

    @cached_property
    def torch_scores(self) -> list[ScoreFunction]:
        """Scores that can be differentiated."""
        return [_torch_scores(model, self.space) for model in self.torch_models]

    @cached_property
    def black_boxes(self) -> list[BlackBox]:
        """The models as black boxes."""
        return self._black_boxes(with_proba=False)

    @cached_property
    def black_boxes_with_proba(self) -> list[BlackBox]:
        """The models as black boxes with probabilities."""
        return self._black_boxes(with_proba=True)

    @cached_property
    def linear(self) -> LinearScores | None:
        """Weights of the explained model; None if it is not linear."""
        try:
            return read_linear(self.models[0], self.space.columns_)
        except UnsupportedModelError:
            return None

    @cached_property
    def trees(self) -> TreeEnsemble:
        """Trees of the explained model; raise UnsupportedModelError if it has none."""
        return read_trees(self.models[0], self.space.columns_, self.sample)

    def _black_boxes(self, with_proba: bool) -> list[BlackBox]:
        columns = self.space.columns_
        return [
            BlackBox(model, columns, self.sample, self.classes, with_proba) for model in self.models
        ]

    def verify_gradients(self, X: Any, Z: np.ndarray) -> None:
        """Compare the torch versions with the models on training rows ``X``, encoded as ``Z``."""
        for model, estimator in zip(self.torch_models, self.models, strict=True):
            verify(model, estimator, X, _columns_for(model, self.space)(torch.from_numpy(Z)))


def whole_row_scores(
    model: BlackBox, space: FeatureSpace, rows: Table, Z: np.ndarray
) -> ScoreFunction:
    """Return the scores of a black box that takes whole rows of the query."""
    return ScoreFunction(
        WholeRows(model, space, rows, Z), False, False, model.has_probabilities, model.n_scores
    )


def black_box_scores(model: BlackBox, space: FeatureSpace) -> ScoreFunction:
    """Return the scores of a black box at points of solver space, decoded to rows."""
    exact = space.exact_columns()
    return ScoreFunction(
        BlackBoxScores(model, exact, space), False, False, model.has_probabilities, model.n_scores
    )


def _torch_scores(model: ScoreModel, space: FeatureSpace) -> ScoreFunction:
    columns = _columns_for(model, space)

    def scores(z: torch.Tensor) -> torch.Tensor:
        return model.scores(columns(z))

    sure = not model.surrogate and model.response_method == "predict_proba"
    return ScoreFunction(scores, True, model.single_precision, sure, model.n_classes)


def _columns_for(model: ScoreModel, space: FeatureSpace) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the map to column space, without rounding for models with jumps."""
    columns = space.column_map_.compiled(torch.float64)
    if not model.jumps:
        return columns
    exact = space.exact_columns()

    def rounded(z: torch.Tensor) -> torch.Tensor:
        u = columns(z)
        value = exact(z).to(u.device)
        near = (value - u).abs() <= ROUNDING * (1.0 + u.abs())
        return torch.where(near, value + (u - u.detach()), u)  # the slope stays that of u

    return rounded
