"""Fitted models: trained anew with a warning, kept where they are frozen or of an ensemble."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from scfe_sklearn import CounterfactualExplainer, CounterfactualTransformer, RecoursePipeline
from scfe_sklearn.models import is_fitted

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(240, 3)).round(2), columns=list("abc"))
Y = ((X.a * X.b + X.c) > 0.3).astype(int)
WARNING = r"The 'estimator' parameter of CounterfactualExplainer is a fitted \w+, but fit trains a"


class Constant(ClassifierMixin, BaseEstimator):
    """Needs no fit, as its tags say."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


class Duck:
    """Has the methods of an estimator, and is none."""

    def fit(self, X, y):
        self.coef_ = np.ones(X.shape[1])
        return self

    def get_params(self, deep=True):
        return {}


FITTED = [
    LogisticRegression().fit(X, Y),
    make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y),
    make_pipeline(StandardScaler(), make_pipeline(LogisticRegression(), memory=None)).fit(X, Y),
    make_pipeline(StandardScaler(), FrozenEstimator(LogisticRegression().fit(X, Y))).fit(X, Y),
    GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2).fit(X, Y),
    FixedThresholdClassifier(LogisticRegression(), threshold=0.4).fit(X, Y),
    FixedThresholdClassifier(LogisticRegression().fit(X, Y), threshold=0.4),
    RandomForestClassifier(3, random_state=0).fit(X, Y),
    LinearRegression().fit(X, Y),
    Duck().fit(X, Y),
]
NOT_FITTED = [
    LogisticRegression(),
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(StandardScaler(), FrozenEstimator(LogisticRegression().fit(X, Y))),
    make_pipeline(FrozenEstimator(StandardScaler().fit(X)), LogisticRegression()),
    make_pipeline(FunctionTransformer(), FrozenEstimator(LogisticRegression().fit(X, Y))),
    GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2),
    FrozenEstimator(LogisticRegression().fit(X, Y)),
    FixedThresholdClassifier(LogisticRegression(), threshold=0.4),
    Constant(),
    Duck(),
    torch.nn.Linear(3, 2),
    len,
    None,
]


@pytest.mark.parametrize("model", FITTED, ids=lambda model: type(model).__name__)
def test_is_fitted_is_true_of_what_another_fit_would_replace(model):
    assert is_fitted(model)


@pytest.mark.parametrize("model", NOT_FITTED, ids=lambda model: type(model).__name__)
def test_is_fitted_is_false_of_what_is_unfitted_kept_or_never_trained(model):
    assert not is_fitted(model)


@pytest.mark.parametrize("model", FITTED[:2], ids=lambda model: type(model).__name__)
def test_fit_warns_of_a_fitted_model_where_it_was_called(model):
    with pytest.warns(UserWarning, match=WARNING) as found:
        explainer = CounterfactualExplainer(model).fit(X[:120], Y[:120])
    assert found[0].filename == __file__ and "FrozenEstimator(model)" in str(found[0].message)
    assert explainer.estimator_ is not model
    frozen = CounterfactualExplainer(FrozenEstimator(model)).fit(X[:120], Y[:120])  # no warning
    assert frozen.estimator_.estimator is model


def test_pipelines_and_transformers_warn_before_they_clone():
    fitted = LogisticRegression().fit(X, Y)
    steps = [("scale", StandardScaler()), ("explain", CounterfactualExplainer(fitted))]
    for one in (
        RecoursePipeline(steps),
        RecoursePipeline(steps[1:]),
        CounterfactualTransformer(CounterfactualExplainer(fitted)),
    ):
        with pytest.warns(UserWarning, match=WARNING) as found:
            one.fit(X, Y)
        assert [warning.filename for warning in found] == [__file__]


def test_a_search_over_an_unfitted_model_does_not_warn():
    explainer = CounterfactualExplainer(LogisticRegression())
    search = GridSearchCV(explainer, {"tau": [1.0]}, cv=[(np.arange(120), np.arange(120, 140))])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        search.fit(X, Y)
        clone(search.best_estimator_).fit(X, Y)
        search.best_estimator_.fit(X, Y)


def test_explain_before_fit_leads_to_a_frozen_model():
    with pytest.raises(NotFittedError, match="a model in a FrozenEstimator is explained as it is"):
        CounterfactualExplainer(LogisticRegression()).explain(X[:2])


def trained_on_a_sample(seed):
    rows = np.random.default_rng(seed).integers(0, len(X), len(X))
    forest = RandomForestClassifier(5, max_depth=4, random_state=seed)
    return forest.fit(X.iloc[rows], Y.iloc[rows])


def test_fitted_models_of_an_ensemble_are_kept_and_agree():
    first, *others = (trained_on_a_sample(seed) for seed in range(3))
    explainer = CounterfactualExplainer(FrozenEstimator(first), ensemble=others).fit(X, Y)
    assert [model.estimator for model in explainer.ensemble_] == others
    result = explainer._explain(X[first.predict(X) == 0][:25], 1)
    answers = result.counterfactuals[result.success]
    assert len(answers) > 10
    for model in (first, *others):
        assert (model.predict(answers) == 1).all()


def test_unfitted_models_of_an_ensemble_are_trained():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    frozen = FrozenEstimator(trained_on_a_sample(0))
    explainer = CounterfactualExplainer(LogisticRegression(), ensemble=(pipeline, frozen))
    trained, kept = explainer.fit(X, Y).ensemble_
    assert kept is frozen and not is_fitted(pipeline)
    np.testing.assert_array_equal(trained.predict(X), clone(pipeline).fit(X, Y).predict(X))
