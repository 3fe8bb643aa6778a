"""Survival of answers under a model that is trained again, or a smaller change than advised."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.features.frames import Edit, open_table
from scfe_sklearn.models import handed, resampled, retrained
from scfe_sklearn.presentation.containers import columns_in_order, take_rows


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


def _predicted(explanation: Explanation) -> np.ndarray:
    """Return which rows (n,) have an answer that the model predicts to be of its target."""
    told = [value is None or value != value for value in explanation.prediction_after.tolist()]
    return explanation.success & (np.array(told, bool) | _same(explanation))


def _same(explanation: Explanation) -> np.ndarray:
    """Return where prediction and target of an explanation are the same, (n,)."""
    pairs = zip(explanation.prediction_after.tolist(), explanation.target.tolist(), strict=True)
    return np.array([after == target for after, target in pairs], dtype=bool)


def _restored(answers: Any, explanation: Explanation) -> Any:
    """Give answers the dtypes of the question: missing rows may have changed them."""
    if hasattr(answers, "iloc"):
        return answers.astype(explanation.factual.dtypes.to_dict())
    return answers
