"""Checks of the input of ``fit`` and ``explain``."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from scfe_sklearn.data import Table, check_size
from scfe_sklearn.recourse.preparation.score_functions import ScoreFunction
from scfe_sklearn.rules import Rules


def read_outcomes(y: Any, table: Table, immutable: Collection[Hashable] = ()) -> np.ndarray:
    """Labels or values as an array, one for each row of a table that can be read.

    Columns that are ``immutable`` may hold anything.
    """
    import pandas as pd

    for j, name in enumerate(table.names):
        if name not in immutable:
            table.storage(j)  # names a column that is neither numbers nor levels
    if y is None:
        raise ValueError(
            "CounterfactualExplainer requires y to be passed, but the target y is None. "
            "y must be an array of class labels. Got None instead."
        )
    labels = np.asarray(y)
    if labels.dtype.kind == "O" and {type(v) for v in labels.flat} <= {int, bool}:
        labels = np.array(labels.tolist())  # a nullable dtype of pandas
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = column_or_1d(labels, warn=True)
    if labels.ndim != 1 or len(labels) != table.n_rows:
        several = labels.ndim == 2 and len(labels) == table.n_rows
        raise ValueError(
            "y must be a 1-D array with one label for each row of X. "
            f"Got shape {labels.shape} for {table.n_rows} rows instead."
            + (" Explain one output at a time, such as y[:, 0]." if several else "")
        )
    check_size(table)
    if pd.isna(labels).any() or np.ma.is_masked(y):
        raise ValueError("y must not hold missing labels. Got some.")
    return labels


def read_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Weights of the training rows as an array (n,), or None."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight)
    fits = weights.shape == (n,) and weights.dtype.kind in "biuf"
    if not fits or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            "The 'sample_weight' parameter of fit must be None or an array with one number of "
            f"at least 0 for each of the {n} rows. Got shape {weights.shape} and dtype "
            f"{weights.dtype} instead."
        )
    return weights.astype(np.float64)


def read_values(y: np.ndarray) -> np.ndarray:
    """Values for a regressor."""
    if y.dtype.kind not in "biuf" or not np.isfinite(y).all():
        raise ValueError(f"y must hold finite numbers for a regressor. Got {y.dtype} values.")
    return y.astype(np.float64)


def check_finite(function: ScoreFunction, Z: np.ndarray) -> None:
    """Raise if a model does not predict training rows."""
    scores = function.scores(torch.from_numpy(Z))
    bad = int((~torch.isfinite(scores)).any(1).sum())
    if bad:
        found = [torch.isnan(scores).any(), torch.isinf(scores).any()]
        words = " or ".join(w for w, there in zip(("NaN", "infinity"), found, strict=True) if there)
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must have finite output on the "
            f"training rows. Got one that returns {words} for {bad} of {len(Z)} rows."
        )


def check_same_answers(estimator: Any, other: Any) -> None:
    """Raise if the classes of a model differ from those of the explained one."""
    ours, theirs = (
        None if not hasattr(model, "classes_") else np.asarray(model.classes_).tolist()
        for model in (estimator, other)
    )
    if ours != theirs:
        raise ValueError(
            "The 'ensemble' parameter of CounterfactualExplainer must hold models with the "
            f"classes {ours}. Got one with {theirs} instead."
        )


def check_probabilities(models: list[Any]) -> None:
    """Raise if the target is a Probability and a model lacks predict_proba."""
    if not all(hasattr(model, "predict_proba") for model in models):
        raise ValueError(
            "The 'target' parameter of explain must be a class for a model without predict_proba. "
            "Got a Probability instead. Its scores are no probabilities; to have some, calibrate "
            "it with sklearn.calibration.CalibratedClassifierCV, or give a function whose rows "
            "lie in [0, 1] and sum to 1."
        )


def read_classes(estimator: Any, labels: np.ndarray) -> np.ndarray:
    """Labels of a fitted estimator, which must include those of the training rows."""
    check_classification_targets(labels)
    if isinstance(estimator.classes_, list) or np.ndim(estimator.classes_) != 1:
        raise several_outputs(estimator)
    classes = np.asarray(estimator.classes_)
    if len(classes) < 2:
        raise ValueError(f"The model must have at least two classes. Got {classes.tolist()}.")
    known = set(classes.tolist())
    strange = [label for label in labels.tolist() if label not in known]
    if strange:
        raise ValueError(
            f"y must hold classes of the model, {classes.tolist()}. Got {strange[0]!r} instead."
        )
    return classes


def several_outputs(estimator: Any) -> ValueError:
    """Return the error for a model with several outputs."""
    inner = estimator
    while isinstance(inner, FrozenEstimator):
        inner = inner.estimator
    separate = isinstance(inner, (MultiOutputClassifier, MultiOutputRegressor))
    part = "FrozenEstimator(model.estimators_[k]), or " if separate else ""
    return ValueError(
        "The 'estimator' parameter of CounterfactualExplainer must have one output. Got several "
        f"from {type(inner).__name__} instead. Explain one output k at a time: {part}the "
        "function lambda X: model.predict(X)[:, k]."
    )


def check_rules(rules: Any) -> None:
    """Raise unless the value is a Rules."""
    if not (rules is None or isinstance(rules, Rules)):
        raise ValueError(
            f"The 'rules' parameter of explain must be a Rules or None. Got {rules!r} instead."
        )


def check_best_effort(value: Any) -> None:
    """Raise unless the value is a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(
            f"The 'best_effort' parameter of explain must be a bool. Got {value!r} instead."
        )


def check_count(value: Any) -> None:
    """Raise unless the number of counterfactuals is at least 1."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(
            "The 'n_counterfactuals' parameter of explain must be an int in [1, inf). "
            f"Got {value!r} instead."
        )
