"""Pipelines, column transformers and unions: where columns go, not what becomes of them."""

from __future__ import annotations

from collections import UserList
from collections.abc import Hashable
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from scfe_sklearn.models.compiled import (
    Frame,
    Head,
    classify,
    compile_classifier,
    compile_transformer,
    stack,
    transform,
)


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
def _column_transformer(estimator: Any, frame: Frame) -> Frame:
    weights = estimator.transformer_weights or {}
    parts = []
    for name, step, chosen in estimator.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        indices = column_positions(estimator, chosen)
        if not len(indices):
            continue
        part = transform(step, frame.take(indices))
        parts.append(_weighted(part, weights.get(name), estimator))
    return stack(parts) if parts else frame.take([])


@compile_transformer.register(FeatureUnion)
def _feature_union(estimator: Any, frame: Frame) -> Frame:
    weights = estimator.transformer_weights or {}
    parts = [
        _weighted(transform(step, frame), weights.get(name), estimator)
        for name, step in estimator.transformer_list
        if not (isinstance(step, str) and step == "drop")
    ]
    return stack(parts) if parts else frame.take([])


def _weighted(frame: Frame, weight: float | None, reader: object) -> Frame:
    if weight is None:
        return frame
    frame.require_numbers(reader)
    return frame.scale_shift(weight, 0.0)


def column_positions(estimator: Any, chosen: Any) -> np.ndarray:
    """Positions that a fitted ColumnTransformer's selection stands for.

    Parameters
    ----------
    estimator : ColumnTransformer
        Fitted; its ``feature_names_in_`` resolve names.
    chosen : str, int, slice, mask or list of those
        As kept in ``transformers_``, where callables are resolved.

    Returns
    -------
    ndarray of int
    """
    width = int(estimator.n_features_in_)
    names = list(getattr(estimator, "feature_names_in_", ()))

    def position(key: Hashable) -> int:
        return names.index(key) if isinstance(key, str) else int(key)  # type: ignore[call-overload]

    if isinstance(chosen, slice):
        start, stop = chosen.start, chosen.stop
        if isinstance(start, str) or isinstance(stop, str):  # slices of labels keep both ends
            start = None if start is None else position(start)
            stop = None if stop is None else position(stop) + 1
        return np.arange(width)[slice(start, stop, chosen.step)]
    if np.isscalar(chosen):
        return np.arange(width)[[position(chosen)]]
    # The list of remainders of scikit-learn 1.6 warns where it is read, its content does not.
    keys = list(chosen.data if isinstance(chosen, UserList) else chosen)
    if keys and all(isinstance(key, (bool, np.bool_)) for key in keys):
        return np.flatnonzero(np.asarray(keys, dtype=bool))
    return np.arange(width)[[position(key) for key in keys]] if keys else np.empty(0, int)
