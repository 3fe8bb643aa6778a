"""Values per row that a user gives: listed once, and in the order of the rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["KeepsLists", "by_label", "is_series", "listed", "numbers", "row_index"]

_DEPTH = 6  # of collections within collections that are searched for iterators


def listed(value: Any, depth: int = _DEPTH) -> Any:
    """Return a value in which every iterator is a list, since an iterator is read only once.

    Examples
    --------
    >>> listed({"job": {"a": (level for level in "bc")}})
    {'job': {'a': ['b', 'c']}}
    """
    if isinstance(value, Iterator):
        value = list(value)
    if depth == 0 or not isinstance(value, (dict, list, tuple)) or hasattr(value, "_fields"):
        return value
    parts = value.values() if isinstance(value, dict) else value
    found = [listed(part, depth - 1) for part in parts]
    if all(new is old for new, old in zip(found, parts, strict=True)):
        return value  # the same object, as clones of scikit-learn have to find it
    if isinstance(value, dict):
        return dict(zip(value, found, strict=True))
    return type(value)(found)


class KeepsLists:
    """Mixin, before BaseEstimator: an iterator among the parameters is kept as a list."""

    def __setattr__(self, name: str, value: Any) -> None:
        fitted = name.startswith("_") or name.endswith("_")
        super().__setattr__(name, value if fitted else listed(value))


def row_index(X: Any) -> Any:
    """Return the labels of the rows of a pandas data frame; None for any other container."""
    pandas = sys.modules.get("pandas")
    return X.index if pandas is not None and isinstance(X, pandas.DataFrame) else None


def is_series(value: Any) -> bool:
    """Return whether a value is a pandas Series, or a data frame of one column."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return False
    if isinstance(value, pandas.DataFrame):
        return bool(value.shape[1] == 1)
    return isinstance(value, pandas.Series)


def by_label(value: Any, index: Any, what: str) -> Any:
    """Return a Series as an array in the order of the rows; other values as they are.

    Parameters
    ----------
    value : object
        A Series, a data frame of one column, or anything else.
    index : pandas.Index or None
        Labels of the rows. With None the values stay in their order.
    what : str
        Start of the message of the error, such as "The 'target' parameter of explain".

    Returns
    -------
    object
        An array of shape (n,) for a Series; missing numbers are NaN.

    Raises
    ------
    ValueError
        If the label of a row is missing in the Series, or occurs in it more than once.

    Examples
    --------
    >>> import pandas as pd
    >>> by_label(pd.Series([1, 2], index=["b", "a"]), pd.Index(["a", "b"]), "It")
    array([2, 1])
    """
    if not is_series(value):
        return value
    series = value.iloc[:, 0] if value.ndim == 2 else value
    if index is not None and not series.index.equals(index):
        # Labels of other rows may be there, so that one Series serves many queries.
        series = series[series.index.isin(index)]
        if series.index.has_duplicates:
            label = series.index[series.index.duplicated()][0]
            raise _mismatch(what, label, "occurs more than once")
        place = series.index.get_indexer(index)
        if (place < 0).any():
            raise _mismatch(what, index[place < 0][0], "is missing")
        series = series.iloc[place]
    return _as_array(series)


def _mismatch(what: str, label: Any, problem: str) -> ValueError:
    return ValueError(
        f"{what} must have one value for every row label of X. Got a Series in which the label "
        f"{label!r} {problem}; give an array for values by position."
    )


def _as_array(series: Any) -> np.ndarray:
    """Return the values of a Series; a nullable number that is missing is NaN."""
    from pandas.api.types import is_bool_dtype, is_extension_array_dtype, is_numeric_dtype

    kind = series.dtype
    if is_extension_array_dtype(kind) and is_numeric_dtype(kind) and not is_bool_dtype(kind):
        if series.hasnans:
            return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(series.to_numpy(dtype=getattr(kind, "numpy_dtype", None)))
    return np.asarray(series)


def numbers(value: Any) -> np.ndarray | None:
    """Return a number or an array of numbers as floats; None for anything else.

    Text and booleans are no numbers, though they could be read as such. What is masked or None
    in an array is NaN.

    Examples
    --------
    >>> numbers([1, None])
    array([ 1., nan])
    >>> numbers("10") is None, numbers(True) is None
    (True, True)
    """
    if isinstance(value, Mapping):
        return None
    try:
        masked = np.ma.getmaskarray(value) if isinstance(value, np.ma.MaskedArray) else None
        given = np.asarray(value)
        if given.dtype.kind == "O" and not all(map(_is_number, given.flat)):
            return None
        if given.dtype.kind not in "iufO":
            return None
        found = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if masked is not None:
        found[masked] = np.nan
    return found


def _is_number(value: Any) -> bool:
    """Return whether an object is a number or missing, and neither text nor boolean."""
    if value is None:
        return True
    return not isinstance(value, (str, bytes, bool, np.bool_, complex))
