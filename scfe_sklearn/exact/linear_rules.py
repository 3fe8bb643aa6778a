"""Proofs for linear models under joint rules: a program without any tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scfe_sklearn.data import Column
from scfe_sklearn.exact.cheapest import cheapest
from scfe_sklearn.exact.options import row_options
from scfe_sklearn.exact.protocols import Values
from scfe_sklearn.exact.requirements import Requirement
from scfe_sklearn.rules import RowRelation, RowRules


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
