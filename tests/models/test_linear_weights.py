"""Weights over column space: they reproduce linear models, and others are refused."""

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    RidgeClassifier,
    SGDRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, StandardScaler
from sklearn.svm import LinearSVC

from scfe_sklearn.models import UnsupportedModelError, read_linear


def usual():
    return make_column_transformer(
        (StandardScaler(), ["income", "age"]), (OneHotEncoder(), ["job", "grade", "owner"])
    )


@pytest.mark.parametrize("kind", ["mixed", "mixed3"])
@pytest.mark.parametrize("model", [LogisticRegression(), RidgeClassifier(), LinearSVC()])
def test_a_classifier(world, kind, model):
    w = world(kind)
    fitted = FrozenEstimator(w.fit(make_pipeline(usual(), model)))
    read = read_linear(fitted, w.columns)
    scores, expected = read.scores(w.u.numpy()), fitted.decision_function(w.X)
    assert np.allclose(scores, expected.reshape(scores.shape))
    for code in range(read.n_classes):
        weights, intercept = read.leads(code)
        wins = (w.u.numpy() @ weights + intercept > 0).all(axis=1)
        assert np.array_equal(wins, fitted.predict(w.X) == fitted.classes_[code])


@pytest.mark.parametrize("model", [LinearRegression(), SGDRegressor(random_state=0)])
def test_a_regressor(world, model):
    w = world("mixed")
    fitted = make_pipeline(usual(), model).fit(w.X, w.X["age"])
    assert np.allclose(
        read_linear(fitted, w.columns).scores(w.u.numpy())[:, 0], fitted.predict(w.X)
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (RandomForestClassifier(2), "is no linear model"),
        (make_pipeline(PowerTransformer(), LogisticRegression()), "not affine"),
    ],
)
def test_what_is_not_linear_is_refused(world, model, words):
    w = world("binary")
    with pytest.raises(UnsupportedModelError, match=words):
        read_linear(w.fit(model), w.columns)


def test_a_code_that_is_no_class(world):
    w = world("binary")
    with pytest.raises(ValueError, match="position among the 2 classes"):
        read_linear(w.fit(LogisticRegression()), w.columns).leads(2)
