"""Multi-layer perceptrons; the first layer is folded into the steps before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from scfe_sklearn.models.compiled import (
    SOFTMAX_ONLY,
    Apply,
    Frame,
    Head,
    Link,
    UnsupportedModelError,
    as_constant,
    compile_classifier,
    log_sigmoid_pair,
    two_sided,
)

_ACTIVATIONS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


class Layers(nn.Module):
    """activation, then affine, for every layer after the first."""

    def __init__(
        self,
        activation: str,
        weights: list[np.ndarray],
        biases: list[np.ndarray],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[activation]()
        self.depth = len(weights)
        for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            self.register_buffer(f"weight{k}", as_constant(weight, dtype))
            self.register_buffer(f"bias{k}", as_constant(bias, dtype))

    def forward(self, rows: Tensor) -> Tensor:
        """Output of the last layer, before its own activation."""
        for k in range(self.depth):
            rows = torch.addmm(
                getattr(self, f"bias{k}"), self.activation(rows), getattr(self, f"weight{k}")
            )
        return rows


@compile_classifier.register(MLPClassifier)
def _mlp(estimator: Any, frame: Frame) -> Head:
    frame.require_numbers(estimator)
    if estimator.activation not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"MLPClassifier with activation={estimator.activation!r} has no differentiable "
            f"version. Supported: {', '.join(_ACTIVATIONS)}."
        )
    n_classes = len(estimator.classes_)
    binary = estimator.out_activation_ == "logistic"
    if binary and estimator.n_outputs_ > 1:
        raise UnsupportedModelError(
            "MLPClassifier was fitted for several outputs; one output is supported."
        )
    first = frame.project(estimator.coefs_[0], estimator.intercepts_[0]).compile()
    layers = Layers(
        estimator.activation, estimator.coefs_[1:], estimator.intercepts_[1:], frame.dtype
    )
    link = Link(two_sided, log_sigmoid_pair, None) if binary else SOFTMAX_ONLY
    return Head(Apply(layers, first, 1 if binary else n_classes), link, n_classes)
