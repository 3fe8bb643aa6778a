"""Proofs for linear models: closed form against every admissible row, with the real model."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from scfe_sklearn.data import Column
from scfe_sklearn.exact import fewest_linear, linear_reach, prove_linear
from scfe_sklearn.models import read_linear

COLUMNS = [Column(0, None), Column(1, None), Column(2, np.arange(3.0))]
STARTS, NUMERIC = np.array([0, 1, 2, 5]), np.array([True, True, False])
MODELS = {
    "logistic": LogisticRegression(),
    "svc": LinearSVC(),
    "ridge": RidgeClassifier(),
    "sgd": SGDClassifier(random_state=0),
}


def to_columns(rows):
    return np.hstack([rows[:, :2], (rows[:, 2:] == np.arange(3.0)).astype(float)])


def world(model, seed, n_classes):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(60, 2)), rng.integers(0, 3, 60)])
    score = X @ rng.normal(size=3) + 0.3 * rng.normal(size=60)
    y = np.digitize(score, np.quantile(score, np.arange(1, n_classes) / n_classes))
    front = make_column_transformer((StandardScaler(), [0, 1]), (OneHotEncoder(), [2]))
    return rng, X, make_pipeline(front, model).fit(X, y)


def reach_of(read, code, rows, lower, upper, allowed):
    weights, intercept = read.leads(code)
    n = len(rows)
    return linear_reach(
        weights,
        intercept,
        to_columns(rows),
        lower=np.tile(np.append(lower, np.zeros(3)), (n, 1)),
        upper=np.tile(np.append(upper, np.zeros(3)), (n, 1)),
        allowed=np.tile(allowed, (n, 1)),
        starts=STARTS,
        numeric=NUMERIC,
    )


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), n_classes=st.integers(2, 3))
def test_what_is_proved_is_true_and_binary_proofs_miss_nothing(name, seed, n_classes):
    rng, X, model = world(MODELS[name], seed, n_classes)
    read = read_linear(model, COLUMNS)
    lower, upper = np.sort(rng.normal(size=(2, 2)) * 0.7, axis=0)
    allowed = rng.random(5) < 0.7
    rows = X[:4]
    for code in range(n_classes):
        reach = reach_of(read, code, rows, lower, upper, allowed)
        fewest = fewest_linear(reach)
        proved = {m: prove_linear(reach, m) for m in range(4)}
        for i, row in enumerate(rows):
            # a linear function has its extremes at the ends of the box
            lists = [[row[k], lower[k], upper[k]] if allowed[k] else [row[k]] for k in range(2)] + [
                [row[2], *np.flatnonzero(allowed[2:])]
            ]
            grid = np.array(list(itertools.product(*lists)))
            good = model.predict(grid) == code
            changes = (grid != row).sum(axis=1)
            least = changes[good].min() if good.any() else 4
            assert fewest[i] <= least
            if n_classes == 2:
                assert fewest[i] == least
            for m in range(4):
                reachable = (good & (changes <= m)).any()
                assert not (proved[m][i] and reachable)
                if n_classes == 2:
                    assert proved[m][i] == (not reachable)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_reproduce_the_decision_function(n_classes):
    _, X, model = world(LogisticRegression(), 0, n_classes)
    read = read_linear(model, COLUMNS)
    scores = read.scores(to_columns(X))
    expected = model.decision_function(X)
    assert np.allclose(scores[:, 0] if n_classes == 2 else scores, expected)


def test_a_value_of_a_regressor_is_bounded():
    _, X, model = world(Ridge(), 0, 3)
    read = read_linear(model, COLUMNS)
    assert read.n_classes == 0
    reach = linear_reach(
        read.weights,
        read.intercept,
        to_columns(X),
        lower=np.full((60, 5), -1.0),
        upper=np.full((60, 5), 1.0),
        allowed=np.ones((60, 5), bool),
        starts=STARTS,
        numeric=NUMERIC,
    )
    ends = np.array(list(itertools.product([-1.0, 1.0], [-1.0, 1.0], range(3))))
    inside = (np.abs(X[:, :2]) <= 1).all(axis=1)
    assert inside.any()
    assert np.allclose(reach.most()[inside, 0], model.predict(ends).max())
