"""Read and write 2-D arrays."""

from __future__ import annotations

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
