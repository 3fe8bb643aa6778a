"""From a model's own output to scores, log-probabilities and decisions: pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Link:
    """Link between the raw output of a family of classifiers and its probabilities.

    Parameters
    ----------
    scores : callable
        Raw output -> (n, C), whose largest column is the predicted class.
    log_proba : callable or None
        Raw output -> (n, C) logarithms of ``predict_proba``.
    decision : callable or None
        Raw output -> what ``decision_function`` returns.
    response_method : str
        The method that judges the model: ``"predict_proba"`` or ``"decision_function"``.
    """

    scores: Function
    log_proba: Function | None
    decision: Function | None
    response_method: str = "predict_proba"


def two_sided(f: Tensor) -> Tensor:
    """Scores (-f/2, f/2) of a binary decision f of shape (n, 1): softmax gives sigmoid(f)."""
    half = 0.5 * f
    return torch.cat([-half, half], dim=1)


def log_sigmoid_pair(f: Tensor) -> Tensor:
    """log(1 - p), log(p) with p = sigmoid(f), from f of shape (n, 1)."""
    return logsigmoid(torch.cat([-f, f], dim=1))


def single(f: Tensor) -> Tensor:
    """Return the one column as a vector."""
    return f[:, 0]


def identity(raw: Tensor) -> Tensor:
    """Return the raw output itself."""
    return raw


def log_softmax(raw: Tensor) -> Tensor:
    """Logarithm of the softmax over classes."""
    return torch.log_softmax(raw, dim=1)


def difference(raw: Tensor) -> Tensor:
    """Score of class 1 minus score of class 0."""
    return raw[:, 1] - raw[:, 0]


def safe_log(p: Tensor) -> Tensor:
    """Logarithm with a floor at the smallest normal number, where log(0) has no gradient."""
    return torch.log(p.clamp(min=torch.finfo(p.dtype).tiny))


def modified_huber(f: Tensor) -> Tensor:
    """Log-probabilities of SGD's modified Huber loss: (clip(f, -1, 1) + 1) / 2, normalised."""
    p = (f.clamp(-1, 1) + 1) / 2
    if f.shape[1] == 1:
        return safe_log(torch.cat([1 - p, p], dim=1))
    total = p.sum(dim=1, keepdim=True)
    uniform = torch.full_like(p, 1 / p.shape[1])
    return safe_log(torch.where(total == 0, uniform, p / torch.where(total == 0, 1.0, total)))


def binary_link(proba: bool, slope: float = 1.0) -> Link:
    """One column f; p = sigmoid(slope * f) where the model has probabilities."""
    if not proba:
        return Link(two_sided, None, single, "decision_function")
    if slope == 1.0:
        return Link(two_sided, log_sigmoid_pair, single)
    return Link(lambda f: two_sided(slope * f), lambda f: log_sigmoid_pair(slope * f), single)


SOFTMAX = Link(identity, log_softmax, identity)
SOFTMAX_PAIR = Link(identity, log_softmax, difference)
SOFTMAX_ONLY = Link(identity, log_softmax, None)
ONE_VS_REST = Link(logsigmoid, lambda raw: log_softmax(logsigmoid(raw)), identity)
DECISION = Link(identity, None, identity, "decision_function")
LOG_PROBA = Link(identity, identity, None)
