"""A fitted estimator of any kind as a function of column space, without a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn import config_context
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from torch import Tensor

from scfe_sklearn._utils import ignore_warnings
from scfe_sklearn.data import Column
from scfe_sklearn.models.black_box.replay import Program, replay
from scfe_sklearn.models.black_box.rows import (
    RowWriter,
    column_numbers,
    column_points,
    plain_numbers,
)
from scfe_sklearn.models.predictions import LEAST, Response, ResponseScores
from scfe_sklearn.models.trees import BitTrees, TreeCells, read_matrix_trees

COMPARED = 256
"""Sample rows on which the fast road must give the scores of the estimator."""

CLOSE = 1e-9
"""Largest difference of a score, relative to one plus its size."""

_FORESTS = (
    RandomForestClassifier,
    ExtraTreesClassifier,
    RandomForestRegressor,
    ExtraTreesRegressor,
)


class BlackBox:
    """Scores of a fitted estimator at points of column space, from its predictions.

    An estimator with probabilities, else with a decision function, else with predictions only.
    The transformers of a pipeline are replayed on bare arrays where that is possible, and the
    estimator at its end is called directly: no data frame is built, nothing is validated again.
    This fast way is taken only if it reproduces the estimator on sample rows; otherwise raw
    rows are rebuilt in the container of the sample and the whole estimator is called. In any
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
    with_proba : bool, default=False
        Whether, for a model that does not predict its most probable class, the scores are
        followed by C more whose softmax is ``predict_proba``.

    Attributes
    ----------
    classes : ndarray of shape (C,) or None
        Class labels; None for a regressor.
    n_classes : int
        C; 1 for a regressor.
    response_method : {"predict_proba", "decision_function", "predict"}
        Method that is called.
    fast : bool
        Whether the fast road is taken.
    single_precision, surrogate : bool
        False: its scores are those of the estimator.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from scfe_sklearn.data import Column
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]
    >>> model = BlackBox(DecisionTreeClassifier().fit(X, y), [Column(0, None)], X)
    >>> model.scores(torch.tensor([[1.5], [1.6]], dtype=torch.float64)).argmax(1).tolist()
    [0, 1]
    """

    single_precision = False
    surrogate = False

    def __init__(
        self,
        estimator: Any,
        columns: Sequence[Column],
        sample: Any,
        classes: Any = None,
        with_proba: bool = False,
    ) -> None:
        self.estimator = estimator
        self.columns = list(columns)
        self.width = sum(column.width for column in columns)
        self._write = RowWriter(sample, columns)
        raw = _chosen_rows(sample, columns)
        self._reading, expected = ResponseScores.of(estimator, classes, raw, with_proba)
        self.classes, self.n_classes = self._reading.classes, self._reading.n_classes
        self.response_method = self._reading.method
        self._whole: Response = self._reading.asking(estimator)
        self._bare: Program | None = None
        self._trees: BitTrees | None = None
        self._missing = np.zeros(self.width, dtype=bool)
        self._find_fast_road(column_points(raw, columns), expected)

    @property
    def fast(self) -> bool:
        """Whether the estimator is called without raw rows."""
        return self._bare is not None

    @property
    def has_probabilities(self) -> bool:
        """Whether the softmax of the last C scores is ``predict_proba``."""
        return self._reading.has_probabilities

    @property
    def n_scores(self) -> int:
        """Number of scores of a row: C, or twice as many where probabilities follow."""
        return self._reading.width

    def scores_of_rows(self, rows: Any) -> np.ndarray:
        """Score of every class (n, C) of raw rows."""
        return self._whole(rows)

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
            return torch.zeros(0, self._reading.width, dtype=torch.float64)
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
            faster than scoring each of them.
        """
        if self._trees is None or len(u) == 0 or len(other) == 0:
            return None
        rows, others = u.numpy(), other.numpy()
        if (np.isnan(rows) & ~self._missing).any() or not self._trees.readable(rows).all():
            return None
        owner = np.repeat(np.arange(len(self.columns)), [c.width for c in self.columns])
        own = owner == column[:, None]
        gaps = np.isnan(others)
        if gaps.any() and (gaps & own).any():
            return None
        levels = any(c.levels is not None for c in self.columns)
        if levels and not self._trees.readable(np.where(own, others, rows[:1])).all():
            return None
        value = self._trees.value_after(rows, others, column)
        scores = self._reading.scores(value.reshape(len(u) * len(other), *value.shape[2:]))
        return torch.from_numpy(np.ascontiguousarray(scores)).reshape(len(u), len(other), -1)

    @cached_property
    def cells(self) -> TreeCells | None:
        """The cells into which trees cut the columns; None where the model is no sum of trees."""
        return None if self._trees is None else TreeCells(self._trees)

    def readable(self, u: np.ndarray) -> np.ndarray:
        """Rows (n,) whose positions in the cells determine what the model returns."""
        assert self._trees is not None
        return ~(np.isnan(u) & ~self._missing).any(axis=1) & self._trees.readable(u)

    def scores_changed(
        self, places: np.ndarray, state: np.ndarray, column: np.ndarray, place: np.ndarray
    ) -> np.ndarray:
        """Return scores (k, C) of states after one change each, as `TreeCells.value_changed`."""
        assert self.cells is not None
        value = self.cells.value_changed(places, state, column, place)
        return np.asarray(self._reading.scores(value))

    def _scores(self, u: np.ndarray) -> np.ndarray:
        if self._bare is None:
            return self._whole(self._write(u))
        strange = np.isnan(u)
        if not strange.any():
            return self._bare(u)
        strange &= ~self._missing
        if not strange.any():
            return self._bare(u)
        # Missing values where the sample has none: the fast road was not compared there.
        slow = strange.any(axis=1)
        out = np.empty((len(u), self._reading.width))
        out[slow] = self._whole(self._write(u[slow]))
        if not slow.all():
            out[~slow] = self._bare(u[~slow])
        return out

    def _find_fast_road(self, u: np.ndarray, expected: np.ndarray) -> None:
        """Replay what stands before the last estimator, and keep it if it is right.

        Small trees are evaluated by bit tables, without a descent through them.
        """
        try:
            with ignore_warnings() as messages:
                matrix, last = replay(self.estimator, self.columns)
                bare = _direct(matrix, last, self._reading.asking(last), self.response_method)
                if _close(bare(u), expected):
                    self._bare = _silenced(bare) if messages else bare
                    self._missing = np.isnan(u).any(axis=0)
        except Exception:  # whatever it is, the estimator itself works
            self._bare = None
        reading = self._reading
        if self._bare is None or reading.corrects or reading.method == "decision_function":
            return
        try:
            with ignore_warnings():
                ensemble = read_matrix_trees(self.estimator, self.columns, matrix, last)
                trees = BitTrees(ensemble)
            readable = trees.readable(u)
            if _close(reading.scores(trees.value(u[readable])), expected[readable]):
                self._trees = trees
                if not trees.slower_than_walking:
                    self._bare = self._by_bits(trees, self._bare)
        except Exception:  # whatever it is, the trees themselves work
            return

    def _by_bits(self, trees: BitTrees, bare: Program) -> Program:
        """Return a function of scores from trees, for rows without unknown levels."""

        def scores(u: np.ndarray) -> np.ndarray:
            readable = trees.readable(u)
            if readable.all():
                return self._reading.scores(trees.value(u))
            out = np.empty((len(u), self._reading.width))
            out[~readable] = bare(u[~readable])
            if readable.any():
                out[readable] = self._reading.scores(trees.value(u[readable]))
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
            # scikit-learn starts a pool of threads for every call: slower than a small batch.
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


def _silenced(program: Program) -> Program:
    """Return a program without its warnings: what it is given has no names, unlike the rows."""

    def silent(u: np.ndarray) -> np.ndarray:
        with ignore_warnings(UserWarning):
            return program(u)

    return silent


def _unchecked() -> Any:
    """Let estimators trust their input, which is finite."""
    return config_context(assume_finite=True, skip_parameter_validation=True)


def _chosen_rows(sample: Any, columns: Sequence[Column]) -> Any:
    """Some rows of the sample, spread evenly, with missing values wherever there are any."""
    total = len(sample)
    spread = np.unique(np.linspace(0, total - 1, min(total, COMPARED)).round().astype(int))
    plain = plain_numbers(sample, columns)
    if plain is not None:
        gone = np.isnan(plain)
        extra = [np.flatnonzero((gone & (gone.cumsum(axis=0) <= 2)).any(axis=1))]
    else:
        extra = [
            np.flatnonzero(np.isnan(column_numbers(sample, k, column)))[:2]
            for k, column in enumerate(columns)
            if column.levels is None and not column.held
        ]
    rows = np.unique(np.concatenate([spread, *extra]).astype(int))
    if hasattr(sample, "iloc"):
        return sample.iloc[rows]
    return sample[rows] if isinstance(sample, np.ndarray) else sample[rows.tolist()]
