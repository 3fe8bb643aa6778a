"""Linear and quadratic discriminant analysis."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from torch import Tensor, nn

from scfe_sklearn.models.classifiers.linear import linear_head
from scfe_sklearn.models.compiled import (
    SOFTMAX,
    SOFTMAX_PAIR,
    Apply,
    Frame,
    Head,
    as_constant,
    binary_link,
    compile_classifier,
)


class GaussianLogPosterior(nn.Module):
    """log prior - (|z_c|^2 + log det) / 2 per class, from whitened rows z_c side by side."""

    constant: Tensor
    member: Tensor

    def __init__(self, widths: list[int], constant: np.ndarray, dtype: torch.dtype) -> None:
        super().__init__()
        member = np.zeros((sum(widths), len(widths)))
        member[np.arange(sum(widths)), np.repeat(np.arange(len(widths)), widths)] = -0.5
        self.register_buffer("member", as_constant(member, dtype))
        self.register_buffer("constant", as_constant(constant, dtype))

    def forward(self, rows: Tensor) -> Tensor:
        """Log-posteriors up to a constant of the row."""
        return torch.addmm(self.constant, rows.square(), self.member)


@compile_classifier.register(LinearDiscriminantAnalysis)
def _lda(estimator: Any, frame: Frame) -> Head:
    binary = len(estimator.classes_) == 2
    return linear_head(estimator, frame, binary_link(proba=True) if binary else SOFTMAX)


@compile_classifier.register(QuadraticDiscriminantAnalysis)
def _qda(estimator: Any, frame: Frame) -> Head:
    frame.require_numbers(estimator)
    n_classes = len(estimator.classes_)
    whitening = [
        rotation * scaling**-0.5
        for rotation, scaling in zip(estimator.rotations_, estimator.scalings_, strict=True)
    ]
    # around a common center, so that large units do not cancel in x @ A - mean @ A
    center = np.mean(estimator.means_, axis=0)
    shift = [(center - mean) @ A for mean, A in zip(estimator.means_, whitening, strict=True)]
    z = frame.scale_shift(1.0, -center).project(np.hstack(whitening), np.concatenate(shift))
    log_det = np.array([np.log(scaling).sum() for scaling in estimator.scalings_])
    posterior = GaussianLogPosterior(
        [A.shape[1] for A in whitening], np.log(estimator.priors_) - 0.5 * log_det, frame.dtype
    )
    link = SOFTMAX_PAIR if n_classes == 2 else SOFTMAX
    return Head(Apply(posterior, z.compile(), n_classes), link, n_classes)
