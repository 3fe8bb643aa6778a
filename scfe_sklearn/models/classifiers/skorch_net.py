"""skorch nets, through their module and the nonlinearity of their criterion.

Imported only once a skorch estimator is met; skorch is optional.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from skorch.classifier import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import Tensor, nn

from scfe_sklearn.models.classifiers.torch_module import (
    ModuleFunction,
    linear_module,
)
from scfe_sklearn.models.compiled import (
    SOFTMAX_ONLY,
    Apply,
    Frame,
    Head,
    LinearOutputs,
    Link,
    UnsupportedModelError,
    compile_classifier,
    find_linear_outputs,
    identity,
    log_sigmoid_pair,
    safe_log,
    two_sided,
)


class LogProbabilities(ModuleFunction):
    """Logarithm of the net's nonlinearity of the module's first output."""

    def __init__(self, module: nn.Module, nonlinearity: Callable[[Tensor], Tensor]) -> None:
        super().__init__(module)
        self.nonlinearity = nonlinearity

    def forward(self, rows: Tensor) -> Tensor:
        """Log-probabilities of the rows."""
        return safe_log(self.nonlinearity(super().forward(rows)))


class OneLogit(ModuleFunction):
    """The one logit of a row, as a column."""

    def forward(self, rows: Tensor) -> Tensor:
        """Logits of the rows."""
        return super().forward(rows).reshape(len(rows), 1)


@compile_classifier.register(NeuralNetClassifier)
@compile_classifier.register(NeuralNetBinaryClassifier)
def _skorch(estimator: Any, frame: Frame) -> Head:
    frame.require_numbers(estimator)
    n_classes = len(estimator.classes_)
    criterion = getattr(estimator.criterion_, "_orig_mod", estimator.criterion_)
    automatic = estimator.predict_nonlinearity == "auto"
    if automatic and isinstance(criterion, nn.CrossEntropyLoss):
        function: ModuleFunction = ModuleFunction(estimator.module_)
        link = SOFTMAX_ONLY
    elif automatic and isinstance(criterion, nn.BCEWithLogitsLoss):
        function, link = OneLogit(estimator.module_), _binary_link(estimator)
    elif getattr(estimator, "threshold", 0.5) == 0.5:
        # softmax inside the module, or a nonlinearity of the user's
        nonlinearity = estimator._get_predict_nonlinearity()
        function = LogProbabilities(estimator.module_, nonlinearity)
        link = Link(identity, identity, None)
    else:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} with a threshold other than 0.5 is supported with "
            "BCEWithLogitsLoss and predict_nonlinearity='auto' only."
        )
    width = 1 if isinstance(function, OneLogit) else n_classes
    single = function.place()[0] != torch.float64
    return Head(Apply(function, frame.compile(), width), link, n_classes, single_precision=single)


@find_linear_outputs.register(NeuralNetClassifier)
@find_linear_outputs.register(NeuralNetBinaryClassifier)
def _linear_skorch(estimator: Any) -> LinearOutputs | None:
    plain = type(estimator) in (NeuralNetClassifier, NeuralNetBinaryClassifier)
    known = plain and estimator.predict_nonlinearity == "auto"
    found = linear_module(estimator.module_) if known else None
    if found is None or getattr(estimator, "threshold", 0.5) != 0.5:
        return None
    outputs, link = found
    one, criterion = len(outputs.bias) == 1, type(estimator.criterion_)
    wanted = {
        nn.CrossEntropyLoss: None,
        nn.BCEWithLogitsLoss: None,
        nn.BCELoss: nn.Sigmoid,
        nn.NLLLoss: nn.Softmax,
    }
    binary = criterion in (nn.BCEWithLogitsLoss, nn.BCELoss)
    if criterion not in wanted or link is not wanted[criterion] or one is not binary:
        return None
    return outputs if max(len(outputs.bias), 2) == len(estimator.classes_) else None


def _binary_link(estimator: Any) -> Link:
    threshold = float(getattr(estimator, "threshold", 0.5))
    if threshold == 0.5:
        return Link(two_sided, log_sigmoid_pair, None)
    shift = math.log(threshold / (1 - threshold))
    return Link(lambda f: two_sided(f - shift), log_sigmoid_pair, None)
