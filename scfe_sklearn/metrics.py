"""Scores of counterfactuals: arrays in, one value per row out.

Nothing here calls an explainer. A row without an answer (missing values) scores NaN, never 0,
so that a mean over the rows must say what it does with it; `coverage` counts such rows.

"Solver space" has one coordinate per numeric feature in units of its standard deviation, and
one per level of a categorical feature, one-hot divided by sqrt(2), so that a changed category
adds exactly 1 to a squared distance. `groups` names the raw feature of each coordinate.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.utils import check_array

__all__ = [
    "coverage",
    "knn_distance",
    "l0",
    "l1",
    "l2",
    "linf",
    "local_outlier_factor",
    "log_density_quantile",
    "minimality",
    "redundant_changes",
    "rule_violations",
    "stability",
    "validity",
]


def validity(predicted: Any, target: Any) -> np.ndarray:
    """Whether the model gives a counterfactual its target: ``1[f(x') = t]``.

    Parameters
    ----------
    predicted : array-like of shape (n,)
        Labels that the model predicts for the counterfactuals; missing (None or NaN) where
        there is none.
    target : label, set of labels or array-like of shape (n,)
        The wanted label: of all rows, any of a set, or one per row.

    Returns
    -------
    ndarray of shape (n,)
        1.0, 0.0, or NaN where there is no prediction.

    Examples
    --------
    >>> validity(["yes", "no", None], "yes")
    array([ 1.,  0., nan])
    """
    labels = np.asarray(predicted, dtype=object)
    present = ~_missing(labels)
    choices = list(target) if isinstance(target, AbstractSet) else [target]
    hits = [labels[present] == _per_row(t, len(labels))[present] for t in choices]
    result = np.full(len(labels), np.nan)
    result[present] = np.any(hits, axis=0)
    return result


def coverage(counterfactuals: Any) -> np.ndarray:
    """Whether a row has an answer: 1 without missing values, else 0.

    The only score in which a failed row is 0; its mean is the share of answered rows.

    Parameters
    ----------
    counterfactuals : DataFrame or array-like of shape (n, d), or of shape (n,) and bool
        Counterfactuals (raw or in solver space), or a mask of the rows that were found.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> coverage(np.array([[1.0, 2.0], [np.nan, np.nan]]))
    array([1., 0.])
    >>> coverage([True, False])
    array([1., 0.])
    """
    return _found(counterfactuals).astype(float)


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
    change = _rows(change)
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
    return np.sqrt(_group_squares(np.square(_rows(change)), groups, np.add)).sum(axis=1)


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
    return np.linalg.norm(_rows(change), axis=1)


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
    return np.sqrt(_group_squares(np.square(_rows(change)), groups, np.add)).max(axis=1)


def local_outlier_factor(Z: Any, Z_reference: Any, *, n_neighbors: int = 20) -> np.ndarray:
    """Local outlier factor of each row among reference rows (novelty detection).

    The mean local reachability density of the nearest reference rows over that of the row:
    about 1 inside the data, more than 1.5 for an outlier [1]_.

    Parameters
    ----------
    Z : array-like of shape (n, D)
        Counterfactuals, in solver space.
    Z_reference : array-like of shape (m, D)
        At least two training rows, as a rule those that the model predicts as the target.
    n_neighbors : int
        Lowered to m - 1.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Notes
    -----
    Where the reference holds `n_neighbors` or more copies of one row, the density there is
    infinite (scikit-learn caps it near 1e10) and the factor of rows beside it explodes. With
    many duplicates compare medians or the share above 1.5, not means, or drop the duplicates.

    References
    ----------
    .. [1] Breunig, Kriegel, Ng, Sander, "LOF: identifying density-based local outliers",
       SIGMOD 2000.

    Examples
    --------
    >>> import numpy as np
    >>> reference = np.random.default_rng(0).normal(size=(200, 2))
    >>> factor = local_outlier_factor([[0.0, 0.0], [9.0, 9.0]], reference)
    >>> bool(factor[0] < 1.2), bool(factor[1] > 1.5)
    (True, True)
    """
    reference = check_array(Z_reference, dtype=np.float64, ensure_min_samples=2)
    k = min(n_neighbors, len(reference) - 1)
    model = LocalOutlierFactor(n_neighbors=k, novelty=True).fit(reference)
    return _on_found(lambda rows: -model.score_samples(rows), _rows(Z))


def knn_distance(Z: Any, Z_reference: Any, *, n_neighbors: int = 5) -> np.ndarray:
    """Mean Euclidean distance to the nearest reference rows.

    Parameters
    ----------
    Z : array-like of shape (n, D)
        Counterfactuals, in solver space.
    Z_reference : array-like of shape (m, D)
        Training rows, as a rule those of the target class.
    n_neighbors : int
        Lowered to m.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows with missing values.

    Examples
    --------
    >>> knn_distance([[0.0]], [[1.0], [3.0], [9.0]], n_neighbors=2)
    array([2.])
    """
    reference = check_array(Z_reference, dtype=np.float64)
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(reference))).fit(reference)
    return _on_found(lambda rows: search.kneighbors(rows)[0].mean(axis=1), _rows(Z))


def log_density_quantile(log_prob: Any, reference_log_prob: Any) -> np.ndarray:
    """Share of the reference rows that are no denser: ``mean_j 1[q(z_j) <= q(z)]``.

    Unlike a log-density it can be compared between densities and data sets: 0.05 says that
    only one reference row in twenty is as unusual.

    Parameters
    ----------
    log_prob : array-like of shape (n,)
        Log-densities of the counterfactuals.
    reference_log_prob : array-like of shape (m,)
        Log-densities of reference rows under the same density, held out of it.

    Returns
    -------
    ndarray of shape (n,)
        In [0, 1]; NaN where `log_prob` is NaN.

    Examples
    --------
    >>> log_density_quantile([-1.0, -9.0], [-4.0, -3.0, -2.0, 0.0])
    array([0.75, 0.  ])
    """
    values = np.asarray(log_prob, dtype=np.float64)
    reference = np.sort(np.asarray(reference_log_prob, dtype=np.float64))
    if not len(reference):
        raise ValueError("The 'reference_log_prob' array must hold at least one value.")
    share = np.searchsorted(reference, values, side="right") / len(reference)
    return np.where(np.isnan(values), np.nan, share)


def rule_violations(violations: Any, found: Any = None) -> np.ndarray:
    """Number of raw features that break a rule: ``sum_j violations_j``.

    Parameters
    ----------
    violations : array-like of bool of shape (n, d)
        Whether a feature of a row breaks one of its rules.
    found : array-like of bool of shape (n,), DataFrame or array of shape (n, d), or None
        Rows that have an answer, or the counterfactuals themselves; None: all rows.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows that were not found.

    Examples
    --------
    >>> rule_violations([[True, True], [False, False]], found=[True, False])
    array([ 2., nan])
    """
    counts = np.asarray(violations, dtype=bool).sum(axis=1).astype(float)
    return counts if found is None else np.where(_found(found), counts, np.nan)


def redundant_changes(
    predict: Callable[[Any], Any], before: Any, after: Any, target: Any, changed: Any = None
) -> np.ndarray:
    """Number of changes that can be undone, one at a time, and the target kept.

    ``sum_j 1[j changed and f(x' with feature j as in x) = t]``: 0 for an answer in which every
    change is needed. All pairs of a row and one of its changed features go to the model in a
    single call.

    Parameters
    ----------
    predict : callable
        Takes rows like `before` and returns their labels, as `estimator.predict`.
    before : DataFrame (pandas or polars) or ndarray of shape (n, d)
        Factuals, in raw units.
    after : same container, of shape (n, d)
        Counterfactuals; rows with missing values where `before` has none were not found.
    target : label, set of labels or array-like of shape (n,)
        As in `validity`.
    changed : array-like of bool of shape (n, d) or None
        Features that count as changed; None compares the raw values.

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows that were not found. A row that misses its target can still count: score
        valid rows only.

    Examples
    --------
    >>> import numpy as np
    >>> def predict(X):
    ...     return X[:, 0] > 0
    >>> before, after = np.array([[-1.0, 5.0]]), np.array([[1.0, 6.0]])
    >>> redundant_changes(predict, before, after, True)
    array([1.])
    """
    old, new = _columns(before), _columns(after)
    if len(old) != len(new) or len(before) != len(after):
        raise ValueError("The 'before' and 'after' rows must have the same shape.")
    lost = [_missing(b) & ~_missing(a) for a, b in zip(old, new, strict=True)]
    found = ~np.any(lost, axis=0)
    if changed is None:
        same = [_equal(a, b) for a, b in zip(old, new, strict=True)]
        changed = ~np.column_stack(same)
    rows, features = np.nonzero(np.asarray(changed, dtype=bool) & found[:, None])
    counts = np.zeros(len(found))
    if len(rows):
        labels = predict(_undo(before, after, rows, features))
        per_row = not isinstance(target, AbstractSet)
        wanted = _per_row(target, len(found))[rows] if per_row else target
        np.add.at(counts, rows, validity(labels, wanted))
    return np.where(found, counts, np.nan)


def minimality(
    predict: Callable[[Any], Any], before: Any, after: Any, target: Any, changed: Any = None
) -> np.ndarray:
    """Whether no single change can be undone and the target kept.

    ``1[redundant_changes = 0]``.

    Parameters
    ----------
    predict, before, after, target, changed
        As in `redundant_changes`.

    Returns
    -------
    ndarray of shape (n,)
        1.0, 0.0, or NaN for rows that were not found.

    Examples
    --------
    >>> import numpy as np
    >>> def predict(X):
    ...     return X.sum(axis=1) > 1
    >>> before, after = np.zeros((2, 2)), np.array([[1.0, 1.0], [2.0, 1.0]])
    >>> minimality(predict, before, after, True)
    array([1., 0.])
    """
    counts = redundant_changes(predict, before, after, target, changed)
    return np.where(np.isnan(counts), np.nan, counts == 0)


def stability(
    Z_factual: Any, Z_noisy: Any, Z_counterfactual: Any, Z_noisy_counterfactual: Any
) -> np.ndarray:
    """Distance between the answers to two nearby queries, per distance between the queries.

    ``||z' - z~'|| / ||z - z~||`` with z~ a factual under noise and z' , z~' the counterfactuals
    of both: an empirical Lipschitz constant of the explainer; small is stable.

    Parameters
    ----------
    Z_factual, Z_noisy : array-like of shape (n, D)
        Factuals and the same under noise, in solver space.
    Z_counterfactual, Z_noisy_counterfactual : array-like of shape (n, D)
        Their counterfactuals.

    Returns
    -------
    ndarray of shape (n,)
        NaN where an answer is missing, or where nothing was disturbed and nothing moved; inf
        where equal factuals have different answers.

    References
    ----------
    Alvarez-Melis and Jaakkola, "On the robustness of interpretability methods", 2018.

    Examples
    --------
    >>> stability([[0.0]], [[0.1]], [[1.0]], [[1.2]]).round(6)
    array([2.])
    """
    moved = l2(_rows(Z_noisy_counterfactual) - _rows(Z_counterfactual))
    disturbed = l2(_rows(Z_noisy) - _rows(Z_factual))
    with np.errstate(divide="ignore", invalid="ignore"):
        return moved / disturbed


def _rows(Z: Any) -> np.ndarray:
    """A numeric 2-D array, in which NaN means no answer."""
    Z = np.asarray(Z, dtype=np.float64)
    if Z.ndim != 2:
        raise ValueError(f"Expected an array of shape (n, D). Got {Z.shape} instead.")
    return Z


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


def _on_found(function: Callable[[np.ndarray], np.ndarray], Z: np.ndarray) -> np.ndarray:
    """Apply a function to the rows without missing values; NaN for the others."""
    found = ~np.isnan(Z).any(axis=1)
    result = np.full(len(Z), np.nan)
    if found.any():
        result[found] = function(Z[found])
    return result


def _per_row(target: Any, n: int) -> np.ndarray:
    """A label, or one label per row, as n objects, so that comparison is Python's own."""
    labels = np.asarray(target, dtype=object)
    if labels.shape not in ((), (n,)):
        raise ValueError(
            f"The 'target' must be a label, a set of labels or one label per row ({n}). "
            f"Got an array of shape {labels.shape} instead."
        )
    return np.broadcast_to(labels, (n,))


def _missing(values: Any) -> np.ndarray:
    """Whether each value is None, NaN, NaT or NA, for any kind of column."""
    from pandas import isna

    return np.asarray(isna(np.asarray(values)))


def _equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether values are equal, two missing values included."""
    gone_a, gone_b = _missing(a), _missing(b)
    present = ~(gone_a | gone_b)
    equal = gone_a & gone_b
    equal[present] = np.asarray(a[present] == b[present], dtype=bool)
    return equal


def _is_frame(X: Any) -> bool:
    return hasattr(X, "columns") and hasattr(X, "shape")


def _columns(X: Any) -> list[np.ndarray]:
    """Columns of a pandas or polars frame or of a 2-D array, as arrays."""
    if hasattr(X, "iloc"):
        return [np.asarray(X.iloc[:, j].astype(object)) for j in range(X.shape[1])]
    if _is_frame(X):
        return [X[name].to_numpy() for name in X.columns]
    return list(np.asarray(X).T)


def _found(counterfactuals: Any) -> np.ndarray:
    """Rows without missing values, from rows or from a mask."""
    if not _is_frame(counterfactuals):
        mask = np.asarray(counterfactuals)
        if mask.ndim == 1:
            return mask.astype(bool)
    return ~np.any([_missing(column) for column in _columns(counterfactuals)], axis=0)


def _undo(before: Any, after: Any, rows: np.ndarray, features: np.ndarray) -> Any:
    """Rows of `after` in which one feature each is as in `before`, in its container."""
    if hasattr(before, "iloc"):
        import pandas as pd

        # dtypes are those of the factuals: rows not found may have widened the others'.
        columns = []
        for j in range(before.shape[1]):
            old = before.iloc[rows, j].reset_index(drop=True)
            new = after.iloc[rows, j].reset_index(drop=True).astype(old.dtype)
            columns.append(new.where(features != j, old))
        frame = pd.concat(columns, axis=1)
        frame.columns = before.columns
        return frame
    if _is_frame(before):
        import polars as pl

        series = []
        for j, name in enumerate(before.columns):
            old = before[name].gather(rows)
            new = after[name].cast(old.dtype).gather(rows)
            series.append(old.zip_with(pl.Series(features == j), new))
        return pl.DataFrame(series)
    result = np.array(np.asarray(after)[rows])
    pairs = np.arange(len(rows))
    result[pairs, features] = np.asarray(before)[rows, features]
    return result
