"""Features that are dearer than others: the cheapest answer on a grid, by brute force."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn import CounterfactualExplainer, Rules

GRID = pd.DataFrame(list(product(range(4), range(5), ["x", "y", "z"])), columns=["a", "b", "c"])
GRID["c"] = GRID["c"].astype("category")
BETA = 0.5


def numbers(frame):
    return np.column_stack([frame["a"], frame["b"], frame["c"].cat.codes])


class Coded:
    """A model of numbers, asked by frames."""

    def __init__(self, model):
        self.model = model
        self.classes_ = model.classes_

    def predict(self, frame):
        return self.model.predict(numbers(frame))

    def predict_proba(self, frame):
        return self.model.predict_proba(numbers(frame))


def prices(explainer, row, costs):
    """Price of becoming each point of the grid."""
    a, b = (explainer.space_.scale_[j] for j in (0, 1))
    steps = [(GRID["a"] - row.a) / a, (GRID["b"] - row.b) / b, GRID["c"] != row.c]
    weights = [costs.get(name, 1.0) for name in "abc"]
    total = np.zeros(len(GRID))
    for step, weight in zip(steps, weights, strict=True):
        total += weight * (np.asarray(step, float) ** 2 + BETA * (np.asarray(step) != 0))
    return total


@pytest.mark.parametrize("costs", [{}, {"a": 4.0}, {"b": 0.2, "c": 3.0}, {"c": 0.1, "a": 2.0}])
@pytest.mark.parametrize("solver", ["search", "milp"])
def test_the_cheapest_point_of_a_grid(costs, solver):
    for seed in range(2 if solver == "milp" else 4):
        labels = np.random.default_rng(seed).random(len(GRID)) < 0.3
        tree = DecisionTreeClassifier(max_depth=4, random_state=seed)
        if solver == "milp":
            data = pd.DataFrame(numbers(GRID), columns=["a", "b", "c"])
            model = FrozenEstimator(tree.fit(data, labels))
            options = {"categorical": ["c"]}
        else:
            model = Coded(tree.fit(numbers(GRID), labels))
            data, options = GRID, {}
        explainer = CounterfactualExplainer(
            model, tau=0.0, beta=BETA, costs=costs, solver=solver, **options
        ).fit(data, labels)
        refused = ~np.asarray(explainer.estimator_.predict(data), dtype=bool)
        asked = np.flatnonzero(refused)[:: 5 if solver == "milp" else 1]
        result = explainer.explain(data.iloc[asked], target=True)
        assert result.success.all()
        hits = 0
        for i, k in enumerate(asked):
            price = prices(explainer, GRID.iloc[k], costs)
            best = price[~refused].min()
            answer = result.counterfactuals.iloc[i]
            same = (data == answer).all(axis=1).to_numpy()
            assert price[same][0] >= best - 1e-9
            hits += price[same][0] <= best + 1e-9
        # The program is exact, the search nearly always.
        assert hits >= len(result) * (1.0 if solver == "milp" else 0.9)


def test_costs_steer_the_gradient_and_may_differ_from_row_to_row():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 2)), columns=["u", "v"])
    y = (X["u"] + X["v"] > 0).astype(int)
    model = FrozenEstimator(LogisticRegression().fit(X, y))
    explainer = CounterfactualExplainer(model, tau=0.0, beta=1.0).fit(X, y)
    query = X[model.predict(X) == 0][:20]
    dear = np.where(np.arange(20) % 2 == 0, 20.0, 1.0)
    rules = Rules(costs={"u": dear, "v": 21 - dear})
    result = explainer.explain(query, target=1, rules=rules)
    assert result.success.all()
    assert result.changed[::2].tolist() == [[False, True]] * 10
    assert result.changed[1::2].tolist() == [[True, False]] * 10
    assert "changing u costs" in " ".join(result.rules_text)
