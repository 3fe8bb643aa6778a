"""Numbers that models return as probabilities, and scores that are none."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer, Probability, Status
from scfe_sklearn.models import adopt, are_probabilities

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(300, 2)).round(3), columns=["a", "b"])
Y = (X.a + X.b > 0).astype(int).to_numpy()


def odds(rows):
    return 3 * np.asarray(rows, dtype=float).sum(axis=1)


def sure(rows):
    p = 1 / (1 + np.exp(-odds(rows)))
    return np.column_stack([1 - p, p])


class Model(ClassifierMixin, BaseEstimator):
    """Predicts by ``sure`` and returns something made of it as probabilities."""

    shape = staticmethod(lambda table: table)

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[sure(X).argmax(axis=1)]

    def predict_proba(self, X):
        return type(self).shape(sure(X))


SHAPES = {
    "one column": lambda P: P[:, :1],
    "three columns": lambda P: np.hstack([P, P[:, :1]]),
    "a vector": lambda P: P[:, 1],
    "transposed": lambda P: P.T,
    "a list": lambda P: [P[:, 0], P[:, 1], P[:, 1]],
    "one row": lambda P: P[:1],
}
VALUES = {
    "sums to 7": lambda P: 7 * P,
    "negative": lambda P: P - 1,
    "above one": lambda P: 2 * P - 0.5,
    "sums to 1.1": lambda P: 1.1 * P,
    "logarithms": np.log,
}


def shaped(shape, base=Model):
    return type("Shaped", (base,), {"shape": staticmethod(shape)})()


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: make_pipeline(StandardScaler(), m)])
@pytest.mark.parametrize("name", [*SHAPES, *VALUES])
def test_fit_refuses_what_is_no_table_of_probabilities(name, wrap):
    message = "one column for each of the classes" if name in SHAPES else "between 0 and 1, with"
    with pytest.raises(ValueError, match=f"'estimator' parameter .* predict_proba .*{message}"):
        CounterfactualExplainer(wrap(shaped({**SHAPES, **VALUES}[name]))).fit(X, Y)


def test_fit_refuses_an_ensemble_without_probabilities_by_name():
    bad = FrozenEstimator(shaped(VALUES["negative"]).fit(X, Y))
    with pytest.raises(ValueError, match=r"'ensemble' parameter .* predict_proba"):
        CounterfactualExplainer(Model(), ensemble=[bad]).fit(X, Y)


def test_objects_of_scores_are_refused_and_single_precision_is_not():
    class Trained:
        classes_ = np.array([0, 1])

        def __init__(self, shape):
            self.predict_proba = lambda rows: shape(sure(rows))
            self.predict = lambda rows: sure(rows).argmax(axis=1)

    with pytest.raises(ValueError, match="that returns probabilities"):
        CounterfactualExplainer(Trained(np.log)).fit(X, Y)
    single = CounterfactualExplainer(Trained(lambda P: P.astype(np.float32))).fit(X, Y)
    assert single._explain(X[Y == 0][:3], Probability(1, 0.7)).success.all()


@pytest.mark.parametrize("columns", [2, 3])
def test_functions_of_scores_have_no_probabilities(columns):
    labels = (
        np.where(X.a > 0.5, "high", np.where(X.a < -0.5, "low", "mid"))
        if columns == 3
        else np.where(X.a > 0, "yes", "no")
    )

    def scores(rows):
        a = np.asarray(rows)[:, 0].astype(float)
        two = np.column_stack([-a, a])
        return two if columns == 2 else np.column_stack([a, -a, 0.5 - np.abs(a)])

    explainer = CounterfactualExplainer(scores).fit(X, labels)
    assert not hasattr(explainer.estimator_, "predict_proba")
    target = explainer.classes_[-1]
    rows = X[explainer.estimator_.predict(X) != target][:5]
    result = explainer._explain(rows, target)
    assert result.success.all()
    assert np.isnan(result.probability_before).all() and np.isnan(result.probability_after).all()
    answers = scores(result.counterfactuals)
    assert (explainer.classes_[answers.argmax(axis=1)] == target).all()
    with pytest.raises(ValueError, match=r"a model without predict_proba.*CalibratedClassifierCV"):
        explainer.explain(rows, Probability(target, 0.8))
    page = re.sub(r"<[^>]+>", " ", result.to_html())
    assert "probability of the target" not in page
    assert json.loads(result.to_json())["fields"]["probability_after"]


def test_functions_of_probabilities_keep_them():
    explainer = CounterfactualExplainer(sure).fit(X, Y)
    rows = X[Y == 0][:5]
    result = explainer._explain(rows, Probability(1, 0.8))
    after = sure(result.counterfactuals)[:, 1]
    np.testing.assert_allclose(result.probability_after, after)
    assert (after >= 0.8).all()


def test_scores_that_look_like_probabilities_in_the_first_rows_only():
    """All rows that are tried decide, not the first ones."""

    def scores(rows):
        table = sure(rows)
        return np.where((np.asarray(rows)[:, :1].astype(float) > 1.5), 2 * table, table)

    ordered = X.sort_values("a")
    model = adopt(scores, ordered, Y[ordered.index])
    assert not hasattr(model, "predict_proba") and hasattr(model, "decision_function")


def test_a_row_without_probabilities_fails_alone():
    """A function that returned probabilities in training may return others for a row."""

    def strange(rows):
        table = sure(rows)
        far = np.asarray(rows)[:, 0].astype(float) > 50
        return np.where(far[:, None], table * 3, table)

    explainer = CounterfactualExplainer(strange).fit(X, Y)
    rows = X[Y == 0][:3].reset_index(drop=True)
    rows.loc[1, "a"] = 60.0
    result = explainer._explain(rows, Probability(1, 0.8))
    assert result.status[1] == Status.MODEL_FAILED and "do not sum to 1" in result.reason[1]
    assert result.success[[0, 2]].all()


def test_are_probabilities_by_hand():
    table = np.array([[0.5, 0.5], [1.0, 0.0], [0.5, 0.51], [np.nan, 1.0], [-0.1, 1.1], [0.0, 0.0]])
    assert are_probabilities(table).tolist() == [True, True, False, False, False, False]


def test_a_gradient_model_is_checked_too():
    class Doubled(LogisticRegression):
        def predict_proba(self, X):
            return 2 * super().predict_proba(X)

    with pytest.raises(ValueError, match="that returns probabilities"):
        CounterfactualExplainer(Doubled()).fit(X, Y)
