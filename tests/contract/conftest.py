"""What is public and keeps scikit-learn's contract, found by walking the public modules."""

import importlib
import inspect
import pkgutil

import pytest
from sklearn.base import BaseEstimator

import scfe_sklearn


def public_classes():
    """Classes that a public module, at any depth, names in ``__all__`` and that can be made."""
    names = [
        module.name for module in pkgutil.walk_packages(scfe_sklearn.__path__, "scfe_sklearn.")
    ]
    found = []
    for name in ["scfe_sklearn", *names]:
        if any(part.startswith("_") for part in name.split(".")):
            continue
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            # An optional package is not installed; what is public needs none to be imported.
            assert not str(error.name).startswith("scfe_sklearn")
            continue
        found += [getattr(module, label) for label in getattr(module, "__all__", ())]
    kinds = dict.fromkeys(value for value in found if inspect.isclass(value))
    return [kind for kind in kinds if not inspect.isabstract(kind)]


ESTIMATORS = [kind for kind in public_classes() if hasattr(kind, "fit")]
HOLDERS = [
    kind
    for kind in public_classes()
    if issubclass(kind, BaseEstimator) and not hasattr(kind, "fit")
]


@pytest.fixture
def public_estimators():
    """Every public class with a ``fit``."""
    return set(ESTIMATORS)


@pytest.fixture
def public_holders():
    """Every other public class with ``get_params``."""
    return set(HOLDERS)


@pytest.fixture(params=[*ESTIMATORS, *HOLDERS], ids=lambda kind: kind.__name__)
def public_kind(request):
    """Each of both."""
    return request.param
