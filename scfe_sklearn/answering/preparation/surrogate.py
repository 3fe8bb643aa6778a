"""Smooth surrogate of a model without a gradient: it proposes points to the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from scfe_sklearn.quiet import ignore_warnings

UNITS = 32
"""Width of the network."""

ROWS = 8000
"""Most training rows in use; twice as many mixtures of them are added."""

LARGEST = 6.0
"""Largest difference of scores of classes; larger ones are clipped."""


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
