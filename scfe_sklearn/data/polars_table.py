"""Read and write polars data frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

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
    unsupported,
    whole_cast,
)


class PolarsTable(Table):
    """A polars data frame; every missing value of it is a null."""

    labelled = True

    def __init__(self, X: pl.DataFrame) -> None:
        self._X = X
        self.n_rows = X.height
        self.names = list(X.columns)

    def storage(self, j: int) -> Storage:
        column = self._X.to_series(j)
        dtype: Any = column.dtype
        text = str(dtype)
        if dtype == pl.Boolean:
            return Storage("boolean", text)
        if dtype.is_integer():
            low, high = integer_limits(_numpy_integer(dtype))
            return Storage("integer", text, low, high)
        if dtype.is_float():
            return float_storage(text, np.dtype(text.lower()))
        if dtype.is_decimal():
            return Storage("float", text)
        if dtype == pl.Enum:
            categories = np.asarray(dtype.categories.to_list(), dtype=object)
            return Storage("levels", text, categories=categories)
        if dtype in (pl.String, pl.Categorical, pl.Null):
            return Storage("levels", text)
        if dtype == pl.Object:
            return Storage(object_family(_objects(column), self.names[j]), text)
        raise unsupported(self.names[j], text)

    def numbers(self, j: int) -> np.ndarray:
        column = self._X.to_series(j)
        if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
            return np.array(column.cast(pl.Float64).to_numpy(), dtype=np.float64)
        if column.dtype == pl.Object:
            return object_numbers(_objects(column), self.names[j])
        present = column.drop_nulls()
        raise not_numbers(self.names[j], str(column.dtype), present[0] if len(present) else None)

    def factorize(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        column = self._X.to_series(j)
        if column.dtype.is_float():
            return object_codes(column.to_numpy(), self.names[j])
        return object_codes(_objects(column), self.names[j])

    def missing_value(self, j: int) -> None:
        return None

    def take(self, rows: np.ndarray) -> PolarsTable:
        return PolarsTable(self._X[np.asarray(rows, dtype=np.int64)])

    def write(self, edits: Mapping[int, Edit]) -> pl.DataFrame:
        columns = self._X.get_columns()
        for j, edit in edits.items():
            columns[j] = _edited(columns[j], edit)
        return pl.DataFrame(columns)


def _objects(column: pl.Series) -> np.ndarray:
    """The values as Python objects."""
    out = np.empty(len(column), dtype=object)
    out[:] = column.to_list()
    return out


def _numpy_integer(dtype: Any) -> np.dtype:
    """The numpy dtype of a polars integer; 128 bits are read as 64."""
    name = str(dtype).lower().replace("128", "64")
    return np.dtype(name)


def _edited(column: pl.Series, edit: Edit) -> pl.Series:
    """A column with new values, in its own dtype wherever that can hold them."""
    dtype: Any = column.dtype
    values, place = np.unique(edit.values, return_inverse=True) if _plain(edit) else _once(edit)
    listed: list[Any] = values.tolist()
    if dtype.is_integer():
        cast = whole_cast(values, _numpy_integer(dtype))
        if cast is None:
            dtype = pl.Float64
        else:
            listed = cast.tolist()
    elif dtype == pl.Enum:
        known = dtype.categories.to_list()
        if any(v not in known for v in listed):
            dtype = pl.Enum([*known, *(v for v in listed if v not in known)])
    # New values are appended once each and picked by position: exact for every dtype, and a
    # null position picks a null.
    pool = pl.concat([column.cast(dtype), pl.Series(column.name, listed).cast(dtype)])
    pick = np.arange(len(column), dtype=np.int64)
    pick[edit.rows] = len(column) + place
    index = pl.Series(pick)
    if len(edit.blank):
        gone = np.zeros(len(column), dtype=bool)
        gone[edit.blank] = True
        index = pl.select(pl.when(pl.Series(~gone)).then(index)).to_series()
    return pool.gather(index)


def _plain(edit: Edit) -> bool:
    """Whether the new values are numbers or booleans of numpy."""
    return edit.values.dtype.kind in "fiub"


def _once(edit: Edit) -> tuple[np.ndarray, np.ndarray]:
    """Distinct new values, and for each new value its place among them."""
    codes, distinct = object_codes(edit.values, "")
    return distinct, codes
