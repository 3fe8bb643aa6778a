"""Outputs of the methods of a fitted estimator for rows, checked."""

from __future__ import annotations

import sys
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

BEYOND = 1e-6
"""By how much a probability may be below 0 or above 1: what rounding does in single precision."""

TOTAL = 1e-3
"""By how much the probabilities of a row may miss a sum of 1."""


def handed(X: Any) -> Any:
    """Return a copy of rows for a model, so that the caller's rows stay as they are.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n, d)
        Rows. Copies of polars are lazy, and so are those of pandas where it copies on write.

    Returns
    -------
    DataFrame or ndarray of shape (n, d)

    Examples
    --------
    >>> import numpy as np
    >>> X = np.zeros((1, 2))
    >>> handed(X)[0, 0] = 1.0
    >>> X[0, 0]
    np.float64(0.0)
    """
    if isinstance(X, np.ndarray):
        return X.copy()
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if polars is not None and isinstance(X, polars.DataFrame):
        return X.clone()
    if pandas is None or not isinstance(X, pandas.DataFrame):
        return X
    copies_on_write = int(pandas.__version__.partition(".")[0]) >= 3
    return X.copy(deep=not copies_on_write)


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
    """Labels of the largest probabilities; the estimator itself predicts where two are close."""
    if isinstance(probability, list) or probability.shape[1] < 2 or len(probability) == 0:
        return np.asarray(estimator.predict(X))
    second, first = np.partition(probability, -2, axis=1)[:, -2:].T
    if not (first - second > CLEAR).all():
        return np.asarray(estimator.predict(X))
    return np.asarray(estimator.classes_[probability.argmax(axis=1)])


def _ends_in_estimator(pipeline: Pipeline) -> bool:
    last = pipeline.steps[-1][1]
    return last is not None and not isinstance(last, str)


def are_probabilities(table: np.ndarray) -> np.ndarray:
    """Return whether rows hold probabilities: between 0 and 1, with a sum of 1.

    Parameters
    ----------
    table : ndarray of shape (n, C)
        What a model returns.

    Returns
    -------
    ndarray of shape (n,), bool
        False for rows with NaN.

    Examples
    --------
    >>> import numpy as np
    >>> are_probabilities(np.array([[0.25, 0.75], [0.6, 0.6], [-0.5, 1.5]]))
    array([ True, False, False])
    """
    inside = np.asarray(((table >= -BEYOND) & (table <= 1 + BEYOND)).all(axis=1))
    total = np.where(inside[:, None], table, 0.0).sum(axis=1)
    return np.asarray(inside & (np.abs(total - 1) <= TOTAL))


def probability_table(estimator: Any, said: Any, n: int) -> np.ndarray:
    """Return what ``predict_proba`` returns for n rows as an array.

    Raises
    ------
    ValueError
        If it has not one row for each of them and one column for each class.
    """
    table = np.asarray(said)
    classes = np.asarray(estimator.classes_)
    if table.shape != (n, len(classes)):
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must have a predict_proba with "
            f"one row for each row of X and one column for each of the classes {classes.tolist()}."
            f" Got an array of shape {table.shape} for {n} rows instead."
        )
    return table


def check_predict_proba(estimator: Any, X: Any, parameter: str = "estimator") -> None:
    """Raise if the ``predict_proba`` of a fitted classifier does not return probabilities.

    Parameters
    ----------
    estimator : classifier
        Any model; one without ``classes_`` or ``predict_proba`` passes.
    X : DataFrame or ndarray of shape (n, d)
        Rows. Those for which it returns NaN do not count.
    parameter : str, default="estimator"
        Parameter of `CounterfactualExplainer` that holds the model.
    """
    if not (hasattr(estimator, "classes_") and hasattr(estimator, "predict_proba")) or not len(X):
        return
    with np.errstate(invalid="ignore"):
        table = probability_table(estimator, estimator.predict_proba(X), len(X))
    known = table[~np.isnan(table.astype(np.float64)).any(axis=1)]
    bad = np.flatnonzero(~are_probabilities(known))
    if len(bad):
        raise ValueError(
            f"The {parameter!r} parameter of CounterfactualExplainer must have a predict_proba "
            "that returns probabilities: between 0 and 1, with a sum of 1 in every row. Got "
            f"{known[bad[0]].round(4).tolist()} for a row instead. Give a model of scores without "
            "predict_proba, or as a function of rows that returns one column of scores per class."
        )
