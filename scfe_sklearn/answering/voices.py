"""The models of an explainer as functions of solver space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scfe_sklearn.features import FeatureSpace
from scfe_sklearn.features.column_space import exact_columns
from scfe_sklearn.models import BlackBox, as_torch, verify


@dataclass(frozen=True, eq=False)
class Voice:
    """What one model says of points.

    Parameters
    ----------
    scores : callable
        Points (k, D) to scores (k, C).
    has_gradient : bool
        Whether they can be differentiated.
    single_precision : bool
        Whether a part of the model computes in float32.
    guides_only : bool
        Whether the largest score may be another class than the predicted one.
    """

    scores: Callable[[torch.Tensor], torch.Tensor]
    has_gradient: bool
    single_precision: bool
    guides_only: bool


def gradient_voice(estimator: Any, space: FeatureSpace) -> Voice:
    """Return the exact torch version of a model; UnsupportedModelError if there is none."""
    model = as_torch(estimator, space.columns_)
    columns = space.column_map_.compiled(torch.float64)

    def scores(z: torch.Tensor) -> torch.Tensor:
        return model.scores(columns(z))

    return Voice(scores, True, model.single_precision, model.surrogate)


def asked_voice(model: BlackBox, space: FeatureSpace) -> Voice:
    """Return a black box as a function of solver space: every point is a row of the data."""
    exact = exact_columns(space.features_, space.slices_, space.lattice())

    def scores(z: torch.Tensor) -> torch.Tensor:
        return model.scores(exact(z))

    return Voice(scores, False, False, False)


def check_gradient(estimator: Any, space: FeatureSpace, X: Any, Z: np.ndarray) -> None:
    """Compare the torch version of a model with it on training rows ``X``, encoded as ``Z``."""
    columns = space.to_columns(torch.from_numpy(Z))
    verify(as_torch(estimator, space.columns_), estimator, X, columns)
