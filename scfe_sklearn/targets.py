"""What is asked for: from the user's target to the classes that would do, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np


def wanted_classes(target: Any, predicted: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return which classes would answer each row.

    Parameters
    ----------
    target : None, label, set of labels or array-like of shape (n,)
        None: any class but the predicted one. A label or a set of labels: for all rows. An
        array: one label per row.
    predicted : ndarray of shape (n,), int
        Position of the predicted class of each row, -1 where there is none.
    classes : ndarray of shape (C,)
        Class labels.

    Returns
    -------
    ndarray of shape (n, C), bool

    Raises
    ------
    ValueError
        If a label is not a class, or the number of labels is not that of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> wanted_classes(None, np.array([0, 1]), np.array(["no", "yes"]))
    array([[False,  True],
           [ True, False]])
    """
    n, c = len(predicted), len(classes)
    if target is None:
        return predicted[:, None] != np.arange(c)
    if isinstance(target, (set, frozenset)):
        if not target:
            raise ValueError(_message(classes, "an empty set"))
        codes = _codes(list(target), classes)
        return np.repeat(np.isin(np.arange(c), codes)[None], n, axis=0)
    # As objects: an array of 1 and "0" would turn the number into text.
    labels = np.asarray(target, dtype=object if isinstance(target, (list, tuple)) else None)
    if labels.ndim == 0:
        return np.repeat((np.arange(c) == _codes([labels.item()], classes))[None], n, axis=0)
    if labels.shape != (n,):
        raise ValueError(_message(classes, f"an array of shape {labels.shape} for {n} rows"))
    return _codes(labels.tolist(), classes)[:, None] == np.arange(c)


def _codes(labels: list[Any], classes: np.ndarray) -> np.ndarray:
    """Positions of labels among the classes."""
    position = {label: code for code, label in enumerate(classes.tolist())}
    for label in labels:
        if not _known(label, position):
            raise ValueError(_message(classes, repr(label)))
    return np.array([position[label] for label in labels], dtype=np.intp)


def _known(label: Any, position: dict[Any, int]) -> bool:
    try:
        return label in position
    except TypeError:
        return False


def _message(classes: np.ndarray, got: str) -> str:
    known = ", ".join(repr(label) for label in classes.tolist())
    return (
        f"The 'target' parameter of explain must be None, a class among {{{known}}}, a set of "
        f"classes, or an array with one class per row. Got {got} instead."
    )
