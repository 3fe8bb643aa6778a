"""Whether numbers of a model are probabilities of its classes."""

from __future__ import annotations

from typing import Any

import numpy as np

BEYOND = 1e-6
"""By how much a probability may be below 0 or above 1: what rounding does in single precision."""

TOTAL = 1e-3
"""By how much the probabilities of a row may miss a sum of 1."""


def are_probabilities(table: np.ndarray) -> np.ndarray:
    """Return whether rows hold probabilities: between 0 and 1, with a sum of 1.

    Parameters
    ----------
    table : ndarray of shape (n, C)
        What a model returns.

    Returns
    -------
    ndarray of shape (n,), bool
        False for rows with NaN.

    Examples
    --------
    >>> import numpy as np
    >>> are_probabilities(np.array([[0.25, 0.75], [0.6, 0.6], [-0.5, 1.5]]))
    array([ True, False, False])
    """
    inside = np.asarray(((table >= -BEYOND) & (table <= 1 + BEYOND)).all(axis=1))
    total = np.where(inside[:, None], table, 0.0).sum(axis=1)
    return np.asarray(inside & (np.abs(total - 1) <= TOTAL))


def probability_table(estimator: Any, said: Any, n: int) -> np.ndarray:
    """Return what ``predict_proba`` returns for n rows as an array.

    Raises
    ------
    ValueError
        If it has not one row for each of them and one column for each class.
    """
    table = np.asarray(said)
    classes = np.asarray(estimator.classes_)
    if table.shape != (n, len(classes)):
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must have a predict_proba with "
            f"one row for each row of X and one column for each of the classes {classes.tolist()}."
            f" Got an array of shape {table.shape} for {n} rows instead."
        )
    return table


def check_predict_proba(estimator: Any, X: Any, parameter: str = "estimator") -> None:
    """Raise if the ``predict_proba`` of a fitted classifier does not return probabilities.

    Parameters
    ----------
    estimator : classifier
        Any model; one without ``classes_`` or ``predict_proba`` passes.
    X : DataFrame or ndarray of shape (n, d)
        Rows. Those for which it returns NaN do not count.
    parameter : str, default="estimator"
        Parameter of `CounterfactualExplainer` that holds the model.
    """
    if not (hasattr(estimator, "classes_") and hasattr(estimator, "predict_proba")) or not len(X):
        return
    with np.errstate(invalid="ignore"):
        table = probability_table(estimator, estimator.predict_proba(X), len(X))
    known = table[~np.isnan(table.astype(np.float64)).any(axis=1)]
    bad = np.flatnonzero(~are_probabilities(known))
    if len(bad):
        raise ValueError(
            f"The {parameter!r} parameter of CounterfactualExplainer must have a predict_proba "
            "that returns probabilities: between 0 and 1, with a sum of 1 in every row. Got "
            f"{known[bad[0]].round(4).tolist()} for a row instead. Give a model of scores without "
            "predict_proba, or as a function of rows that returns one column of scores per class."
        )
