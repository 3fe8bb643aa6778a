"""One view of a table, whatever holds it: read columns as numbers or levels, write changed cells.

The readers and writers of pandas, polars and arrays live in the files beside this one;
everything else in this package sees only :class:`Table`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Family = Literal["float", "integer", "boolean", "levels"]


@dataclass(frozen=True, eq=False)
class Storage:
    """Storage of a column.

    Parameters
    ----------
    family : {"float", "integer", "boolean", "levels"}
        What the values are.
    text : str
        The dtype in words, for messages.
    low, high : float
        Limits of what the column can hold, as floats that cast back without overflow.
    bits : int
        Precision of floats: 16, 32 or 64.
    categories : ndarray or None
        Declared categories, in their order.
    ordered : bool
        Whether the categories are declared as ordered.
    """

    family: Family
    text: str
    low: float = -np.inf
    high: float = np.inf
    bits: int = 64
    categories: np.ndarray | None = None
    ordered: bool = False


@dataclass(frozen=True, eq=False)
class Edit:
    """New values of one column: ``values[i]`` goes to row ``rows[i]``; ``blank`` turn missing."""

    rows: np.ndarray
    values: np.ndarray
    blank: np.ndarray


class Table(ABC):
    """A data frame or array, seen column by column."""

    names: list[Hashable]
    n_rows: int
    labelled: bool  # False for an array, whose columns are known by position

    @abstractmethod
    def storage(self, j: int) -> Storage:
        """Return how column ``j`` is stored; ValueError if it is neither number nor level."""

    @abstractmethod
    def numbers(self, j: int) -> np.ndarray:
        """Column ``j`` as float64, missing values as NaN; raises ValueError for other content."""

    def matrix(self, columns: Sequence[int]) -> np.ndarray:
        """Some columns as `numbers` gives them, (n, k)."""
        out = np.empty((self.n_rows, len(columns)))
        for k, j in enumerate(columns):
            out[:, k] = self.numbers(j)
        return out

    @abstractmethod
    def factorize(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes (n,) into the distinct values (k,) of column ``j``; code -1 is a missing value."""

    @abstractmethod
    def missing_value(self, j: int) -> Any:
        """The object that marks a missing value in column ``j``."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> Table:
        """The rows at the given positions, in their order."""

    @abstractmethod
    def write(self, edits: Mapping[int, Edit]) -> Any:
        """A copy of the container with the edits of its columns; other cells are untouched."""


class KeptTable(Table):
    """A view of a table that is read more than once and does not change meanwhile.

    Rows that are taken of it know what was read of the whole already.

    Parameters
    ----------
    table : Table
        The view itself.
    whole : KeptTable or None
        The table that these are rows of, if any.
    rows : ndarray of shape (n,), int, or None
        Their positions in the whole.

    Examples
    --------
    >>> import numpy as np
    >>> table = keep(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> table.take(np.array([1])).numbers(0), keep(table) is table
    (array([3.]), True)
    """

    def __init__(
        self, table: Table, whole: KeptTable | None = None, rows: np.ndarray | None = None
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

    def take(self, rows: np.ndarray) -> KeptTable:
        if np.array_equal(rows, np.arange(self.n_rows)):
            return self
        return KeptTable(self._table.take(rows), self, rows)

    def write(self, edits: Mapping[int, Edit]) -> Any:
        return self._table.write(edits)


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
        from scfe_sklearn.features.frames.pandas_table import PandasTable

        table = PandasTable(X)
    elif polars is not None and isinstance(X, polars.DataFrame):
        from scfe_sklearn.features.frames.polars_table import PolarsTable

        table = PolarsTable(X)
    elif isinstance(X, np.ndarray):
        from scfe_sklearn.features.frames.array_table import ArrayTable

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


def keep(X: Any) -> KeptTable:
    """Open a container, or a view of one, for being read more than once."""
    table = open_table(X)
    return table if isinstance(table, KeptTable) else KeptTable(table)


def _fixed(values: np.ndarray) -> np.ndarray:
    """Values that several readers share, so that none may write to them."""
    values = np.asarray(values).view()
    values.flags.writeable = False
    return values


def whole_cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """``values`` as integers of ``dtype``, or None where a value would change by the cast."""
    info = np.iinfo(dtype)
    if values.dtype.kind == "O":
        try:
            values = np.asarray(values.tolist())
        except (ValueError, OverflowError):
            return None
    if values.dtype.kind not in "iufb" or values.size == 0:
        return values.astype(dtype) if values.size == 0 else None
    if values.dtype.kind == "f":
        # The float nearest to the top of int64 lies above it, hence the strict comparison.
        fits = (values >= float(info.min)) & (values < float(info.max) + 1.0)
        if not (fits & (values == np.rint(values))).all():
            return None
    elif values.min() < info.min or values.max() > info.max:
        return None
    return values.astype(dtype)


def float_storage(text: str, dtype: np.dtype) -> Storage:
    """The storage of a float column; double precision has no limits that matter."""
    bits = min(8 * dtype.itemsize, 64)
    top = float(np.finfo(dtype).max) if bits < 64 else np.inf
    return Storage("float", text, -top, top, bits=bits)


def integer_limits(dtype: np.dtype) -> tuple[float, float]:
    """The smallest and the largest float64 that cast to an integer dtype without overflow."""
    info = np.iinfo(dtype)
    low, high = float(info.min), float(info.max)
    return low, high if int(high) <= info.max else float(np.nextafter(high, 0.0))


def object_family(values: np.ndarray, name: Hashable) -> Family:
    """Return the family of a column of Python objects, by its values."""
    from pandas.api.types import infer_dtype

    found = infer_dtype(values, skipna=True)
    if found in ("integer", "floating", "mixed-integer-float"):
        return "float"
    if found == "boolean":
        return "boolean"
    if found in ("string", "bytes", "empty", "mixed", "mixed-integer"):
        return "levels"
    raise unsupported(name, found)


def object_numbers(values: np.ndarray, name: Hashable) -> np.ndarray:
    """A column of Python objects as float64, missing values as NaN."""
    import pandas as pd

    missing = np.asarray(pd.isna(values), dtype=bool)
    present = values[~missing]
    if present.size and object_family(present, name) not in ("float", "boolean"):
        words = [v for v in present if isinstance(v, (str, bytes))] or list(present[:1])
        raise not_numbers(name, type(words[0]).__name__, words[0])
    out = np.full(len(values), np.nan)
    out[~missing] = present.astype(np.float64)
    return out


def object_codes(values: Any, name: Hashable) -> tuple[np.ndarray, np.ndarray]:
    """Codes and distinct values of a column; missing values get -1."""
    import pandas as pd

    try:
        codes, distinct = pd.factorize(values)
    except TypeError as error:
        raise ValueError(f"Column {name!r} of X must hold hashable values. {error}.") from error
    return codes, np.asarray(distinct, dtype=object)


def python_numbers(values: np.ndarray, whole: bool) -> np.ndarray:
    """Float values as an object array of Python ints or floats."""
    out = np.empty(len(values), dtype=object)
    out[:] = [int(v) if whole and v == int(v) else v for v in values.tolist()]
    return out


def unsupported(name: Hashable, text: str) -> ValueError:
    """The error for a column that is neither numbers nor levels."""
    unknown = "Complex data not supported. " if text.startswith("complex") else ""
    return ValueError(
        f"{unknown}Column {name!r} of X must hold numbers, booleans, strings or categories. "
        f"Got {text} instead; convert it (for example a date to a number of days) or leave it out."
    )


def not_numbers(name: Hashable, text: str, example: object | None = None) -> ValueError:
    """The error for a numeric column that holds something else."""
    such = "" if example is None else f" values such as {example!r}"
    return ValueError(f"Column {name!r} of X must hold numbers. Got {text}{such} instead.")
