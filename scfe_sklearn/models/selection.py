"""Imputers and feature selectors: columns pass as they are, missing levels are filled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import KNNImputer, SimpleImputer

from scfe_sklearn.models.dispatch import compile_transformer
from scfe_sklearn.models.encoders import is_missing
from scfe_sklearn.models.errors import UnsupportedModelError
from scfe_sklearn.models.frame import Frame, Levels, stack


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
    empty = is_missing(statistics)
    parts = [_filled(frame.take([k]), statistics[k]) for k in range(frame.width) if not empty[k]]
    if estimator.add_indicator:
        parts += [_indicator(frame.take([k])) for k in estimator.indicator_.features_]
    return stack(parts) if parts else frame.take([])


def _require_missing_marker(estimator: Any) -> None:
    marker = estimator.missing_values
    if not is_missing(np.array([marker], dtype=object))[0]:
        raise UnsupportedModelError(
            f"{type(estimator).__name__}(missing_values={marker!r}) has no differentiable "
            "version. Supported: missing values marked by NaN, None or pandas.NA."
        )


def _filled(column: Frame, statistic: Any) -> Frame:
    """Fill the missing levels of a column; a number passes as it is."""
    levels = column.levels[0]
    if levels is None:
        return column
    gone = is_missing(levels.values)
    if not gone.any():
        return column
    values = levels.values.astype(object)
    values[gone] = statistic
    if levels.values.dtype.kind == "f" and not isinstance(statistic, str):
        values = values.astype(float)
    return column.lookup(Levels(levels.start, values), levels.start, column.labels[0])


def _indicator(column: Frame) -> Frame:
    """1 where the column is missing: never for a number here, a table for levels."""
    levels = column.levels[0]
    if levels is None:
        return column.constants(np.zeros(1), column.labels)
    table = is_missing(levels.values).astype(float)
    out = column.lookup(Levels(levels.start, table), levels.start, column.labels[0])
    return replace(out, levels=(None,))
