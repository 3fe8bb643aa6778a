"""The models of an explainer: frozen ones, or trained clones."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_memory

from scfe_sklearn.answering.preparation.checks import check_same_answers
from scfe_sklearn.models import adopt, is_fitted, resampled, retrained
from scfe_sklearn.presentation.containers import take_rows


def trained(
    estimator: Any, X: Any, y: np.ndarray, memory: Any, sample_weight: np.ndarray | None = None
) -> Any:
    """Return a trained model: the user's if it is frozen, else a clone trained here.

    Raises
    ------
    ValueError
        If it would be trained on a single class, or there are weights and it is not trained or
        takes none.
    """
    frozen = isinstance(estimator, FrozenEstimator)
    if sample_weight is not None and (frozen or not hasattr(estimator, "get_params")):
        raise ValueError(
            "The 'sample_weight' parameter of fit must be None for a model that is trained "
            f"already, such as {type(estimator).__name__}. Leave it out."
        )
    present = np.unique(y)
    if len(present) < 2 and not frozen:
        raise ValueError(
            f"y must hold at least two classes. Got only {present.tolist()}, one class."
        )
    if hasattr(estimator, "get_params") and not frozen:
        return check_memory(memory).cache(adopt)(estimator, X, y, sample_weight)
    return adopt(estimator, X, y)


def trained_others(
    ensemble: Any,
    estimator: Any,
    trained: Any,
    X: Any,
    y: np.ndarray,
    random_state: Any,
    sample_weight: np.ndarray | None = None,
) -> list[Any]:
    """Return the models that must agree with ``trained``: those given, or clones of ``estimator``.

    Fitted models are kept as they are, others are trained.

    Raises
    ------
    ValueError
        If a given one answers in other classes.
    """
    if ensemble is None:
        return []
    if not isinstance(ensemble, (int, np.integer)):
        for model in ensemble:
            known = hasattr(model, "predict") or hasattr(model, "predict_proba")
            if not (known or callable(model)):
                raise ValueError(
                    "The 'ensemble' parameter of CounterfactualExplainer must be an int, a list "
                    f"of models or None. Got {model!r} in it instead."
                )
        kept = [FrozenEstimator(model) if is_fitted(model) else model for model in ensemble]
        others = [adopt(model, X, y) for model in kept]
        for other in others:
            check_same_answers(trained, other)
        return others
    random = check_random_state(random_state)
    samples = resampled(y, int(ensemble), random, hasattr(trained, "classes_"))
    return [
        retrained(
            estimator,
            take_rows(X, rows),
            y[rows],
            None if sample_weight is None else sample_weight[rows],
        )
        for rows in samples
    ]
