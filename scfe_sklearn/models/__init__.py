"""Fitted models as functions of column space: exact and differentiable, or black boxes.

`as_torch` builds an exact torch version, `verify` compares it with the estimator on rows. An
estimator without an adapter raises `UnsupportedModelError`; `BlackBox` asks any estimator, and
`adopt` takes whatever has predictions.
`as_torch` builds the function, `verify` compares it with the estimator on rows. An estimator
without an adapter raises `UnsupportedModelError`, and is then a `BlackBox`.
"""

# importing a family registers its adapters
from scfe_sklearn.models import (  # noqa: F401
    bayes,
    blocks,
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
from scfe_sklearn.models.adoption import adopt, resampled, retrained
from scfe_sklearn.models.black_box import BlackBox
from scfe_sklearn.models.errors import AdapterMismatchError, UnsupportedModelError
from scfe_sklearn.models.hints import categorical_columns
from scfe_sklearn.models.linear_weights import LinearScores, read_linear
from scfe_sklearn.models.score_model import ScoreModel, as_torch
from scfe_sklearn.models.torch_module import TorchClassifier
from scfe_sklearn.models.trees import read_trees
from scfe_sklearn.models.trees_ensemble import TreeEnsemble
from scfe_sklearn.models.verification import verify

__all__ = [
    "AdapterMismatchError",
    "BlackBox",
    "LinearScores",
    "ScoreModel",
    "TorchClassifier",
    "TreeEnsemble",
    "UnsupportedModelError",
    "adopt",
    "as_torch",
    "categorical_columns",
    "resampled",
    "retrained",
    "read_linear",
    "read_trees",
    "verify",
]
