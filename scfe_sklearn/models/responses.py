"""Several methods of a fitted estimator, asked about the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

_FORESTS = (RandomForestClassifier, ExtraTreesClassifier)
_BOTH = {"predict", "predict_proba"}


def responses(estimator: Any, X: Any, names: Sequence[str]) -> list[Any]:
    """Answers of the methods ``names`` for the same rows.

    The transformers of a plain pipeline, which may be most of the work, run once for all of the
    methods, and so do the trees of a forest. They do what they do in each of these methods, so
    the answers are the same.

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
    # Metadata routing may hand each method something of its own.
    if len(names) < 2 or sklearn.get_config()["enable_metadata_routing"]:
        return [getattr(estimator, name)(X) for name in names]
    if type(inner) is Pipeline and len(inner.steps) > 1 and _ends_in_estimator(inner):
        return responses(inner.steps[-1][1], inner[:-1].transform(X), names)
    if type(inner) in _FORESTS and inner.n_outputs_ == 1 and set(names) == _BOTH:
        # The label of a forest is defined so, and its trees are asked one by one.
        probability = inner.predict_proba(X)
        label = inner.classes_.take(np.argmax(probability, axis=1), axis=0)
        return [label if name == "predict" else probability for name in names]
    return [getattr(inner, name)(X) for name in names]


def _ends_in_estimator(pipeline: Pipeline) -> bool:
    last = pipeline.steps[-1][1]
    return last is not None and not isinstance(last, str)
