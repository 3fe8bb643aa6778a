"""Trained torch modules as scikit-learn classifiers, and their adapter."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from scfe_sklearn._utils import Documented
from scfe_sklearn.models.compiled import (
    SOFTMAX,
    SOFTMAX_PAIR,
    Apply,
    Frame,
    Head,
    LinearOutputs,
    Link,
    compile_classifier,
    difference,
    find_linear_outputs,
    identity,
    safe_log,
    two_sided,
)

CHUNK = 1024
"""Rows that a module evaluates at once."""

ROUNDING = 128
"""Units of its precision by which the sums of a linear module may be off."""

_LINKS = (nn.Sigmoid, nn.Softmax, nn.LogSoftmax)


class TorchClassifier(Documented, ClassifierMixin, BaseEstimator):
    """A *trained* torch module as a fitted scikit-learn classifier.

    The module is evaluated in eval mode, without gradients for its parameters, and its mode is
    restored. It is never trained here: `fit` only records the labels, so that the classifier
    can be the last step of a Pipeline.

    Parameters
    ----------
    module : torch.nn.Module
        Maps rows (n, d) to logits (n, C), or to one logit (n, 1) or (n,) for two classes. Rows
        come in the type and on the device of its parameters.
    classes : sequence or None, default=None
        Labels in the order of the outputs. None: the labels seen by `fit`, else 0, ..., C - 1
        with C read off the last linear layer.
    output : {"logits", "probability"}, default="logits"
        What the module returns.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        The labels.

    Examples
    --------
    >>> import numpy as np, torch
    >>> net = torch.nn.Linear(2, 3)
    >>> model = TorchClassifier(net, classes=["a", "b", "c"])
    >>> model.predict_proba(np.zeros((4, 2))).shape
    (4, 3)
    """

    def __init__(self, module: nn.Module, classes: Any = None, output: str = "logits") -> None:
        self.module = module
        self.classes = classes
        self.output = output

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: the module comes trained."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Return the tags: nothing is learned, and the number of classes is known."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.classifier_tags.poor_score = True
        outputs = self._outputs()
        tags.classifier_tags.multi_class = outputs is None or outputs > 2
        return tags

    def _outputs(self) -> int | None:
        """Number of outputs of the last linear layer; None without such a layer."""
        widths = [m.out_features for m in self.module.modules() if hasattr(m, "out_features")]
        return max(int(cast(int, widths[-1])), 2) if widths else None

    @property
    def classes_(self) -> np.ndarray:
        """Labels in the order of the outputs."""
        if self.classes is not None:
            return np.asarray(self.classes)
        if "_seen_classes" in vars(self):
            return self._seen_classes
        outputs = self._outputs()
        if outputs is None:
            raise AttributeError(
                "The 'classes' parameter of TorchClassifier must be given: the module has no "
                "linear layer to count them by."
            )
        return np.arange(outputs)

    def fit(self, X: Any, y: Any) -> TorchClassifier:
        """Record the labels; the module stays as it is.

        Parameters
        ----------
        X : DataFrame or array of shape (n, d)
            Rows.
        y : array-like of shape (n,)
            Labels.

        Returns
        -------
        TorchClassifier
            This classifier.

        Raises
        ------
        ValueError
            A label is not among `classes`, or the module has another number of outputs.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        labels = unique_labels(y)
        if not self.__sklearn_tags__().classifier_tags.multi_class and len(labels) > 2:
            raise ValueError(
                "Only binary classification is supported by a module with two outputs. "
                f"Got y of type 'multiclass' with the labels {labels.tolist()}."
            )
        if self.classes is None:
            self._seen_classes = labels
        elif not np.isin(labels, self.classes_).all():
            raise ValueError(
                f"The 'classes' parameter of TorchClassifier must contain every label of y. "
                f"Got {list(self.classes_)!r} for the labels {list(labels)!r} instead."
            )
        self._raw(X[:1])
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds of the second of two classes (n,), or a logit per class (n, C).

        Parameters
        ----------
        X : DataFrame or array of shape (n, d)
            Rows of numbers.

        Returns
        -------
        ndarray of shape (n,) or (n, C)
            Decisions.
        """
        raw = self._raw(self._checked(X))
        return raw[:, 1] - raw[:, 0] if raw.shape[1] == 2 else raw

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of every class.

        Parameters
        ----------
        X : DataFrame or array of shape (n, d)
            Rows of numbers.

        Returns
        -------
        ndarray of shape (n, C)
            Probabilities.
        """
        raw = torch.from_numpy(self._raw(self._checked(X)))
        return (raw.exp() if self.output == "probability" else raw.softmax(dim=1)).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Most probable label.

        Parameters
        ----------
        X : DataFrame or array of shape (n, d)
            Rows of numbers.

        Returns
        -------
        ndarray of shape (n,)
            Labels.
        """
        return cast(np.ndarray, self.classes_[self._raw(self._checked(X)).argmax(axis=1)])

    def _checked(self, X: Any) -> np.ndarray:
        """Read rows; what `fit` saw of the columns must be seen again."""
        if hasattr(self, "n_features_in_"):
            return cast(np.ndarray, validate_data(self, X, dtype=np.float64, reset=False))
        return cast(np.ndarray, check_array(X, dtype=np.float64))

    def _raw(self, X: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(np.array(X))
        function = _module_function(self)
        with torch.no_grad():
            # In parts: the hidden layers of a network can be far wider than its rows.
            return torch.cat([function(x) for x in rows.split(CHUNK)]).numpy()


class ModuleFunction(nn.Module):
    """A user's module as a constant function: rows in any type -> its outputs in that type.

    The module is kept out of the registry of submodules, so nothing done to the compiled model
    (``.to``, ``.train``) reaches it.
    """

    def __init__(self, module: nn.Module, constant: bool = False) -> None:
        super().__init__()
        self._outside = (module,)
        self._constant = constant
        self._place = self._find_place() if constant else None

    @property
    def module(self) -> nn.Module:
        """The user's module."""
        return self._outside[0]

    def place(self) -> tuple[torch.dtype, torch.device | None]:
        """Floating type and device that the module computes in."""
        return self._place or self._find_place()

    def _find_place(self) -> tuple[torch.dtype, torch.device | None]:
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype, tensor.device
        return torch.get_default_dtype(), None

    def forward(self, rows: Tensor) -> Tensor:
        """Evaluate the module."""
        dtype, device = self.place()
        with nullcontext() if self._constant else as_constant_function(self.module):
            out = self.module(rows.to(dtype=dtype, device=device or rows.device))
        out = out[0] if isinstance(out, tuple) else out
        return cast(Tensor, out.to(dtype=rows.dtype, device=rows.device))


class Logits(ModuleFunction):
    """Logits (n, C), or log-probabilities, from whatever the module returns."""

    def __init__(
        self, module: nn.Module, n_classes: int, output: str, constant: bool = False
    ) -> None:
        super().__init__(module, constant)
        self.n_classes = n_classes
        self.output = output

    def forward(self, rows: Tensor) -> Tensor:
        """Logits of the rows."""
        out = super().forward(rows)
        out = out.reshape(len(rows), -1)
        if max(out.shape[1], 2) != self.n_classes:
            raise ValueError(
                f"The module of TorchClassifier returns {out.shape[1]} outputs for "
                f"{self.n_classes} classes."
            )
        if self.output == "probability":
            return safe_log(torch.cat([1 - out, out], dim=1) if out.shape[1] == 1 else out)
        return two_sided(out) if out.shape[1] == 1 else out


@contextmanager
def as_constant_function(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients for the parameters inside; everything restored after."""
    modes = [(part, part.training) for part in module.modules()]
    tracked = [p for p in module.parameters() if p.requires_grad]
    try:
        module.eval()
        for parameter in tracked:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in tracked:
            parameter.requires_grad_(True)
        for part, training in modes:
            part.training = training


def constant_copy(module: nn.Module) -> nn.Module:
    """Copy a module in eval mode and without gradients: nothing has to be restored after use."""
    return copy.deepcopy(module).eval().requires_grad_(False)


def linear_module(module: nn.Module) -> tuple[LinearOutputs, type[nn.Module] | None] | None:
    """Return one column of scores per output of a linear module, and the class of its last link.

    A link is a sigmoid or softmax behind the linear layers. None where the module is not linear.
    """
    layers = _layers(module)
    link = type(layers.pop()) if layers and type(layers[-1]) in _LINKS else None
    if not layers or not all(type(layer) is nn.Linear for layer in layers):
        return None
    weight, bias = np.eye(layers[0].in_features), np.zeros(layers[0].in_features)
    for layer in layers:
        matrix = layer.weight.detach().double().cpu().numpy().T
        weight, bias = weight @ matrix, bias @ matrix
        if layer.bias is not None:
            bias = bias + layer.bias.detach().double().cpu().numpy()
    rounding = ROUNDING * torch.finfo(layers[0].weight.dtype).eps
    return LinearOutputs(weight, bias, 1.0, rounding), link


def _layers(module: nn.Module) -> list[Any]:
    """Return the layers of nested Sequentials, without those that return their rows."""
    if module._forward_hooks or module._forward_pre_hooks:
        return [module, None]  # a hook may change anything
    if type(module) is nn.Sequential:
        return [layer for part in module for layer in _layers(part)]
    flat = type(module) is nn.Flatten and module.start_dim in (0, 1) and module.end_dim == -1
    return [] if flat or type(module) in (nn.Identity, nn.Dropout) else [module]


@find_linear_outputs.register(TorchClassifier)
def _linear_torch(estimator: TorchClassifier) -> LinearOutputs | None:
    found = linear_module(estimator.module) if type(estimator) is TorchClassifier else None
    if found is None:
        return None
    outputs, link = found
    one = len(outputs.bias) == 1
    if max(len(outputs.bias), 2) != len(estimator.classes_):
        return None
    if estimator.output == "probability":
        if link is not (nn.Sigmoid if one else nn.Softmax):
            return None
    elif link is not None and (one or link is nn.Sigmoid):
        return None
    # The classifier takes another softmax of outputs that are one already.
    twice = estimator.output == "logits" and link is nn.Softmax
    return replace(outputs, slope=None) if twice else outputs


def _module_function(estimator: TorchClassifier, constant: bool = False) -> Logits:
    if not isinstance(estimator.module, nn.Module):
        raise TypeError(
            "The 'module' parameter of TorchClassifier must be a torch.nn.Module. "
            f"Got {estimator.module!r} instead."
        )
    if estimator.output not in ("logits", "probability"):
        raise ValueError(
            "The 'output' parameter of TorchClassifier must be 'logits' or 'probability'. "
            f"Got {estimator.output!r} instead."
        )
    module = constant_copy(estimator.module) if constant else estimator.module
    return Logits(module, len(estimator.classes_), estimator.output, constant)


@compile_classifier.register(TorchClassifier)
def _torch_head(estimator: TorchClassifier, frame: Frame) -> Head:
    frame.require_numbers(estimator)
    function = _module_function(estimator, constant=True)
    n_classes = function.n_classes
    if estimator.output == "probability":
        link = (
            Link(identity, identity, difference)
            if n_classes == 2
            else Link(identity, identity, identity)
        )
    else:
        link = SOFTMAX_PAIR if n_classes == 2 else SOFTMAX
    single = function.place()[0] != torch.float64
    node = Apply(function, frame.compile(), n_classes)
    return Head(node, link, n_classes, single_precision=single)
