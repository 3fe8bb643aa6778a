"""Steps from cell to cell of trees, against proved optima and against all points."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, Interval

BETAS = (4.0, 1.0, 0.0)
MODELS = {
    "hist boosting": HistGradientBoostingClassifier(max_iter=25, max_leaf_nodes=8, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=20, max_depth=3, random_state=0),
    "forest": RandomForestClassifier(15, max_depth=3, random_state=0),
    "extra trees": ExtraTreesClassifier(15, max_depth=3, random_state=0),
}


def numbers(n_columns=10, seed=0):
    """Skewed whole numbers, and a label."""
    X, y = make_classification(
        1000, n_columns, n_informative=n_columns - 4, n_clusters_per_class=3, random_state=seed
    )
    X[:, ::2] = np.rint(20 * np.exp(0.5 * X[:, ::2]))
    return pd.DataFrame(X.round(2), columns=[f"x{j}" for j in range(n_columns)]), y


def mixed(seed=0):
    """Numbers, an ordered and an unordered category."""
    rng = np.random.default_rng(seed)
    grades = ["low", "mid", "high"]
    X = pd.DataFrame(
        {
            "age": rng.integers(18, 70, 900),
            "pay": rng.lognormal(3, 0.6, 900).round(1),
            "job": rng.choice(list("abcd"), 900),
            "grade": pd.Categorical(rng.choice(grades, 900), grades, ordered=True),
            "debt": rng.gamma(2, 5, 900).round(1),
        }
    )
    score = X.age / 30 + X.pay / 15 - X.debt / 8 + (X.job == "a") + X.grade.cat.codes
    return X, (score + rng.normal(0, 0.5, 900) > 4).astype(int)


def answers(model, X, y, queries, beta, solver="search", **parameters):
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), solver=solver, tau=0.0, beta=beta, **parameters
    ).fit(X, y)
    return explainer.explain(queries, target=1)


def price(result, beta):
    return result.distance**2 + beta * result.n_changes


@pytest.mark.parametrize("name", MODELS)
def test_search_is_near_the_proved_optimum_at_every_price(name):
    X, y = numbers()
    model = MODELS[name].fit(X, y)
    queries = X[model.predict(X) == 0][:10]
    found = {beta: answers(model, X, y, queries, beta) for beta in BETAS}
    for beta in BETAS:
        best = answers(model, X, y, queries, beta, "milp", milp_seconds=20.0)
        assert found[beta].success.all() and best.success.all()
        ratio = price(found[beta], beta) / price(best, beta)
        proved = best.gap == 0
        assert proved.sum() >= 7
        assert (ratio[proved] >= 1 - 1e-9).all()
        assert (ratio <= 1.05).mean() >= 0.9
        for higher in BETAS:
            if higher > beta:
                assert (price(found[beta], beta) <= price(found[higher], beta) + 1e-9).all()


def test_search_of_mixed_columns_keeps_the_rules_and_is_near_the_proved_optimum():
    X, y = mixed()
    columns = make_column_transformer(
        (StandardScaler(), ["age", "pay", "debt"]), (OneHotEncoder(), ["job", "grade"])
    )
    model = make_pipeline(columns, MODELS["boosting"]).fit(X, y)
    queries = X[model.predict(X) == 0][:20]
    rules = {"increasing": ["age"], "immutable": ["job"], "ranges": {"debt": (1.0, 30.0)}}
    for budget in (None, 2):
        given = {**rules, "max_changes": budget}
        found = answers(model, X, y, queries, 0.0, **given)
        best = answers(model, X, y, queries, 0.0, "milp", **given)
        assert (found.success == best.success).all() and found.success.mean() > 0.8
        done = found.counterfactuals[found.success]
        before = queries[found.success]
        assert (model.predict(done) == 1).all()
        assert (done.age >= before.age).all() and (done.job == before.job).all()
        moved = done.debt != before.debt
        assert done.debt[moved].between(1.0, 30.0).all()
        assert budget is None or (found.n_changes[found.success] <= budget).all()
        ratio = price(found, 0.0)[found.success] / price(best, 0.0)[found.success]
        assert (ratio <= 1.05).mean() >= 0.9


def test_search_with_weighted_costs_is_near_the_proved_optimum():
    X, y = numbers(8, seed=1)
    model = MODELS["hist boosting"].fit(X, y)
    queries = X[model.predict(X) == 0][:10]
    costs = {"x0": 5.0, "x1": 0.2}
    found = answers(model, X, y, queries, 0.5, costs=costs)
    best = answers(model, X, y, queries, 0.5, "milp", costs=costs)
    weight = np.array([costs.get(name, 1.0) for name in X.columns])
    scale = X.std(ddof=0).to_numpy()

    def total(result):
        change = (result.counterfactuals - queries).to_numpy() / scale
        return (weight * (change**2 + 0.5 * (np.abs(change) > 1e-9))).sum(axis=1)

    assert (total(found) <= 1.05 * total(best)).mean() >= 0.9


def test_search_of_a_regressor_reaches_the_interval_by_small_moves():
    X, _ = numbers(8, seed=2)
    value = X.to_numpy() @ np.linspace(-1, 1, 8)
    model = RandomForestRegressor(20, max_depth=5, random_state=0).fit(X, value)
    queries = X[model.predict(X) < np.quantile(value, 0.4)][:10]
    goal = Interval(float(np.quantile(value, 0.6)), None)
    results = []
    for solver in ("search", "milp"):
        explainer = CounterfactualExplainer(
            FrozenEstimator(model), solver=solver, tau=0.0, beta=0.0
        ).fit(X, value)
        results.append(explainer.explain(queries, target=goal))
    found, best = results
    assert found.success.all()
    assert (price(found, 0.0) <= 1.05 * price(best, 0.0)).mean() >= 0.9


def test_stepping_batch_equals_rows():
    X, y = numbers(10, seed=3)
    model = MODELS["forest"].fit(X, y)
    queries = X[model.predict(X) == 0][:9]
    together = answers(model, X, y, queries, 0.0)
    for i in (0, 4, 8):
        alone = answers(model, X, y, queries.iloc[[i]], 0.0)
        np.testing.assert_array_equal(
            alone.counterfactuals.to_numpy(), together.counterfactuals.iloc[[i]].to_numpy()
        )


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_search_of_any_model_is_no_worse_than_at_a_higher_price(tau):
    X, y = numbers(8, seed=4)
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(15)).fit(X, y)
    queries = X[model.predict(X) == 0][:15]
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), tau=tau, beta=0.0, min_plausibility=0.0
    ).fit(X, y)
    assert explainer.solver_ == "search"
    results = {}
    for beta in BETAS:
        results[beta] = explainer.set_params(beta=beta).explain(queries, target=1)

    def total(beta, at):
        reference = explainer.density_.reference_log_prob_[1]
        unit = np.median(reference) - np.quantile(reference, 0.25)
        plausible = results[beta].log_density
        return price(results[beta], at) - tau / unit * plausible

    for beta, higher in ((0.0, 1.0), (0.0, 4.0), (1.0, 4.0)):
        assert (total(beta, beta) <= total(higher, beta) + 1e-6).all()
