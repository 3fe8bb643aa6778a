"""A fitted estimator of any kind as a function of column space: asked, never differentiated."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn import config_context
from sklearn.base import is_regressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from torch import Tensor

from scfe_sklearn.columns import Column
from scfe_sklearn.models.errors import UnsupportedModelError
from scfe_sklearn.models.raw_rows import RowWriter
from scfe_sklearn.models.replay import Program, replay
from scfe_sklearn.models.trees import read_matrix_trees
from scfe_sklearn.models.trees_bits import BitTrees

COMPARED = 256
"""Sample rows on which the fast road must give the scores of the estimator."""

CLOSE = 1e-9
"""Largest difference of a score, relative to one plus its size."""

LEAST = 1e-9
"""Probabilities are at least this before their logarithm is taken."""

LEAD = 1e-2
"""By how much the predicted class leads where scores and predictions disagree."""

_FORESTS = (
    RandomForestClassifier,
    ExtraTreesClassifier,
    RandomForestRegressor,
    ExtraTreesRegressor,
)

# Answers of an estimator: raw rows (or, on the fast road, a matrix) to an array.
Response = Callable[[Any], np.ndarray]


class BlackBox:
    """Scores of a fitted estimator at points of column space, by asking it.

    An estimator with probabilities, else with a decision function, else with predictions only.
    The transformers of a pipeline are replayed on bare arrays where that is possible, and the
    estimator at its end is asked directly: no data frame is built, nothing is validated again.
    This fast road is taken only if it reproduces the estimator on sample rows; otherwise raw
    rows are rebuilt in the container of the sample and the whole estimator is asked. In any
    case the scores only guide a search, and the real estimator judges what it finds.

    Parameters
    ----------
    estimator : fitted classifier or regressor
        Anything with `predict_proba`, `decision_function` or `predict`.
    columns : sequence of Column
        Layout of column space, as for `as_torch`.
    sample : DataFrame or ndarray of shape (m, d)
        Raw training rows: they give container, dtypes and column names, and the rows on which
        the fast road is compared with the estimator.
    classes : array-like of shape (C,) or None, default=None
        Class labels; None for ``estimator.classes_`` or, where there are none, the labels that
        are predicted on the sample (a regressor if these are fractions).

    Attributes
    ----------
    classes : ndarray of shape (C,) or None
        Class labels; None for a regressor.
    n_classes : int
        C; 1 for a regressor.
    response_method : {"predict_proba", "decision_function", "predict"}
        What is asked.
    fast : bool
        Whether the fast road is taken.
    single_precision, surrogate : bool
        False: what it says is what the estimator says.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from scfe_sklearn.columns import Column
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]
    >>> model = BlackBox(DecisionTreeClassifier().fit(X, y), [Column(0, None)], X)
    >>> model.scores(torch.tensor([[1.5], [1.6]], dtype=torch.float64)).argmax(1).tolist()
    [0, 1]
    """

    single_precision = False
    surrogate = False

    def __init__(
        self, estimator: Any, columns: Sequence[Column], sample: Any, classes: Any = None
    ) -> None:
        self.estimator = estimator
        self.columns = list(columns)
        self.width = sum(column.width for column in columns)
        self._write = RowWriter(sample, columns)
        raw = _chosen_rows(sample, columns)
        self.classes = _class_labels(estimator, classes, raw)
        self.n_classes = 1 if self.classes is None else len(self.classes)
        self.response_method, response = _first_response(estimator, self.classes, raw)
        expected = self._scored(response)
        self._corrects = False
        if self.classes is not None and hasattr(estimator, "predict"):
            predicted = _positions(estimator.predict(raw), self.classes)
            self._corrects = _disagree(expected, predicted)
            if self._corrects:
                expected = _corrected(expected, predicted)
        self._whole: Response = self._asked(estimator)
        self._bare: Program | None = None
        self._trees: BitTrees | None = None
        self._missing = np.zeros(self.width, dtype=bool)
        self._find_fast_road(column_points(raw, columns), expected)

    @property
    def fast(self) -> bool:
        """Whether the estimator is asked without raw rows."""
        return self._bare is not None

    @torch.no_grad()
    def scores(self, u: Tensor) -> Tensor:
        """Score of every class; the largest is the predicted one.

        Parameters
        ----------
        u : Tensor of shape (n, U)
            Points of column space: raw numbers, NaN where they are missing, and one-hot rows.

        Returns
        -------
        Tensor of shape (n, C)
            Logarithms of the probabilities (of 1e-9 at least), whose softmax is
            ``predict_proba``; else decisions, ``(-f/2, f/2)`` for two classes; else 1 for the
            predicted class and 0 for others. For a regressor of shape (n, 1): the prediction.
        """
        if u.ndim != 2 or u.shape[1] != self.width:
            raise ValueError(
                f"The rows must have shape (n, {self.width}). Got {tuple(u.shape)} instead."
            )
        if len(u) == 0:
            return torch.zeros(0, self.n_classes, dtype=torch.float64)
        points = u.detach().to("cpu", torch.float64)
        return torch.from_numpy(np.ascontiguousarray(self._scores(points.numpy())))

    @torch.no_grad()
    def scores_after(self, u: Tensor, other: Tensor, column: np.ndarray) -> Tensor | None:
        """Scores of rows of which one column becomes that of another row, one at a time.

        Parameters
        ----------
        u : Tensor of shape (n, U)
            Points of column space.
        other : Tensor of shape (M, U)
            Other ones.
        column : ndarray of shape (M,), int
            The column that is taken over from each of them.

        Returns
        -------
        Tensor of shape (n, M, C) or None
            As `scores` of the n rows after each of the M replacements; None where that is no
            faster than asking about each of them.
        """
        if self._trees is None or len(u) == 0 or len(other) == 0:
            return None
        rows, others = u.numpy(), other.numpy()
        if (np.isnan(rows) & ~self._missing).any() or not self._trees.readable(rows).all():
            return None
        owner = np.repeat(np.arange(len(self.columns)), [c.width for c in self.columns])
        replaced = np.where(owner == column[:, None], others, rows[:1])
        if np.isnan(others[owner == column[:, None]]).any():
            return None
        if not self._trees.readable(replaced).all():
            return None
        value = self._trees.value_after(rows, others, column)
        scores = self._scored(value.reshape(len(u) * len(other), *value.shape[2:]))
        return torch.from_numpy(np.ascontiguousarray(scores)).reshape(len(u), len(other), -1)

    def _scores(self, u: np.ndarray) -> np.ndarray:
        if self._bare is None:
            return self._whole(self._write(u))
        strange = np.isnan(u) & ~self._missing
        if not strange.any():
            return self._bare(u)
        # Missing values where the sample has none: the fast road was not compared there.
        slow = strange.any(axis=1)
        out = np.empty((len(u), self.n_classes))
        out[slow] = self._whole(self._write(u[slow]))
        if not slow.all():
            out[~slow] = self._bare(u[~slow])
        return out

    def _asked(self, estimator: Any) -> Response:
        """How to get scores (n, C) from an estimator on its own input."""
        respond = getattr(estimator, self.response_method)
        if self._corrects:
            return lambda X: _corrected(
                self._scored(respond(X)), _positions(estimator.predict(X), self.classes)
            )
        return lambda X: self._scored(respond(X))

    def _scored(self, response: Any) -> np.ndarray:
        """Scores (n, C) from what an estimator returns."""
        if self.classes is None:
            return np.asarray(response, dtype=np.float64).reshape(len(response), -1)[:, :1]
        if self.response_method == "predict":
            return _one_hot(_positions(response, self.classes), self.n_classes)
        out = np.asarray(response, dtype=np.float64)
        if self.response_method == "predict_proba":
            return np.log(np.maximum(out, LEAST))
        return np.stack([-out / 2, out / 2], axis=1) if out.ndim == 1 else out

    def _find_fast_road(self, u: np.ndarray, expected: np.ndarray) -> None:
        """Replay what stands before the last estimator, and keep it if it is right.

        Its trees, if it is made of small ones, need not even be walked.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                matrix, last = replay(self.estimator, self.columns)
                bare = _direct(matrix, last, self._asked(last), self.response_method)
                if _close(bare(u), expected):
                    self._bare = bare
                    self._missing = np.isnan(u).any(axis=0)
        except Exception:  # whatever it is, the estimator itself can be asked
            self._bare = None
        if self._bare is None or self._corrects or self.response_method == "decision_function":
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ensemble = read_matrix_trees(self.estimator, self.columns, matrix, last)
                trees = BitTrees(ensemble)
            readable = trees.readable(u)
            if _close(self._scored(trees.value(u[readable])), expected[readable]):
                self._bare, self._trees = self._by_bits(trees, bare), trees
        except Exception:  # whatever it is, the trees can be walked
            return

    def _by_bits(self, trees: BitTrees, bare: Program) -> Program:
        """How to get scores from trees, where a row has no level that they do not know."""

        def scores(u: np.ndarray) -> np.ndarray:
            readable = trees.readable(u)
            if readable.all():
                return self._scored(trees.value(u))
            out = np.empty((len(u), self.n_classes))
            out[~readable] = bare(u[~readable])
            if readable.any():
                out[readable] = self._scored(trees.value(u[readable]))
            return out

        return scores


def _close(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether scores are the same but for rounding."""
    close = np.abs(got - expected) <= CLOSE * (1 + np.abs(expected))
    return got.shape == expected.shape and bool(close.all())


def _direct(matrix: Program, estimator: Any, ask: Response, method: str) -> Program:
    """Scores from points of column space, with as little as possible around the last estimator."""
    if type(estimator) in _FORESTS and method in ("predict_proba", "predict"):
        trees = [tree.tree_ for tree in estimator.estimators_]
        regression = method == "predict"

        def forest(u: np.ndarray) -> np.ndarray:
            # scikit-learn starts a pool of threads for every call: dearer than a small batch.
            with _unchecked():
                rows = np.ascontiguousarray(matrix(u), dtype=np.float32)
            total = trees[0].predict(rows)
            for tree in trees[1:]:
                total += tree.predict(rows)
            total /= len(trees)
            return total[:, :1] if regression else np.log(np.maximum(total, LEAST))

        return forest

    def asked(u: np.ndarray) -> np.ndarray:
        with _unchecked():
            return ask(matrix(u))

    return asked


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """Let estimators trust their input: it is finite, and a matrix has no names."""
    with (
        config_context(assume_finite=True, skip_parameter_validation=True),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)
        yield


def _chosen_rows(sample: Any, columns: Sequence[Column]) -> Any:
    """Some rows of the sample, spread evenly, with missing values wherever there are any."""
    total = len(sample)
    spread = np.unique(np.linspace(0, total - 1, min(total, COMPARED)).round().astype(int))
    extra = [
        np.flatnonzero(np.isnan(_column_numbers(sample, k, column)))[:2]
        for k, column in enumerate(columns)
        if column.levels is None
    ]
    rows = np.unique(np.concatenate([spread, *extra]).astype(int))
    if hasattr(sample, "iloc"):
        return sample.iloc[rows]
    return sample[rows] if isinstance(sample, np.ndarray) else sample[rows.tolist()]


def _column(sample: Any, k: int, column: Column) -> Any:
    if isinstance(sample, np.ndarray):
        return sample[:, k]
    return sample[column.name] if column.name in sample.columns else sample.iloc[:, k]


def _column_numbers(sample: Any, k: int, column: Column) -> np.ndarray:
    import pandas as pd

    values = _column(sample, k, column)
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(np.float64)
    values = values.to_list() if hasattr(values, "to_list") else list(values)
    return np.array([np.nan if pd.isna(v) else float(v) for v in values])


def column_points(rows: Any, columns: Sequence[Column]) -> np.ndarray:
    """Points of column space (n, U) of raw rows; NaN where a number is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from scfe_sklearn.columns import Column
    >>> column_points(np.array([[3, 7]]), [Column(0, None), Column(1, np.array([6, 7]))])
    array([[3., 0., 1.]])
    """
    import pandas as pd

    blocks = []
    for k, column in enumerate(columns):
        if column.levels is None:
            blocks.append(_column_numbers(rows, k, column)[:, None])
            continue
        values = np.asarray(_column(rows, k, column), dtype=object)
        known = pd.Index(np.asarray(column.levels, dtype=object), dtype=object)
        codes = known.get_indexer(pd.Index(values, dtype=object))
        gone = pd.isna(values)
        missing = np.flatnonzero(pd.isna(np.asarray(column.levels, dtype=object)))
        codes = np.where(gone, missing[0] if len(missing) else -1, codes)
        block = np.zeros((len(values), column.width))
        block[np.flatnonzero(codes >= 0), codes[codes >= 0]] = 1.0
        block[codes < 0] = np.nan
        blocks.append(block)
    return np.hstack(blocks)


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
    predicted = np.asarray(estimator.predict(raw))
    if predicted.ndim > 1 and predicted.shape[1] > 1:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} was fitted for several outputs; one is supported."
        )
    fractions = predicted.dtype.kind == "f" and not (predicted == np.rint(predicted)).all()
    return None if fractions or _regresses(estimator) else np.unique(predicted)


def _regresses(estimator: Any) -> bool:
    """Whether an estimator says that it is a regressor; a function says nothing."""
    if hasattr(estimator, "__sklearn_tags__"):
        return bool(is_regressor(estimator))
    return getattr(estimator, "_estimator_type", None) == "regressor"


def _first_response(estimator: Any, classes: np.ndarray | None, raw: Any) -> tuple[str, np.ndarray]:
    """The method to ask, and what it says of some rows."""
    if classes is not None:
        for name in ("predict_proba", "decision_function"):
            if not hasattr(estimator, name):
                continue
            out = np.asarray(getattr(estimator, name)(raw))
            # One-vs-one decisions are no scores of classes.
            if out.shape[1:] == (len(classes),) or (out.ndim == 1 and len(classes) == 2):
                return name, out
    return "predict", np.asarray(estimator.predict(raw))


def _disagree(scores: np.ndarray, predicted: np.ndarray) -> bool:
    """Whether predictions are not the largest scores, as with a threshold of one's own."""
    own = np.take_along_axis(scores, predicted[:, None], axis=1)[:, 0]
    return bool((own < scores.max(axis=1) - CLOSE).any())


def _positions(labels: Any, classes: np.ndarray | None) -> np.ndarray:
    """Positions of predicted labels among the classes."""
    assert classes is not None
    match = np.asarray(labels).reshape(-1)[:, None] == classes[None, :]
    return match.argmax(axis=1)


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
