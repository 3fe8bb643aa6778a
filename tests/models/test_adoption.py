"""Anything with predictions as a classifier or a regressor, against what it was made of."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.models import adopt, resampled, retrained

X, CODES = make_classification(120, 4, n_informative=3, n_redundant=0, n_classes=3, random_state=0)
Y = np.array(["a", "b", "c"])[CODES]
MODEL = LogisticRegression(max_iter=500).fit(X, Y)
VALUES = X @ [1.0, -2.0, 0.5, 0.25]
LINE = LinearRegression().fit(X, VALUES)


class Predicts:
    """An object with predictions only."""

    def predict(self, X):
        return MODEL.predict(X)


class Estimates:
    """An object with probabilities only."""

    def predict_proba(self, X):
        return MODEL.predict_proba(X)


class Knows(Estimates):
    """It says itself which labels its columns are for."""

    classes_ = np.array(["c", "b", "a"])

    def predict_proba(self, X):
        return MODEL.predict_proba(X)[:, ::-1]


@pytest.mark.parametrize(
    ("given", "estimates"),
    [
        (lambda X: MODEL.predict(X), False),
        (lambda X: MODEL.predict_proba(X), True),
        (MODEL.predict, False),
        (MODEL.predict_proba, True),
        (Predicts(), False),
        (Estimates(), True),
        (Knows(), True),
        (FrozenEstimator(MODEL), True),
        (FrozenEstimator(Estimates()), True),
    ],
    ids=lambda value: getattr(type(value), "__name__", ""),
)
def test_classifiers(given, estimates):
    model = adopt(given, X, Y)
    np.testing.assert_array_equal(model.predict(X), MODEL.predict(X))
    assert sorted(model.classes_) == ["a", "b", "c"]
    assert hasattr(model, "predict_proba") == estimates
    if estimates:
        order = np.argsort(model.classes_)
        np.testing.assert_array_equal(model.predict_proba(X)[:, order], MODEL.predict_proba(X))


@pytest.mark.parametrize(
    ("given", "y"),
    [
        (lambda X: LINE.predict(X), VALUES),
        (lambda X: LINE.predict(X), np.rint(VALUES)),
        (lambda X: LINE.predict(X)[:, None], VALUES),
        (FrozenEstimator(LINE), VALUES),
        (FrozenEstimator(LINE), CODES),
        (LinearRegression(), VALUES),
        (make_pipeline(StandardScaler(), LinearRegression()), VALUES),
    ],
)
def test_regressors(given, y):
    model = adopt(given, X, y)
    assert not hasattr(model, "classes_")
    expected = LinearRegression().fit(X, y) if not callable(given) and y is VALUES else LINE
    np.testing.assert_allclose(np.ravel(model.predict(X)), expected.predict(X))


def test_an_estimator_is_trained_as_a_clone_and_a_frozen_one_is_kept():
    forest = RandomForestClassifier(3, random_state=0)
    model = adopt(forest, X, Y)
    assert not hasattr(forest, "classes_")
    np.testing.assert_array_equal(model.predict(X), forest.fit(X, Y).predict(X))
    frozen = FrozenEstimator(MODEL)
    before = MODEL.coef_.copy()
    assert adopt(frozen, X[:50], Y[:50]).estimator is MODEL
    np.testing.assert_array_equal(MODEL.coef_, before)


def test_whole_numbers_are_labels_where_the_answers_are_whole_numbers():
    model = adopt(lambda X: (X[:, 0] > 0).astype(float), X, (X[:, 0] > 0).astype(int))
    assert model.classes_.tolist() == [0, 1]


def test_frames_pass_through():
    frame = pd.DataFrame(X, columns=list("pqrs"))
    model = adopt(
        lambda X: np.where(X["p"] > 0, "yes", "no"), frame, np.where(X[:, 0] > 0, "yes", "no")
    )
    assert model.predict(frame[:3]).tolist() == np.where(X[:3, 0] > 0, "yes", "no").tolist()


@pytest.mark.parametrize("y", [Y, CODES], ids=["text", "codes"])
@pytest.mark.parametrize("frozen", [False, True])
def test_what_has_predictions_but_no_classes(frozen, y):
    """Also where the numbers of clusters happen to be labels."""
    model = KMeans(3, n_init=1, random_state=0)
    given = FrozenEstimator(clone(model).fit(X)) if frozen else model
    with pytest.raises(ValueError, match=r"must be a classifier or a regressor. Got .*KMeans\("):
        CounterfactualExplainer(given).fit(X, y)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        IsolationForest(n_estimators=10, random_state=0),
        OneClassSVM(nu=0.1),
        make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
    ],
    ids=["forest", "svm", "pipeline"],
)
def test_outlier_detector_makes_inliers(model, frozen):
    trained = clone(model).fit(X)
    labels = trained.predict(X)
    explainer = CounterfactualExplainer(FrozenEstimator(trained) if frozen else model)
    result = explainer.fit(X, labels).explain(X[labels == -1][:4], target=1)
    assert explainer.classes_.tolist() == [-1, 1] and result.success.all()
    assert trained.predict(result.counterfactuals).tolist() == [1] * len(result)


def test_outlier_detector_refuses_other_labels():
    detector = IsolationForest(n_estimators=5, random_state=0)
    with pytest.raises(ValueError, match=r"y must hold -1 for outliers and 1 .* Got 0 instead"):
        CounterfactualExplainer(detector).fit(X, CODES)


def test_labels_that_y_does_not_know():
    with pytest.raises(ValueError, match=r"Got <.*Predicts object .*gives no training row one of"):
        CounterfactualExplainer(Predicts()).fit(X, CODES)


def test_retraining():
    frozen = FrozenEstimator(FrozenEstimator(MODEL))
    again = retrained(frozen, X[:60], Y[:60])
    expected = LogisticRegression(max_iter=500).fit(X[:60], Y[:60])
    np.testing.assert_allclose(again.coef_, expected.coef_)
    with pytest.raises(ValueError, match=r"'ensemble' .* cannot be trained again. Got an int for"):
        retrained(MODEL.predict, X, Y)


def test_resampled_rows_keep_the_classes():
    """Every class keeps its count; rows are drawn with replacement, anew each time."""
    y = np.array(["a"] * 5 + ["b"] * 40 + ["c"])
    samples = list(resampled(y, 20, np.random.RandomState(0), True))
    for rows in samples:
        assert [(y[rows] == label).sum() for label in "abc"] == [5, 40, 1]
        assert len(np.unique(rows)) < len(rows)
    assert len({tuple(rows) for rows in samples}) == 20
    again = list(resampled(y, 20, np.random.RandomState(0), True))
    assert all((a == b).all() for a, b in zip(samples, again, strict=True))
    values = np.linspace(0, 1, 50)
    (rows,) = resampled(values, 1, np.random.RandomState(0), False)
    assert len(rows) == 50 and 20 < len(np.unique(rows)) < 50
