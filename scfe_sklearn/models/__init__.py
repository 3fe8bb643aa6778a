"""Fitted models as functions of column space: exact and differentiable, or black boxes.

`as_torch` builds an exact torch version, `verify` compares it with the estimator on rows. An
estimator without an adapter raises `UnsupportedModelError`; `BlackBox` predicts by any
estimator, and `adopt` takes whatever has predictions.
"""

# importing them registers their adapters
from scfe_sklearn.models import classifiers, transformers  # noqa: F401
from scfe_sklearn.models.black_box import BlackBox
from scfe_sklearn.models.categorical_inputs import categorical_columns
from scfe_sklearn.models.classifiers import TorchClassifier
from scfe_sklearn.models.compiled import (
    AdapterMismatchError,
    ScoreModel,
    UnsupportedModelError,
    as_torch,
)
from scfe_sklearn.models.fitted import is_fitted, verify, warn_if_fitted
from scfe_sklearn.models.linear_weights import LinearScores, read_linear
from scfe_sklearn.models.predictions import (
    are_probabilities,
    check_predict_proba,
    handed,
    probability_table,
)
from scfe_sklearn.models.trees import TreeEnsemble, read_trees
from scfe_sklearn.models.wrapping import adopt, resampled, retrained

__all__ = [
    "AdapterMismatchError",
    "BlackBox",
    "LinearScores",
    "ScoreModel",
    "TorchClassifier",
    "TreeEnsemble",
    "UnsupportedModelError",
    "adopt",
    "are_probabilities",
    "as_torch",
    "categorical_columns",
    "check_predict_proba",
    "handed",
    "is_fitted",
    "probability_table",
    "resampled",
    "retrained",
    "read_linear",
    "read_trees",
    "verify",
    "warn_if_fitted",
]
