"""Rows and labels in the containers of a resampler's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.preprocessing import label_binarize
from sklearn.utils.multiclass import check_classification_targets

from scfe_sklearn.explanation.containers import is_polars


def dense(X: Any) -> Any:
    """Return a pandas frame with its sparse columns as dense ones, and anything else as it is."""
    if not hasattr(X, "iloc") or not hasattr(X, "dtypes"):
        return X
    sparse = {name: kind.subtype for name, kind in X.dtypes.items() if _is_sparse(kind)}
    return X.astype(sparse) if sparse else X


def _is_sparse(dtype: Any) -> bool:
    import pandas as pd

    return isinstance(dtype, pd.SparseDtype)


def stacked(first: Any, second: Any) -> Any:
    """Return the rows of two containers of the same kind, one after the other."""
    if is_polars(first):
        import polars as pl

        return pl.concat([first, second], how="vertical_relaxed")
    if hasattr(first, "iloc"):
        import pandas as pd

        return pd.concat([first, second], ignore_index=True)
    if hasattr(first, "new_tensor"):
        import torch

        return torch.cat([first, second.to(first)])
    return np.concatenate([first, second])


def returned_as(rows: Any, given: Any) -> Any:
    """Return rows in the container and, if they fit, the types of the input."""
    if isinstance(given, list):
        return rows.tolist()
    if hasattr(given, "iloc"):
        rows = rows.reset_index(drop=True)
        changed = {
            name: dtype
            for name, dtype in given.dtypes.items()
            if _is_sparse(dtype) and rows[name].dtype != dtype
        }
        return rows.astype(changed) if changed else rows
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        return rows.astype(given.dtype, copy=False)
    return rows


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of training rows, and the container of the input.

    Parameters
    ----------
    values : ndarray of shape (n,)
        One label per row.
    given : array-like of shape (n,) or (n, 1), or indicators of shape (n, C)
        What the user passed.
    """

    values: np.ndarray
    given: Any

    @classmethod
    def read(cls, y: Any) -> Labels:
        """Read labels; raise unless they are classes of one output."""
        check_classification_targets(y)
        values = np.asarray(y)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        elif values.ndim == 2:
            if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
                raise ValueError("Multilabel and multioutput targets are not supported.")
            values = values.argmax(axis=1)
        if len(np.unique(values)) < 2:
            raise ValueError(
                "y must have at least two classes for CounterfactualResampler. "
                f"Got {len(np.unique(values))} class instead."
            )
        return cls(values, y)

    def returned(self, values: np.ndarray) -> Any:
        """Return labels in the container of the input."""
        given = self.given
        if isinstance(given, list):
            return values.tolist()
        if is_polars(given) or type(given).__module__.startswith("polars"):
            return type(given)(values)
        if hasattr(given, "iloc"):
            import pandas as pd

            if given.ndim == 1:
                return pd.Series(values, name=given.name, dtype=given.dtype)
            return pd.DataFrame(values, columns=given.columns).astype(given.dtypes.to_dict())
        if hasattr(given, "new_tensor"):
            return given.new_tensor(values.tolist())
        shape = np.asarray(given).shape
        if len(shape) == 2 and shape[1] > 1:
            return label_binarize(values, classes=np.arange(shape[1]))
        return values
