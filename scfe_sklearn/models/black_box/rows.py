"""Raw rows as points of column space, and back in the container of the training rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scfe_sklearn.data import Column


def column_points(rows: Any, columns: Sequence[Column]) -> np.ndarray:
    """Points of column space (n, U) of raw rows; NaN where a number is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from scfe_sklearn.data import Column
    >>> column_points(np.array([[3, 7]]), [Column(0, None), Column(1, np.array([6, 7]))])
    array([[3., 0., 1.]])
    """
    import pandas as pd

    plain = plain_numbers(rows, columns)
    if plain is not None:
        return plain
    blocks = []
    for k, column in enumerate(columns):
        if column.held:
            blocks.append(np.zeros((len(rows), 1)))
            continue
        if column.levels is None:
            blocks.append(column_numbers(rows, k, column)[:, None])
            continue
        values = np.asarray(_column(rows, k, column), dtype=object)
        known = pd.Index(np.asarray(column.levels, dtype=object), dtype=object)
        codes = known.get_indexer(pd.Index(values, dtype=object))
        gone = pd.isna(values)
        missing = np.flatnonzero(pd.isna(np.asarray(column.levels, dtype=object)))
        codes = np.where(gone, missing[0] if len(missing) else -1, codes)
        block = np.zeros((len(values), column.width))
        block[np.flatnonzero(codes >= 0), codes[codes >= 0]] = 1.0
        block[codes < 0] = np.nan
        blocks.append(block)
    return np.hstack(blocks)


def plain_numbers(rows: Any, columns: Sequence[Column]) -> np.ndarray | None:
    """Return rows (n, d) that hold nothing but numbers of NumPy, in order; None for others."""
    if any(column.levels is not None or column.held for column in columns):
        return None
    if isinstance(rows, np.ndarray):
        dtypes = [rows.dtype]
    elif hasattr(rows, "iloc") and list(rows.columns) == [one.name for one in columns]:
        dtypes = list(rows.dtypes)
    else:
        return None
    if not all(isinstance(one, np.dtype) and one.kind in "fiub" for one in dtypes):
        return None
    return np.ascontiguousarray(rows, dtype=np.float64)


def column_numbers(sample: Any, k: int, column: Column) -> np.ndarray:
    """Column ``k`` of the sample as numbers (n,), NaN where they are missing."""
    import pandas as pd

    values = _column(sample, k, column)
    if isinstance(getattr(values, "dtype", None), np.dtype) and values.dtype.kind in "fiub":
        return np.asarray(values, dtype=np.float64)
    values = values.to_list() if hasattr(values, "to_list") else list(values)
    return np.array([np.nan if pd.isna(v) else float(v) for v in values])


def _column(sample: Any, k: int, column: Column) -> Any:
    if isinstance(sample, np.ndarray):
        return sample[:, k]
    return sample[column.name] if column.name in sample.columns else sample.iloc[:, k]


# ---------------------------------------------------------------------------------- back to rows


# Raw values of one column from its coordinates (n, width), in the dtype of the training rows.
Writer = Callable[[np.ndarray], Any]


class RowWriter:
    """Writes points at the vertices of column space as raw rows.

    Parameters
    ----------
    sample : DataFrame or ndarray of shape (n, d)
        Raw rows, which give container, dtypes and column names.
    columns : sequence of Column
        Layout of column space, one entry per column of the rows.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from scfe_sklearn.data import Column
    >>> X = pd.DataFrame({"age": [30, 40], "job": ["a", "b"]})
    >>> writer = RowWriter(X, [Column("age", None), Column("job", np.array(["a", "b"]))])
    >>> writer(np.array([[35.0, 0.0, 1.0]]))
       age job
    0   35   b
    """

    def __init__(self, sample: Any, columns: Sequence[Column]) -> None:
        self.names = [column.name for column in columns]
        ends = np.cumsum([column.width for column in columns]).astype(int)
        self.blocks = [
            slice(end - column.width, end) for end, column in zip(ends, columns, strict=True)
        ]
        polars = sys.modules.get("polars")
        if polars is not None and isinstance(sample, polars.DataFrame):
            self.container = "polars"
            self.writers = [_polars(sample[column.name], column) for column in columns]
        elif hasattr(sample, "iloc"):
            self.container = "pandas"
            where = {name: j for j, name in enumerate(sample.columns)}
            self.names = list(sample.columns)
            places = [where.get(column.name, k) for k, column in enumerate(columns)]
            order = np.argsort(places, kind="stable")
            self.blocks = [self.blocks[k] for k in order]
            self.writers = [_pandas(sample.iloc[:, places[k]], columns[k]) for k in order]
        else:
            self.container = "array"
            self.dtype = np.asarray(sample).dtype
            array = np.asarray(sample)
            self.writers = [_array(array[:, k], column) for k, column in enumerate(columns)]

    def __call__(self, u: np.ndarray) -> Any:
        """Return the rows (n, d) of the points ``u`` (n, U).

        NaN is written as missing, and a held column as it is in the first row of the sample.
        """
        values = [
            write(u[:, block]) for write, block in zip(self.writers, self.blocks, strict=True)
        ]
        if self.container == "array":
            return _stack(values, self.dtype)
        if self.container == "polars":
            import polars

            return polars.DataFrame(dict(zip(self.names, values, strict=True)))
        import pandas as pd

        # By position first: labels may be of any kind.
        frame = pd.DataFrame(dict(enumerate(values)), copy=False)
        frame.columns = pd.Index(self.names)
        return frame


def _codes(block: np.ndarray) -> np.ndarray:
    """Positions (n,) of the levels; -1 for a missing one."""
    return np.where(np.isnan(block).any(axis=1), -1, block.argmax(axis=1))


def _whole(values: np.ndarray) -> bool:
    """Whether all values could be integers."""
    return bool((np.isfinite(values) & (values == np.rint(values))).all())


def _fits(dtype: Any, values: np.ndarray) -> bool:
    """Whether a numpy dtype holds numbers without cutting them."""
    return bool(np.dtype(dtype).kind == "f") or _whole(values)


def _fractions(dtype: Any) -> Any:
    """The nullable dtype of fractions that belongs to a nullable dtype of whole numbers."""
    import pandas as pd

    if not isinstance(dtype, pd.ArrowDtype):
        return "Float64"
    return pd.api.types.pandas_dtype("double[pyarrow]")


def _pandas(column: Any, layout: Column) -> Writer:
    import pandas as pd
    from pandas.api.types import infer_dtype, is_integer_dtype

    if layout.held:
        return lambda block: column.array.take(np.zeros(len(block), dtype=np.intp))
    dtype: Any = column.dtype
    if layout.levels is not None:
        table = pd.array(np.asarray(layout.levels, dtype=object), dtype=dtype)

        def levels(block: np.ndarray) -> Any:
            codes = _codes(block)
            if (codes < 0).any():
                return pd.Series(table).reindex(codes).array
            return table.take(codes)

        return levels
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        whole = infer_dtype(column, skipna=True) == "integer"
        return lambda block: _python_numbers(block[:, 0], whole)

    def numbers(block: np.ndarray) -> Any:
        values = np.ascontiguousarray(block[:, 0])
        if isinstance(dtype, np.dtype):
            return values.astype(dtype) if _fits(dtype, values) else values
        gone = np.isnan(values)
        if isinstance(dtype, (pd.CategoricalDtype, pd.SparseDtype)):
            fits = isinstance(dtype, pd.CategoricalDtype) or _fits(dtype.subtype, values)
            return pd.Series(values).astype(dtype if fits else pd.SparseDtype(np.float64)).array
        filled = np.where(gone, 0.0, values)
        fits = not is_integer_dtype(dtype) or _whole(filled)
        plain: Any = pd.array(filled, dtype=dtype if fits else _fractions(dtype))
        if gone.any():
            plain[gone] = plain.dtype.na_value
        return plain

    return numbers


def _polars(column: Any, layout: Column) -> Writer:
    import polars

    dtype = column.dtype
    if layout.held:
        return lambda block: column.gather(np.zeros(len(block), dtype=np.int64))
    if layout.levels is not None:
        listed = [None if value != value else value for value in layout.levels.tolist()]
        table = polars.Series(column.name, [*listed, None], dtype=dtype)
        return lambda block: table.gather(np.where((c := _codes(block)) < 0, len(listed), c))

    def numbers(block: np.ndarray) -> Any:
        values = polars.Series(column.name, np.ascontiguousarray(block[:, 0])).fill_nan(None)
        return values.cast(dtype) if dtype.is_float() or _whole(block[:, 0]) else values

    return numbers


def _array(column: np.ndarray, layout: Column) -> Writer:
    if layout.held:
        return lambda block: column[np.zeros(len(block), dtype=np.intp)]
    if layout.levels is not None:
        table = np.append(np.asarray(layout.levels, dtype=object), np.nan)
        return lambda block: table[_codes(block)]
    if column.dtype == object:
        present = [value for value in column.tolist() if value == value and value is not None]
        whole = all(isinstance(value, (int, np.integer)) for value in present)
        return lambda block: _python_numbers(block[:, 0], whole)
    return lambda block: block[:, 0]


def _stack(values: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Columns side by side, in the dtype of the training rows wherever it can hold them."""
    kind = dtype.kind
    if kind == "O" or (kind not in "fiub" and any(_gaps(column) for column in values)):
        return np.stack([column.astype(object) for column in values], axis=1)
    if kind in "fiub":
        out = np.stack([column.astype(np.float64) for column in values], axis=1)
        fits = kind == "f" or (kind in "iu" and _whole(out)) or bool(np.isin(out, (0, 1)).all())
        return out.astype(dtype) if fits else out
    return np.stack(values, axis=1).astype(dtype)


def _gaps(column: np.ndarray) -> bool:
    return bool((column != column).any())


def _python_numbers(values: np.ndarray, whole: bool) -> np.ndarray:
    """Numbers as Python objects, as integers where those of the training rows were."""
    out = np.empty(len(values), dtype=object)
    out[:] = [int(v) if whole and v == v and v == int(v) else v for v in values.tolist()]
    return out
