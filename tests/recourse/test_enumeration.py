"""Listing all that the rules permit, against products of raw values and independent rules."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.recourse.enumeration import permitted_points, search_exhaustively
from scfe_sklearn.recourse.query import build_query
from scfe_sklearn.rules import Rules
from scfe_sklearn.status import Status
from scfe_sklearn.targets import class_target

SIZES = ["small", "medium", "large"]


def frame(rng, n):
    return pd.DataFrame(
        {
            "whole": rng.integers(0, 4, n),
            "tenth": rng.integers(0, 4, n) / 10,
            "size": pd.Categorical.from_codes(rng.integers(0, 3, n), SIZES, ordered=True),
            "colour": rng.choice(["blue", "green", "red"], n),
        }
    )


def grid_like(X):
    """Every combination of the values that occur."""
    values = [SIZES if name == "size" else sorted(set(X[name])) for name in X]
    grid = pd.DataFrame(list(itertools.product(*values)), columns=list(X))
    return grid.astype(X.dtypes.to_dict())


def permitted(space, rules, row, grid, budget):
    """Rows of the grid that one row may become, by the raw rules."""
    before = pd.concat([row] * len(grid), ignore_index=True).astype(grid.dtypes.to_dict())
    fits = ~rules.violations(space, before, grid).any(axis=1)
    changes = np.column_stack(
        [before[name].astype(object) != grid[name].astype(object) for name in grid]
    ).sum(axis=1)
    return fits & (changes > 0) & (changes <= budget)


def random_rules(rng):
    return Rules(
        immutable=list(rng.choice(["whole", "tenth", "size", "colour"], rng.integers(0, 2))),
        increasing=[["whole"], ["tenth"], ["size"]][rng.integers(3)],
        ranges={"whole": (rng.integers(0, 3), 3)},
        transitions={"colour": {"blue": ["green"]}},
    )


@pytest.mark.parametrize("budget", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_permitted_points_are_all_there_are(seed, budget):
    rng = np.random.default_rng(seed)
    X = frame(rng, 80)
    space, rules = FeatureSpace().fit(X), random_rules(rng)
    query = X.iloc[:6]
    Z, grid = space.encode(query), grid_like(X)
    bounds = rules.bind(space, query, Z)
    for i in range(len(query)):
        here = permitted(space, rules, query.iloc[i : i + 1], grid, budget)
        points = permitted_points(space, Z[i], bounds.take(np.array([i])), budget)
        expected = space.encode(grid[here])
        assert points.shape == expected.shape
        order, other = np.lexsort(points.T.round(6)), np.lexsort(expected.T.round(6))
        np.testing.assert_allclose(points[order], expected[other], atol=1e-9)
        few = permitted_points(space, Z[i], bounds.take(np.array([i])), budget, len(points) - 1)
        assert few is None


def test_a_continuous_feature_cannot_be_listed():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"real": rng.normal(size=30), "whole": rng.integers(0, 3, 30)})
    space = FeatureSpace().fit(X)
    Z = space.encode(X[:1])
    free = Rules().bind(space, X[:1], Z)
    assert permitted_points(space, Z[0], free, None) is None
    fixed = Rules(immutable=["real"]).bind(space, X[:1], Z)
    assert len(permitted_points(space, Z[0], fixed, None)) == 2


def explainer_of(seed, **options):
    """An explainer of a model that seldom gives class 1."""
    rng = np.random.default_rng(seed)
    X = frame(rng, 120)
    encode = make_column_transformer((OneHotEncoder(), ["size", "colour"]), remainder="passthrough")
    coded = encode.fit_transform(X)
    score = coded @ rng.normal(size=coded.shape[1])
    y = (score > np.quantile(score, 0.85)).astype(int)
    model = make_pipeline(encode, LogisticRegression(C=100, max_iter=2000)).fit(X, y)
    return CounterfactualExplainer(FrozenEstimator(model), **options).fit(X, y), X, model


@pytest.mark.parametrize("seed", range(3))
def test_answers_or_proofs(seed):
    """A row has no answer exactly where the list holds none, and the reason counts the list."""
    rng = np.random.default_rng(seed)
    rules = random_rules(rng)
    explainer, X, model = explainer_of(seed, max_changes=2)
    query = X[model.predict(X) == 0].iloc[:25]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = explainer.explain(query, target=1, rules=rules)
    grid = grid_like(X)
    valid = model.predict(grid) == 1
    for i in range(len(query)):
        here = permitted(explainer.space_, rules, query.iloc[i : i + 1], grid, 2)
        assert result.success[i] == (here & valid).any()
        if not result.success[i] and here.any():
            assert result.status[i] == Status.UNREACHABLE
            assert result.reason[i] == f"none of the {here.sum()} permitted rows gets the target"
    assert result.success.any() and not result.success.all()


@pytest.mark.parametrize("seed", range(2))
def test_the_cheapest_of_the_list_is_returned(seed):
    """For every row, also those that the search would have answered."""
    explainer, X, model = explainer_of(seed, tau=0.0, beta=0.5)
    query = X[model.predict(X) == 0].iloc[:10]
    Z = explainer.space_.encode(query)
    judge, functions = explainer._judge(len(query)), explainer._score_functions(query, Z)
    asked = build_query(
        judge,
        [function.scores for function in functions],
        query,
        Z,
        lambda predicted: class_target(1, predicted, explainer.classes_),
        None,
        None,
    )
    engine = explainer._engine(functions, asked.targets, 1)
    rows = np.array([7, 2, 5])
    point, code, proof = search_exhaustively(engine, judge, asked, rows)
    assert code.tolist() == [1, 1, 1] and proof.tolist() == ["", "", ""]
    grid = grid_like(X)
    target = engine.space.encode(grid[model.predict(grid) == 1])
    for k, row in enumerate(rows):
        gap = ((target - asked.Z[row]) ** 2).sum(axis=1)
        factual = np.repeat(asked.Z[row][None], len(target), axis=0)
        cost = gap + 0.5 * engine.space.changed(target, factual).sum(axis=1)
        own = ((point[k] - asked.Z[row]) ** 2).sum()
        own += 0.5 * engine.space.changed(point[k : k + 1], asked.Z[row][None]).sum()
        np.testing.assert_allclose(own, cost.min(), atol=1e-9)


def test_nothing_is_permitted():
    """Rules that leave each feature alone, though none is called immutable."""
    explainer, X, model = explainer_of(0)
    query = X[model.predict(X) == 0].iloc[:3]
    rules = Rules(
        immutable=["colour", "size", "tenth"], ranges={"whole": (query["whole"].to_numpy(),) * 2}
    )
    with pytest.warns(UserWarning, match="no counterfactual"):
        result = explainer.explain(query, target=1, rules=rules)
    assert set(result.status) == {Status.UNREACHABLE}
    assert set(result.reason) <= {"the rules permit no other row", "no feature may change"}
