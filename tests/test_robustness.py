"""Survival of answers, against loops over its definition."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.robustness import (
    consistency_under_retraining,
    stability_curve,
    survival_under_noise,
    survival_under_retraining,
)


def make(n=200):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"u": rng.normal(size=n), "k": rng.integers(0, 9, n)})
    X["job"] = rng.choice(["a", "b"], n)
    y = np.where(X["u"] + 0.3 * X["k"] + (X["job"] == "a") > 2, "yes", "no")
    columns = make_column_transformer((StandardScaler(), ["u", "k"]), (OneHotEncoder(), ["job"]))
    return X, y, make_pipeline(columns, LogisticRegression())


def test_shortfall_buys_survival_under_noise():
    X, y, model = make()
    model.fit(X, y)
    query = X[model.predict(X) == "no"][:40]
    rates = {}
    for shortfall in (0.0, 0.3):
        explainer = CounterfactualExplainer(FrozenEstimator(model), tau=0.0, shortfall=shortfall)
        result = explainer.fit(X, y).explain(query, target="yes")
        rate = survival_under_noise(result, model, noise=0.3, random_state=0)
        assert (np.isnan(rate) == ~result.success).all()
        rates[shortfall] = np.nanmean(rate)
        # Without noise every answer is an answer.
        whole = survival_under_noise(result, model, noise=0.0, n_samples=3)
        assert (whole[result.success] == 1).all()
    assert rates[0.0] < 0.75 < rates[0.3]


def test_noise_is_the_share_that_is_left_undone():
    X, y, model = make()
    model.fit(X, y)
    query = X[model.predict(X) == "no"][:10]
    result = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y).explain(query, target="yes")
    seen = []

    class Spy:
        def predict(self, rows):
            seen.append(rows)
            return model.predict(rows)

    rate = survival_under_noise(result, Spy(), noise=0.5, n_samples=20, random_state=1)
    rows = seen[0]
    before, after = (
        frame.iloc[np.repeat(np.arange(10), 20)] for frame in (query, result.counterfactuals)
    )
    assert (rows["job"].to_numpy() == after["job"].to_numpy()).all()
    with np.errstate(invalid="ignore", divide="ignore"):
        share = ((rows["u"].to_numpy() - before["u"]) / (after["u"] - before["u"])).dropna()
    assert ((share >= 0.5 - 1e-9) & (share <= 1 + 1e-9)).all()
    hit = (model.predict(rows) == "yes").reshape(10, 20).mean(axis=1)
    np.testing.assert_allclose(rate, hit)


def test_an_ensemble_survives_retraining_better():
    X, y, _ = make()
    X = X[["u", "k"]]
    forest = RandomForestClassifier(10, random_state=0)
    query = X[y == "no"][:25]
    rates = []
    for ensemble in (None, 8):
        explainer = CounterfactualExplainer(forest, ensemble=ensemble, random_state=0).fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            result = explainer.explain(query, target="yes")
        rate = survival_under_retraining(result, forest, X, y, n_models=8, random_state=1)
        assert ((rate[result.success] >= 0) & (rate[result.success] <= 1)).all()
        rates.append(np.nanmean(rate))
    assert rates[1] > rates[0]


def test_wrong_noise_is_refused():
    X, y, model = make()
    result = CounterfactualExplainer(model).fit(X, y).explain(X[:1])
    with pytest.raises(ValueError, match="'noise' parameter of survival_under_noise"):
        survival_under_noise(result, model, noise=2)


@pytest.fixture(scope="module")
def explained():
    X, y, model = make()
    explainer = CounterfactualExplainer(model, density="knn", immutable=["k"]).fit(X, y)
    return explainer, X, y


def test_a_stability_curve_is_what_two_calls_give(explained):
    explainer, X, _ = explained
    rows = X[explainer.predict(X) == "no"][:12]
    curve = stability_curve(explainer, rows, "yes", radii=[0.0, 0.5], n_samples=2, random_state=0)
    assert len(curve) == 2 * 2 * 12 and list(curve.columns) == ["radius", "row", "input", "answer"]
    still = curve[curve["radius"] == 0]
    assert (still[["input", "answer"]] == 0).all(axis=None)
    moved = curve[curve["radius"] == 0.5]
    # Only u may be disturbed: k never changes, and job is no number.
    np.testing.assert_allclose(moved["input"], 0.5)
    first = explainer.explain(rows, "yes").counterfactuals
    sign = np.random.RandomState(0)
    sign.standard_normal((2, 12, 1))
    step = 0.5 * np.sign(sign.standard_normal((12, 1)))[:, 0] * X["u"].std(ddof=0)
    noisy = rows.assign(u=rows["u"] + step)
    again = explainer.explain(noisy, "yes")
    difference = (again.counterfactuals["u"] - first["u"]) / X["u"].std(ddof=0)
    jobs = again.counterfactuals["job"] != first["job"]
    expected = np.hypot(difference, jobs.astype(float)).to_numpy(copy=True)
    expected[again.status != "found"] = np.nan
    np.testing.assert_allclose(moved["answer"][:12], expected, atol=1e-6)


def test_consistency_is_the_mean_distance_to_answers_of_models_trained_again(explained):
    explainer, X, y = explained
    rows = X[explainer.predict(X) == "no"][:8]
    found = consistency_under_retraining(explainer, rows, X, y, "yes", n_models=3, random_state=1)
    random, answers = np.random.RandomState(1), []
    first = explainer.explain(rows, "yes")
    for _ in range(3):
        parts = [np.flatnonzero(y == label) for label in ("no", "yes")]
        drawn = np.sort(
            np.concatenate([part[random.randint(0, len(part), len(part))] for part in parts])
        )
        model = make()[2].fit(X.iloc[drawn], y[drawn])
        other = CounterfactualExplainer(FrozenEstimator(model), density="knn", immutable=["k"])
        again = other.fit(X, y).explain(rows, "yes")
        u = (again.counterfactuals["u"] - first.counterfactuals["u"]) / X["u"].std(ddof=0)
        jobs = again.counterfactuals["job"] != first.counterfactuals["job"]
        distance = np.hypot(u, jobs.astype(float)).to_numpy(copy=True)
        distance[again.status != "found"] = np.nan
        answers.append(distance)
    np.testing.assert_allclose(found, np.nanmean(answers, axis=0), atol=1e-6)
