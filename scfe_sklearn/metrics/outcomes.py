"""Coverage, validity and plausibility of answers; input of all metrics."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.utils import check_array


def as_rows(Z: Any) -> np.ndarray:
    """A numeric 2-D array, in which NaN means no answer."""
    Z = np.asarray(Z, dtype=np.float64)
    if Z.ndim != 2:
        raise ValueError(f"Expected an array of shape (n, D). Got {Z.shape} instead.")
    return Z


def per_row_labels(target: Any, n: int) -> np.ndarray:
    """A label, or one label per row, as n objects, so that comparison is Python's own."""
    labels = np.asarray(target, dtype=object)
    if labels.shape not in ((), (n,)):
        raise ValueError(
            f"The 'target' must be a label, a set of labels or one label per row ({n}). "
            f"Got an array of shape {labels.shape} instead."
        )
    return np.broadcast_to(labels, (n,))


def is_missing(values: Any) -> np.ndarray:
    """Whether each value is None, NaN, NaT or NA, for any kind of column."""
    from pandas import isna

    return np.asarray(isna(np.asarray(values)))


def equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether values are equal, two missing values included."""
    gone_a, gone_b = is_missing(a), is_missing(b)
    present = ~(gone_a | gone_b)
    equal = gone_a & gone_b
    equal[present] = np.asarray(a[present] == b[present], dtype=bool)
    return equal


def is_frame(X: Any) -> bool:
    """Whether this is a data frame of any library."""
    return hasattr(X, "columns") and hasattr(X, "shape")


def columns_of(X: Any) -> list[np.ndarray]:
    """Columns of a pandas or polars frame or of a 2-D array, as arrays."""
    if hasattr(X, "iloc"):
        return [np.asarray(X.iloc[:, j].astype(object)) for j in range(X.shape[1])]
    if is_frame(X):
        return [X[name].to_numpy() for name in X.columns]
    return list(np.asarray(X).T)


def paired(before: Any, after: Any) -> Any:
    """Rows `after` with their columns in the order of `before`, paired by name.

    Raises
    ------
    ValueError
        If both are data frames of different columns, or their shapes differ.
    """
    if is_frame(before) and is_frame(after):
        names = list(before.columns)
        if len(names) != len(after.columns) or set(names) != set(after.columns):
            raise ValueError(
                f"The 'before' and 'after' rows must have the same columns. Got {names} and "
                f"{list(after.columns)} instead."
            )
        after = after[names]
    if before.shape != after.shape:
        raise ValueError(
            "The 'before' and 'after' rows must have the same shape. "
            f"Got {tuple(before.shape)} and {tuple(after.shape)} instead."
        )
    return after


def found_rows(counterfactuals: Any) -> np.ndarray:
    """Rows without missing values, from rows or from a mask."""
    if not is_frame(counterfactuals):
        mask = np.asarray(counterfactuals)
        if mask.ndim == 1:
            return mask.astype(bool)
    return ~np.any([is_missing(column) for column in columns_of(counterfactuals)], axis=0)


def undo(before: Any, after: Any, rows: np.ndarray, features: np.ndarray) -> Any:
    """Rows of `after` in which one feature each is as in `before`, in its container."""
    if hasattr(before, "iloc"):
        import pandas as pd

        # dtypes are those of the factuals: rows not found may have widened the others'.
        columns = []
        for j in range(before.shape[1]):
            old = before.iloc[rows, j].reset_index(drop=True)
            new = after.iloc[rows, j].reset_index(drop=True).astype(old.dtype)
            columns.append(new.where(features != j, old))
        frame = pd.concat(columns, axis=1)
        frame.columns = before.columns
        return frame
    if is_frame(before):
        import polars as pl

        series = []
        for j, name in enumerate(before.columns):
            old = before[name].gather(rows)
            new = after[name].cast(old.dtype).gather(rows)
            series.append(old.zip_with(pl.Series(features == j), new))
        return pl.DataFrame(series)
    result = np.array(np.asarray(after)[rows])
    pairs = np.arange(len(rows))
    result[pairs, features] = np.asarray(before)[rows, features]
    return result


# --------------------------------------------------------------------------------------- metrics


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


def local_outlier_factor(Z: Any, Z_reference: Any, *, n_neighbors: int = 20) -> np.ndarray:
    """Local outlier factor of each row among reference rows (novelty detection).

    The mean local reachability density of the nearest reference rows over that of the row:
    about 1 inside the data, more than 1.5 for an outlier [1]_.

    Parameters
    ----------
    Z : array-like of shape (n, D)
        Counterfactuals, in solver space.
    Z_reference : array-like of shape (m, D)
        At least two training rows, as a rule those that the model predicts as the target.
    n_neighbors : int
        Lowered to m - 1.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Notes
    -----
    Where the reference holds `n_neighbors` or more copies of one row, the density there is
    infinite (scikit-learn caps it near 1e10) and the factor of rows beside it explodes. With
    many duplicates compare medians or the share above 1.5, not means, or drop the duplicates.

    References
    ----------
    .. [1] Breunig, Kriegel, Ng, Sander, "LOF: identifying density-based local outliers",
       SIGMOD 2000.

    Examples
    --------
    >>> import numpy as np
    >>> reference = np.random.default_rng(0).normal(size=(200, 2))
    >>> factor = local_outlier_factor([[0.0, 0.0], [9.0, 9.0]], reference)
    >>> bool(factor[0] < 1.2), bool(factor[1] > 1.5)
    (True, True)
    """
    reference = check_array(Z_reference, dtype=np.float64, ensure_min_samples=2)
    k = min(n_neighbors, len(reference) - 1)
    model = LocalOutlierFactor(n_neighbors=k, novelty=True).fit(reference)
    return _on_found(lambda rows: -model.score_samples(rows), as_rows(Z))


def knn_distance(Z: Any, Z_reference: Any, *, n_neighbors: int = 5) -> np.ndarray:
    """Mean Euclidean distance to the nearest reference rows.

    Parameters
    ----------
    Z : array-like of shape (n, D)
        Counterfactuals, in solver space.
    Z_reference : array-like of shape (m, D)
        Training rows, as a rule those of the target class.
    n_neighbors : int
        Lowered to m.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> knn_distance([[0.0]], [[1.0], [3.0], [9.0]], n_neighbors=2)
    array([2.])
    """
    reference = check_array(Z_reference, dtype=np.float64)
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(reference))).fit(reference)
    return _on_found(lambda rows: search.kneighbors(rows)[0].mean(axis=1), as_rows(Z))


def log_density_quantile(log_prob: Any, reference_log_prob: Any) -> np.ndarray:
    """Share of the reference rows that are no denser: ``mean_j 1[q(z_j) <= q(z)]``.

    Unlike a log-density it can be compared between densities and data sets: at 0.05 one reference
    row in twenty is no denser.

    Parameters
    ----------
    log_prob : array-like of shape (n,)
        Log-densities of the counterfactuals.
    reference_log_prob : array-like of shape (m,)
        Log-densities of reference rows under the same density, held out of it.

    Returns
    -------
    ndarray of shape (n,)
        In [0, 1]; NaN where `log_prob` is NaN.

    Examples
    --------
    >>> log_density_quantile([-1.0, -9.0], [-4.0, -3.0, -2.0, 0.0])
    array([0.75, 0.  ])
    """
    values = np.asarray(log_prob, dtype=np.float64)
    reference = np.sort(np.asarray(reference_log_prob, dtype=np.float64))
    if not len(reference):
        raise ValueError("The 'reference_log_prob' array must hold at least one value.")
    share = np.searchsorted(reference, values, side="right") / len(reference)
    return np.where(np.isnan(values), np.nan, share)


def _on_found(function: Callable[[np.ndarray], np.ndarray], Z: np.ndarray) -> np.ndarray:
    """Apply a function to the rows without missing values; NaN for the others."""
    found = ~np.isnan(Z).any(axis=1)
    result = np.full(len(Z), np.nan)
    if found.any():
        result[found] = function(Z[found])
    return result
