"""Raw rows as points of column space."""

from __future__ import annotations

from collections.abc import Sequence
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
