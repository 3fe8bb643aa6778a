"""Scalers and projections that are affine: they fold into one matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from torch import Tensor, nn

from scfe_sklearn.models.compiled import Frame, compile_transformer


class Clip(nn.Module):
    """Clip every column into one interval."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, rows: Tensor) -> Tensor:
        """Clip the rows."""
        return torch.clamp(rows, self.low, self.high)


def _centered(frame: Frame, estimator: Any, center: Any, scale: Any) -> Frame:
    """(x - center) / scale, either of which may be None."""
    frame.require_numbers(estimator)
    center = np.zeros(frame.width) if center is None else np.asarray(center, dtype=float)
    scale = np.ones(frame.width) if scale is None else np.asarray(scale, dtype=float)
    return frame.scale_shift(1.0 / scale, -center / scale)


@compile_transformer.register(StandardScaler)
def _standard(estimator: Any, frame: Frame) -> Frame:
    mean = estimator.mean_ if estimator.with_mean else None
    return _centered(frame, estimator, mean, estimator.scale_ if estimator.with_std else None)


@compile_transformer.register(RobustScaler)
def _robust(estimator: Any, frame: Frame) -> Frame:
    center = estimator.center_ if estimator.with_centering else None
    return _centered(frame, estimator, center, estimator.scale_ if estimator.with_scaling else None)


@compile_transformer.register(MinMaxScaler)
def _min_max(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    out = frame.scale_shift(estimator.scale_, estimator.min_)
    return out.apply(Clip(*estimator.feature_range), out.width) if estimator.clip else out


@compile_transformer.register(MaxAbsScaler)
def _max_abs(estimator: Any, frame: Frame) -> Frame:
    out = _centered(frame, estimator, None, estimator.scale_)
    clip = getattr(estimator, "clip", False)  # since scikit-learn 1.8
    return out.apply(Clip(-1.0, 1.0), out.width) if clip else out


@compile_transformer.register(PCA)
@compile_transformer.register(IncrementalPCA)
def _pca(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    weight = estimator.components_.T
    if estimator.whiten:
        deviation = np.sqrt(estimator.explained_variance_)
        weight = weight / np.maximum(deviation, np.finfo(deviation.dtype).eps)
    # two steps, so that the mean becomes the center of the coordinates
    return frame.scale_shift(1.0, -estimator.mean_).project(weight, 0.0)


@compile_transformer.register(TruncatedSVD)
def _svd(estimator: Any, frame: Frame) -> Frame:
    frame.require_numbers(estimator)
    return frame.project(estimator.components_.T, 0.0)
