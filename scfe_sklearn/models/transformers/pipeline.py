"""Pipelines and column transformers, imputers and the selection of columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from torch import Tensor, nn

from scfe_sklearn.models.compiled import (
    Frame,
    Head,
    Levels,
    UnsupportedModelError,
    as_constant,
    branches,
    classify,
    compile_classifier,
    compile_transformer,
    stack,
    transform,
)
from scfe_sklearn.models.transformers.encoders import is_missing


@compile_transformer.register(Pipeline)
def _pipeline(estimator: Any, frame: Frame) -> Frame:
    for _, step in estimator.steps:
        frame = transform(step, frame)
    return frame


@compile_classifier.register(Pipeline)
def _pipeline_head(estimator: Any, frame: Frame) -> Head:
    for _, step in estimator.steps[:-1]:
        frame = transform(step, frame)
    return classify(estimator.steps[-1][1], frame)


@compile_transformer.register(ColumnTransformer)
@compile_transformer.register(FeatureUnion)
def _side_by_side(estimator: Any, frame: Frame) -> Frame:
    parts = []
    for part in branches(estimator):
        out = transform(part.step, frame if part.columns is None else frame.take(part.columns))
        parts.append(_weighted(out, part.weight, estimator))
    return stack(parts) if parts else frame.take([])


def _weighted(frame: Frame, weight: float | None, reader: object) -> Frame:
    if weight is None:
        return frame
    frame.require_numbers(reader)
    return frame.scale_shift(weight, 0.0)


@compile_transformer.register(SelectorMixin)
def _selector(estimator: Any, frame: Frame) -> Frame:
    return frame.take(np.flatnonzero(estimator.get_support()))


@compile_transformer.register(KNNImputer)
def _knn_imputer(estimator: Any, frame: Frame) -> Frame:
    _require_missing_marker(estimator)
    frame.require_numbers(estimator)
    if estimator.add_indicator or len(estimator.get_feature_names_out()) != frame.width:
        raise UnsupportedModelError(
            "KNNImputer with indicator columns or dropped columns has no differentiable version. "
            "Supported: KNNImputer(add_indicator=False) on columns with values."
        )
    return frame


@compile_transformer.register(SimpleImputer)
def _simple_imputer(estimator: Any, frame: Frame) -> Frame:
    _require_missing_marker(estimator)
    statistics = np.asarray(estimator.statistics_)
    kept = np.flatnonzero(~is_missing(statistics))
    parts = [_filled(frame.take(run), statistics[run]) for run in _runs(frame, kept)]
    if estimator.add_indicator:
        marked = np.asarray(estimator.indicator_.features_)
        parts += [_indicator(frame.take(run)) for run in _runs(frame, marked)]
    return stack(parts) if parts else frame.take([])


def _runs(frame: Frame, chosen: np.ndarray) -> list[np.ndarray]:
    """Split columns into neighbouring numbers, which share a node, and single columns of levels."""
    number = np.array([frame.levels[k] is None for k in chosen], dtype=bool)
    cuts = np.flatnonzero(~(number[1:] & number[:-1])) + 1
    return [run for run in np.split(chosen, cuts) if len(run)]


def _require_missing_marker(estimator: Any) -> None:
    marker = estimator.missing_values
    if not is_missing(np.array([marker], dtype=object))[0]:
        raise UnsupportedModelError(
            f"{type(estimator).__name__}(missing_values={marker!r}) has no differentiable "
            "version. Supported: missing values marked by NaN, None or pandas.NA."
        )


class _Fill(nn.Module):
    """Numbers, and a value of their column where they are missing."""

    values: Tensor

    def __init__(self, values: np.ndarray, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("values", as_constant(values, dtype))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(torch.isnan(x), self.values, x)


class _Missing(nn.Module):
    """1 where a number is missing, else 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.isnan(x).to(x.dtype)


def _filled(columns: Frame, statistics: np.ndarray) -> Frame:
    """Fill what is missing: of numbers, or of the levels of one column."""
    levels = columns.levels[0]
    if levels is None:
        columns.require_numbers(SimpleImputer())
        fill = _Fill(np.asarray(statistics, dtype=float), columns.dtype)
        return columns.apply(fill, columns.width)
    gone = is_missing(levels.values)
    if not gone.any():
        return columns
    values = levels.values.astype(object)
    values[gone] = statistics[0]
    if levels.values.dtype.kind == "f" and not isinstance(statistics[0], str):
        values = values.astype(float)
    return columns.lookup(Levels(levels.start, values), levels.start, columns.labels[0])


def _indicator(columns: Frame) -> Frame:
    """1 where something is missing: a number, or one column's level."""
    levels = columns.levels[0]
    if levels is None:
        return columns.apply(_Missing(), columns.width)
    table = is_missing(levels.values).astype(float)
    out = columns.lookup(Levels(levels.start, table), levels.start, columns.labels[0])
    return replace(out, levels=(None,))
