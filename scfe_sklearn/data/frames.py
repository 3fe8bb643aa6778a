"""Open data frames and arrays as tables, cache what is read, and note their columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scfe_sklearn.data.table import Edit, Storage, Table


def as_table(X: Any) -> Any:
    """Return a data frame as it is, and anything else array-like as an array.

    What is masked in a masked array is missing.

    Raises
    ------
    ValueError
        If ``X`` is a single row with labels: a dict, a list of dicts or a Series.
    """
    if isinstance(X, np.ma.MaskedArray):
        return _unmasked(X)
    if hasattr(X, "columns") or hasattr(X, "tocsr"):
        return X
    one = "[row.to_dict()]" if hasattr(X, "index") and hasattr(X, "to_dict") else "[row]"
    listed = isinstance(X, (list, tuple)) and len(X) > 0 and isinstance(X[0], Mapping)
    if isinstance(X, Mapping) or listed or one != "[row]":
        raise ValueError(
            "X must be a pandas or polars data frame or a 2-D array, also for one row. "
            f"Got a {type(X).__name__}{' of dicts' if listed else ''} instead; "
            f"pandas.DataFrame({'rows' if listed else one}) is a data frame of it."
        )
    return np.asarray(X)


def _unmasked(X: np.ma.MaskedArray) -> np.ndarray:
    """Return a masked array as an array with NaN where it is masked."""
    if not np.ma.is_masked(X):
        return np.asarray(X)
    kind = X.dtype if X.dtype.kind == "f" else np.float64 if X.dtype.kind in "iub" else object
    return np.asarray(np.ma.filled(X.astype(kind), np.nan))


def open_table(X: Any) -> Table:
    """Wrap a pandas or polars data frame or a 2-D array; a view is returned as it is.

    Parameters
    ----------
    X : DataFrame, ndarray of shape (n, d) or Table
        The data.

    Returns
    -------
    Table
        The view.

    Raises
    ------
    TypeError
        If ``X`` is none of these.
    ValueError
        If an array is not 2-D, or column names repeat.
    """
    if isinstance(X, Table):
        return X
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    table: Table
    if pandas is not None and isinstance(X, pandas.DataFrame):
        from scfe_sklearn.data.pandas_table import PandasTable

        table = PandasTable(X)
    elif polars is not None and isinstance(X, polars.DataFrame):
        from scfe_sklearn.data.polars_table import PolarsTable

        table = PolarsTable(X)
    elif isinstance(X, np.ndarray):
        from scfe_sklearn.data.array_table import ArrayTable

        table = ArrayTable(X)
    else:
        what = "a sparse matrix" if hasattr(X, "tocsr") else f"an object of type {type(X).__name__}"
        raise TypeError(
            f"X must be a pandas or polars data frame or a 2-D array. Got {what} instead."
        )
    if len(set(table.names)) != len(table.names):
        twice = list(dict.fromkeys(name for name in table.names if table.names.count(name) > 1))
        raise ValueError(f"X must have unique column names. Got {twice} more than once.")
    return table


def check_size(table: Table) -> None:
    """Refuse training data without rows or columns."""
    shape = (table.n_rows, len(table.names))
    if min(shape):
        return
    what = "sample" if not table.n_rows else "feature"
    raise ValueError(
        f"X must have at least one row and one column. Got shape {shape} instead: "
        f"0 {what}(s) (shape={shape}) while a minimum of 1 is required."
    )


def note_columns(estimator: Any, table: Table) -> None:
    """Set ``n_features_in_``, and ``feature_names_in_`` where all columns have texts as names."""
    estimator.n_features_in_ = len(table.names)
    if table.labelled and all(isinstance(name, str) for name in table.names):
        estimator.feature_names_in_ = np.array(table.names, dtype=object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_


def cached(X: Any) -> CachedTable:
    """Open a container, or a view of one, for being read more than once."""
    table = open_table(X)
    return table if isinstance(table, CachedTable) else CachedTable(table)


class CachedTable(Table):
    """A view of a table that is read more than once and does not change meanwhile.

    Rows that are taken of it know what was read of the whole already.

    Parameters
    ----------
    table : Table
        The view itself.
    whole : CachedTable or None
        The table that these are rows of, if any.
    rows : ndarray of shape (n,), int, or None
        Their positions in the whole.

    Examples
    --------
    >>> import numpy as np
    >>> table = cached(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> table.take(np.array([1])).numbers(0), cached(table) is table
    (array([3.]), True)
    """

    def __init__(
        self, table: Table, whole: CachedTable | None = None, rows: np.ndarray | None = None
    ) -> None:
        self._table, self._whole, self._rows = table, whole, rows
        self.names, self.n_rows, self.labelled = table.names, table.n_rows, table.labelled
        self._storage: dict[int, Storage] = {}
        self._numbers: dict[int, np.ndarray] = {}
        self._codes: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._matrices: dict[tuple[int, ...], np.ndarray] = {}

    def storage(self, j: int) -> Storage:
        if j not in self._storage:
            self._storage[j] = self._table.storage(j)
        return self._storage[j]

    def matrix(self, columns: Sequence[int]) -> np.ndarray:
        key = tuple(columns)
        if key not in self._matrices:
            self._matrices[key] = _fixed(
                self._table.matrix(columns)
                if self._whole is None
                else self._whole.matrix(columns)[self._rows]
            )
        return self._matrices[key]

    def numbers(self, j: int) -> np.ndarray:
        if j not in self._numbers:
            self._numbers[j] = _fixed(
                self._table.numbers(j)
                if self._whole is None
                else self._whole.numbers(j)[self._rows]
            )
        return self._numbers[j]

    def factorize(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        if j not in self._codes:
            if self._whole is None:
                codes, distinct = self._table.factorize(j)
            else:
                codes, distinct = self._whole.factorize(j)
                codes = codes[self._rows]
            self._codes[j] = _fixed(codes), distinct
        return self._codes[j]

    def missing_value(self, j: int) -> Any:
        return self._table.missing_value(j)

    def take(self, rows: np.ndarray) -> CachedTable:
        if np.array_equal(rows, np.arange(self.n_rows)):
            return self
        return CachedTable(self._table.take(rows), self, rows)

    def write(self, edits: Mapping[int, Edit]) -> Any:
        return self._table.write(edits)


def _fixed(values: np.ndarray) -> np.ndarray:
    """Values that several readers share, so that none may write to them."""
    values = np.asarray(values).view()
    values.flags.writeable = False
    return values
