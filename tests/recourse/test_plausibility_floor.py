"""Unusual answers are no less usual than the plain walk to a training row."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer

X, Y = load_breast_cancer(return_X_y=True, as_frame=True)
MODELS = {
    "apg": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y),
    "search": RandomForestClassifier(20, random_state=0).fit(X, Y),
}
QUERY = X[(MODELS["apg"].predict(X) == 0) & (MODELS["search"].predict(X) == 0)][:25]
CENTER, SCALE = X.mean().to_numpy(), X.std(ddof=0).to_numpy()


def fitted(solver, **parameters):
    return CounterfactualExplainer(FrozenEstimator(MODELS[solver]), **parameters).fit(X, Y)


def greedy_baseline(model, row):
    """In raw units, by loops: the features of the nearest training row, the best ones first."""
    own = X[(Y == 1) & (model.predict(X) == 1)].to_numpy()
    near = own[np.argsort((((own - row) / SCALE) ** 2).sum(axis=1), kind="stable")[0]]
    here, left = row.copy(), list(np.flatnonzero(near != row))
    while left:
        options = np.repeat(here[None], len(left), axis=0)
        options[np.arange(len(left)), left] = near[left]
        chance = model.predict_proba(options_frame(options))[:, 1]
        best = int(chance.argmax())
        here = options[best]
        left.pop(best)
        if chance[best] > 0.5:
            return here
    return here


def options_frame(rows):
    return X.iloc[:0].reindex(range(len(rows))).assign(**dict(zip(X.columns, rows.T, strict=True)))


def outlier_factor(model, rows):
    """LOF by scikit-learn among the training rows of the class."""
    own = X[(Y == 1) & (model.predict(X) == 1)].to_numpy()
    factor = LocalOutlierFactor(20, novelty=True).fit((own - CENTER) / SCALE)
    return -factor.score_samples((rows - CENTER) / SCALE), -factor.negative_outlier_factor_


@pytest.mark.parametrize(
    ("solver", "guessed"), [("apg", 0.6), ("search", 0.6), ("search", 1e6), ("search", -1e6)]
)
def test_floor_is_that_of_the_greedy_baseline(solver, guessed, monkeypatch):
    # Whether none, some or all rows are guessed to need a limit is no matter.
    monkeypatch.setattr("scfe_sklearn.solvers.search_solver.GUESSED", guessed)
    model, explainer = MODELS[solver], fitted(solver)
    result = explainer.explain(QUERY, target=1)
    free = fitted(solver, min_plausibility=0.0).explain(QUERY, target=1)
    assert result.success.all() and free.success.all() and result.solver == solver
    baselines = np.array([greedy_baseline(model, row) for row in QUERY.to_numpy()])
    walked, own = outlier_factor(model, baselines)
    usual = np.quantile(own, 0.75)
    before, _ = outlier_factor(model, free.counterfactuals.to_numpy())
    after, _ = outlier_factor(model, result.counterfactuals.to_numpy())
    assert (after <= np.maximum(walked, usual) + 1e-3).all()
    changed = before > np.maximum(walked, usual) + 1e-3
    assert changed.any()
    # An answer that is usual enough is the one without a limit.
    same = before <= np.maximum(walked, usual) - 1e-3
    np.testing.assert_allclose(
        # Shortened within the limit.
        result.counterfactuals.to_numpy()[same],
        free.counterfactuals.to_numpy()[same],
        rtol=2e-3,
    )
    # The baseline keeps the limit itself, so it is never a better answer.
    price = (((baselines - QUERY) / SCALE) ** 2).sum(axis=1) + explainer.beta * (
        baselines != QUERY
    ).sum(axis=1)
    dear = result.distance**2 + explainer.beta * result.n_changes
    unit = np.median(np.log(own)) - np.quantile(np.log(own), 0.75)
    bought = explainer.tau / -unit * (np.log(after) - np.log(walked))
    assert (dear + bought <= price.to_numpy() + 1e-3)[changed].all()


@pytest.mark.parametrize("solver", MODELS)
def test_a_row_is_answered_the_same_alone(solver):
    explainer = fitted(solver)
    together = explainer.explain(QUERY, target=1).counterfactuals
    for i in (0, 7, 19):
        alone = explainer.explain(QUERY.iloc[[i]], target=1).counterfactuals
        np.testing.assert_allclose(alone, together.iloc[[i]], rtol=1e-9)


@pytest.mark.parametrize("given", [{"max_changes": 5}, {"tau": 0.0}, {"max_changes": "fewest"}])
def test_a_budget_or_no_price_goes_without(given):
    one, other = (
        fitted("apg", **given, **limit).explain(QUERY[:8], target=1)
        for limit in ({}, {"min_plausibility": 0.0})
    )
    np.testing.assert_array_equal(one.counterfactuals, other.counterfactuals)


def test_of_several_answers_the_first_keeps_the_limit():
    explainer = fitted("search")
    several = explainer.explain(QUERY[:8], target=1, n_counterfactuals=3)
    first = several[several.option == 0]
    baselines = np.array([greedy_baseline(MODELS["search"], row) for row in QUERY[:8].to_numpy()])
    walked, own = outlier_factor(MODELS["search"], baselines)
    after, _ = outlier_factor(MODELS["search"], first.counterfactuals.to_numpy())
    assert (after <= np.maximum(walked, np.quantile(own, 0.75)) + 1e-3).all()
    assert several.success.sum() > len(first)
