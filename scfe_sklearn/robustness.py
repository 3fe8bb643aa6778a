"""Survival of answers under a model that is trained again, or a smaller change than advised."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state

from scfe_sklearn.data import Edit, as_table, open_table
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.containers import columns_in_order, take_rows
from scfe_sklearn.models import handed, resampled, retrained


def survival_under_retraining(
    explanation: Explanation,
    estimator: Any,
    X: Any,
    y: Any,
    *,
    n_models: int = 20,
    random_state: Any = None,
) -> np.ndarray:
    r"""Share of models, trained again on bootstrap samples, that give an answer its target.

    .. math:: s_i = \frac1M \sum_{m=1}^M [f_m(x_i') = t_i]

    For each class as many rows are drawn as it has.

    Parameters
    ----------
    explanation : Explanation
        Answers of a classifier.
    estimator : estimator
        What is trained again: a clone of it, or of the one that is frozen in it.
    X : DataFrame or ndarray of shape (N, d)
        Training rows.
    y : array-like of shape (N,)
        Their labels.
    n_models : int, default=20
        Number of models M.
    random_state : int, RandomState or None, default=None
        Seed of the samples.

    Returns
    -------
    ndarray of shape (n,)
        In [0, 1]; NaN for rows without an answer, and for answers to a `Probability` which the
        model predicts to be of another class.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> result = CounterfactualExplainer(RidgeClassifier()).fit(X, y).explain(X[:3], target=1)
    >>> s = survival_under_retraining(
    ...     result, RidgeClassifier(), X, y, n_models=5, random_state=0
    ... )
    >>> s.shape, bool((s <= 1).all())
    ((3,), True)
    """
    labels = np.asarray(y)
    random = check_random_state(random_state)
    good = np.flatnonzero(_predicted(explanation))
    if len(good) == 0:
        return np.full(len(explanation), np.nan)
    answers, target = take_rows(explanation.counterfactuals, good), explanation.target[good]
    restored = columns_in_order(_restored(answers, explanation), getattr(X, "columns", ()))
    kept = np.zeros(len(good))
    for rows in resampled(labels, n_models, random, classes=True):
        model = retrained(estimator, take_rows(X, rows), labels[rows])
        kept += np.asarray(model.predict(handed(restored))) == target
    out = np.full(len(explanation), np.nan)
    out[good] = kept / n_models
    return out


def survival_under_noise(
    explanation: Explanation,
    estimator: Any,
    *,
    noise: float = 0.1,
    n_samples: int = 50,
    random_state: Any = None,
) -> np.ndarray:
    r"""Share of imperfect implementations of an answer that still get its target.

    Of every change of a number only a part is done, drawn from the uniform distribution on
    ``[1 - noise, 1]``; categories change in full.

    Parameters
    ----------
    explanation : Explanation
        Answers of a classifier.
    estimator : classifier
        The model, as it is.
    noise : float in [0, 1], default=0.1
        Largest share of a change that is left undone.
    n_samples : int, default=50
        Implementations per answer.
    random_state : int, RandomState or None, default=None
        Seed.

    Returns
    -------
    ndarray of shape (n,)
        In [0, 1]; NaN for rows without an answer, and for answers to a `Probability` which the
        model predicts to be of another class.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explainer = CounterfactualExplainer(RidgeClassifier(), shortfall=0.2).fit(X, y)
    >>> result = explainer.explain(X[:3], target=1)
    >>> survival_under_noise(result, explainer.estimator_, noise=0.2, random_state=0).tolist()
    [1.0, 1.0, 1.0]
    """
    if not 0 <= noise <= 1:
        raise ValueError(
            "The 'noise' parameter of survival_under_noise must be a float in [0, 1]. "
            f"Got {noise!r} instead."
        )
    if explanation.seen is not None:
        raise ValueError(
            "survival_under_noise does not know how to fall short of changes of blocks or in front "
            "of derived columns. Got an explanation that has them."
        )
    random = check_random_state(random_state)
    good = np.flatnonzero(_predicted(explanation))
    if len(good) == 0:
        return np.full(len(explanation), np.nan)
    rows = np.repeat(good, n_samples)
    table, after = (open_table(take_rows(part, rows)) for part in explanation.by_feature)
    share = random.uniform(1 - noise, 1, (len(rows), len(explanation.kinds)))
    edits = {}
    for j, kind in enumerate(explanation.kinds):
        moved = np.flatnonzero(explanation.changed[rows, j])
        if len(moved) == 0:
            continue
        if kind in ("numeric", "integer"):
            old, new = table.numbers(j)[moved], after.numbers(j)[moved]
            value = old + share[moved, j] * (new - old)
            values = np.rint(value) if kind == "integer" else value
        else:
            codes, levels = after.factorize(j)
            values = levels[codes[moved]]
        edits[j] = Edit(moved, values, np.empty(0, dtype=np.intp))
    predicted = np.asarray(estimator.predict(table.write(edits)))
    hit = (predicted == np.repeat(explanation.target[good], n_samples)).reshape(-1, n_samples)
    out = np.full(len(explanation), np.nan)
    out[good] = hit.mean(axis=1)
    return out


def stability_curve(
    explainer: Any,
    X: Any,
    target: Any = None,
    *,
    radii: Sequence[float] = (0.1, 0.2, 0.4, 0.8),
    n_samples: int = 3,
    random_state: Any = None,
) -> pd.DataFrame:
    r"""Distance that counterfactuals move when rows are disturbed by growing noise.

    Noise is uniform on the sphere of a radius, in training standard deviations of the numbers
    that may change. A disturbed row has the same target as the row itself.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted, of a classifier.
    X : DataFrame or array-like of shape (n, d)
        Rows.
    target : label, array-like of shape (n,) or None, default=None
        As for `CounterfactualExplainer.explain`.
    radii : sequence of float, default=(0.1, 0.2, 0.4, 0.8)
        Radii of the noise.
    n_samples : int, default=3
        Disturbed copies of each row and radius.
    random_state : int, RandomState or None, default=None
        Seed of the noise.

    Returns
    -------
    DataFrame
        One row per radius, row and copy: ``radius``, ``row``, ``input`` (distance between the two
        rows, after numbers are rounded to what the column can hold) and ``answer`` (distance
        between their counterfactuals; NaN unless both rows have one that differs from the row).

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> explainer = CounterfactualExplainer(model, density="knn").fit(X, y)
    >>> curve = stability_curve(explainer, X[:5], target=1, radii=[0.1, 1.0], random_state=0)
    >>> means = curve.groupby("radius")["answer"].mean()
    >>> bool(means[0.1] < means[1.0])
    True
    """
    random, space = check_random_state(random_state), explainer.space_
    X = as_table(X)
    first = _quietly(explainer, X, target)
    n, wanted = len(first), first.target
    Z = space.encode(explainer.inputs_.to_search(X))
    held = set(explainer.immutable or ())
    free = [
        coordinate
        for feature, coordinate in zip(
            space.number_features_, space.number_coordinates_, strict=True
        )
        if space.names_[feature] not in held and space.kinds_[feature] in ("numeric", "integer")
    ]
    # All copies are one call: many rows are answered faster together.
    radius = np.repeat(np.asarray(radii, dtype=float), n_samples)
    row = np.tile(np.arange(n), len(radius))
    noise = random.standard_normal((len(radius), n, len(free)))
    noise *= radius[:, None, None] / np.linalg.norm(noise, axis=2, keepdims=True)
    moved, origin = Z[row], take_rows(X, row)
    moved[:, free] += noise.reshape(len(row), -1)
    rows = explainer.inputs_.to_user(space.decode(moved, explainer.inputs_.to_search(origin)))
    again = _quietly(explainer, rows, wanted[row])
    return pd.DataFrame(
        {
            "radius": np.repeat(radius, n),
            "row": row,
            "input": _distance(explainer, origin, rows),
            "answer": _answer_distance(explainer, first, again, row),
        }
    )


def consistency_under_retraining(
    explainer: Any,
    X_explained: Any,
    X: Any,
    y: Any,
    target: Any = None,
    *,
    n_models: int = 5,
    random_state: Any = None,
) -> np.ndarray:
    r"""Distance that counterfactuals move when the model is trained on a bootstrap sample.

    Only the model differs: rules, densities' training rows and parameters stay. For each class as
    many rows are drawn as it has.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted, of a classifier that can be trained again.
    X_explained : DataFrame or array-like of shape (n, d)
        Rows to explain.
    X : DataFrame or array-like of shape (N, d)
        Training rows.
    y : array-like of shape (N,)
        Their labels.
    target : label, array-like of shape (n,) or None, default=None
        As for `CounterfactualExplainer.explain`.
    n_models : int, default=5
        Number of further models.
    random_state : int, RandomState or None, default=None
        Seed of the samples.

    Returns
    -------
    ndarray of shape (n,)
        Mean distance, in solver units, between the counterfactual of the explainer and those of
        explainers of the further models; NaN where there is none to compare.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explainer = CounterfactualExplainer(RidgeClassifier(), density="knn").fit(X, y)
    >>> moved = consistency_under_retraining(
    ...     explainer, X[:3], X, y, target=1, n_models=2, random_state=0
    ... )
    >>> moved.shape, bool((moved > 0).all())
    ((3,), True)
    """
    random, labels = check_random_state(random_state), np.asarray(y)
    X, X_explained = as_table(X), as_table(X_explained)
    first = _quietly(explainer, X_explained, target)
    moved = []
    for rows in resampled(labels, n_models, random, classes=True):
        model = retrained(explainer.estimator_, take_rows(X, rows), labels[rows])
        other = clone(explainer).set_params(estimator=FrozenEstimator(model)).fit(X, labels)
        again = _quietly(other, X_explained, first.target)
        moved.append(_answer_distance(explainer, first, again, np.arange(len(first))))
    known = np.isfinite(moved)
    total = np.where(known, moved, 0.0).sum(axis=0)
    counts = known.sum(axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def _quietly(explainer: Any, X: Any, target: Any) -> Explanation:
    """Explain without a warning about rows that have no counterfactual."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no counterfactual", UserWarning)
        result: Explanation = explainer.explain(X, target)
    return result


def _points(explainer: Any, X: Any) -> np.ndarray:
    """Return rows in solver space, with stand-ins for missing values."""
    space = explainer.space_
    return np.asarray(space.filled(space.encode(explainer.inputs_.to_search(X))))


def _distance(explainer: Any, first: Any, second: Any) -> np.ndarray:
    """Return the distances (n,) of rows in solver space."""
    difference = _points(explainer, first) - _points(explainer, second)
    return np.asarray(np.linalg.norm(difference, axis=1))


def _answer_distance(
    explainer: Any, first: Explanation, second: Explanation, row: np.ndarray
) -> np.ndarray:
    """Return the distances (m,) of answers from those of ``row`` (m,) of the first explanation.

    NaN where one has no answer, or needs none.
    """
    there = [part.success & part.changed.any(axis=1) for part in (first, second)]
    both = np.flatnonzero(there[0][row] & there[1])
    out = np.full(len(second), np.nan)
    if len(both):
        before = take_rows(first.counterfactuals, row[both])
        out[both] = _distance(explainer, before, take_rows(second.counterfactuals, both))
    return out


def _predicted(explanation: Explanation) -> np.ndarray:
    """Return which rows (n,) have an answer that the model predicts to be of its target."""
    unknown = [value is None or value != value for value in explanation.prediction_after.tolist()]
    return explanation.success & (np.array(unknown, bool) | _same(explanation))


def _same(explanation: Explanation) -> np.ndarray:
    """Return where prediction and target of an explanation are the same, (n,)."""
    pairs = zip(explanation.prediction_after.tolist(), explanation.target.tolist(), strict=True)
    return np.array([after == target for after, target in pairs], dtype=bool)


def _restored(answers: Any, explanation: Explanation) -> Any:
    """Give answers the dtypes of the question: missing rows may have changed them."""
    if hasattr(answers, "iloc"):
        return answers.astype(explanation.factual.dtypes.to_dict())
    return answers
