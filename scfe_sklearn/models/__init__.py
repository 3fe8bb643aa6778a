"""Fitted classifiers and pipelines as exact, differentiable torch functions.

`as_torch` builds the function, `verify` compares it with the estimator on rows. An estimator
without an adapter raises `UnsupportedModelError`, and is then a `BlackBox`.
"""

# importing a family registers its adapters
from scfe_sklearn.models import (  # noqa: F401
    bayes,
    calibration,
    discriminant,
    encoders,
    ensemble,
    kernel,
    linear,
    neural,
    nonlinear,
    pipeline,
    scalers,
    selection,
    torch_module,
)
from scfe_sklearn.models.black_box import BlackBox
from scfe_sklearn.models.errors import AdapterMismatchError, UnsupportedModelError
from scfe_sklearn.models.hints import categorical_columns
from scfe_sklearn.models.score_model import ScoreModel, as_torch
from scfe_sklearn.models.torch_module import TorchClassifier
from scfe_sklearn.models.verification import verify

__all__ = [
    "AdapterMismatchError",
    "BlackBox",
    "ScoreModel",
    "TorchClassifier",
    "UnsupportedModelError",
    "as_torch",
    "categorical_columns",
    "verify",
]
