"""Rows as they are handed to a model, which may write into what it is given."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def handed(X: Any) -> Any:
    """Return a copy of rows for a model, so that the caller's rows stay as they are.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n, d)
        Rows. Copies of polars are lazy, and so are those of pandas where it copies on write.

    Returns
    -------
    DataFrame or ndarray of shape (n, d)

    Examples
    --------
    >>> import numpy as np
    >>> X = np.zeros((1, 2))
    >>> handed(X)[0, 0] = 1.0
    >>> X[0, 0]
    np.float64(0.0)
    """
    if isinstance(X, np.ndarray):
        return X.copy()
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if polars is not None and isinstance(X, polars.DataFrame):
        return X.clone()
    if pandas is None or not isinstance(X, pandas.DataFrame):
        return X
    copies_on_write = int(pandas.__version__.partition(".")[0]) >= 3
    return X.copy(deep=not copies_on_write)
