"""Kernel machines and perceptrons."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, NuSVC
from torch import Tensor, nn

from scfe_sklearn.models.compiled import (
    SOFTMAX_ONLY,
    Apply,
    Frame,
    Head,
    Link,
    UnsupportedModelError,
    as_constant,
    binary_link,
    compile_classifier,
    log_sigmoid_pair,
    two_sided,
)

_KERNELS = ("linear", "poly", "rbf", "sigmoid")


class KernelDecision(nn.Module):
    """sum over support vectors of coefficient * kernel(x, vector) + intercept, per decision."""

    vectors: Tensor
    intercept: Tensor
    weight: Tensor
    squares: Tensor

    def __init__(
        self,
        estimator: Any,
        vectors: np.ndarray,
        weight: np.ndarray,
        intercept: np.ndarray,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.kernel = estimator.kernel
        self.gamma = float(estimator._gamma)  # the number behind gamma="scale"
        self.coef0, self.degree = float(estimator.coef0), estimator.degree
        self.register_buffer("vectors", as_constant(vectors.T, dtype))
        self.register_buffer("squares", as_constant((vectors**2).sum(axis=1), dtype))
        self.register_buffer("weight", as_constant(weight, dtype))
        self.register_buffer("intercept", as_constant(intercept, dtype))

    def forward(self, rows: Tensor) -> Tensor:
        """Decisions of the rows."""
        vectors, squares = self.vectors, self.squares
        if self.kernel == "rbf":
            distance = torch.addmm(squares, rows, vectors, alpha=-2.0)
            distance = distance + rows.square().sum(dim=1, keepdim=True)
            values = torch.exp(-self.gamma * distance.clamp(min=0))
        else:
            values = self.gamma * (rows @ vectors) + self.coef0
            values = values**self.degree if self.kernel == "poly" else torch.tanh(values)
        return torch.addmm(self.intercept, values, self.weight)


def one_vs_one_to_rest(n_classes: int) -> Callable[[Tensor], Tensor]:
    """Votes of all pairs, plus their summed confidence squeezed into (-1/3, 1/3)."""
    first, second = np.array(list(combinations(range(n_classes), 2))).T
    signs = np.zeros((len(first), n_classes))
    signs[np.arange(len(first)), first] = 1.0
    signs[np.arange(len(first)), second] = -1.0

    def decide(pairs: Tensor) -> Tensor:
        sign = torch.as_tensor(signs, dtype=pairs.dtype, device=pairs.device)
        wins = (pairs >= 0).to(pairs.dtype)
        votes = wins @ sign.clamp(min=0) + (1 - wins) @ (-sign).clamp(min=0)
        confidence = pairs @ sign
        return votes + confidence / (3 * (confidence.abs() + 1))

    return decide


def first_of_ties(decision: Callable[[Tensor], Tensor], n_classes: int) -> Callable[..., Tensor]:
    """Lower the decision by one vote for all but the first of the classes with most votes.

    libsvm predicts the first of tied classes, while the decision function would break the tie
    by confidence.
    """

    def scores(pairs: Tensor) -> Tensor:
        decided = decision(pairs)
        votes = decided.detach().round()
        tied = votes == votes.amax(dim=1, keepdim=True)
        later = tied & (tied.long().cumsum(dim=1) > 1)
        return decided - later.to(decided.dtype)

    return scores


@compile_classifier.register(SVC)
@compile_classifier.register(NuSVC)
def _svc(estimator: Any, frame: Frame) -> Head:
    frame.require_numbers(estimator)
    if estimator.kernel not in _KERNELS:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} with kernel={estimator.kernel!r} has no differentiable "
            f"version. Supported: {', '.join(_KERNELS)}."
        )
    vectors = _dense(estimator.support_vectors_)
    weight = _pair_weights(_dense(estimator.dual_coef_), estimator.n_support_)
    intercept = np.ravel(estimator.intercept_)
    n_classes = len(estimator.classes_)
    link = binary_link(proba=False) if n_classes == 2 else _pairs_link(estimator, n_classes)
    if estimator.kernel == "linear":
        node = frame.project(vectors.T @ weight, intercept).compile()
        return Head(node, link, n_classes)
    if estimator.kernel == "rbf":  # distances lose fewer digits around a common center
        center = vectors.mean(axis=0)
        frame, vectors = frame.scale_shift(1.0, -center), vectors - center
    kernel = KernelDecision(estimator, vectors, weight, intercept, frame.dtype)
    return Head(Apply(kernel, frame.compile(), weight.shape[1]), link, n_classes)


def _pairs_link(estimator: Any, n_classes: int) -> Link:
    rest = one_vs_one_to_rest(n_classes)
    breaks_ties = estimator.break_ties and estimator.decision_function_shape == "ovr"
    scores = rest if breaks_ties else first_of_ties(rest, n_classes)
    decision = rest if estimator.decision_function_shape == "ovr" else _same
    return Link(scores, None, decision, "decision_function")


def _same(pairs: Tensor) -> Tensor:
    return pairs


def _dense(matrix: Any) -> np.ndarray:
    dense = matrix.toarray() if sparse.issparse(matrix) else matrix
    return np.asarray(dense, dtype=float)


def _pair_weights(dual: np.ndarray, n_support: np.ndarray) -> np.ndarray:
    """Weights (n_vectors, n_pairs) from libsvm's packed dual coefficients."""
    if len(n_support) == 2 and dual.shape[0] == 1:
        return dual.T
    stops = np.cumsum(n_support)
    spans = [slice(stop - count, stop) for stop, count in zip(stops, n_support, strict=True)]
    pairs = list(combinations(range(len(spans)), 2))
    weight = np.zeros((dual.shape[1], len(pairs)))
    for k, (i, j) in enumerate(pairs):
        weight[spans[i], k] = dual[j - 1, spans[i]]
        weight[spans[j], k] = dual[i, spans[j]]
    return weight


# ----------------------------------------------------------------------------------- perceptrons


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
