"""Registers of the adapters of fitted estimators."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor, nn

from scfe_sklearn.models.compiled.frame import Frame
from scfe_sklearn.models.compiled.nodes import Link, Memo, Node, UnsupportedModelError
from scfe_sklearn.models.compiled.pipelines import unwrap

_BEHAVIOUR = (
    "transform",
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "_transform",
    "_predict_proba_lr",
    "_decision_function",
    "_joint_log_likelihood",
    "_forward_pass_fast",
)

_OPTIONAL: dict[str, str] = {}
"""Optional packages, and the modules that hold the adapters of their estimators."""


class Head(nn.Module):
    """A compiled classifier: a node of raw outputs and the link that reads them.

    Parameters
    ----------
    node : Node
        Raw outputs.
    link : Link
        How to read them.
    n_classes : int
        Number of classes.
    surrogate : bool
        True where the scores only guide a search: their largest column can differ from the
        predicted class (isotonic calibration).
    single_precision : bool
        True where some part computes in float32 whatever the dtype of the rows.
    """

    def __init__(
        self,
        node: Node,
        link: Link,
        n_classes: int,
        *,
        surrogate: bool = False,
        single_precision: bool = False,
    ) -> None:
        super().__init__()
        self.node = node
        self.link = link
        self.n_classes = n_classes
        self.surrogate = surrogate
        self.single_precision = single_precision

    def scores(self, memo: Memo) -> Tensor:
        """Scores of shape (n, C)."""
        return self.link.scores(self.node.value(memo))

    def log_proba(self, memo: Memo) -> Tensor:
        """Logarithms of the probabilities, shape (n, C)."""
        if self.link.log_proba is None:
            raise UnsupportedModelError(
                "The probabilities of this classifier have no torch version; "
                "its decision function has."
            )
        return self.link.log_proba(self.node.value(memo))

    def decision(self, memo: Memo) -> Tensor:
        """Decision function, shape (n,) for two classes."""
        if self.link.decision is None:
            raise UnsupportedModelError("This classifier has no decision function.")
        return self.link.decision(self.node.value(memo))


def transform(estimator: Any, frame: Frame) -> Frame:
    """Columns of a fitted transformer, from those of its input."""
    estimator = unwrap(estimator)
    if estimator is None or (isinstance(estimator, str) and estimator == "passthrough"):
        return frame
    _refuse_overrides(estimator, compile_transformer)
    _check_width(estimator, frame)
    return compile_transformer(estimator, frame)


def classify(estimator: Any, frame: Frame) -> Head:
    """Compiled head of a fitted classifier."""
    estimator = unwrap(estimator)
    _import_optional(estimator)
    _refuse_overrides(estimator, compile_classifier)
    _check_width(estimator, frame)
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, list) or (classes is not None and np.ndim(classes) != 1):
        raise UnsupportedModelError(
            f"{type(estimator).__name__} was fitted for several outputs; one output is supported."
        )
    return compile_classifier(estimator, frame)


@singledispatch
def compile_transformer(estimator: Any, frame: Frame) -> Frame:
    """Columns of one kind of fitted transformer (register new kinds here)."""
    raise _unsupported(estimator, "transformer", compile_transformer)


@singledispatch
def compile_classifier(estimator: Any, frame: Frame) -> Head:
    """Head of one kind of fitted classifier (register new kinds here)."""
    raise _unsupported(estimator, "classifier", compile_classifier)


@dataclass(frozen=True, eq=False)
class LinearOutputs:
    """Scores ``x @ weight + bias`` of a linear classifier.

    Parameters
    ----------
    weight : ndarray of shape (F, R)
        One column per class; a single one, what the second class leads by, may do for two.
    bias : ndarray of shape (R,)
        Constants.
    slope : float or None
        Probabilities are the sigmoid, or the softmax, of the scores times this; None where they
        are something else.
    rounding : float
        Bound of the error of the classifier's own sums, relative to the sum of their terms.
    """

    weight: np.ndarray
    bias: np.ndarray
    slope: float | None = None
    rounding: float = 0.0


def linear_outputs(estimator: Any) -> LinearOutputs | None:
    """Return the weights of a classifier that is no estimator of scikit-learn; None if unknown."""
    _import_optional(estimator)
    return find_linear_outputs(estimator)


@singledispatch
def find_linear_outputs(estimator: Any) -> LinearOutputs | None:
    """Weights of one kind of classifier (register new kinds here)."""
    return None


def adapt_later(package: str, module: str) -> None:
    """Have a module of adapters imported once an estimator of an optional package is met."""
    _OPTIONAL[package] = module


def supported(dispatcher: Any) -> list[str]:
    """Names of what an adapter exists for."""
    return sorted(cls.__name__ for cls in dispatcher.registry if cls is not object)


def _unsupported(estimator: Any, kind: str, dispatcher: Any) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{type(estimator).__name__} has no differentiable version as a {kind}. "
        f"Supported: {', '.join(supported(dispatcher))}."
    )


def _refuse_overrides(estimator: Any, dispatcher: Any) -> None:
    """Refuse a subclass that changes the behaviour its adapter stands for."""
    for cls in type(estimator).__mro__:
        if cls in dispatcher.registry:
            return
        if cls.__module__.split(".")[0] in ("sklearn", "skorch"):
            continue
        changed = [name for name in _BEHAVIOUR if name in vars(cls)]
        if changed and dispatcher.dispatch(type(estimator)) is not dispatcher.registry[object]:
            raise UnsupportedModelError(
                f"{type(estimator).__name__} overrides {', '.join(changed)}, so the adapter of "
                f"its base class does not describe it. Supported: "
                f"{', '.join(supported(dispatcher))}."
            )


def _check_width(estimator: Any, frame: Frame) -> None:
    expected = getattr(estimator, "n_features_in_", None)
    if expected is not None and expected != frame.width:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} was fitted on {expected} columns, "
            f"but the steps before it give {frame.width}."
        )


def _import_optional(estimator: Any) -> None:
    """Register the adapters of optional packages once such a package is in use."""
    packages = {cls.__module__.partition(".")[0] for cls in type(estimator).__mro__}
    for package in sorted(packages & _OPTIONAL.keys()):
        import_module(_OPTIONAL[package])
