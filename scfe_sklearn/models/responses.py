"""Several methods of a fitted estimator, asked about the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from scfe_sklearn.models.handed_rows import handed

CLEAR = 1e-6
"""Lead of the largest probability over the second that leaves no doubt about the label."""

# Their labels are those of the largest probability, or of the score that it rises with.
_BY_PROBABILITY = (
    RandomForestClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    GradientBoostingClassifier,
)
_BOTH = {"predict", "predict_proba"}


def responses(estimator: Any, X: Any, names: Sequence[str]) -> list[Any]:
    """Answers of the methods ``names`` for the same rows.

    The transformers of a plain pipeline, which may be most of the work, run once for all of the
    methods, and so do the trees of an ensemble. They do what they do in each of these methods, so
    the answers are the same. Every method gets rows of its own, which it may write into.

    Parameters
    ----------
    estimator : fitted estimator
        Anything that has the methods.
    X : DataFrame or ndarray of shape (n, d)
        Rows.
    names : sequence of str
        Such as "predict" and "predict_proba".

    Returns
    -------
    list
        One answer for each method.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = [[0.0], [1.0], [2.0]], [0, 1, 1]
    >>> model = make_pipeline(StandardScaler(), LogisticRegression(C=100.0)).fit(X, y)
    >>> label, probability = responses(model, X, ["predict", "predict_proba"])
    >>> label.tolist(), (probability == model.predict_proba(X)).all()
    ([0, 1, 1], np.True_)
    """
    inner = estimator
    while type(inner) is FrozenEstimator:
        inner = inner.estimator
    own = any(name in vars(inner) for name in names) if hasattr(inner, "__dict__") else True
    # Metadata routing may hand each method something of its own.
    if len(names) < 2 or own or sklearn.get_config()["enable_metadata_routing"]:
        return [getattr(estimator, name)(handed(X)) for name in names]
    X = handed(X)
    if type(inner) is Pipeline and _ends_in_estimator(inner):
        for _, step in inner.steps[:-1]:
            if step is not None and step != "passthrough":
                X = step.transform(X)
        return responses(inner.steps[-1][1], X, names)
    if type(inner) in _BY_PROBABILITY and set(names) == _BOTH:
        probability = inner.predict_proba(X)
        return [_labels(inner, X, probability) if n == "predict" else probability for n in names]
    return [getattr(inner, name)(handed(X)) for name in names]


def _labels(estimator: Any, X: Any, probability: np.ndarray) -> np.ndarray:
    """Labels of the largest probabilities; the estimator itself is asked where two are close."""
    if isinstance(probability, list) or probability.shape[1] < 2 or len(probability) == 0:
        return np.asarray(estimator.predict(X))
    second, first = np.partition(probability, -2, axis=1)[:, -2:].T
    if not (first - second > CLEAR).all():
        return np.asarray(estimator.predict(X))
    return np.asarray(estimator.classes_[probability.argmax(axis=1)])


def _ends_in_estimator(pipeline: Pipeline) -> bool:
    last = pipeline.steps[-1][1]
    return last is not None and not isinstance(last, str)
