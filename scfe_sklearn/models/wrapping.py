"""Wrapping of whatever has predictions, with ``predict`` and, for classes, ``classes_``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    clone,
    is_classifier,
    is_clusterer,
    is_outlier_detector,
    is_regressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import has_fit_parameter
from torch import nn

from scfe_sklearn.models.classifiers import TorchClassifier
from scfe_sklearn.models.compiled import unwrap
from scfe_sklearn.models.predictions import are_probabilities, handed

OUTLIER, INLIER = -1, 1
"""What outlier detectors of scikit-learn predict."""

SAID = 50
"""Rows that show whether a function gives labels or values."""

DECIDING = 1000
"""Rows that show whether the numbers of a function are probabilities or scores."""


class LabelledModel:
    """A trained object that lacks ``classes_`` or ``predict``, with both.

    Parameters
    ----------
    model : object
        Has ``predict``, ``predict_proba`` or ``decision_function``.
    classes : ndarray of shape (C,)
        Class labels, in the order of the columns.
    """

    def __init__(self, model: Any, classes: np.ndarray) -> None:
        self.model = model
        self.classes_ = classes

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("model", "fit"):  # it is trained already
            raise AttributeError(name)
        return getattr(self.model, name)

    def __repr__(self) -> str:
        return repr(self.model)

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each row."""
        if hasattr(self.model, "predict"):
            return np.asarray(self.model.predict(X))
        for name in ("predict_proba", "decision_function"):
            if hasattr(self.model, name):
                table = np.asarray(getattr(self.model, name)(X))
                return np.asarray(self.classes_[table.argmax(axis=1)])
        raise AttributeError("predict")


class _Function:
    """A function of rows under the name of the method that it stands for."""

    def __init__(self, function: Callable[[Any], Any], method: str) -> None:
        self.function = function
        setattr(self, method, function)

    def __repr__(self) -> str:
        return repr(self.function)


def adopt(model: Any, X: Any, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Any:
    """Return a trained model of any kind with ``predict`` and, for classes, ``classes_``.

    Parameters
    ----------
    model : estimator, torch.nn.Module, object or callable
        An estimator is cloned and trained, unless it is frozen. Anything else is taken as
        trained: an object with ``predict`` or ``predict_proba``, or a function of rows that
        returns labels, values, or one column of probabilities or scores per class: of
        probabilities where all rows tried lie in [0, 1] and sum to 1.
    X : DataFrame or ndarray of shape (n, d)
        Training rows.
    y : ndarray of shape (n,)
        Labels or values; -1 and 1 for an outlier detector.
    sample_weight : ndarray of shape (n,), default=None
        Weights of the training rows, for the ``fit`` of an estimator that is trained.

    Returns
    -------
    object
        With ``classes_`` if it is a classifier or an outlier detector, and without if it is a
        regressor.

    Raises
    ------
    ValueError
        If it is known to be none of these.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[0.0], [1.0]]), np.array(["no", "yes"])
    >>> model = adopt(lambda X: np.column_stack([1 - X[:, 0], X[:, 0]]), X, y)
    >>> model.classes_.tolist(), model.predict(X).tolist()
    (['no', 'yes'], ['no', 'yes'])
    """
    if isinstance(model, nn.Module):
        return TorchClassifier(model).fit(handed(X), y)
    if isinstance(model, FrozenEstimator) and not hasattr(model.estimator, "fit"):
        model = model.estimator
    inner = unwrap(model)
    detects = isinstance(inner, BaseEstimator) and is_outlier_detector(inner)
    if detects:
        _check_detector(inner, y)
    if isinstance(inner, BaseEstimator) and is_clusterer(inner):
        # The numbers of clusters may look like labels.
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must be a classifier or a "
            f"regressor. Got {inner!r} instead."
        )
    if hasattr(model, "fit") and hasattr(model, "get_params"):
        model = _trained_clone(model, X, y, sample_weight)
        inner = unwrap(model)
    if detects:
        return LabelledModel(model, np.array([OUTLIER, INLIER]))
    if not (hasattr(inner, "predict") or hasattr(inner, "predict_proba")):
        model = _Function(inner, _method_of(inner, X))
    if hasattr(model, "classes_") and hasattr(model, "predict"):
        if not isinstance(inner, BaseEstimator):
            _refuse_other_columns(model, X)
        return model
    if hasattr(model, "predict") and _gives_values(model, X, y):
        return model
    labelled = LabelledModel(
        model, np.unique(y) if not hasattr(model, "classes_") else model.classes_
    )
    _refuse_other_columns(labelled, X)
    return labelled


def _check_detector(detector: Any, y: np.ndarray) -> None:
    """Raise if y holds other labels than those of an outlier detector."""
    strange = [label for label in np.unique(y).tolist() if label not in (OUTLIER, INLIER)]
    if strange:
        raise ValueError(
            f"y must hold {OUTLIER} for outliers and {INLIER} for inliers, as the predict of "
            f"{type(detector).__name__} returns them. Got {strange[0]!r} instead."
        )


def _trained_clone(model: Any, X: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> Any:
    """Train a clone of an estimator, with weights of the rows if there are any."""
    weights: dict[str, Any] = {}
    if sample_weight is not None:
        last, prefix = model, ""
        while type(last) is Pipeline:
            name, last = last.steps[-1]
            prefix += f"{name}__"
        if not has_fit_parameter(last, "sample_weight"):
            raise ValueError(
                "The 'sample_weight' parameter of fit must be None for an estimator whose fit "
                f"takes no weights. Got weights for {last!r} instead."
            )
        weights[f"{prefix}sample_weight"] = sample_weight
    return clone(model).fit(handed(X), y, **weights)


def _method_of(function: Callable[[Any], Any], X: Any) -> str:
    """Return the name of the method that a function of rows stands for, by what it returns."""
    output = np.asarray(function(_shown(X, DECIDING)))
    if output.ndim != 2 or output.shape[1] < 2:
        return "predict"
    known = output[~np.isnan(output.astype(np.float64)).any(axis=1)]
    return "predict_proba" if are_probabilities(known).all() else "decision_function"


def _refuse_other_columns(model: Any, X: Any) -> None:
    """Raise if a model of the user's own has not one probability or score for each class."""
    function = isinstance(getattr(model, "model", None), _Function)
    asked = ["predict_proba", "decision_function"] if function else ["predict_proba"]
    names = [name for name in asked if hasattr(model, name)]
    if not names:
        return
    output = np.asarray(getattr(model, names[0])(_shown(X, 2)))
    if output.ndim != 2 or output.shape[1] != len(model.classes_):
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must have one column of "
            "probabilities or scores for each of the classes "
            f"{np.asarray(model.classes_).tolist()}. "
            f"Got an array of shape {output.shape} instead."
        )


def _gives_values(model: Any, X: Any, y: np.ndarray) -> bool:
    """Whether a model without ``classes_`` is a regressor: by its tags, else by fractions."""
    inner = unwrap(model)
    if isinstance(inner, BaseEstimator) and (is_regressor(inner) or is_classifier(inner)):
        return bool(is_regressor(inner))
    if type_of_target(y).startswith("continuous"):
        return True
    # Whole numbers in y may be values all the same: no label lies between them.
    output = np.asarray(model.predict(_shown(X)))
    return output.dtype.kind == "f" and bool((output != np.rint(output)).any())


def _shown(X: Any, count: int = SAID) -> Any:
    """Return some rows, spread evenly, without missing values if there are such."""
    import pandas as pd

    if hasattr(X, "drop_nulls"):
        whole = X.drop_nulls()
    elif hasattr(X, "dropna"):
        whole = X.dropna()
    else:
        whole = X[~pd.isna(X).any(axis=1)]
    rows = whole if len(whole) else X
    spread = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.intp))
    return handed(rows.iloc[spread] if hasattr(rows, "iloc") else rows[spread])


def retrained(model: Any, X: Any, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Any:
    """Return a clone of a model, or of the one that is frozen in it, trained on other rows."""
    while isinstance(model, FrozenEstimator):
        model = model.estimator
    if not (hasattr(model, "fit") and hasattr(model, "get_params")):
        raise ValueError(
            "The 'ensemble' parameter of CounterfactualExplainer must be a list of models where "
            f"the estimator cannot be trained again. Got an int for {model!r} instead."
        )
    return _trained_clone(model, X, y, sample_weight)


def resampled(
    y: np.ndarray, count: int, random: np.random.RandomState, classes: bool
) -> Iterator[np.ndarray]:
    """Bootstrap samples of the rows; where there are classes, of each class on its own."""
    strata = [np.flatnonzero(y == label) for label in np.unique(y)] if classes else None
    for _ in range(count):
        if strata is None:
            yield np.sort(random.randint(0, len(y), len(y)))
        else:
            parts = [rows[random.randint(0, len(rows), len(rows))] for rows in strata]
            yield np.sort(np.concatenate(parts))
