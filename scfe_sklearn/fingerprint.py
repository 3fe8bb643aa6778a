"""Fingerprints of explainers and rows: the same in every process, other for other content."""

from __future__ import annotations

import hashlib
import types
from typing import Any

import numpy as np
import torch
from joblib.hashing import NumpyHasher

from scfe_sklearn.explanation.containers import is_polars

__all__ = ["fingerprint", "fingerprint_of_rows"]


class _Hasher(NumpyHasher):
    """Hash content that pickle refuses or writes differently each time: tensors, functions."""

    def __init__(self) -> None:
        super().__init__(hash_name="sha256")

    def save(self, obj: Any) -> None:
        """Add an object to the hash."""
        if isinstance(obj, torch.Tensor):
            obj = ("tensor", str(obj.dtype), obj.requires_grad, obj.detach().cpu().numpy())
        elif isinstance(obj, types.FunctionType):
            obj = ("function", *_content(obj))
        elif isinstance(obj, types.CodeType):
            obj = ("code", obj.co_code, obj.co_consts, obj.co_names)
        elif isinstance(obj, frozenset):
            obj = ("frozenset", set(obj))  # sets are hashed in an order of their own
        super().save(obj)


def _content(function: types.FunctionType) -> tuple[Any, ...]:
    """Code of a function, its defaults and the values that it encloses."""
    enclosed = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return function.__module__, function.__code__, function.__defaults__, enclosed


def fingerprint(value: Any) -> str:
    """Return a digest of any object, such as a fitted model.

    Parameters
    ----------
    value : object
        Anything that can be pickled; functions and tensors count by their content.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError
        If something in it cannot be pickled.

    Examples
    --------
    >>> import numpy as np
    >>> fingerprint({"a": np.arange(3)}) == fingerprint({"a": np.array([0, 1, 2])})
    True
    >>> fingerprint(1.0) == fingerprint(2.0)
    False
    """
    try:
        return str(_Hasher().hash(value))
    except Exception as error:  # what pickle raises differs from type to type
        raise TypeError(f"An object cannot be fingerprinted: {error}") from error


def fingerprint_of_rows(X: Any) -> str:
    """Return a digest of the cells, types, names and labels of rows.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n, d)
        The rows.

    Returns
    -------
    str
    """
    import pandas as pd

    if isinstance(X, pd.DataFrame):
        about = (list(X.columns), [str(kind) for kind in X.dtypes], X.index.names)
        try:
            cells = pd.util.hash_pandas_object(X, index=True).to_numpy()
        except UnicodeEncodeError:  # a text with half of a surrogate pair
            columns = [X.iloc[:, j].tolist() for j in range(X.shape[1])]
            return fingerprint((about, X.index.tolist(), columns))
        return fingerprint((about, hashlib.sha256(cells.tobytes()).hexdigest()))
    if is_polars(X):
        names = (X.columns, [str(kind) for kind in X.dtypes])
        return fingerprint((names, [column.to_list() for column in X.get_columns()]))
    return fingerprint(np.ascontiguousarray(X))
