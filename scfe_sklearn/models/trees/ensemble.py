"""Trees as flat arrays over column space, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.special import expit, softmax

from scfe_sklearn.data import Column

Kind = Literal["mean", "margin", "signed", "scores", "median"]

_CELLS = 4_000_000  # rows times trees that are evaluated at once


@dataclass(frozen=True, eq=False)
class TreeEnsemble:
    r"""A fitted tree ensemble over column space, node by node.

    A row descends every tree from its root. At a number it goes left iff ``u[coordinate] <=
    threshold`` in float64, exactly as the estimator decides after all its transformers; at a
    column with levels, iff its level is flagged in ``level_sets``. The leaves' values are
    added up over the trees, and `kind` determines the score of the sums.

    Parameters
    ----------
    columns : tuple of Column
        Layout of column space, U coordinates.
    roots : ndarray of shape (T,), int
        Root of each tree.
    left, right : ndarray of shape (N,), int
        Children; a leaf is its own child.
    column : ndarray of shape (N,), int
        Raw column that the node tests; -1 at a leaf.
    coordinate : ndarray of shape (N,), int
        Its coordinate, the first one of a column with levels.
    threshold : ndarray of shape (N,)
        Last raw value that goes left; NaN at leaves and levels.
    missing_left : ndarray of shape (N,), bool
        Where a missing number goes.
    level_set : ndarray of shape (N,), int
        Row of ``level_sets`` with the levels that go left, -1 at numbers and leaves.
    level_sets : ndarray of shape (S, U), bool
        Sets of levels, as coordinates of column space.
    values : ndarray of shape (N, K)
        What a leaf adds to the K sums.
    baseline : ndarray of shape (K,)
        Where the sums begin.
    divisor : float
        What the sums are divided by.
    kind : {"mean", "margin", "signed", "scores", "median"}
        "mean": the sums are probabilities, or one regression value. "margin": one sum f, class
        1 where it is positive. "signed": two sums, whose difference is that f. "scores": the
        largest sum is the class. "median": one value a tree, weighted median (AdaBoost.R2).
    n_classes : int
        Number of classes, 0 for a regressor.
    readable : ndarray of shape (U,), bool
        Coordinates whose column may be missing.
    response_method : str
        The method of the estimator that `value` reproduces.
    zero_class : int
        The class where a margin is exactly 0.
    slope : float
        P(class 1) is sigmoid(slope * f) for a margin f.
    weights : ndarray of shape (T,)
        Weights of the trees in a median.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from scfe_sklearn.data import Column
    >>> from scfe_sklearn.models import read_trees
    >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0], [2.0]], [0, 0, 1])
    >>> ensemble = read_trees(tree, [Column(0, None)])
    >>> ensemble.decide(np.array([[1.4], [1.6]])), ensemble.thresholds()[0]
    (array([0, 1]), array([1.5...]))
    """

    columns: tuple[Column, ...]
    roots: np.ndarray
    left: np.ndarray
    right: np.ndarray
    column: np.ndarray
    coordinate: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    level_set: np.ndarray
    level_sets: np.ndarray
    values: np.ndarray
    baseline: np.ndarray
    divisor: float
    kind: Kind
    n_classes: int
    readable: np.ndarray
    response_method: str
    zero_class: int = 0
    slope: float = 1.0
    weights: np.ndarray | None = None

    @cached_property
    def starts(self) -> np.ndarray:
        """First coordinate of each column, and the number of coordinates at the end."""
        return np.concatenate([[0], np.cumsum([c.width for c in self.columns])]).astype(np.intp)

    @cached_property
    def depth(self) -> int:
        """Length of the longest path."""
        level, depth = self.roots, 0
        while True:
            level = level[self.column[level] >= 0]
            if not len(level):
                return depth
            level = np.concatenate([self.left[level], self.right[level]])
            depth += 1

    def thresholds(self) -> list[np.ndarray]:
        """Sorted distinct finite thresholds of each coordinate; none for levels."""
        numbers = (self.column >= 0) & np.isfinite(self.threshold)
        order = np.argsort(self.coordinate[numbers], kind="stable")
        at, values = self.coordinate[numbers][order], self.threshold[numbers][order]
        ends = np.searchsorted(at, np.arange(self.starts[-1] + 1))
        return [np.unique(values[a:b]) for a, b in pairwise(ends)]

    def leaves(self, u: np.ndarray) -> np.ndarray:
        """Leaf of each row in each tree.

        Parameters
        ----------
        u : ndarray of shape (n, U)
            Rows of column space; a level is the largest weight of its column.

        Returns
        -------
        ndarray of shape (n, T), int
        """
        u = self._rows(u)
        if not len(u):
            return np.empty((0, len(self.roots)), dtype=np.intp)
        return np.concatenate([leaf for _, leaf in self._walks(u)])

    def scores(self, u: np.ndarray) -> np.ndarray:
        """Sums over the trees, divided: probabilities, margins, class scores or a value.

        Parameters
        ----------
        u : ndarray of shape (n, U)
            Rows of column space.

        Returns
        -------
        ndarray of shape (n, K)
            One column for "margin", "signed" and regressors; NaN for a row with a missing value
            or an unknown level that the estimator refuses.
        """
        u = self._rows(u)
        width = 1 if self.kind == "signed" else self.values.shape[1]
        out = np.empty((len(u), width))
        for rows, leaf in self._walks(u):
            out[rows] = self._combined(leaf)
        out[self._unreadable(u)] = np.nan
        return out

    def value(self, u: np.ndarray) -> np.ndarray:
        """Return what the estimator's `response_method` returns.

        Parameters
        ----------
        u : ndarray of shape (n, U)
            Rows of column space.

        Returns
        -------
        ndarray of shape (n,) or (n, C)
        """
        scores = self.scores(u)
        if self.response_method == "predict_proba" and self.kind != "mean":
            return probabilities(scores, self.slope)
        return scores if scores.shape[1] > 1 else scores[:, 0]

    def decide(self, u: np.ndarray) -> np.ndarray:
        """Position of the predicted class of each row, -1 where the estimator refuses it.

        Parameters
        ----------
        u : ndarray of shape (n, U)
            Rows of column space.

        Returns
        -------
        ndarray of shape (n,), int
        """
        scores = self.scores(u)
        if self.kind in ("margin", "signed"):
            f = scores[:, 0]
            code = np.where(f == 0, self.zero_class, f > 0).astype(np.intp)
        else:
            code = scores.argmax(axis=1)
        return np.where(np.isnan(scores).any(axis=1), -1, code)

    def _rows(self, u: np.ndarray) -> np.ndarray:
        u = np.asarray(u, dtype=np.float64)
        if u.ndim != 2 or u.shape[1] != self.starts[-1]:
            raise ValueError(
                f"The rows must have shape (n, {self.starts[-1]}). Got {u.shape} instead."
            )
        return u

    def _walks(self, u: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Leaves, for as many rows at a time as memory likes."""
        chunk = max(1, _CELLS // max(len(self.roots), 1))
        for start in range(0, len(u), chunk):
            rows = slice(start, min(start + chunk, len(u)))
            yield rows, self._walk(u[rows])

    def _walk(self, u: np.ndarray) -> np.ndarray:
        picked = self._picked(u)
        some = np.arange(len(u))[:, None]
        has_levels = self.level_sets.shape[0] > 0
        node = np.broadcast_to(self.roots, (len(u), len(self.roots)))
        for _ in range(self.depth):
            x = u[some, self.coordinate[node]]
            left = x <= self.threshold[node]
            left |= np.isnan(x) & self.missing_left[node]
            if has_levels:
                chosen = self.level_set[node]
                member = self.level_sets[chosen, picked[some, self.column[node]]]
                left = np.where(chosen >= 0, member, left)
            node = np.where(left, self.left[node], self.right[node])
        return np.array(node)

    def _picked(self, u: np.ndarray) -> np.ndarray:
        """Coordinate of the level of each column (n, J); the coordinate itself for numbers."""
        out = np.empty((len(u), len(self.columns)), dtype=np.intp)
        for j, column in enumerate(self.columns):
            start = self.starts[j]
            block = u[:, start : self.starts[j + 1]]
            out[:, j] = start + (0 if column.levels is None else block.argmax(axis=1))
        return out

    def _unreadable(self, u: np.ndarray) -> np.ndarray:
        """Rows with a missing value where the estimator takes none, or with no known level."""
        bad = (np.isnan(u) & ~self.readable).any(axis=1)
        for j, column in enumerate(self.columns):
            if column.levels is not None:
                block = u[:, self.starts[j] : self.starts[j + 1]]
                bad |= ~(block > 0).any(axis=1)
        return bad

    def _combined(self, leaf: np.ndarray) -> np.ndarray:
        """Add up leaves (n, T) tree after tree, as the estimators do: the same rounding."""
        if self.kind == "median":
            return weighted_median(self.values[leaf][:, :, 0], np.asarray(self.weights))[:, None]
        total = np.repeat(self.baseline[None], len(leaf), axis=0)
        for t in range(leaf.shape[1]):
            total += self.values[leaf[:, t]]
        if self.divisor != 1.0:
            total /= self.divisor
        return total[:, 1:] - total[:, :1] if self.kind == "signed" else total


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Smallest of the values (n, T) up to which half of the weight (T,) lies, per row.

    Source: Drucker 1997, AdaBoost.R2.

    Examples
    --------
    >>> import numpy as np
    >>> weighted_median(np.array([[3.0, 1.0, 2.0]]), np.array([1.0, 1.0, 1.0]))
    array([2.])
    """
    order = np.argsort(values, axis=1)
    mass = np.cumsum(weights[order], axis=1)
    at = (mass >= 0.5 * mass[:, -1:]).argmax(axis=1)
    rows = np.arange(len(values))
    return values[rows, order[rows, at]]


def probabilities(scores: np.ndarray, slope: float) -> np.ndarray:
    """Probabilities (n, C) of margins (n, 1) or of class scores (n, C).

    Examples
    --------
    >>> import numpy as np
    >>> probabilities(np.zeros((1, 1)), 1.0)
    array([[0.5, 0.5]])
    """
    if scores.shape[1] == 1:
        return np.hstack([expit(-slope * scores), expit(slope * scores)])
    return np.asarray(softmax(scores, axis=1))
