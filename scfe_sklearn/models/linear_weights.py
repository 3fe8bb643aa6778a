"""The weights of a linear model over column space, scalers and encoders folded in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import linear_model
from sklearn.base import is_classifier
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn.data import Column
from scfe_sklearn.models.compiled import (
    LinearOutputs,
    UnsupportedModelError,
    input_frame,
    linear_outputs,
    split_pipeline,
    transform,
    unwrap,
)

_LINEAR = (
    linear_model.LogisticRegression,
    linear_model.LogisticRegressionCV,
    linear_model.RidgeClassifier,
    linear_model.RidgeClassifierCV,
    linear_model.SGDClassifier,
    linear_model.Perceptron,
    linear_model.LinearRegression,
    linear_model.Ridge,
    linear_model.RidgeCV,
    linear_model.Lasso,
    linear_model.LassoCV,
    linear_model.ElasticNet,
    linear_model.ElasticNetCV,
    linear_model.SGDRegressor,
    linear_model.HuberRegressor,
    linear_model.BayesianRidge,
    LinearSVC,
    LinearSVR,
)


@dataclass(frozen=True, eq=False)
class LinearScores:
    """Scores ``u @ weights + intercept`` of rows of column space.

    Parameters
    ----------
    weights : ndarray of shape (U, R)
        One column of weights for a regressor, and mostly for two classes, else one per class.
    intercept : ndarray of shape (R,)
        Constants.
    n_classes : int
        Number of classes, 0 for a regressor.
    slope : float or None
        Probabilities are the sigmoid, or the softmax, of the scores times this; None where they
        are something else.
    rounding : float
        Bound of the error of the model's own sums, relative to the sum of their terms.
    center : ndarray of shape (U,) or None
        What the model subtracts of the rows before it weighs them; None for nothing.
    """

    weights: np.ndarray
    intercept: np.ndarray
    n_classes: int
    slope: float | None = None
    rounding: float = 0.0
    center: np.ndarray | None = None

    def scores(self, u: np.ndarray) -> np.ndarray:
        """Scores (n, R) of rows (n, U)."""
        return np.asarray(u @ self.weights + self.intercept)

    def noise(self, farthest: np.ndarray) -> np.ndarray:
        """Bound (n,) of rounding errors in scores of rows.

        ``farthest`` (n, U) are the largest distances of the coordinates from `center`.
        """
        constant = self.intercept
        if self.center is not None:
            constant = constant + self.center @ self.weights
        terms = farthest @ np.abs(self.weights).sum(axis=1)
        return np.asarray(self.rounding * (1 + terms + np.abs(constant).sum()))

    def leads(self, code: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights (U, k) and constants (k,) of what class `code` leads each other one by."""
        if not 0 <= code < self.n_classes:
            raise ValueError(
                f"The 'code' parameter of leads must be a position among the {self.n_classes} "
                f"classes. Got {code!r} instead."
            )
        if self.weights.shape[1] == 1:
            sign = 1.0 if code == 1 else -1.0
            return sign * self.weights, sign * self.intercept
        others = [c for c in range(self.n_classes) if c != code]
        weights = self.weights[:, [code]] - self.weights[:, others]
        return weights, self.intercept[code] - self.intercept[others]


def read_linear(estimator: Any, columns: Sequence[Column]) -> LinearScores:
    """Weights over column space of a linear model behind affine transformers.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        Logistic, ridge, SGD or SVM classifiers, perceptrons, linear regressors and torch modules
        of linear layers, behind scalers, encoders and projections.
    columns : sequence of Column
        Layout of column space, as for `as_torch`.

    Returns
    -------
    LinearScores

    Raises
    ------
    UnsupportedModelError
        The model is not linear in column space.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn.data import Column
    >>> X = np.array([[1.0], [3.0], [8.0]])
    >>> model = make_pipeline(StandardScaler(), LinearRegression()).fit(X, [3.0, 7.0, 17.0])
    >>> read = read_linear(model, [Column(0, None)])
    >>> read.weights.round(6), read.intercept.round(6)
    (array([[2.]]), array([1.]))
    """
    inner = unwrap(estimator)
    if not hasattr(inner, "fit"):
        raise UnsupportedModelError(
            f"{type(inner).__name__} is no estimator of scikit-learn: its weights are not known."
        )
    check_is_fitted(inner)
    frame = input_frame(inner, columns)
    steps, inner = split_pipeline(inner)
    outputs = _outputs(inner)
    for step in steps:
        frame = transform(step, frame)
    n_classes = len(inner.classes_) if is_classifier(inner) else 0
    frame.require_numbers(inner)
    expected = outputs.weight.shape[1]
    if expected != n_classes and (expected > 1 or n_classes > 2):
        raise UnsupportedModelError(
            f"{type(inner).__name__} was fitted for several outputs; one output is supported."
        )
    out = frame.project(outputs.weight, outputs.bias)
    weights, intercept = np.zeros((out.source.width, expected)), out.bias.copy()
    center = np.zeros(out.source.width)
    for term in out.terms:
        if term.node is not out.source:
            raise UnsupportedModelError(
                "A transformer before the linear model is not affine, so the model is not "
                "linear in the raw columns."
            )
        weights += term.weight.toarray()
        intercept -= term.center @ term.weight
        center = term.center
    return LinearScores(weights, intercept, n_classes, outputs.slope, outputs.rounding, center)


def _outputs(estimator: Any) -> LinearOutputs:
    """Return the weights of the last step of a pipeline."""
    if isinstance(estimator, _LINEAR) and type(estimator).__module__.startswith("sklearn."):
        coef = estimator.coef_
        coef = coef.toarray() if sparse.issparse(coef) else np.asarray(coef)
        return LinearOutputs(
            np.atleast_2d(coef).T.astype(np.float64),
            np.ravel(estimator.intercept_).astype(np.float64),
            _slope(estimator),
        )
    found = linear_outputs(estimator)
    if found is None:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} is no linear model. Supported: "
            f"{', '.join(sorted(cls.__name__ for cls in _LINEAR))}, and torch modules of linear "
            "layers."
        )
    return found


def _slope(estimator: Any) -> float | None:
    """Return the factor of the scores whose sigmoid or softmax the probabilities are."""
    n_classes = len(estimator.classes_) if is_classifier(estimator) else 0
    if isinstance(estimator, linear_model.SGDClassifier):
        return 1.0 if estimator.loss == "log_loss" and n_classes == 2 else None
    if not isinstance(
        estimator, (linear_model.LogisticRegression, linear_model.LogisticRegressionCV)
    ):
        return None
    # `multi_class` left scikit-learn in 1.8; before, it decides between softmax and one-vs-rest.
    given = getattr(estimator, "multi_class", "auto")
    if n_classes == 2:
        return 2.0 if given == "multinomial" else 1.0
    one_vs_rest = given in ("ovr", "warn") or (
        given != "multinomial" and estimator.solver == "liblinear"
    )
    return None if one_vs_rest else 1.0
