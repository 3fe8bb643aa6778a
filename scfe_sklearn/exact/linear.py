"""Reach of a linear score: closed form, and a proof where that is not enough.

Over independent columns the largest linear score with at most m changes takes the m columns
with the best gains, each at its best value. So the largest score, and the fewest changes that
reach a score, need no search; the relaxed problem of a class that must beat several others,
each on its own, still proves that a class is out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LinearReach:
    """Linear scores that rows can reach.

    Parameters
    ----------
    factual : ndarray of shape (n, R)
        The scores of the rows as they are.
    gain : ndarray of shape (n, J, R)
        The most that each column can add.
    """

    factual: np.ndarray
    gain: np.ndarray

    def most(self, max_changes: int | None = None) -> np.ndarray:
        """The largest scores (n, R) within a budget of changes."""
        order = np.sort(self.gain, axis=1)[:, ::-1]
        budget = order.shape[1] if max_changes is None else max_changes
        return self.factual + order[:, :budget].sum(axis=1)


def linear_reach(
    weights: np.ndarray,
    intercept: np.ndarray,
    factual: np.ndarray,
    *,
    lower: np.ndarray,
    upper: np.ndarray,
    allowed: np.ndarray,
    starts: np.ndarray,
    numeric: np.ndarray,
) -> LinearReach:
    """Return how much each column can add to linear scores ``u @ weights + intercept``.

    Parameters
    ----------
    weights : ndarray of shape (U, R)
        Weights over column space.
    intercept : ndarray of shape (R,)
        Constants.
    factual : ndarray of shape (n, U)
        Rows of column space.
    lower, upper : ndarray of shape (n, U)
        Raw interval of each number; not read at levels.
    allowed : ndarray of shape (n, U), bool
        For a number whether it may move, for a level whether it may be the new one.
    starts : ndarray of shape (J + 1,), int
        First coordinate of each column.
    numeric : ndarray of shape (J,), bool
        Columns that are numbers.

    Returns
    -------
    LinearReach
        Rows with a missing number have NaN.

    Examples
    --------
    >>> import numpy as np
    >>> reach = linear_reach(np.array([[2.0], [-1.0]]), np.array([0.5]), np.zeros((1, 2)),
    ...     lower=np.full((1, 2), -1.0), upper=np.ones((1, 2)), allowed=np.ones((1, 2), bool),
    ...     starts=np.array([0, 1, 2]), numeric=np.array([True, True]))
    >>> reach.most(1), reach.most()
    (array([[2.5]]), array([[3.5]]))
    """
    n, r = len(factual), weights.shape[1]
    gain = np.zeros((n, len(numeric), r))
    at, places = starts[:-1][numeric], np.flatnonzero(numeric)
    step = np.stack([lower[:, at] - factual[:, at], upper[:, at] - factual[:, at]])
    step = np.where(allowed[:, at] & (lower[:, at] <= upper[:, at]), step, 0.0)
    product = step[..., None] * weights[at]
    gain[:, places] = np.maximum(product.max(axis=0), 0.0)
    for j in np.flatnonzero(~numeric).tolist():
        block = slice(int(starts[j]), int(starts[j + 1]))
        own = factual[:, block] @ weights[block]
        options = np.where(allowed[:, block, None], weights[block], -np.inf)
        gain[:, j] = np.maximum(options.max(axis=1) - own, 0.0)
    return LinearReach(factual @ weights + intercept, gain)


def prove_linear(reach: LinearReach, max_changes: int | None = None) -> np.ndarray:
    """Flag the rows (n,) for which some score stays below zero whatever they do.

    A score is what the wanted class leads another one by. For one score (two classes) the flag
    is exact but for rounding; for several it is a proof where it is True.

    Parameters
    ----------
    reach : LinearReach
        Of the leads.
    max_changes : int, default=None
        Budget of changed columns.

    Returns
    -------
    ndarray of shape (n,), bool

    Examples
    --------
    >>> import numpy as np
    >>> prove_linear(LinearReach(np.array([[-3.0]]), np.array([[[1.0], [1.5]]])))
    array([ True])
    """
    most = reach.most(max_changes)
    size = np.abs(reach.factual) + reach.gain.sum(axis=1)
    return np.asarray((most < -1e-9 * (1 + size)).any(axis=1))


def fewest_linear(reach: LinearReach) -> np.ndarray:
    """No fewer changes (n,) than this bring all scores to zero; J + 1 where none do.

    Exact for one score, a lower bound for several.

    Parameters
    ----------
    reach : LinearReach
        Of the leads.

    Returns
    -------
    ndarray of shape (n,), int

    Examples
    --------
    >>> import numpy as np
    >>> fewest_linear(LinearReach(np.array([[-2.0]]), np.array([[[1.0], [1.5]]])))
    array([2])
    """
    order = np.sort(reach.gain, axis=1)[:, ::-1]
    total = np.concatenate([np.zeros_like(order[:, :1]), np.cumsum(order, axis=1)], axis=1)
    size = np.abs(reach.factual) + reach.gain.sum(axis=1)
    met = total + reach.factual[:, None] >= -1e-9 * (1 + size)[:, None]
    count = np.where(met.any(axis=1), met.argmax(axis=1), order.shape[1] + 1)
    return np.asarray(count.max(axis=1, initial=0))
