import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn.models.predictions import responses

NAMES = ["predict", "predict_proba"]


class Counted(TransformerMixin, BaseEstimator):
    """Counts how often it transforms; has nothing that is fitted."""

    calls = 0

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        type(self).calls += 1
        return X


class Thresholded(RandomForestClassifier):
    """Its labels are not the largest probabilities."""

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.1).astype(int)]


def _data():
    X, y = load_iris(return_X_y=True, as_frame=True)
    return X, y.map({0: "a", 1: "b", 2: "c"}).to_numpy()


@pytest.mark.parametrize(
    "last",
    [
        LogisticRegression(max_iter=500),
        RandomForestClassifier(7, random_state=0),
        ExtraTreesClassifier(7, random_state=0),
        Thresholded(7, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
        GradientBoostingClassifier(n_estimators=5),
    ],
)
@pytest.mark.parametrize("wrap", [lambda m: m, FrozenEstimator])
@pytest.mark.parametrize("steps", [False, True])
def test_answers_are_those_of_the_methods(last, wrap, steps):
    X, y = _data()
    front = make_column_transformer((StandardScaler(), list(X)[:2]), remainder="passthrough")
    model = wrap((make_pipeline(front, last) if steps else last).fit(X, y))
    label, probability = responses(model, X, NAMES)
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_array_equal(probability, model.predict_proba(X))
    assert label.dtype == model.predict(X).dtype
    assert len(responses(model, X, ["predict"])) == 1


def test_the_steps_run_once():
    X, y = _data()
    model = make_pipeline("passthrough", Counted(), LogisticRegression(max_iter=500)).fit(X, y)
    Counted.calls = 0
    responses(FrozenEstimator(model), X, NAMES)
    assert Counted.calls == 1


def test_a_pipeline_of_the_users_own_is_asked_itself():
    class Shifted(Pipeline):
        def predict(self, X, **params):
            return super().predict(X + 100, **params)

    X, y = pd.DataFrame({"a": [0.0, 1.0, 200.0]}), [0, 0, 1]
    model = Shifted([("scale", StandardScaler()), ("model", LogisticRegression())]).fit(X, y)
    label, _ = responses(model, X, NAMES)
    np.testing.assert_array_equal(label, model.predict(X))


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(4, random_state=0),
        HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=1),
        GradientBoostingClassifier(n_estimators=3),
    ],
)
def test_where_two_classes_are_as_likely(model):
    """Rows of which half have either label: whatever the estimator says is said."""
    X, y = np.repeat(np.arange(40.0), 2)[:, None], np.tile(["a", "b"], 40)
    model = model.fit(X, y)
    label, probability = responses(model, X, NAMES)
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_array_equal(probability, model.predict_proba(X))


def test_a_method_that_somebody_put_in_place_of_the_own_one_is_asked():
    X, y = _data()
    for model in (
        RandomForestClassifier(3, random_state=0).fit(X, y),
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(X, y),
    ):
        model.predict = lambda X: np.full(len(X), "a")
        assert set(responses(model, X, NAMES)[0]) == {"a"}
