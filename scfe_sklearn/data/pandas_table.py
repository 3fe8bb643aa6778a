"""Read and write pandas data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import (
    infer_dtype,
    is_bool_dtype,
    is_float_dtype,
    is_integer_dtype,
    is_numeric_dtype,
    is_object_dtype,
    is_string_dtype,
)

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


class PandasTable(Table):
    """A pandas data frame."""

    labelled = True

    def __init__(self, X: pd.DataFrame) -> None:
        self._X = X
        self.n_rows = len(X)
        names: list[Any] = X.columns.tolist()
        self.names = names
        self._columns: dict[int, pd.Series] = {}

    @cached_property
    def _dtypes(self) -> list[Any]:
        return self._X.dtypes.tolist()

    @property
    def _one_dtype(self) -> Any:
        """The dtype of all columns; None if they have several."""
        first = self._dtypes[0] if self._dtypes else None
        return first if all(dtype == first for dtype in self._dtypes) else None

    def _column(self, j: int) -> pd.Series:
        if j not in self._columns:
            self._columns[j] = self._X.iloc[:, j]  # by position: names may occur twice
        return self._columns[j]

    def storage(self, j: int) -> Storage:
        dtype: Any = self._dtypes[j]
        text = str(dtype)
        if isinstance(dtype, pd.CategoricalDtype):
            categories = np.asarray(dtype.categories, dtype=object)
            return Storage("levels", text, categories=categories, ordered=bool(dtype.ordered))
        if is_object_dtype(dtype):
            return Storage(object_family(self._column(j).to_numpy(), self.names[j]), text)
        if is_bool_dtype(dtype):
            return Storage("boolean", text)
        if is_integer_dtype(dtype):
            low, high = integer_limits(_numpy_dtype(dtype))
            return Storage("integer", text, low, high)
        if is_float_dtype(dtype):
            kind = _numpy_dtype(dtype)
            return float_storage(text, kind)
        if is_string_dtype(dtype):
            return Storage("levels", text)
        raise unsupported(self.names[j], text)

    def matrix(self, columns: Sequence[int]) -> np.ndarray:
        whole = list(columns) == list(range(len(self.names)))
        if not all(_is_plain(self._dtypes[j]) for j in columns):
            return super().matrix(columns)
        part = self._X if whole else self._X.take(columns, axis=1)
        return part.to_numpy(dtype=np.float64, copy=True)

    @cached_property
    def _plain(self) -> np.ndarray | None:
        """The whole table, if all columns have one numpy dtype of numbers or booleans."""
        return self._X.to_numpy() if _is_plain(self._one_dtype) else None

    def numbers(self, j: int) -> np.ndarray:
        if self._plain is not None:
            return self._plain[:, j].astype(np.float64)
        column = self._column(j)
        dtype: Any = column.dtype
        name = self.names[j]
        if _is_plain(dtype):
            return column.to_numpy().astype(np.float64)
        if isinstance(dtype, pd.CategoricalDtype):
            values = object_numbers(np.asarray(dtype.categories, dtype=object), name)
            codes = column.cat.codes.to_numpy()
            return np.append(values, np.nan)[codes]
        if is_object_dtype(dtype):
            return object_numbers(column.to_numpy(), name)
        if is_numeric_dtype(dtype) or is_bool_dtype(dtype):
            return np.array(column.to_numpy(dtype=np.float64, na_value=np.nan))
        present = column[column.notna()]
        raise not_numbers(name, str(dtype), present.iloc[0] if len(present) else None)

    def factorize(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        column = self._column(j)
        dtype: Any = column.dtype
        if isinstance(dtype, pd.CategoricalDtype):
            codes = column.cat.codes.to_numpy().astype(np.intp)
            return codes, np.asarray(dtype.categories, dtype=object)
        if dtype == np.dtype(bool):
            return column.to_numpy().astype(np.intp), np.array([False, True], dtype=object)
        values = column.to_numpy() if isinstance(dtype, np.dtype) else column.array
        return object_codes(values, self.names[j])

    def missing_value(self, j: int) -> Any:
        column = self._column(j)
        if is_object_dtype(column.dtype):
            return _missing_object(column)
        return getattr(column.dtype, "na_value", np.nan)

    def take(self, rows: np.ndarray) -> PandasTable:
        return PandasTable(self._X.iloc[rows])

    def write(self, edits: Mapping[int, Edit]) -> pd.DataFrame:
        if type(self._X) is pd.DataFrame and _is_float(self._one_dtype):
            return self._write_floats(edits)
        out = self._X.copy()
        for j, edit in edits.items():
            array = _edited(self._column(j), edit)
            if is_object_dtype(array.dtype):  # else pandas would guess one for Python objects
                array = pd.Series(array, index=out.index, dtype=object)
            out.isetitem(j, array)
        return out

    def _write_floats(self, edits: Mapping[int, Edit]) -> pd.DataFrame:
        """Write into a frame of a single type of floats: into its array, all columns at once."""
        values = self._X.to_numpy(copy=True)
        for j, edit in edits.items():
            values[edit.rows, j], values[edit.blank, j] = edit.values, np.nan
        made: Any = pd.DataFrame(values, index=self._X.index, columns=self._X.columns, copy=False)
        return made.__finalize__(self._X)


def _is_plain(dtype: Any) -> bool:
    """Whether a column holds its numbers in a numpy array of numbers or booleans."""
    return isinstance(dtype, np.dtype) and dtype.kind in "fiub"


def _is_float(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind == "f"


def _missing_object(column: pd.Series) -> Any:
    """Return the missing value of an object column: None, NaN or NA."""
    gone = column[column.isna()]
    return gone.iloc[0] if len(gone) else np.nan


def _numpy_dtype(dtype: Any) -> np.dtype:
    """The numpy dtype that a numeric pandas dtype stores its values in."""
    if isinstance(dtype, np.dtype):
        return dtype
    if isinstance(dtype, pd.SparseDtype):
        return np.dtype(dtype.subtype)
    return np.dtype(dtype.numpy_dtype)


def _edited(column: pd.Series, edit: Edit) -> Any:
    """A column with new values, in its own dtype wherever that can hold them."""
    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _edited_categories(column, edit)
    whole = isinstance(dtype, np.dtype) and dtype.kind in "iu" and not len(edit.blank)
    cast = whole_cast(edit.values, dtype) if whole else None
    if _is_float(dtype) or cast is not None:
        array = column.to_numpy().copy()
        array[edit.rows] = edit.values if cast is None else cast
        if len(edit.blank):
            array[edit.blank] = np.nan
        return array
    if isinstance(dtype, pd.SparseDtype):
        dense = np.asarray(column)
        if dense.dtype.kind != "f" and len(edit.blank):
            dense = dense.astype(np.float64)  # nullable integers cannot be sparse
        dense = np.asarray(_edited(pd.Series(dense), edit))
        return pd.array(dense, dtype=pd.SparseDtype(dense.dtype, dtype.fill_value))
    values: Any = edit.values
    wide: Any = dtype
    if is_object_dtype(dtype):
        if values.dtype.kind == "f":
            values = python_numbers(values, infer_dtype(column, skipna=True) == "integer")
        array = column.to_numpy().copy()
        array[edit.rows], array[edit.blank] = values.astype(object), _missing_object(column)
        return pd.Series(array, dtype=object).array
    if is_bool_dtype(dtype):
        if any(v not in (False, True) for v in set(values.tolist())):
            return _edited(column.astype(object), edit)
        values = values.astype(bool)
        if dtype == np.dtype(bool) and len(edit.blank):
            wide = "boolean"
    elif is_integer_dtype(dtype):
        cast = whole_cast(values, _numpy_dtype(dtype))
        if cast is None:
            return _edited(
                column.astype(np.float64 if isinstance(dtype, np.dtype) else "Float64"), edit
            )
        values = cast
        if isinstance(dtype, np.dtype) and len(edit.blank):
            wide = f"{'U' if dtype.kind == 'u' else ''}Int{8 * dtype.itemsize}"
    elif is_float_dtype(dtype):
        values = values.astype(_numpy_dtype(dtype))
    else:
        values = values.astype(object)
    out: Any = column.astype(wide).array.copy()
    if len(edit.rows):
        out[edit.rows] = values
    if len(edit.blank):
        try:
            out[edit.blank] = getattr(out.dtype, "na_value", np.nan)
        except TypeError:  # a dtype of whole numbers that knows no missing value, as of intervals
            out = out.astype(object)
            out[edit.blank] = np.nan
    return out


def _edited_categories(column: pd.Series, edit: Edit) -> pd.Categorical:
    """A categorical column with new values; a level it does not declare is declared last."""
    dtype: Any = column.dtype
    distinct_codes, distinct = pd.factorize(np.asarray(edit.values, dtype=object))
    place = pd.Index(dtype.categories.astype(object)).get_indexer(distinct)
    categories = dtype.categories
    if (place < 0).any():
        new = distinct[place < 0]
        categories = categories.append(pd.Index(new.tolist()))
        place[place < 0] = len(dtype.categories) + np.arange(len(new))
    codes = column.cat.codes.to_numpy().astype(np.intp)
    codes[edit.rows] = place[distinct_codes]
    codes[edit.blank] = -1
    wide = dtype if len(categories) == len(dtype.categories) else None
    return pd.Categorical.from_codes(
        codes, dtype=wide or pd.CategoricalDtype(categories, ordered=dtype.ordered)
    )
