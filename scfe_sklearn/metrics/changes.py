"""Permission and minimality of the changes of an answer."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from scfe_sklearn.metrics.outcomes import validity
from scfe_sklearn.metrics.tables import (
    columns_of,
    equal,
    found_rows,
    is_frame,
    is_missing,
    paired,
    per_row_labels,
    undo,
)


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
