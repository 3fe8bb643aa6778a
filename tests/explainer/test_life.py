"""Explainers are saved, copied, changed and fitted again like other estimators."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.datasets import make_loan_applications

NUMBERS = ["age", "income", "savings", "credit_score", "debt_ratio"]


@pytest.fixture(scope="module")
def loans():
    X, y = make_loan_applications(250, random_state=0)
    return X[NUMBERS], y.to_numpy()


def forest():
    return RandomForestClassifier(7, max_depth=4, random_state=0)


def answers(explainer, X, target="approved"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(X, target).counterfactuals


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
@pytest.mark.parametrize("asked", [False, True])
def test_a_saved_explainer_answers_as_before(copied, asked, loans):
    X, y = loans
    explainer = CounterfactualExplainer(forest(), ensemble=1, random_state=0).fit(X, y)
    query = X[y == "refused"][:5]
    before = answers(explainer, query) if asked else None
    twin = copied(explainer)
    got = answers(twin, query)
    pd.testing.assert_frame_equal(got, answers(explainer, query) if before is None else before)
    assert (twin.estimator_.predict(got.dropna()) == "approved").all() and len(got.dropna()) >= 4
    pd.testing.assert_frame_equal(answers(twin, query), got)


def test_a_saved_explainer_of_a_regressor(loans):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    explainer = CounterfactualExplainer(LinearRegression()).fit(X, y)
    twin = pickle.loads(pickle.dumps(explainer))
    before, after = (answers(one, X[:4], (200, None)) for one in (explainer, twin))
    pd.testing.assert_frame_equal(before, after)


def test_explaining_leaves_no_trace(loans):
    X, y = loans
    explainer = CounterfactualExplainer(forest()).fit(X, y)
    state = {name: pickle.dumps(value) for name, value in explainer.__getstate__().items()}
    answers(explainer, X[:5])
    explainer.score(X[:5])
    again = {name: pickle.dumps(value) for name, value in explainer.__getstate__().items()}
    assert state == again


def test_cloning_and_setting_parameters(loans):
    X, y = loans
    model = FrozenEstimator(forest().fit(X, y))
    explainer = CounterfactualExplainer(model, max_changes=1, shortfall=0.1).fit(X, y)
    other = clone(explainer)
    assert other is not explainer and other.get_params()["shortfall"] == 0.1
    with pytest.raises(NotFittedError):
        other.explain(X[:2])
    query = X[y == "refused"][:5]
    pd.testing.assert_frame_equal(answers(other.fit(X, y), query), answers(explainer, query))
    other.set_params(max_changes=None, shortfall=0.0, solver="search")
    fresh = CounterfactualExplainer(model, solver="search").fit(X, y)
    pd.testing.assert_frame_equal(answers(other.fit(X, y), query), answers(fresh, query))


def test_nothing_is_left_of_the_first_fit(loans):
    """From classes to values and back, from a frame to an array, from a forest to a line."""
    X, y = loans
    explainer = CounterfactualExplainer(forest()).fit(X, y)
    query = X[y == "refused"][:4]
    first = answers(explainer, query)
    explainer.set_params(estimator=LinearRegression()).fit(X.to_numpy(), X["income"].to_numpy())
    assert not hasattr(explainer, "classes_") and not hasattr(explainer, "feature_names_in_")
    values = answers(explainer, X[:4].to_numpy(), (30_000, None))
    assert values.shape == (4, len(NUMBERS))
    explainer.set_params(estimator=LogisticRegression(max_iter=5000)).fit(X, y)
    assert explainer.classes_.tolist() == ["approved", "refused"] and explainer.solver_ == "apg"
    explainer.set_params(estimator=forest()).fit(X, y)
    assert explainer.solver_ == "search"
    pd.testing.assert_frame_equal(answers(explainer, query), first)


def test_a_grid_over_what_is_asked(loans):
    X, y = loans
    grid = {"max_changes": [1, "fewest", None], "tau": [0.5, 5.0]}
    small = GradientBoostingClassifier(n_estimators=4, random_state=0).fit(X, y)
    search = GridSearchCV(CounterfactualExplainer(FrozenEstimator(small)), grid, cv=2)
    search.fit(X[:80], y[:80])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.explain(X[:3]).success.any()
