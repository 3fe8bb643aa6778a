"""Input of all metrics: rows, columns and labels of any container."""

from __future__ import annotations

from typing import Any

import numpy as np


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
