"""Classifiers made of classifiers: calibration, soft voting and one-vs-rest."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.multiclass import OneVsRestClassifier
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from scfe_sklearn.models.compiled import (
    LOG_PROBA,
    Frame,
    Head,
    Link,
    Memo,
    Node,
    UnsupportedModelError,
    as_constant,
    classify,
    compile_classifier,
    log_sigmoid_pair,
    safe_log,
    two_sided,
)

_LEAST = math.log(1e-6)
"""Log-probabilities below it count the same for a search."""

_GUIDANCE = 1e-2
"""Weight of the guide beside exact isotonic log-probabilities: enough to break their ties."""


class CalibratedMember(nn.Module):
    """One fitted classifier with its calibrators: log-probabilities of all classes.

    Isotonic calibrators are flat almost everywhere. `guide` then gives the log-probabilities of
    a sigmoid through the same crossing of one half, which has a direction to follow.
    """

    slope: Tensor
    offset: Tensor

    def __init__(self, pair: Any, frame: Frame, classes: np.ndarray) -> None:
        super().__init__()
        self.head = classify(pair.estimator, frame)
        self.n_classes = len(classes)
        self.decides = hasattr(pair.estimator, "decision_function")
        self.method = pair.method
        if pair.method == "temperature":
            self.beta = float(pair.calibrators[0].beta_)
            return
        if self.n_classes > 2 and len(pair.estimator.classes_) != self.n_classes:
            raise UnsupportedModelError(
                "CalibratedClassifierCV has a fold that saw only some of the classes; supported "
                "are folds which see all of them."
            )
        dtype = frame.dtype
        if pair.method == "isotonic":
            self.curves = nn.ModuleList(IsotonicCurve(c, dtype) for c in pair.calibrators)
            lines = np.array([_sigmoid_line(c) for c in pair.calibrators])
        else:
            lines = -np.array([[c.a_, c.b_] for c in pair.calibrators])
        self.register_buffer("slope", as_constant(lines[:, 0], dtype))
        self.register_buffer("offset", as_constant(lines[:, 1], dtype))

    def predictions(self, memo: Memo) -> Tensor:
        """Return what the calibrators read, shape (n, C), or (n, 1) for two classes."""
        if self.decides:
            decision = self.head.decision(memo)
            return decision[:, None] if decision.ndim == 1 else decision
        proba = self.head.log_proba(memo).exp()
        return proba[:, 1:] if self.n_classes == 2 else proba

    def log_proba(self, memo: Memo) -> Tensor:
        """Calibrated log-probabilities, exactly the estimator's."""
        if self.method == "isotonic":
            return self._isotonic(self.predictions(memo))
        return self._temperature(memo) if self.method == "temperature" else self.guide(memo)

    def guide(self, memo: Memo) -> Tensor:
        """Log-probabilities of sigmoid calibrators, from one line per class."""
        if self.method == "temperature":
            return self._temperature(memo)
        lines = self.predictions(memo) * self.slope + self.offset
        if self.n_classes == 2:
            return log_sigmoid_pair(lines)
        return torch.log_softmax(logsigmoid(lines), dim=1)

    def _isotonic(self, values: Tensor) -> Tensor:
        columns = zip(self.curves, values.unbind(dim=1), strict=True)
        proba = torch.stack([curve(column) for curve, column in columns], dim=1)
        if self.n_classes == 2:
            return safe_log(torch.cat([1 - proba, proba], dim=1))
        total = proba.sum(dim=1, keepdim=True)
        uniform = torch.full_like(proba, 1 / self.n_classes)
        return safe_log(torch.where(total == 0, uniform, proba / torch.where(total == 0, 1, total)))

    def _temperature(self, memo: Memo) -> Tensor:
        values = self.predictions(memo)
        if self.decides:
            logits = 2 * two_sided(values) if self.n_classes == 2 else values
        else:  # scikit-learn takes logarithms of p + 1e-12
            both = torch.cat([1 - values, values], dim=1) if self.n_classes == 2 else values
            logits = torch.log(both + 1e-12)
        return torch.log_softmax(self.beta * logits, dim=1)


class IsotonicCurve(nn.Module):
    """The fitted piecewise linear curve, constant beyond its ends."""

    y: Tensor
    x: Tensor

    def __init__(self, calibrator: IsotonicRegression, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("x", as_constant(calibrator.X_thresholds_, dtype))
        self.register_buffer("y", as_constant(calibrator.y_thresholds_, dtype))

    def forward(self, values: Tensor) -> Tensor:
        """Values of the curve."""
        x, y = self.x, self.y
        if len(x) == 1:
            return y.expand(len(values)) + 0 * values
        inside = values.clamp(min=float(x[0]), max=float(x[-1]))
        after = torch.searchsorted(x, inside.detach().contiguous()).clamp(1, len(x) - 1)
        before = after - 1
        return y[before] + (inside - x[before]) * ((y[after] - y[before]) / (x[after] - x[before]))


class Mixture(Node):
    """log of the weighted mean of probabilities, from log-probabilities."""

    log_weights: Tensor

    def __init__(
        self, members: list[Any], weights: np.ndarray, width: int, dtype: torch.dtype
    ) -> None:
        super().__init__(width)
        self.members = nn.ModuleList(members)
        self.constant("log_weights", _log(weights / weights.sum()), dtype)

    def compute(self, memo: Memo) -> Tensor:
        """Log-probabilities of the mixture."""
        return self.mix([cast(Any, member).log_proba(memo) for member in self.members])

    def mix(self, parts: list[Tensor]) -> Tensor:
        """Log sum_k w_k exp(parts_k)."""
        if len(parts) == 1:
            return parts[0]
        log_weights = self.log_weights
        return torch.logsumexp(torch.stack(parts, dim=2) + log_weights, dim=2)


class GuidedMixture(Mixture):
    """A mixture's log-probabilities, and beside them those of the members' guides."""

    def compute(self, memo: Memo) -> Tensor:
        """Shape (n, 2 C): exact, then guide."""
        guide = self.mix([cast(Any, member).guide(memo) for member in self.members])
        return torch.cat([super().compute(memo), guide], dim=1)


@compile_classifier.register(CalibratedClassifierCV)
def _calibrated(estimator: Any, frame: Frame) -> Head:
    classes = estimator.classes_
    n_classes = len(classes)
    pairs = estimator.calibrated_classifiers_
    for pair in pairs:
        if pair.method not in ("sigmoid", "isotonic", "temperature"):
            raise UnsupportedModelError(
                f"CalibratedClassifierCV(method={pair.method!r}) has no differentiable version. "
                "Supported: sigmoid, isotonic, temperature."
            )
    members = [CalibratedMember(pair, frame, classes) for pair in pairs]
    weights = np.ones(len(members))
    single = any(member.head.single_precision for member in members)
    if pairs[0].method == "isotonic":
        node: Node = GuidedMixture(members, weights, 2 * n_classes, frame.dtype)
        # one fold, two classes: the guide crosses one half where the curve does
        exact = (
            len(members) == 1
            and n_classes == 2
            and not members[0].head.surrogate
            and _crosses_half(pairs[0].calibrators[0])
        )

        def scores(raw: Tensor) -> Tensor:
            guide = raw[:, n_classes:]
            # Steps decide the prediction; on a step the guide gives the direction.
            return guide if exact else raw[:, :n_classes].clamp_min(_LEAST) + _GUIDANCE * guide

        link = Link(scores, lambda raw: raw[:, :n_classes], None)
        return Head(node, link, n_classes, surrogate=not exact, single_precision=single)
    mixture = Mixture(members, weights, n_classes, frame.dtype)
    surrogate = any(member.head.surrogate for member in members)
    return Head(mixture, LOG_PROBA, n_classes, surrogate=surrogate, single_precision=single)


def _log(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return cast(np.ndarray, np.log(values))


def _crosses_half(calibrator: IsotonicRegression) -> bool:
    return bool(np.min(calibrator.y_thresholds_) <= 0.5 < np.max(calibrator.y_thresholds_))


def _sigmoid_line(calibrator: IsotonicRegression) -> tuple[float, float]:
    """Slope and offset of a sigmoid which crosses one half where the isotonic curve does."""
    x = np.asarray(calibrator.X_thresholds_, dtype=float)
    y = np.asarray(calibrator.y_thresholds_, dtype=float)
    logits = np.log(np.clip(y, 0.01, 0.99) / (1 - np.clip(y, 0.01, 0.99)))
    spread = float(np.ptp(x))
    if spread == 0:
        return 1.0, float(logits[0]) - float(x[0])
    slope = float(np.polyfit(x, logits, 1)[0])
    slope = max(slope, 1e-3 / spread)
    above = np.flatnonzero(y > 0.5)
    if not len(above):  # never the positive class: the whole range lies below one half
        crossing = math.nextafter(float(x[-1]), math.inf) + spread
    elif above[0] == 0:
        crossing = float(x[0]) - spread
    else:
        k = int(above[0])
        crossing = float(x[k - 1] + (0.5 - y[k - 1]) * (x[k] - x[k - 1]) / (y[k] - y[k - 1]))
    return slope, -slope * crossing


# --------------------------------------------------------------------------- voting, one-vs-rest


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
