"""Adapters of classifiers; importing it registers them."""

from scfe_sklearn.models.classifiers import (  # noqa: F401
    ensemble,
    kernel,
    linear,
    torch_module,
)
from scfe_sklearn.models.classifiers.torch_module import TorchClassifier, as_constant_function
from scfe_sklearn.models.compiled import adapt_later

adapt_later("skorch", "scfe_sklearn.models.classifiers.skorch_net")

__all__ = ["TorchClassifier", "as_constant_function"]
