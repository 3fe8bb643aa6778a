"""A smooth stand-in of a model without a gradient: it proposes, the model itself decides."""

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
"""Training rows that are used, and twice as many that are mixed of them."""

LARGEST = 6.0
"""Scores of classes differ by no more than this: beyond, nothing is to be learned."""


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
    told = scores(torch.from_numpy(points)).numpy()
    if told.shape[1] > 1:
        # Scores matter by their differences; far ones are all the same.
        told = np.clip(told - told.mean(axis=1, keepdims=True), -LARGEST / 2, LARGEST / 2)
    unit = StandardScaler().fit(told)
    network = MLPRegressor(
        hidden_layer_sizes=(UNITS,), max_iter=30, early_stopping=True, random_state=random
    )
    # It need not converge: what it proposes is judged.
    with ignore_warnings():
        wanted = unit.transform(told)
        network.fit(points, wanted if wanted.shape[1] > 1 else wanted[:, 0])
    weights, biases = [*network.coefs_], [*network.intercepts_]
    weights[-1] = weights[-1] * unit.scale_
    biases[-1] = biases[-1] * unit.scale_ + unit.mean_
    return Surrogate(weights, biases)
