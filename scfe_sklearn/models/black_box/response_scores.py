"""Any output of an estimator as scores of classes, of which the largest is the prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_regressor

from scfe_sklearn.models.errors import UnsupportedModelError
from scfe_sklearn.models.responses import handed

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
