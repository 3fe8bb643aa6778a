"""What must be refused: unknown estimators, changed behaviour, differing answers."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, StandardScaler
from sklearn.svm import SVC

from scfe_sklearn.models import (
    AdapterMismatchError,
    UnsupportedModelError,
    as_torch,
    verify,
)


class Counting:
    """A stateful function: it doubles its rows at every second call."""

    def __init__(self):
        self.calls = 0

    def __call__(self, X):
        self.calls += 1
        return X * (1 + self.calls % 2)


class Shy(LogisticRegression):
    """Overrides the probabilities."""

    def predict_proba(self, X):
        return 0.5 + 0.5 * (super().predict_proba(X) - 0.5)


class Tagged(LogisticRegression):
    """A subclass that changes nothing."""


class Doubling(StandardScaler):
    """Overrides the transform."""

    def transform(self, X, copy=None):
        return 2 * super().transform(X, copy)


class Own(TransformerMixin, BaseEstimator):
    """A transformer that nobody knows."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.sort(X, axis=1)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (RandomForestClassifier(3), r"RandomForestClassifier .*Supported: .*LogisticRegression"),
        (make_pipeline(Own(), LogisticRegression()), r"Own .*Supported: .*StandardScaler"),
        (make_pipeline(KBinsDiscretizer(3, encode="ordinal"), GaussianNB()), "KBinsDiscretizer"),
        (make_pipeline(FunctionTransformer(Counting()), GaussianNB()), "FunctionTransformer"),
        (make_pipeline(SimpleImputer(missing_values=-1), GaussianNB()), "missing_values=-1"),
        (SVC(kernel=lambda a, b: a @ b.T), "kernel"),
        (VotingClassifier([("g", GaussianNB())]), "voting='hard'"),
        (Shy(), "Shy overrides predict_proba"),
        (make_pipeline(Doubling(), LogisticRegression()), "Doubling overrides transform"),
    ],
)
def test_unsupported_is_named_with_what_is_supported(world, estimator, message):
    data = world("binary")
    with pytest.raises(UnsupportedModelError, match=message):
        as_torch(data.fit(estimator), data.columns)


def test_a_subclass_that_changes_nothing_is_served(world):
    data = world("binary")
    estimator = data.fit(Tagged())
    verify(as_torch(estimator, data.columns), estimator, data.X, data.u, tol=1e-12)


def test_several_outputs_are_refused(world):
    data = world("binary")
    Y = np.column_stack([data.y, 1 - data.y])
    for estimator in (MLPClassifier((3,), tol=1.0), RidgeClassifier()):
        with pytest.raises(UnsupportedModelError, match="one output"):
            as_torch(estimator.fit(data.X, Y), data.columns)


def test_not_fitted_and_wrong_arguments(world):
    data = world("binary")
    with pytest.raises(NotFittedError):
        as_torch(LogisticRegression(), data.columns)
    estimator = data.fit(LogisticRegression())
    with pytest.raises(TypeError, match="'dtype' parameter of as_torch"):
        as_torch(estimator, data.columns, dtype=torch.int64)
    with pytest.raises(UnsupportedModelError, match="fitted on 4 columns"):
        as_torch(estimator, data.columns[:3])
    with pytest.raises(ValueError, match="shape"):
        as_torch(estimator, data.columns).scores(data.u[:, :2])


def test_a_difference_is_reported(world):
    data = world("binary")
    estimator = data.fit(LogisticRegression())
    model = as_torch(estimator, data.columns)
    estimator.coef_ = estimator.coef_ + 0.01
    with pytest.raises(AdapterMismatchError, match=r"differs from its predict_proba by up to 0\."):
        verify(model, estimator, data.X, data.u)


def test_nan_has_its_own_words(world):
    data = world("binary")
    estimator = data.fit(LogisticRegression())
    u = data.u.clone()
    u[3, 0] = torch.nan
    with pytest.raises(AdapterMismatchError, match="NaN for 1 of 160 rows; the first is row 3"):
        verify(as_torch(estimator, data.columns), estimator, data.X, u)


def test_another_prediction_is_a_mismatch(world):
    data = world("binary")
    estimator = data.fit(LogisticRegression())
    model = as_torch(estimator, data.columns)
    estimator.predict = lambda X: np.ones(len(X), dtype=int)
    with pytest.raises(AdapterMismatchError, match="prefers another class"):
        verify(model, estimator, data.X, data.u)


def test_numpy_rows_are_welcome_in_verify(world):
    data = world("binary")
    estimator = data.fit(LogisticRegression())
    verify(as_torch(estimator, data.columns), estimator, data.X, data.u.numpy())
