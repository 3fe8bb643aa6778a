"""Coverage and validity of answers."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from scfe_sklearn.metrics.tables import found_rows, is_missing, per_row_labels


def validity(predicted: Any, target: Any) -> np.ndarray:
    """Whether the model gives a counterfactual its target: ``1[f(x') = t]``.

    Parameters
    ----------
    predicted : array-like of shape (n,)
        Labels that the model predicts for the counterfactuals; missing (None or NaN) where
        there is none.
    target : label, set of labels or array-like of shape (n,)
        The wanted label: of all rows, any of a set, or one per row.

    Returns
    -------
    ndarray of shape (n,)
        1.0, 0.0, or NaN where there is no prediction.

    Examples
    --------
    >>> validity(["yes", "no", None], "yes")
    array([ 1.,  0., nan])
    """
    labels = np.asarray(predicted, dtype=object)
    present = ~is_missing(labels)
    choices = list(target) if isinstance(target, AbstractSet) else [target]
    hits = [labels[present] == per_row_labels(t, len(labels))[present] for t in choices]
    result = np.full(len(labels), np.nan)
    result[present] = np.any(hits, axis=0)
    return result


def coverage(counterfactuals: Any) -> np.ndarray:
    """Whether a row has an answer: 1 without missing values, else 0.

    The only score in which a failed row is 0; its mean is the share of answered rows.

    Parameters
    ----------
    counterfactuals : DataFrame or array-like of shape (n, d), or of shape (n,) and bool
        Counterfactuals (raw or in solver space), or a mask of the rows that were found.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> coverage(np.array([[1.0, 2.0], [np.nan, np.nan]]))
    array([1., 0.])
    >>> coverage([True, False])
    array([1., 0.])
    """
    return found_rows(counterfactuals).astype(float)
