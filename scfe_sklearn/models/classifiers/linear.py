"""Linear models, discriminant analysis and naive Bayes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn import linear_model
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.naive_bayes import ComplementNB, GaussianNB, MultinomialNB
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from scfe_sklearn.models.compiled import (
    DECISION,
    ONE_VS_REST,
    SOFTMAX,
    SOFTMAX_ONLY,
    SOFTMAX_PAIR,
    Apply,
    Frame,
    Head,
    Link,
    UnsupportedModelError,
    as_constant,
    binary_link,
    compile_classifier,
    identity,
    modified_huber,
    single,
    two_sided,
)


def linear_head(estimator: Any, frame: Frame, link: Link) -> Head:
    """Head of ``x @ coef_.T + intercept_``."""
    frame.require_numbers(estimator)
    coef = estimator.coef_
    weight = np.atleast_2d(coef.toarray() if sparse.issparse(coef) else coef).T
    n_classes = len(estimator.classes_)
    if weight.shape[1] != (1 if n_classes == 2 else n_classes):
        raise UnsupportedModelError(
            f"{type(estimator).__name__} was fitted for several outputs; one output is supported."
        )
    intercept = np.ravel(estimator.intercept_)
    return Head(frame.project(weight.astype(float), intercept).compile(), link, n_classes)


@compile_classifier.register(RidgeClassifier)
@compile_classifier.register(RidgeClassifierCV)
@compile_classifier.register(LinearSVC)
@compile_classifier.register(Perceptron)
def _decision_only(estimator: Any, frame: Frame) -> Head:
    binary = len(estimator.classes_) == 2
    return linear_head(estimator, frame, binary_link(proba=False) if binary else DECISION)


if hasattr(linear_model, "PassiveAggressiveClassifier"):  # deprecated since scikit-learn 1.8
    compile_classifier.register(linear_model.PassiveAggressiveClassifier)(_decision_only)


@compile_classifier.register(LogisticRegression)
@compile_classifier.register(LogisticRegressionCV)
def _logistic(estimator: Any, frame: Frame) -> Head:
    # `multi_class` left scikit-learn in 1.8; before, it decides between softmax and one-vs-rest.
    multi_class = getattr(estimator, "multi_class", "auto")
    if len(estimator.classes_) == 2:
        # the multinomial model of two classes is the softmax of (-f, f)
        return linear_head(
            estimator, frame, binary_link(True, 2.0 if multi_class == "multinomial" else 1.0)
        )
    one_vs_rest = multi_class in ("ovr", "warn") or (
        multi_class != "multinomial" and estimator.solver == "liblinear"
    )
    return linear_head(estimator, frame, ONE_VS_REST if one_vs_rest else SOFTMAX)


@compile_classifier.register(SGDClassifier)
def _sgd(estimator: Any, frame: Frame) -> Head:
    binary = len(estimator.classes_) == 2
    if estimator.loss == "log_loss":
        link = binary_link(proba=True) if binary else ONE_VS_REST
    elif estimator.loss == "modified_huber":
        # its probabilities are flat beyond a margin of one: search and judge on the decision
        link = Link(
            two_sided if binary else identity,
            modified_huber,
            single if binary else identity,
            "decision_function",
        )
    else:
        link = binary_link(proba=False) if binary else DECISION
    return linear_head(estimator, frame, link)


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
