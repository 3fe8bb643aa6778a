"""Rows and columns of the containers that users bring: pandas, polars and arrays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "column_values",
    "columns_in_order",
    "is_polars",
    "narrowed",
    "objects",
    "positions",
    "row_labels",
    "take_rows",
]

_COARSE = {"float16": np.float16, "float32": np.float32}


def is_polars(frame: Any) -> bool:
    """Whether a container is a polars DataFrame; polars is not imported for the question."""
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(frame, polars.DataFrame)


def row_labels(frame: Any) -> Any:
    """Labels of the rows as a pandas Index; positions where the container has none."""
    import pandas as pd

    return frame.index if isinstance(frame, pd.DataFrame) else pd.RangeIndex(len(frame))


def take_rows(frame: Any, rows: np.ndarray) -> Any:
    """The rows at some positions, in the same kind of container."""
    if is_polars(frame):
        return frame[rows.tolist()]
    return frame.iloc[rows] if hasattr(frame, "iloc") else frame[rows]


def columns_in_order(frame: Any, names: Sequence[Any]) -> Any:
    """The columns of a data frame by name, in the given order.

    An array, and a frame with other names than these, is returned as it is: its columns are
    known by position.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"b": [1], "a": [2]})
    >>> list(columns_in_order(frame, ["a", "b"])), list(columns_in_order(frame, ["x", "y"]))
    (['a', 'b'], ['b', 'a'])
    """
    own, wanted = list(getattr(frame, "columns", ())), list(names)
    if own == wanted or len(own) != len(wanted) or set(own) != set(wanted):
        return frame
    return frame.select(wanted) if is_polars(frame) else frame[wanted]


def narrowed(frame: Any, like: Any) -> Any:
    """Return rows in the dtypes of ``like``, where they were widened for missing values only.

    Rows without an answer turn whole numbers and booleans nullable, or an array of them into
    floats. Rows that have none of these missing values need not be wide.

    Examples
    --------
    >>> import numpy as np
    >>> narrowed(np.array([[1.0, 2.0]]), like=np.array([[1, 3]]))
    array([[1, 2]])
    """
    import pandas as pd

    if isinstance(frame, pd.DataFrame):
        narrow = {
            name: before
            for name, before in like.dtypes.items()
            if isinstance(before, np.dtype)
            and before.kind in "iub"
            and pd.api.types.is_extension_array_dtype(frame[name].dtype)
            and not frame[name].isna().any()
        }
        return frame.astype(narrow) if narrow else frame
    if isinstance(frame, np.ndarray) and like.dtype.kind in "iub" and frame.dtype.kind == "f":
        fits = bool(np.isfinite(frame).all() and (frame == np.rint(frame)).all())
        return frame.astype(like.dtype) if fits else frame
    return frame


def column_values(frame: Any, j: int, rows: np.ndarray) -> list[Any]:
    """The raw values of column ``j`` at some rows, as Python objects.

    Numbers of less than double precision stay NumPy scalars, which have fewer digits.
    """
    if is_polars(frame):
        column = frame.to_series(j).gather(rows.tolist())
        values, kind = column.to_list(), str(column.dtype).lower()
    else:
        column = frame.iloc[rows, j] if hasattr(frame, "iloc") else frame[rows, j]
        values = list(np.asarray(column, dtype=object))
        kind = str(getattr(column.dtype, "numpy_dtype", column.dtype))
    if kind not in _COARSE:
        return list(values)
    return [_COARSE[kind](value) if isinstance(value, float) else value for value in values]


def objects(values: Any) -> np.ndarray:
    """An object array of the entries as they are, NumPy scalars and tuples included."""
    return np.fromiter(values, dtype=object, count=len(values))


def positions(rows: Any, n: int) -> np.ndarray:
    """Positions among ``n`` rows from a number, a slice, an array of positions or a mask.

    Examples
    --------
    >>> positions(-1, 3), positions(slice(1, None), 3), positions([True, False, True], 3)
    (array([2]), array([1, 2]), array([0, 2]))
    """
    if isinstance(rows, slice):
        return np.arange(n)[rows]
    where = np.atleast_1d(np.asarray(rows))
    if where.size == 0:
        where = where.astype(np.intp)
    if where.ndim != 1 or where.dtype.kind not in "iub":
        raise TypeError(
            "Rows must be a position, a slice, an array of positions or a mask. "
            f"Got {rows!r} instead."
        )
    return np.arange(n)[where]
