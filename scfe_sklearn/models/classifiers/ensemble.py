"""Classifiers made of classifiers: soft voting and one-vs-rest."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from sklearn.ensemble import VotingClassifier
from sklearn.multiclass import OneVsRestClassifier
from torch import Tensor, nn

from scfe_sklearn.models.classifiers.calibration import Mixture
from scfe_sklearn.models.compiled import Frame, Head, Link, Memo, Node, classify, compile_classifier
from scfe_sklearn.models.errors import UnsupportedModelError


class OneVsRest(Node):
    """Decisions (n, C), then log-probabilities (n, C), of one binary classifier per class."""

    def __init__(self, heads: list[Head], decides: bool, estimates: bool) -> None:
        super().__init__(len(heads) * (decides + estimates))
        self.heads = nn.ModuleList(heads)
        self.decides = decides
        self.estimates = estimates

    def compute(self, memo: Memo) -> Tensor:
        """Collect what the members answer about their own class."""
        heads = [cast(Head, head) for head in self.heads]
        columns = [head.decision(memo) for head in heads] if self.decides else []
        if self.estimates:
            columns += [head.log_proba(memo)[:, 1] for head in heads]
        return torch.stack(columns, dim=1)


@compile_classifier.register(VotingClassifier)
def _voting(estimator: Any, frame: Frame) -> Head:
    if estimator.voting != "soft":
        raise UnsupportedModelError(
            "VotingClassifier(voting='hard') has no differentiable version. Supported: "
            "voting='soft'."
        )
    heads = [classify(member, frame) for member in estimator.estimators_]
    for head, member in zip(heads, estimator.estimators_, strict=True):
        if head.link.log_proba is None:
            raise UnsupportedModelError(
                f"{type(member).__name__} inside VotingClassifier has a differentiable decision "
                "function, but no differentiable probabilities."
            )
    weights = estimator._weights_not_none  # the weights of the members that were not dropped
    weights = np.ones(len(heads)) if weights is None else np.asarray(weights, dtype=float)
    n_classes = len(estimator.classes_)
    node = Mixture(heads, weights, n_classes, frame.dtype)
    link = Link(_same, _same, None)
    return Head(
        node,
        link,
        n_classes,
        surrogate=any(head.surrogate for head in heads),
        single_precision=any(head.single_precision for head in heads),
    )


@compile_classifier.register(OneVsRestClassifier)
def _one_vs_rest(estimator: Any, frame: Frame) -> Head:
    if estimator.multilabel_:
        raise UnsupportedModelError(
            "OneVsRestClassifier was fitted for several labels a row; one label is supported."
        )
    heads = [classify(member, frame) for member in estimator.estimators_]
    if len(heads) == 1:
        return heads[0]
    decides = all(hasattr(member, "decision_function") for member in estimator.estimators_)
    estimates = all(
        head.link.log_proba is not None and head.link.response_method == "predict_proba"
        for head in heads
    )
    count = len(heads)
    node = OneVsRest(heads, decides, estimates)
    return Head(
        node,
        _rest_link(count, decides, estimates),
        count,
        surrogate=any(head.surrogate for head in heads),
        single_precision=any(head.single_precision for head in heads),
    )


def _rest_link(count: int, decides: bool, estimates: bool) -> Link:
    """Read the members' log-probabilities where all have them, else their decisions.

    The softmax of the former is what scikit-learn returns.
    """

    def decision(raw: Tensor) -> Tensor:
        return raw[:, :count]

    def positive(raw: Tensor) -> Tensor:
        return raw[:, -count:]

    def log_proba(raw: Tensor) -> Tensor:
        return torch.log_softmax(positive(raw), dim=1)

    if not estimates:
        return Link(decision, None, decision, "decision_function")
    return Link(positive, log_proba, decision if decides else None)


def _same(raw: Tensor) -> Tensor:
    return raw
