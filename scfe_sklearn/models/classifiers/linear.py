"""Linear classifiers: one matrix, folded into the steps before it."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn import linear_model
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.svm import LinearSVC

from scfe_sklearn.models.compiled import (
    DECISION,
    ONE_VS_REST,
    SOFTMAX,
    Frame,
    Head,
    Link,
    binary_link,
    compile_classifier,
    identity,
    modified_huber,
    single,
    two_sided,
)
from scfe_sklearn.models.errors import UnsupportedModelError


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
