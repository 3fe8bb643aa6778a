"""Models and surrogates that are trained in fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_memory

from scfe_sklearn._utils import ignore_warnings
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.models import adopt, is_fitted, resampled, retrained
from scfe_sklearn.recourse.preparation.checks import check_same_answers

UNITS = 32
"""Width of the network."""

ROWS = 8000
"""Most training rows in use; twice as many mixtures of them are added."""

LARGEST = 6.0
"""Largest difference of scores of classes; larger ones are clipped."""


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


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A fitted network over solver space.

    Parameters
    ----------
    weights, biases : list of ndarray
        Layers, with ReLU between them.
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]

    def scores(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the function from points (k, D) to scores (k, C)."""
        layers = [
            (torch.from_numpy(weight), torch.from_numpy(bias))
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]

        def apply(z: torch.Tensor) -> torch.Tensor:
            for depth, (weight, bias) in enumerate(layers):
                z = z @ weight + bias
                if depth + 1 < len(layers):
                    z = z.relu()
            return z

        return apply


def fit_surrogate(
    scores: Callable[[torch.Tensor], torch.Tensor],
    Z: np.ndarray,
    slices: Sequence[slice],
    random: np.random.RandomState,
) -> Surrogate:
    """Fit a network to the scores of a model on training rows and mixtures of them.

    A mixture takes two features of a row from another one: so the network sees what single
    changes do, as an explanation tries them.

    Parameters
    ----------
    scores : callable
        Points (k, D) to scores (k, C) of the model.
    Z : ndarray of shape (T, D)
        Training rows.
    slices : sequence of slice
        The coordinates of each feature.
    random : RandomState
        Choice of the rows.

    Returns
    -------
    Surrogate
    """
    Z = Z[random.permutation(len(Z))[:ROWS]]
    mixed = Z[random.randint(len(Z), size=2 * len(Z))]
    others = Z[random.randint(len(Z), size=len(mixed))]
    owner = np.repeat(np.arange(len(slices)), [part.stop - part.start for part in slices])
    for _ in range(2):
        feature = random.randint(len(slices), size=len(mixed))
        mixed = np.where(owner == feature[:, None], others, mixed)
    points = np.concatenate([Z, mixed])
    targets = scores(torch.from_numpy(points)).numpy()
    if targets.shape[1] > 1:
        # Only differences of scores matter; large ones are clipped.
        targets = np.clip(targets - targets.mean(axis=1, keepdims=True), -LARGEST / 2, LARGEST / 2)
    unit = StandardScaler().fit(targets)
    network = MLPRegressor(
        hidden_layer_sizes=(UNITS,), max_iter=30, early_stopping=True, random_state=random
    )
    # It need not converge: the model judges its proposals.
    with ignore_warnings():
        scaled = unit.transform(targets)
        network.fit(points, scaled if scaled.shape[1] > 1 else scaled[:, 0])
    weights, biases = [*network.coefs_], [*network.intercepts_]
    weights[-1] = weights[-1] * unit.scale_
    biases[-1] = biases[-1] * unit.scale_ + unit.mean_
    return Surrogate(weights, biases)
