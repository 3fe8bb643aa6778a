"""Choice of the solver that suits the models of an explainer."""

from __future__ import annotations

from typing import Any

import numpy as np

from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.models import AdapterMismatchError, UnsupportedModelError
from scfe_sklearn.recourse.preparation.score_functions import CompiledModels

VERIFIED_ROWS = 256
"""Training rows on which the differentiable model is compared with the estimator."""


def choose_solver(solver: str, compiled: CompiledModels, X: Any) -> str:
    """Return the solver that answers: "auto" is decided by whether all gradients are known.

    Parameters
    ----------
    solver : {"auto", "apg", "search", "milp"}
        The user's choice.
    compiled : CompiledModels
        The model that is explained and those that must agree.
    X : DataFrame or ndarray
        The training rows that the models are compared on.

    Raises
    ------
    UnsupportedModelError
        If the chosen solver cannot read the model.
    """
    if solver == "milp":
        _ = compiled.trees  # raises for another model
    if solver in ("search", "milp"):
        return solver
    Z = compiled.space.encode(X)
    # Rows with missing numbers have a check of their own.
    whole = np.isfinite(Z).all(axis=1)
    rows = np.concatenate([_spread(np.flatnonzero(part)) for part in (whole, ~whole)])
    try:
        compiled.verify_gradients(take_rows(X, rows), Z[rows])
    except (UnsupportedModelError, AdapterMismatchError):
        if solver == "apg":
            raise
        return "search"
    return "apg"


EXPONENTS = {"l0": 0.0, "l1/2": 0.5, "l2/3": 2 / 3, "l1": 1.0}
"""Powers p of the penalties."""


def exponent_of(penalty: str, solver: str) -> float:
    """Return p of a penalty; raise if the solver does not support it."""
    if penalty != "l0" and solver != "apg":
        raise ValueError(
            "The 'penalty' parameter of CounterfactualExplainer must be 'l0' for models without "
            f"a gradient and with solver='search' or 'milp'. Got {penalty!r} instead."
        )
    return EXPONENTS[penalty]


def _spread(rows: np.ndarray) -> np.ndarray:
    """Choose some rows, evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(VERIFIED_ROWS, len(rows))).astype(int)]
