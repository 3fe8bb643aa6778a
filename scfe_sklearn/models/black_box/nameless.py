"""Fitted estimators that take bare arrays without a warning about the names of columns."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

NAMES = "feature_names_in_"


def nameless(estimator: Any) -> Any:
    """Return an estimator without the names of its columns; itself where it has none.

    Only what holds names is copied, and no copy is deep: trees and matrices are shared.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.preprocessing import StandardScaler
    >>> scaler = StandardScaler().fit(pd.DataFrame({"a": [0.0, 2.0]}))
    >>> nameless(scaler).transform([[2.0]])
    array([[1.]])
    >>> hasattr(scaler, "feature_names_in_")
    True
    """
    return _nameless(estimator, {})


def _nameless(value: Any, known: dict[int, Any]) -> Any:
    """Return a value in which no estimator has names; ``known`` holds what was seen already."""
    if id(value) in known:
        return known[id(value)]
    kind = type(value)
    if kind in (list, tuple):
        members = [_nameless(one, known) for one in value]
        same = all(new is old for new, old in zip(members, value, strict=True))
        return value if same else kind(members)
    if kind is dict:
        values = {key: _nameless(one, known) for key, one in value.items()}
        return values if any(values[key] is not value[key] for key in value) else value
    if kind is np.ndarray and value.dtype == object:
        members = [_nameless(one, known) for one in value.flat]
        if all(new is old for new, old in zip(members, value.flat, strict=True)):
            return value
        out = np.empty_like(value)
        out.flat[:] = members
        return out
    if isinstance(value, BaseEstimator) or _of_sklearn(value):
        known[id(value)] = value  # whatever leads back to it keeps it
        known[id(value)] = _without_names(value, known)
        return known[id(value)]
    return value


def _of_sklearn(value: Any) -> bool:
    """Whether a value is an object of scikit-learn that may hold estimators."""
    package = type(value).__module__.partition(".")[0]
    return package == "sklearn" and hasattr(value, "__dict__") and not callable(value)


def _without_names(estimator: Any, known: dict[int, Any]) -> Any:
    """Return an estimator of which nothing inside has names either."""
    parts = vars(estimator)
    new = {key: _nameless(value, known) for key, value in parts.items() if key != NAMES}
    if NAMES not in parts and all(new[key] is parts[key] for key in new):
        return estimator
    out = copy(estimator)
    vars(out).clear()
    vars(out).update(new)
    return out
