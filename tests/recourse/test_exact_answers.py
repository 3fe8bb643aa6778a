"""Answers and proofs that are exact, against enumeration; and what comes closest."""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from scfe_sklearn import CounterfactualExplainer, Interval, Probability, Rules, Status
from scfe_sklearn.recourse.answers import Answers
from scfe_sklearn.rules import Linear

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
        output = model.predict(GRID)
        explainer = CounterfactualExplainer(
            FrozenEstimator(model),
            solver="milp",
            beta=0.7,
            max_changes=budget,
            immutable=list(frozen),
        ).fit(GRID, y)
        query = GRID[output == 0][::7]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            result = explainer.explain(query, target=1)
        scale = explainer.space_.scale_
        for i in range(len(query)):
            row = query.iloc[i]
            good = reachable(row, frozen, budget or 3) & (output == 1)
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


LEVELS = ["low", "mid", "high"]
MIXED = pd.DataFrame(
    list(product(range(5), range(4), ["x", "y", "z"], LEVELS, [False, True])),
    columns=["a", "b", "k", "o", "f"],
)
MIXED["o"] = pd.Categorical(MIXED["o"], categories=LEVELS, ordered=True)


def random_rules(rng):
    """Relations and implications between columns of all kinds."""

    def atom(name):
        if name == "k":
            return set(rng.choice(["x", "y", "z"], rng.integers(1, 3), replace=False).tolist())
        if name == "o":
            first, last = np.sort(rng.integers(0, 3, 2))
            return (LEVELS[first], LEVELS[last])
        if name == "f":
            return bool(rng.random() < 0.5)
        low, high = np.sort(rng.integers(0, 5, 2)).tolist()
        return ((low, high), (None, high), (low, None))[rng.integers(3)]

    relations, implications = [], []
    for _ in range(rng.integers(0, 3)):
        names = rng.choice(["a", "b", "o", "f"], rng.integers(2, 4), replace=False).tolist()
        weights = {name: float(rng.choice([1, -1, 2, 0.3, -1.7])) for name in names}
        low = float(rng.integers(-3, 4))
        limits = ({"at_least": low}, {"at_most": low}, {"at_least": low, "at_most": low + 2})
        relations.append(Linear(weights, **limits[rng.integers(3)]))
    if rng.random() < 0.5:
        weights = {name: float(rng.integers(1, 4)) for name in ["a", "b", "k", "o"]}
        relations.append(Linear(weights, at_most=float(rng.integers(2, 6)), of="change"))
    for _ in range(rng.integers(0, 3)):
        first, second, third = rng.permutation(["a", "b", "k", "o", "f"])[:3].tolist()
        sides = [{first: atom(first)}, {second: atom(second)}]
        sides[rng.integers(2)][third] = atom(third)
        implications.append(tuple(sides))
    return Rules(relations=relations or None, implications=implications or None)


def searched_for_nothing(engine, judge, query, k=1, prover=None):
    """In place of the search: no row has an answer when its program is asked."""
    return Answers.none(query, k)


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(max_depth=5, random_state=0),
        RandomForestClassifier(4, max_depth=4, random_state=0),
        HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=3),
    ],
    ids=["tree", "forest", "boosting"],
)
@settings(max_examples=7, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_relations_and_implications_of_trees_are_settled_for_good(model, seed):
    """Every point of the grid that `violations` lets pass, judged by the raw values, counts."""
    rng = np.random.default_rng(seed)
    X = MIXED.sample(60, random_state=seed)
    y = (rng.random(60) < 0.3).astype(int)
    y[:2] = 0, 1
    front = make_column_transformer(
        (OneHotEncoder(), ["k"]),
        (OrdinalEncoder(categories=[LEVELS]), ["o"]),
        remainder="passthrough",
    )
    fitted = make_pipeline(front, clone(model)).fit(X, y)
    budget = (None, 1, 2, "fewest")[rng.integers(4)]
    beta = float(rng.choice([0.0, 0.7]))
    explainer = CounterfactualExplainer(
        FrozenEstimator(fitted), solver="milp", beta=beta, max_changes=budget
    ).fit(X, y)
    inside = MIXED["a"].between(X["a"].min(), X["a"].max())
    grid = MIXED[inside & MIXED["b"].between(X["b"].min(), X["b"].max())]
    query, rules = X[fitted.predict(X) == 0][:3], random_rules(rng)
    alone = rng.random() < 0.7  # else the search has answers that the program must beat
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", UserWarning)
        if alone:
            patch.setattr("scfe_sklearn.recourse.exact.answer", searched_for_nothing)
        result = explainer.explain(query, target=1, rules=rules)
    space = explainer.space_
    there, output = space.encode(grid), fitted.predict(grid)
    for i in range(len(query)):
        row = query.iloc[[i] * len(grid)]
        home = space.encode(row)
        changes = space.changed(there, home).sum(axis=1)
        good = (output == 1) & ~rules.violations(space, row, grid).any(axis=1)
        good &= (changes > 0) & (changes <= (5 if budget in (None, "fewest") else budget))
        assert result.success[i] == good.any()
        if not good.any():
            assert result.status[i] == Status.UNREACHABLE
            assert result.reason[i]
            continue
        assert result.gap[i] == 0
        distance = ((there - home) ** 2).sum(axis=1)
        if budget == "fewest":
            assert result.n_changes[i] == changes[good].min()
            nearest = distance[good & (changes == changes[good].min())].min()
            assert result.distance[i] ** 2 == pytest.approx(nearest, abs=1e-5)
        else:
            price = (distance + beta * changes)[good].min()
            found = result.distance[i] ** 2 + beta * result.n_changes[i]
            assert found == pytest.approx(price, abs=1e-5)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), budget=st.sampled_from([None, 1, 2]))
def test_relations_and_implications_of_linear_models_are_proofs(seed, budget):
    """What no point of the grid can do is proved, and nothing else is."""
    rng = np.random.default_rng(seed)
    X = MIXED.sample(60, random_state=seed)
    score = X["a"] - X["b"] * rng.normal() + (X["k"] == "x") * 2 + rng.normal(size=60)
    y = (score > np.quantile(score, 0.8)).astype(int)
    front = make_column_transformer(
        (OneHotEncoder(), ["k"]),
        (OrdinalEncoder(categories=[LEVELS]), ["o"]),
        remainder="passthrough",
    )
    fitted = make_pipeline(front, LogisticRegression()).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(fitted), max_changes=budget).fit(X, y)
    inside = MIXED["a"].between(X["a"].min(), X["a"].max())
    grid = MIXED[inside & MIXED["b"].between(X["b"].min(), X["b"].max())]
    query, rules = X[fitted.predict(X) == 0][:4], random_rules(rng)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", UserWarning)
        patch.setattr("scfe_sklearn.explainer.answer", searched_for_nothing)
        result = explainer.explain(query, target=1, rules=rules)
    space, output = explainer.space_, fitted.predict(grid)
    there = space.encode(grid)
    for i in range(len(query)):
        row = query.iloc[[i] * len(grid)]
        changes = space.changed(there, space.encode(row)).sum(axis=1)
        good = (output == 1) & ~rules.violations(space, row, grid).any(axis=1)
        good &= (changes > 0) & (changes <= (5 if budget is None else budget))
        assert (result.status[i] == Status.UNREACHABLE) == (not good.any())


def test_what_is_missing_may_be_filled_in():
    X = pd.DataFrame(list(product(range(6), range(6))), columns=["u", "v"]).astype(float)
    y = (X["u"] >= 4).astype(int)
    X.loc[::5, "u"] = np.nan
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=2).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), solver="milp", immutable=["v"]).fit(
        X, y
    )
    query = X[(model.predict(X) == 0) & X["u"].isna() & X["v"].isin([1, 2])]
    assert len(query)
    rules = Rules(fillable=["u"], relations=["u <= v + 2"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scfe_sklearn.recourse.exact.answer", searched_for_nothing)
        with pytest.warns(UserWarning, match="have no counterfactual"):
            result = explainer.explain(query, target=1, rules=rules)
    # from 4 on the answer is yes, and `v` says who may come so far
    able = (query["v"] == 2).to_numpy()
    assert able.any() and not able.all()
    np.testing.assert_array_equal(result.success, able)
    assert (result.counterfactuals["u"][able] == 4).all()
    np.testing.assert_allclose(result.distance[able], 1.0)
    assert (result.status[~able] == Status.UNREACHABLE).all()


def test_a_row_that_breaks_a_rule_must_not_break_it_more():
    y = (GRID["a"] + GRID["b"] >= 4).astype(int)
    model = DecisionTreeClassifier(random_state=0).fit(GRID, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), solver="milp").fit(GRID, y)
    row = pd.DataFrame({"a": [3], "b": [0], "c": [0]})
    rules = Rules(relations=["a <= b + 1"], immutable=["c"])
    result = explainer.explain(row, target=1, rules=rules)
    # 3 > 0 + 1 already: `a` may stay as far above, and the nearest answer moves `b` alone
    assert result.counterfactuals.iloc[0].tolist() == [3, 1, 0]
    assert result.gap[0] == 0
    none = Rules(relations=["a + b <= 3"], immutable=["c"])
    with pytest.warns(UserWarning, match="have no counterfactual"):
        result = explainer.explain(row, target=1, rules=none)
    assert result.status[0] == Status.UNREACHABLE


def test_rules_of_every_row():
    y = (GRID["a"] >= 2).astype(int)
    model = DecisionTreeClassifier(random_state=0).fit(GRID, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), solver="milp").fit(GRID, y)
    query = pd.DataFrame({"a": [0, 0, 0], "b": [0, 0, 0], "c": [0, 0, 0]})
    rules = Rules(relations=[Linear({"a": 1, "b": -1}, at_most=np.array([2.0, 1.0, -1.0]))])
    result = explainer.explain(query, target=1, rules=rules)
    # the third may not have a - b above 0, its own: both go to 2
    assert result.counterfactuals["a"].tolist() == [2, 2, 2]
    assert result.counterfactuals["b"].tolist() == [0, 1, 2]
    assert (result.gap == 0).all()


def test_values_of_a_tree():
    y = labels_of(2, 0.5) * 3.0 + GRID["a"]
    model = DecisionTreeRegressor(max_depth=4, random_state=0).fit(GRID, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), solver="milp").fit(GRID, y)
    output = model.predict(GRID)
    query = GRID[(output < 2) | (output > 3)][::6]
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
