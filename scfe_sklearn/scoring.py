"""Scores of the answers of an explainer, as one number or several, for grid search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neighbors import LocalOutlierFactor
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn._utils import Documented, ignore_warnings
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.status import Status
from scfe_sklearn.targets import Interval

__all__ = [
    "METRICS",
    "RecourseScorer",
    "SparsestValid",
    "default_target",
    "recourse_components",
    "recourse_score",
]

METRICS = ("validity", "few_changes", "near", "plausible", "recourse")
"""What a `RecourseScorer` can measure; each is in [0, 1], and more is better."""

LEAST_PLAUSIBLE = 0.01
"""What the plausibility of an answer counts at least in the recourse score."""

NEIGHBOURS = 20
"""Neighbours of the local outlier factor."""


class RecourseScorer(Documented, BaseEstimator):
    r"""Score a fitted explainer by its answers to the rows of a fold.

    Every metric is a mean over the rows that need an answer, in [0, 1], and 0 for a row without
    one, so that no metric can be bought by answering the easy rows only:

    * ``validity``: the row has an answer;
    * ``few_changes``: :math:`1 / n`, with the number n of changed features;
    * ``near``: :math:`1 / (1 + d)`, with the distance d in standard deviations;
    * ``plausible``: share of the training rows of the target class that are no less outlying,
      by local outlier factor [1]_, than the answer. The yardstick is the same whatever the
      density of the explainer, so that densities can be compared;
    * ``recourse``: the geometric mean of the last three, row by row. It does not saturate where
      every row has an answer, and no part makes up for another that is near 0: the nearest
      answers are mostly outliers, the most plausible ones far, and the best score lies between.

    Parameters
    ----------
    metric : str or sequence of str, default="recourse"
        One of the names above for a number, several for a dict of numbers.
    target : default=None
        The target of `CounterfactualExplainer.explain`; rows that have it already do not
        count. None is the nearest other class, and for a regressor the other side of the median
        of its predictions for the training rows.
    max_rows : int or None, default=None
        Most rows of a fold that are explained, evenly spread over it.

    References
    ----------
    .. [1] Breunig, Kriegel, Ng, Sander, "LOF: identifying density-based local outliers",
       SIGMOD 2000.

    See Also
    --------
    SparsestValid : Chooses among the candidates of a search with several metrics.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV, StratifiedKFold
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> search = GridSearchCV(
    ...     CounterfactualExplainer(FrozenEstimator(model)),
    ...     {"max_changes": [1, 2]},
    ...     scoring=RecourseScorer(["validity", "few_changes", "recourse"], max_rows=10),
    ...     refit=SparsestValid(validity=0.9),
    ...     cv=StratifiedKFold(2),
    ... ).fit(X, y)
    >>> sorted(name for name in search.cv_results_ if name.startswith("mean_test"))
    ['mean_test_few_changes', 'mean_test_recourse', 'mean_test_validity']
    """

    def __init__(
        self,
        metric: str | Sequence[str] = "recourse",
        *,
        target: Any = None,
        max_rows: int | None = None,
    ) -> None:
        self.metric = metric
        self.target = target
        self.max_rows = max_rows

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float | dict[str, float]:
        """Score an explainer, or whatever keeps one as ``explainer_``.

        Parameters
        ----------
        estimator : CounterfactualExplainer, RecoursePipeline or CounterfactualTransformer
            Fitted.
        X : DataFrame or array-like of shape (n, d)
            Rows.
        y : None
            Ignored: the model's own predictions count.

        Returns
        -------
        float or dict of float
            NaN where no row needs an answer.
        """
        names = self._names()
        check_is_fitted(estimator)
        explainer = getattr(estimator, "explainer_", estimator)
        if not hasattr(X, "shape"):
            X = np.asarray(X)
        if self.max_rows is not None and X.shape[0] > self.max_rows:
            spread = np.linspace(0, X.shape[0] - 1, self.max_rows).astype(np.intp)
            X = take_rows(X, spread)
        target = default_target(explainer, X) if self.target is None else self.target
        # Rows without an answer are what is measured here.
        result = explainer._explain(X, target)
        needed = result.status != Status.ALREADY_TARGET
        values = {"validity": result.success.astype(np.float64)}
        if set(names) - {"validity"}:
            plausible = _ordinariness(explainer, result)
            values |= recourse_components(result, plausible)
        means = {name: _mean(values[name][needed]) for name in names}
        return means[self.metric] if isinstance(self.metric, str) else means

    def _names(self) -> tuple[str, ...]:
        """Return what is measured; refuse what is not known."""
        names = (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)
        if not names or any(name not in METRICS for name in names):
            raise ValueError(
                f"The 'metric' parameter of RecourseScorer must be among {list(METRICS)}, or "
                f"hold some of them. Got {self.metric!r} instead."
            )
        whole = isinstance(self.max_rows, (int, np.integer)) and not isinstance(self.max_rows, bool)
        if self.max_rows is not None and (not whole or self.max_rows < 1):
            raise ValueError(
                "The 'max_rows' parameter of RecourseScorer must be an int in [1, inf) or None. "
                f"Got {self.max_rows!r} instead."
            )
        return names


class SparsestValid(Documented, BaseEstimator):
    """Choose the candidate with the fewest changes among those that answer enough rows.

    For ``refit`` of a search whose scoring gives ``validity``, ``few_changes`` and ``recourse``.
    Where no candidate answers enough rows, those count that answer the most. Ties are broken by
    ``recourse``, and then by the order of the candidates.

    Parameters
    ----------
    validity : float in [0, 1], default=0.95
        Mean validity that a candidate must have.

    Examples
    --------
    >>> results = {
    ...     "mean_test_validity": [0.5, 1.0, 0.97],
    ...     "mean_test_few_changes": [0.5, 0.4, 0.45],
    ...     "mean_test_recourse": [0.3, 0.5, 0.4],
    ... }
    >>> SparsestValid(0.95)(results)
    2
    """

    def __init__(self, validity: float = 0.95) -> None:
        self.validity = validity

    def __call__(self, cv_results: Mapping[str, Any]) -> int:
        """Position of the chosen candidate in ``cv_results_``."""
        if not 0 <= self.validity <= 1:
            raise ValueError(
                "The 'validity' parameter of SparsestValid must be a float in [0, 1]. "
                f"Got {self.validity!r} instead."
            )
        wanted = ("validity", "few_changes", "recourse")
        missing = [name for name in wanted if f"mean_test_{name}" not in cv_results]
        if missing:
            raise ValueError(
                "SparsestValid needs a search that scores 'validity', 'few_changes' and "
                f"'recourse', as RecourseScorer(METRICS) does. Got none of {missing}."
            )
        validity, sparse, good = (
            # A candidate that failed in a fold is the last choice.
            np.nan_to_num(np.asarray(cv_results[f"mean_test_{name}"], dtype=float), nan=-1.0)
            for name in wanted
        )
        enough = validity >= min(self.validity, float(validity.max())) - 1e-12
        return int(np.lexsort((-good, -sparse, ~enough))[0])


def recourse_components(result: Any, plausible: np.ndarray) -> dict[str, np.ndarray]:
    r"""Parts of the recourse score of every row, each in [0, 1], 0 without an answer.

    .. math:: \Big( \max(p, 0.01) \cdot \frac1n \cdot \frac1{1 + d} \Big)^{1/3}

    The floor of the plausibility p keeps an outlier better than no answer.

    Parameters
    ----------
    result : Explanation
        Answers.
    plausible : ndarray of shape (n,)
        How plausible each is, in [0, 1]; anything where there is none.

    Returns
    -------
    dict of ndarray of shape (n,)
        "few_changes", "near", "plausible" and their geometric mean, "recourse".
    """
    good = result.success

    def known(values: np.ndarray) -> np.ndarray:
        return np.where(good, values, 0.0)

    parts = {
        "few_changes": known(1 / np.where(good, result.n_changes, 1.0)),
        "near": known(1 / (1 + np.where(good, result.distance, 0.0))),
        "plausible": known(np.where(good, plausible, 0.0)),
    }
    floored = np.maximum(parts["plausible"], LEAST_PLAUSIBLE)
    return parts | {"recourse": np.cbrt(parts["few_changes"] * parts["near"] * floored)}


def recourse_score(result: Any) -> float:
    """Mean recourse score of some rows, with the plausibility that the explainer itself knows.

    Parameters
    ----------
    result : Explanation
        Answers, at least one row.

    Returns
    -------
    float
        In [0, 1].
    """
    return _mean(recourse_components(result, result.density_quantile)["recourse"])


def default_target(explainer: Any, X: Any) -> Any:
    """Default target: another class, or the other side of the median for a regressor.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted.
    X : DataFrame or ndarray of shape (n, d)
        Rows.

    Returns
    -------
    None or Interval
    """
    if hasattr(explainer, "classes_"):
        return None
    middle = float(np.median(explainer.training_values_))
    copy = take_rows(X, np.arange(len(X)))  # a model may write into the rows that it is given
    value = np.asarray(explainer.estimator_.predict(copy), dtype=np.float64).reshape(-1)
    below = value <= middle
    above = np.nextafter(middle, np.inf)
    return Interval(np.where(below, above, np.nan), np.where(below, np.nan, middle))


def _ordinariness(explainer: Any, result: Any) -> np.ndarray:
    """Share (n,) of the training rows of each answer's class that are no less outlying."""
    if not hasattr(explainer, "classes_"):
        # Intervals have no training rows that are the same for every candidate of a search.
        return np.asarray(result.density_quantile)
    # Where no class is wanted, but that one is not probable, the explainer's own quantile.
    out = np.where(result.success, result.density_quantile, np.nan)
    answered = np.flatnonzero(result.success)
    if len(answered) == 0:
        return out
    raw = take_rows(result.counterfactuals, answered)
    Z = np.nan_to_num(explainer.space_.encode(explainer.inputs_.to_search(raw)))
    target = result.target[answered]
    for label, anchors in zip(explainer.classes_, explainer.reference_rows_, strict=True):
        rows = np.flatnonzero(target == label)
        if len(rows) == 0:
            continue
        if len(anchors) < 2:
            out[answered[rows]] = result.density_quantile[answered[rows]]
            continue
        # Many duplicates only make the factor coarse; its order is all that counts.
        with ignore_warnings(UserWarning):
            count = min(NEIGHBOURS, len(anchors) - 1)
            lof = LocalOutlierFactor(n_neighbors=count, novelty=True).fit(anchors)
        known = np.sort(lof.negative_outlier_factor_)
        place = np.searchsorted(known, lof.score_samples(Z[rows]), side="right")
        out[answered[rows]] = place / len(known)
    return out


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
