"""Parts of fitted pipelines, column transformers and unions, and the columns that they read."""

from __future__ import annotations

from collections import UserList
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline


class Branch(NamedTuple):
    """One of the transformers whose columns are put side by side."""

    name: str
    step: Any
    columns: np.ndarray | None
    """Positions of the columns that it reads; None for all."""
    weight: float | None


def unwrap(estimator: Any) -> Any:
    """Return the estimator that answers inside FrozenEstimator and hyper-parameter searches."""
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif isinstance(estimator, BaseSearchCV) and hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator


def split_pipeline(estimator: Any) -> tuple[list[Any], Any]:
    """Return the transformers before the last estimator, through nested pipelines, and the last.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> split_pipeline(make_pipeline("passthrough", make_pipeline(None, abs)))
    (['passthrough', None], <built-in function abs>)
    """
    steps: list[Any] = []
    last = unwrap(estimator)
    while isinstance(last, Pipeline):
        steps += [step for _, step in last.steps[:-1]]
        last = unwrap(last.steps[-1][1])
    return steps, last


def branches(estimator: Any) -> list[Branch]:
    """Return the parts of a fitted column transformer or union that give columns."""
    weights = estimator.transformer_weights or {}
    if isinstance(estimator, FeatureUnion):
        parts = [
            Branch(name, step, None, weights.get(name)) for name, step in estimator.transformer_list
        ]
    else:
        parts = [
            Branch(name, step, column_positions(estimator, chosen), weights.get(name))
            for name, step, chosen in estimator.transformers_
            if not is_dropped(step)
        ]
    return [
        part
        for part in parts
        if not is_dropped(part.step) and (part.columns is None or len(part.columns))
    ]


def is_dropped(step: Any) -> bool:
    """Whether a step is the word "drop"."""
    return isinstance(step, str) and step == "drop"


def side_by_side(estimator: Any) -> bool:
    """Whether an estimator puts the columns of several transformers side by side."""
    return isinstance(estimator, (ColumnTransformer, FeatureUnion))


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
