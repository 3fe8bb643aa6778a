"""Size of changes: norms in solver space."""

from __future__ import annotations

from typing import Any

import numpy as np

from scfe_sklearn.metrics.tables import as_rows


def l0(change: Any, groups: Any = None, *, tol: float = 1e-6) -> np.ndarray:
    """Number of changed raw features: ``sum_g 1[max_{i in g} |change_i| > tol]``.

    Parameters
    ----------
    change : array-like of shape (n, D)
        Counterfactual minus factual, in solver space.
    groups : array-like of int of shape (D,) or None
        Raw feature of each coordinate; None: each coordinate is a feature.
    tol : float
        Largest movement that does not count, in standard deviations.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> import numpy as np
    >>> l0(np.array([[0.5, 0.7, -0.7], [0.0, 0.0, 0.0]]), groups=[0, 1, 1])
    array([2., 0.])
    """
    change = as_rows(change)
    moved = (_group_squares(np.square(change), groups, np.maximum) > tol**2).sum(axis=1)
    return np.where(np.isnan(change).any(axis=1), np.nan, moved)


def l1(change: Any, groups: Any = None) -> np.ndarray:
    """Sum over raw features of the size of their change: ``sum_g ||change_g||_2``.

    The ordinary 1-norm for numeric features; a changed category adds 1.

    Parameters
    ----------
    change : array-like of shape (n, D)
        Counterfactual minus factual, in solver space.
    groups : array-like of int of shape (D,) or None
        Raw feature of each coordinate; None: each coordinate is a feature.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> import numpy as np
    >>> l1(np.array([[0.5, 0.6, -0.8]]), groups=[0, 1, 1])
    array([1.5])
    """
    return np.sqrt(_group_squares(np.square(as_rows(change)), groups, np.add)).sum(axis=1)


def l2(change: Any) -> np.ndarray:
    """Euclidean size of the change: ``||change||_2``.

    With the solver's scaling this is the square root of (sum of squared changes in standard
    deviations, plus the number of changed categories).

    Parameters
    ----------
    change : array-like of shape (n, D)
        Counterfactual minus factual, in solver space.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> import numpy as np
    >>> l2(np.array([[3.0, -4.0], [np.nan, 0.0]]))
    array([ 5., nan])
    """
    return np.linalg.norm(as_rows(change), axis=1)


def linf(change: Any, groups: Any = None) -> np.ndarray:
    """Largest change of one raw feature: ``max_g ||change_g||_2``.

    Parameters
    ----------
    change : array-like of shape (n, D)
        Counterfactual minus factual, in solver space.
    groups : array-like of int of shape (D,) or None
        Raw feature of each coordinate; None: each coordinate is a feature.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> import numpy as np
    >>> linf(np.array([[0.5, 0.6, -0.8]]), groups=[0, 1, 1])
    array([1.])
    """
    return np.sqrt(_group_squares(np.square(as_rows(change)), groups, np.add)).max(axis=1)


def _group_squares(squares: np.ndarray, groups: Any, combine: np.ufunc) -> np.ndarray:
    """Combine the squared changes of the coordinates of each raw feature."""
    if groups is None:
        return squares
    groups = np.asarray(groups)
    if groups.shape != squares.shape[1:]:
        raise ValueError(
            f"The 'groups' array must name the feature of each of the {squares.shape[1]} "
            f"coordinates. Got shape {groups.shape} instead."
        )
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order][:1] - 1))
    return combine.reduceat(squares[:, order], starts, axis=1)
