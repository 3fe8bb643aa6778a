"""Changes of an answer: their size, permission, minimality and stability."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from scfe_sklearn.metrics.outcomes import (
    as_rows,
    columns_of,
    equal,
    found_rows,
    is_frame,
    is_missing,
    paired,
    per_row_labels,
    undo,
    validity,
)


def l0(change: Any, groups: Any = None, *, tol: float = 1e-6) -> np.ndarray:
    """Number of changed raw features: ``sum_g 1[max_{i in g} |change_i| > tol]``.

    Parameters
    ----------
    change : array-like of shape (n, D)
        Counterfactual minus factual, in solver space.
    groups : array-like of int of shape (D,) or None
        Raw feature of each coordinate; None: each coordinate is a feature.
    tol : float
        Largest movement that does not count, in standard deviations.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> import numpy as np
    >>> l0(np.array([[0.5, 0.7, -0.7], [0.0, 0.0, 0.0]]), groups=[0, 1, 1])
    array([2., 0.])
    """
    change = as_rows(change)
    moved = (_group_squares(np.square(change), groups, np.maximum) > tol**2).sum(axis=1)
    return np.where(np.isnan(change).any(axis=1), np.nan, moved)


def l1(change: Any, groups: Any = None) -> np.ndarray:
    """Sum over raw features of the size of their change: ``sum_g ||change_g||_2``.

    The ordinary 1-norm for numeric features; a changed category adds 1.

    Parameters
    ----------
    change : array-like of shape (n, D)
        Counterfactual minus factual, in solver space.
    groups : array-like of int of shape (D,) or None
        Raw feature of each coordinate; None: each coordinate is a feature.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> import numpy as np
    >>> l1(np.array([[0.5, 0.6, -0.8]]), groups=[0, 1, 1])
    array([1.5])
    """
    return np.sqrt(_group_squares(np.square(as_rows(change)), groups, np.add)).sum(axis=1)


def l2(change: Any) -> np.ndarray:
    """Euclidean size of the change: ``||change||_2``.

    With the solver's scaling this is the square root of (sum of squared changes in standard
    deviations, plus the number of changed categories).

    Parameters
    ----------
    change : array-like of shape (n, D)
        Counterfactual minus factual, in solver space.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> import numpy as np
    >>> l2(np.array([[3.0, -4.0], [np.nan, 0.0]]))
    array([ 5., nan])
    """
    return np.linalg.norm(as_rows(change), axis=1)


def linf(change: Any, groups: Any = None) -> np.ndarray:
    """Largest change of one raw feature: ``max_g ||change_g||_2``.

    Parameters
    ----------
    change : array-like of shape (n, D)
        Counterfactual minus factual, in solver space.
    groups : array-like of int of shape (D,) or None
        Raw feature of each coordinate; None: each coordinate is a feature.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> import numpy as np
    >>> linf(np.array([[0.5, 0.6, -0.8]]), groups=[0, 1, 1])
    array([1.])
    """
    return np.sqrt(_group_squares(np.square(as_rows(change)), groups, np.add)).max(axis=1)


def _group_squares(squares: np.ndarray, groups: Any, combine: np.ufunc) -> np.ndarray:
    """Combine the squared changes of the coordinates of each raw feature."""
    if groups is None:
        return squares
    groups = np.asarray(groups)
    if groups.shape != squares.shape[1:]:
        raise ValueError(
            f"The 'groups' array must name the feature of each of the {squares.shape[1]} "
            f"coordinates. Got shape {groups.shape} instead."
        )
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order][:1] - 1))
    return combine.reduceat(squares[:, order], starts, axis=1)


def rule_violations(violations: Any, found: Any = None) -> np.ndarray:
    """Number of raw features that break a rule: ``sum_j violations_j``.

    Parameters
    ----------
    violations : array-like of bool of shape (n, d)
        Whether a feature of a row breaks one of its rules.
    found : array-like of bool of shape (n,), DataFrame or array of shape (n, d), or None
        Rows that have an answer, or the counterfactuals themselves; None: all rows.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows that were not found.

    Examples
    --------
    >>> rule_violations([[True, True], [False, False]], found=[True, False])
    array([ 2., nan])
    """
    counts = np.asarray(violations, dtype=bool).sum(axis=1).astype(float)
    return counts if found is None else np.where(found_rows(found), counts, np.nan)


def redundant_changes(
    predict: Callable[[Any], Any], before: Any, after: Any, target: Any, changed: Any = None
) -> np.ndarray:
    """Number of changes that can be undone, one at a time, and the target kept.

    ``sum_j 1[j changed and f(x' with feature j as in x) = t]``: 0 for an answer in which every
    change is needed. All pairs of a row and one of its changed features go to the model in a
    single call.

    Parameters
    ----------
    predict : callable
        Takes rows like `before` and returns their labels, as `estimator.predict`.
    before : DataFrame (pandas or polars) or ndarray of shape (n, d)
        Factuals, in raw units.
    after : same container, of shape (n, d)
        Counterfactuals; rows with missing values where `before` has none were not found.
        Columns of data frames are paired by their names.
    target : label, set of labels or array-like of shape (n,)
        As in `validity`.
    changed : array-like of bool of shape (n, d) or None
        Features that count as changed, in the order of the columns of `before`; None compares
        the raw values.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows that were not found. A row that misses its target can still count: score
        valid rows only.

    Examples
    --------
    >>> import numpy as np
    >>> def predict(X):
    ...     return X[:, 0] > 0
    >>> before, after = np.array([[-1.0, 5.0]]), np.array([[1.0, 6.0]])
    >>> redundant_changes(predict, before, after, True)
    array([1.])
    """
    before, after = (part if is_frame(part) else np.asarray(part) for part in (before, after))
    after = paired(before, after)
    old, new = columns_of(before), columns_of(after)
    lost = [is_missing(b) & ~is_missing(a) for a, b in zip(old, new, strict=True)]
    found = ~np.any(lost, axis=0)
    if changed is None:
        same = [equal(a, b) for a, b in zip(old, new, strict=True)]
        changed = ~np.column_stack(same)
    rows, features = np.nonzero(np.asarray(changed, dtype=bool) & found[:, None])
    counts = np.zeros(len(found))
    if len(rows):
        labels = predict(undo(before, after, rows, features))
        per_row = not isinstance(target, AbstractSet)
        wanted = per_row_labels(target, len(found))[rows] if per_row else target
        np.add.at(counts, rows, validity(labels, wanted))
    return np.where(found, counts, np.nan)


def minimality(
    predict: Callable[[Any], Any], before: Any, after: Any, target: Any, changed: Any = None
) -> np.ndarray:
    """Whether no single change can be undone and the target kept.

    ``1[redundant_changes = 0]``.

    Parameters
    ----------
    predict, before, after, target, changed
        As in `redundant_changes`.

    Returns
    -------
    ndarray of shape (n,)
        1.0, 0.0, or NaN for rows that were not found.

    Examples
    --------
    >>> import numpy as np
    >>> def predict(X):
    ...     return X.sum(axis=1) > 1
    >>> before, after = np.zeros((2, 2)), np.array([[1.0, 1.0], [2.0, 1.0]])
    >>> minimality(predict, before, after, True)
    array([1., 0.])
    """
    counts = redundant_changes(predict, before, after, target, changed)
    return np.where(np.isnan(counts), np.nan, counts == 0)


def stability(
    Z_factual: Any, Z_noisy: Any, Z_counterfactual: Any, Z_noisy_counterfactual: Any
) -> np.ndarray:
    """Distance between the answers to two nearby queries, per distance between the queries.

    ``||z' - z~'|| / ||z - z~||`` with z~ a factual under noise and z' , z~' the counterfactuals
    of both: an empirical Lipschitz constant of the explainer; small is stable.

    Parameters
    ----------
    Z_factual, Z_noisy : array-like of shape (n, D)
        Factuals and the same under noise, in solver space.
    Z_counterfactual, Z_noisy_counterfactual : array-like of shape (n, D)
        Their counterfactuals.

    Returns
    -------
    ndarray of shape (n,)
        NaN where an answer is missing, or where nothing was disturbed and nothing moved; inf
        where equal factuals have different answers.

    References
    ----------
    Alvarez-Melis and Jaakkola, "On the robustness of interpretability methods", 2018.

    Examples
    --------
    >>> stability([[0.0]], [[0.1]], [[1.0]], [[1.2]]).round(6)
    array([2.])
    """
    moved = l2(as_rows(Z_noisy_counterfactual) - as_rows(Z_counterfactual))
    disturbed = l2(as_rows(Z_noisy) - as_rows(Z_factual))
    with np.errstate(divide="ignore", invalid="ignore"):
        return moved / disturbed
