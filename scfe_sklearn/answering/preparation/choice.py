"""Which solver suits the models of an explainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scfe_sklearn.answering.preparation.voices import check_gradient
from scfe_sklearn.features import FeatureSpace
from scfe_sklearn.models import AdapterMismatchError, UnsupportedModelError, read_trees
from scfe_sklearn.presentation.containers import take_rows

VERIFIED_ROWS = 256
"""Training rows on which the differentiable model is compared with the estimator."""


def choose_solver(
    wanted: str, models: Sequence[Any], space: FeatureSpace, X: Any, sample: Any
) -> str:
    """Say which solver answers: "auto" is decided by whether all gradients are known.

    Parameters
    ----------
    wanted : {"auto", "apg", "search", "milp"}
        What the user asks for.
    models : sequence of estimators
        The model that is explained and those that must agree.
    space : FeatureSpace
        Fitted.
    X : DataFrame or ndarray
        The training rows that the models are compared on.
    sample : DataFrame or ndarray
        Some training rows, from which the types of the columns are read.

    Raises
    ------
    UnsupportedModelError
        If the solver that is asked for cannot read the model.
    """
    if wanted == "milp":
        read_trees(models[0], space.columns_, sample)
    if wanted in ("search", "milp"):
        return wanted
    Z = space.encode(X)
    # Rows with missing numbers on their own: a few would be lost among many.
    whole = np.isfinite(Z).all(axis=1)
    rows = np.concatenate([_spread(np.flatnonzero(part)) for part in (whole, ~whole)])
    checked = take_rows(X, rows)
    try:
        for model in models:
            check_gradient(model, space, checked, Z[rows])
    except (UnsupportedModelError, AdapterMismatchError):
        if wanted == "apg":
            raise
        return "search"
    return "apg"


def _spread(rows: np.ndarray) -> np.ndarray:
    """Choose some rows, evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(VERIFIED_ROWS, len(rows))).astype(int)]
