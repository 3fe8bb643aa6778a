"""Open data frames and arrays as tables, cache what is read, and note their columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scfe_sklearn.data.table import (
    Edit,
    Storage,
    Table,
    float_storage,
    integer_limits,
    not_numbers,
    object_codes,
    object_family,
    object_numbers,
    python_numbers,
    unsupported,
    whole_cast,
)

# ---------------------------------------------------------------------------------------- arrays


_EXACT = 2.0**53  # integers beyond it are not all floats


class ArrayTable(Table):
    """A 2-D array, its columns known by position."""

    labelled = False

    def __init__(self, X: np.ndarray) -> None:
        if X.ndim != 2:
            raise ValueError(
                f"X must be a 2-D array. Got {X.ndim} dimensions instead. Reshape your data: "
                "X.reshape(1, -1) is one row, X.reshape(-1, 1) one column."
            )
        self._X = np.asarray(X)
        self.n_rows = X.shape[0]
        self.names = list(range(X.shape[1]))

    def storage(self, j: int) -> Storage:
        dtype = self._X.dtype
        text = str(dtype)
        if dtype.kind == "f":
            return float_storage(text, dtype)
        if dtype.kind in "iu":
            low, high = integer_limits(dtype)
            return Storage("integer", text, low, high)
        if dtype.kind == "b":
            return Storage("boolean", text)
        if dtype.kind in "UST":
            return Storage("levels", text)
        if dtype.kind == "O":
            return Storage(object_family(self._X[:, j], j), text)
        raise unsupported(j, text)

    def matrix(self, columns: Sequence[int]) -> np.ndarray:
        if self._X.dtype.kind not in "fiub":
            return super().matrix(columns)
        return self._X[:, np.asarray(columns, dtype=np.intp)].astype(np.float64)

    def numbers(self, j: int) -> np.ndarray:
        column = self._X[:, j]
        if column.dtype.kind in "fiub":
            return column.astype(np.float64)
        if column.dtype.kind == "O":
            return object_numbers(column, j)
        raise not_numbers(j, str(column.dtype), column[0] if len(column) else None)

    def factorize(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        column = self._X[:, j]
        return object_codes(column.astype(object) if column.dtype.kind in "UST" else column, j)

    def missing_value(self, j: int) -> Any:
        if self._X.dtype.kind == "O":
            import pandas as pd

            gone = self._X[:, j][np.asarray(pd.isna(self._X[:, j]), dtype=bool)]
            return gone[0] if len(gone) else np.nan
        return np.nan

    def take(self, rows: np.ndarray) -> ArrayTable:
        return ArrayTable(self._X[rows])

    def write(self, edits: Mapping[int, Edit]) -> np.ndarray:
        out = self._X.astype(self._target(edits), copy=True)
        for j, edit in edits.items():
            if out.dtype.kind == "O":
                values = edit.values
                if values.dtype.kind == "f" and self._X.dtype.kind == "O":
                    whole = _holds_ints(self._X[:, j])
                    values = python_numbers(values, whole)
                out[edit.rows, j] = values.astype(object)
                out[edit.blank, j] = self.missing_value(j) if self._X.dtype.kind == "O" else None
            else:
                out[edit.rows, j] = edit.values.astype(out.dtype)
                if len(edit.blank):
                    out[edit.blank, j] = np.nan
        return out

    def _target(self, edits: Mapping[int, Edit]) -> np.dtype:
        """The dtype that holds the old and the new values: the old one wherever it can."""
        dtype = self._X.dtype
        blank = any(len(edit.blank) for edit in edits.values())
        values = [edit.values for edit in edits.values() if len(edit.rows)]
        if dtype.kind in "fO":
            return dtype
        if dtype.kind in "US":
            return np.dtype(object) if blank else _wider(dtype, values)
        if dtype.kind == "b":
            same = all(all(v in (False, True) for v in new.tolist()) for new in values)
            return dtype if same and not blank else np.dtype(np.float64)
        if dtype.kind in "iu":
            if not blank and all(whole_cast(new, dtype) is not None for new in values):
                return dtype
            large = self._X.size and np.abs(self._X.astype(np.float64)).max() > _EXACT
            return np.dtype(object) if large else np.dtype(np.float64)
        return np.dtype(object) if blank else dtype


def _wider(dtype: np.dtype, values: list[np.ndarray]) -> np.dtype:
    """A text dtype long enough for the new values, which numpy would cut short in silence."""
    for new in values:
        dtype = np.result_type(dtype, np.asarray(new.tolist(), dtype=dtype.kind).dtype)
    return dtype


def _holds_ints(column: np.ndarray) -> bool:
    """Whether a column of Python objects holds whole numbers only."""
    from pandas.api.types import infer_dtype

    return infer_dtype(column, skipna=True) == "integer"


# --------------------------------------------------------------------------------- any container


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
