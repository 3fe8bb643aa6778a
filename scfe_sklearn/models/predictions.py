"""Outputs of the methods of a fitted estimator for rows: checked, and as scores of classes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from sklearn.base import is_regressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from scfe_sklearn.models.compiled import UnsupportedModelError

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


# ---------------------------------------------------------------------------------------- scores


BEHIND = 1e-9
"""By how much the score of the predicted class may stay behind the largest."""

LEAST = 1e-9
"""Probabilities are at least this before their logarithm is taken."""

LEAD = 1e-2
"""By how much the predicted class leads where scores and predictions disagree."""

# Answers of an estimator: raw rows (or, on the fast road, a matrix) to an array.
Response = Callable[[Any], np.ndarray]


@dataclass(frozen=True, eq=False)
class ResponseScores:
    """Scores from the output of an estimator.

    Parameters
    ----------
    classes : ndarray of shape (C,) or None
        Class labels; None for a regressor.
    method : {"predict_proba", "decision_function", "predict"}
        Method that is called.
    corrects : bool
        Whether predictions are computed as well, since the largest score may be another class.
    with_proba : bool
        Whether scores that were corrected by predictions are followed by those that were not,
        whose softmax is ``predict_proba``.
    """

    classes: np.ndarray | None
    method: str
    corrects: bool = False
    with_proba: bool = False

    @classmethod
    def of(
        cls, estimator: Any, classes: Any, raw: Any, with_proba: bool = False
    ) -> tuple[ResponseScores, np.ndarray]:
        """Choose the method of an estimator, and return its scores (m, C) of some raw rows."""
        labels = _class_labels(estimator, classes, raw)
        method, response = _first_response(estimator, labels, raw)
        reading = cls(labels, method)
        scores = reading.scores(response)
        if labels is None or not hasattr(estimator, "predict"):
            return reading, scores
        predicted = reading.codes(estimator.predict(handed(raw)))
        if not _disagree(scores, predicted):
            return reading, scores
        both = with_proba and method == "predict_proba"
        reading = cls(labels, method, corrects=True, with_proba=both)
        return reading, reading._both(scores, predicted)

    @property
    def n_classes(self) -> int:
        """C; 1 for a regressor."""
        return 1 if self.classes is None else len(self.classes)

    def asking(self, estimator: Any) -> Response:
        """Return how to get scores (n, C) from an estimator on its own input."""
        respond = getattr(estimator, self.method)
        if self.corrects:
            return lambda X: self._both(
                self.scores(respond(handed(X))), self.codes(estimator.predict(X))
            )
        return lambda X: self.scores(respond(X))

    @property
    def width(self) -> int:
        """Number of scores of a row: C, or twice as many where probabilities follow."""
        return self.n_classes * (2 if self.with_proba else 1)

    @property
    def has_probabilities(self) -> bool:
        """Whether the softmax of the last C scores is ``predict_proba``."""
        return self.method == "predict_proba" and self.corrects == self.with_proba

    def _both(self, scores: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return scores corrected by predictions, followed by the scores if they are needed."""
        corrected = _corrected(scores, predicted)
        return np.hstack([corrected, scores]) if self.with_proba else corrected

    def scores(self, response: Any) -> np.ndarray:
        """Scores (n, C) from what an estimator returns."""
        if self.classes is None:
            return np.asarray(response, dtype=np.float64).reshape(len(response), -1)[:, :1]
        if self.method == "predict":
            return _one_hot(self.codes(response), self.n_classes)
        out = np.asarray(response, dtype=np.float64)
        if self.method == "predict_proba":
            return np.log(np.maximum(out, LEAST))
        return np.stack([-out / 2, out / 2], axis=1) if out.ndim == 1 else out

    def codes(self, labels: Any) -> np.ndarray:
        """Positions (n,) of predicted labels among the classes."""
        assert self.classes is not None
        match = np.asarray(labels).reshape(-1)[:, None] == self.classes[None, :]
        return match.argmax(axis=1)


def _class_labels(estimator: Any, classes: Any, raw: Any) -> np.ndarray | None:
    found = getattr(estimator, "classes_", None) if classes is None else classes
    if found is None and classes is None and not hasattr(estimator, "predict"):
        raise UnsupportedModelError(
            f"{type(estimator).__name__} must have 'classes_' where it has no 'predict'."
        )
    if found is not None:
        if isinstance(found, list) and len(found) and np.ndim(found[0]) > 0:
            raise UnsupportedModelError(
                f"{type(estimator).__name__} was fitted for several outputs; one is supported."
            )
        return np.asarray(found)
    predicted = np.asarray(estimator.predict(handed(raw)))
    if predicted.ndim > 1 and predicted.shape[1] > 1:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} was fitted for several outputs; one is supported."
        )
    fractions = predicted.dtype.kind == "f" and not (predicted == np.rint(predicted)).all()
    return None if fractions or _regresses(estimator) else np.unique(predicted)


def _regresses(estimator: Any) -> bool:
    """Whether the tags of an estimator mark a regressor; a function has none."""
    if hasattr(estimator, "__sklearn_tags__"):
        return bool(is_regressor(estimator))
    return getattr(estimator, "_estimator_type", None) == "regressor"


def _first_response(estimator: Any, classes: np.ndarray | None, raw: Any) -> tuple[str, np.ndarray]:
    """Return the method to call, and its output for some rows."""
    if classes is not None:
        for name in ("predict_proba", "decision_function"):
            if not hasattr(estimator, name):
                continue
            out = np.asarray(getattr(estimator, name)(handed(raw)))
            # One-vs-one decisions are no scores of classes.
            if out.shape[1:] == (len(classes),) or (out.ndim == 1 and len(classes) == 2):
                return name, out
    return "predict", np.asarray(estimator.predict(handed(raw)))


def _disagree(scores: np.ndarray, predicted: np.ndarray) -> bool:
    """Whether predictions are not the largest scores, as with a threshold of one's own."""
    own = np.take_along_axis(scores, predicted[:, None], axis=1)[:, 0]
    return bool((own < scores.max(axis=1) - BEHIND).any())


def _one_hot(codes: np.ndarray, n_classes: int) -> np.ndarray:
    out = np.zeros((len(codes), n_classes))
    out[np.arange(len(codes)), codes] = 1.0
    return out


def _corrected(scores: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Scores in which the predicted class leads by a little where it did not lead."""
    out = scores.copy()
    rows = np.flatnonzero(scores.argmax(axis=1) != predicted)
    out[rows, predicted[rows]] = scores[rows].max(axis=1) + LEAD
    return out
