"""Naive Bayes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.naive_bayes import ComplementNB, GaussianNB, MultinomialNB
from torch import Tensor, nn

from scfe_sklearn.models.compiled import (
    SOFTMAX_ONLY,
    Apply,
    Frame,
    Head,
    as_constant,
    compile_classifier,
)


class DiagonalGaussians(nn.Module):
    """log prior + sum over features of log N(x | mean_c, var_c), one column per class."""

    means: Tensor
    constant: Tensor
    precisions: Tensor

    def __init__(
        self, means: np.ndarray, variances: np.ndarray, priors: np.ndarray, dtype: torch.dtype
    ) -> None:
        super().__init__()
        constant = np.log(priors) - 0.5 * np.log(2.0 * np.pi * variances).sum(axis=1)
        self.register_buffer("means", as_constant(means, dtype))
        self.register_buffer("precisions", as_constant(1.0 / np.sqrt(variances), dtype))
        self.register_buffer("constant", as_constant(constant, dtype))

    def forward(self, rows: Tensor) -> Tensor:
        """Joint log-likelihoods."""
        # differences first: the expanded square would cancel where a variance is tiny
        z = (rows[:, None, :] - self.means) * self.precisions
        return self.constant - 0.5 * z.square().sum(dim=2)


@compile_classifier.register(GaussianNB)
def _gaussian(estimator: Any, frame: Frame) -> Head:
    frame.require_numbers(estimator)
    n_classes = len(estimator.classes_)
    joint = DiagonalGaussians(estimator.theta_, estimator.var_, estimator.class_prior_, frame.dtype)
    return Head(Apply(joint, frame.compile(), n_classes), SOFTMAX_ONLY, n_classes)


@compile_classifier.register(MultinomialNB)
def _multinomial(estimator: Any, frame: Frame) -> Head:
    frame.require_numbers(estimator)
    joint = frame.project(estimator.feature_log_prob_.T, estimator.class_log_prior_)
    return Head(joint.compile(), SOFTMAX_ONLY, len(estimator.classes_))


@compile_classifier.register(ComplementNB)
def _complement(estimator: Any, frame: Frame) -> Head:
    frame.require_numbers(estimator)
    n_classes = len(estimator.classes_)
    prior = estimator.class_log_prior_ if n_classes == 1 else 0.0
    joint = frame.project(estimator.feature_log_prob_.T, prior)
    return Head(joint.compile(), SOFTMAX_ONLY, n_classes)
