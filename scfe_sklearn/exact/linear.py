"""Linear models: reach of a score in closed form, and proofs, also under joint rules.

Over independent columns the largest linear score with at most m changes takes the m columns
with the best gains, each at its best value. So the largest score, and the fewest changes that
reach a score, need no search; the relaxed problem of a class that must beat several others,
each on its own, still proves that a class is out of reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scfe_sklearn.data import Column
from scfe_sklearn.exact.cheapest import cheapest
from scfe_sklearn.exact.options import row_options
from scfe_sklearn.exact.requirements import Requirement, Values
from scfe_sklearn.rules import RowRelation, RowRules


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


# ----------------------------------------------------------------------------- under joint rules


@dataclass(frozen=True, eq=False)
class _NoTrees:
    """An ensemble of no trees, without conditions."""

    columns: Sequence[Column]
    starts: np.ndarray
    divisor: float = 1.0
    kind: str = "mean"
    n_classes: int = 0
    zero_class: int = 0
    slope: float = 1.0
    weights: np.ndarray | None = None

    @property
    def roots(self) -> np.ndarray:
        return np.empty(0, dtype=np.intp)

    left = right = column = level_set = roots

    @property
    def missing_left(self) -> np.ndarray:
        return np.empty(0, dtype=bool)

    @property
    def threshold(self) -> np.ndarray:
        return np.empty(0)

    baseline = threshold

    @property
    def values(self) -> np.ndarray:
        return np.empty((0, 0))

    level_sets = values

    def thresholds(self) -> list[np.ndarray]:
        return [np.empty(0)] * int(self.starts[-1])

    def leaves(self, u: np.ndarray) -> np.ndarray:
        return np.empty((len(u), 0), dtype=np.intp)

    def scores(self, u: np.ndarray) -> np.ndarray:
        return np.empty((len(u), 0))

    def decide(self, u: np.ndarray) -> np.ndarray:
        return np.zeros(len(u), dtype=np.intp)


def prove_linear_jointly(
    weights: np.ndarray,
    intercept: np.ndarray,
    factual: np.ndarray,
    *,
    columns: Sequence[Column],
    lower: np.ndarray,
    upper: np.ndarray,
    allowed: np.ndarray,
    unit: np.ndarray,
    rules: RowRules,
    values: Values | None = None,
    max_changes: int | None = None,
    time_limit: float | None = None,
) -> bool:
    """Return whether a row cannot bring all of some linear scores to zero under its rules.

    The scores ``u @ weights + intercept`` are relations themselves; if the program of all of them
    is infeasible, there is no such row.

    Parameters
    ----------
    weights : ndarray of shape (U, R)
        Weights over column space.
    intercept : ndarray of shape (R,)
        Constants.
    factual : ndarray of shape (U,)
        The row.
    columns : sequence of Column
        The J columns.
    lower, upper, allowed : ndarray of shape (U,)
        As for `row_options`.
    unit : ndarray of shape (J,)
        As for `row_options`; here it only bounds what is too small to be a change.
    rules : RowRules
        What the row must keep in several columns together.
    values : Values, default=None
        The representable numbers; None: every float.
    max_changes : int, default=None
        Budget of changed columns.
    time_limit : float, default=None
        Seconds.

    Returns
    -------
    bool
        False where there is no proof.

    Examples
    --------
    >>> import numpy as np
    >>> from scfe_sklearn.data import Column
    >>> columns = [Column("u", None), Column("v", None)]
    >>> together = RowRelation(np.arange(2), np.ones(2), [None, None], -np.inf, 1.0)
    >>> [
    ...     prove_linear_jointly(
    ...         np.ones((2, 1)), np.array([-most]), np.zeros(2), columns=columns,
    ...         lower=np.zeros(2), upper=np.ones(2), allowed=np.ones(2, bool),
    ...         unit=np.ones(2), rules=RowRules((together,)),
    ...     )
    ...     for most in (0.9, 1.1)
    ... ]
    [False, True]
    """
    widths = [column.width for column in columns]
    starts = np.concatenate([[0], np.cumsum(widths)]).astype(np.intp)
    ensemble = _NoTrees(columns, starts)
    wanted = [
        _reaches_zero(weights[:, r], float(intercept[r]), factual, columns, starts)
        for r in range(weights.shape[1])
    ]
    options = row_options(
        ensemble,
        factual,
        lower=lower,
        upper=upper,
        allowed=allowed,
        unit=unit,
        values=values,
        rules=replace(rules, linear=(*rules.linear, *wanted)),
    )
    anything = Requirement(
        np.empty((0, 0)), np.empty(0), np.empty(0, dtype=bool), lambda u: np.ones(len(u), bool)
    )
    answer = cheapest(
        ensemble,
        options,
        anything,
        objective="changes",
        max_changes=max_changes,
        time_limit=time_limit,
    )
    return answer.status == "unreachable"


def _reaches_zero(
    weights: np.ndarray,
    intercept: float,
    factual: np.ndarray,
    columns: Sequence[Column],
    starts: np.ndarray,
) -> RowRelation:
    """``weights @ u + intercept >= 0``, but for rounding."""
    named, coefficients, numbers = [], [], []
    for j, column in enumerate(columns):
        part = weights[int(starts[j]) : int(starts[j + 1])]
        if part.any():
            named.append(j)
            coefficients.append(float(part[0]) if column.levels is None else 1.0)
            numbers.append(None if column.levels is None else part)
    size = abs(intercept) + float(np.abs(weights * factual).sum())
    return RowRelation(
        np.array(named, dtype=np.intp),
        np.array(coefficients),
        numbers,
        -intercept,
        np.inf,
        1e-9 * (1.0 + size),
    )
