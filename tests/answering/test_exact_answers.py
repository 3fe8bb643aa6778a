"""Answers and proofs that are exact, against enumeration; and what comes closest."""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from scfe_sklearn import CounterfactualExplainer, Interval, Probability, Rules, Status

GRID = pd.DataFrame(list(product(range(4), range(4), range(3))), columns=["a", "b", "c"])


def labels_of(seed, share=0.25):
    return (np.random.default_rng(seed).random(len(GRID)) < share).astype(int)


def reachable(row, frozen, budget):
    """Points of the grid that a row may become."""
    same = (GRID[list(frozen)] == row[list(frozen)]).all(axis=1) if frozen else True
    changed = (row != GRID).sum(axis=1)
    return (changed > 0) & (changed <= budget) & same


@pytest.mark.parametrize("frozen", [(), ("a",), ("b", "c")])
@pytest.mark.parametrize("budget", [1, 2, None])
def test_trees_are_settled_for_good(frozen, budget):
    for seed in range(3):
        y = labels_of(seed, 0.15)
        model = DecisionTreeClassifier(max_depth=4, random_state=seed).fit(GRID, y)
        said = model.predict(GRID)
        explainer = CounterfactualExplainer(
            FrozenEstimator(model),
            solver="milp",
            beta=0.7,
            max_changes=budget,
            immutable=list(frozen),
        ).fit(GRID, y)
        query = GRID[said == 0][::7]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            result = explainer.explain(query, target=1)
        scale = explainer.space_.scale_
        for i in range(len(query)):
            row = query.iloc[i]
            good = reachable(row, frozen, budget or 3) & (said == 1)
            assert result.success[i] == good.any()
            if not good.any():
                assert result.status[i] == Status.UNREACHABLE
                continue
            steps = (GRID[good] - row) / scale
            price = (steps**2).sum(axis=1) + 0.7 * (steps != 0).sum(axis=1)
            assert result.distance[i] ** 2 + 0.7 * result.n_changes[i] == pytest.approx(price.min())
            assert result.gap[i] == 0
        assert result.solver == "milp"


def test_fewest_changes_of_a_forest_and_confident_answers():
    y = labels_of(5, 0.3)
    model = RandomForestClassifier(9, max_depth=4, random_state=0).fit(GRID, y)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), solver="milp", max_changes="fewest"
    ).fit(GRID, y)
    p = model.predict_proba(GRID)[:, 1]
    query = GRID[model.predict(GRID) == 0][::6]
    for target, good in ((1, model.predict(GRID) == 1), (Probability(1, at_least=0.6), p >= 0.6)):
        result = explainer.explain(query, target=target)
        fewest = [(GRID[good] != query.iloc[i]).sum(axis=1).min() for i in range(len(query))]
        np.testing.assert_array_equal(result.n_changes, fewest)


def test_values_of_a_tree():
    y = labels_of(2, 0.5) * 3.0 + GRID["a"]
    model = DecisionTreeRegressor(max_depth=4, random_state=0).fit(GRID, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), solver="milp").fit(GRID, y)
    said = model.predict(GRID)
    query = GRID[(said < 2) | (said > 3)][::6]
    result = explainer.explain(query, target=Interval(at_least=2, at_most=3))
    after = model.predict(result.counterfactuals)
    assert result.success.all() and ((after >= 2) & (after <= 3)).all()
    np.testing.assert_allclose(result.prediction_after.astype(float), after)


def test_what_the_program_does_not_know_is_refused():
    y = labels_of(0)
    model = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2).fit(GRID, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), solver="milp").fit(GRID, y)
    with pytest.raises(ValueError, match="must not be 'milp' with 'n_counterfactuals'"):
        explainer.explain(GRID[:3], n_counterfactuals=2)
    with pytest.raises(ValueError, match="must not be 'milp' with relations"):
        explainer.explain(GRID[:3], rules=Rules(relations=["a <= b"]))
    explainer.set_params(shortfall=0.1)
    with pytest.raises(ValueError, match="must not be 'milp' with 'shortfall'"):
        explainer.explain(GRID[:3])
    three = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2).fit(GRID, GRID["c"])
    explainer = CounterfactualExplainer(FrozenEstimator(three), solver="milp").fit(GRID, GRID["c"])
    with pytest.raises(ValueError, match="must not be 'milp' with a Probability of boosting"):
        explainer.explain(GRID[:3], target=Probability(2, 0.6))
    linear = FrozenEstimator(LogisticRegression().fit(GRID, y))
    with pytest.raises(TypeError, match="LogisticRegression"):
        CounterfactualExplainer(linear, solver="milp").fit(GRID, y)


def continuous(seed=0, n=150):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["u", "v", "w"])
    return X, (X @ [1.0, -2.0, 0.5] + 0.3 * rng.normal(size=n) > 1).astype(int)


@pytest.mark.parametrize("budget", [None, 1, 2])
def test_a_linear_model_proves_what_cannot_be(budget):
    X, y = continuous()
    model = LogisticRegression().fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=budget).fit(X, y)
    query = X[model.predict(X) == 0][:60]
    width = 0.4
    rules = Rules(
        ranges={
            name: (query[name].to_numpy() - width, query[name].to_numpy() + width) for name in X
        }
    )
    with pytest.warns(UserWarning, match="have no counterfactual"):
        result = explainer.explain(query, target=1, rules=rules, best_effort=True)
    # The score can grow by its largest slopes, unless the data end first.
    low, high = X.min().to_numpy(), X.max().to_numpy()
    z = query.to_numpy()
    room_up = np.minimum(z + width, np.maximum(high, z)) - z
    room_down = z - np.maximum(z - width, np.minimum(low, z))
    slope = model.coef_[0]
    gain = np.sort(np.where(slope > 0, slope * room_up, -slope * room_down), axis=1)[:, ::-1]
    best = model.decision_function(query) + gain[:, : budget or 3].sum(axis=1)
    np.testing.assert_array_equal(result.success, best > 0)
    lost = ~result.success
    assert lost.any() and result.success.any()
    assert all("proved" in reason for reason in result.reason[lost])
    # What comes closest is the best that can be done, and is marked.
    assert (result.status[lost] == Status.CLOSEST).all()
    reached = model.decision_function(result.counterfactuals[lost])
    np.testing.assert_allclose(reached, best[lost], rtol=1e-6, atol=1e-6)
    assert "closest, but not valid" in result[lost].sentences()[0]


def test_a_linear_regressor_proves_too():
    X, _ = continuous()
    model = LinearRegression().fit(X, X @ [1.0, 2.0, 3.0])
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=["v", "w"]).fit(X, X["u"])
    with pytest.warns(UserWarning, match="have no counterfactual"):
        result = explainer.explain(X[:10], target=Interval(at_least=1000))
    assert (result.status == Status.UNREACHABLE).all()


def test_best_effort_keeps_the_rules_and_is_asked_for():
    X, y = continuous()
    model = RandomForestClassifier(15, random_state=0).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), increasing=["u"]).fit(X, y)
    query = X[model.predict(X) == 0][:30]
    rules = Rules(immutable=["v"], ranges={"w": (query["w"].to_numpy(), None)})
    with pytest.warns(UserWarning, match="have no counterfactual"):
        plain = explainer.explain(query, target=1, rules=rules)
    with pytest.warns(UserWarning, match="have no counterfactual"):
        result = explainer.explain(query, target=1, rules=rules, best_effort=True)
    np.testing.assert_array_equal(plain.success, result.success)
    near = (result.status == Status.CLOSEST) & ~plain.success
    assert near.any() and plain.counterfactuals[near].isna().all(axis=None)
    after = result.counterfactuals[near]
    assert (after["v"] == query["v"][near]).all()
    assert (after["u"] >= query["u"][near]).all() and (after["w"] >= query["w"][near]).all()
    assert (model.predict(after) == 0).all()
    assert (result.probability_after[near] > result.probability_before[near]).all()
