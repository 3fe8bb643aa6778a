"""Several answers of a row: other sets of features first, then clearly different values."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, Rules

MODELS = {
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=30),
    "forest": lambda: RandomForestClassifier(10, random_state=0),
}


def fitted(kind, columns=10, **options):
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = X.iloc[:, :columns]
    model = MODELS[kind]().fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), **options).fit(X, y)
    return explainer, X[model.predict(X) == 0][:12]


def explained(explainer, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(*args, **options)


def by_row(explainer, result, k):
    """Success (n, k), changed features (n, k, d) and coordinates (n, k, D) of the options."""
    success = np.asarray(result.success).reshape(-1, k)
    Z = explainer.space_.encode(result.counterfactuals)
    changed = np.asarray(result.changed)
    return success, changed.reshape(*success.shape, -1), Z.reshape(*success.shape, -1)


@pytest.mark.parametrize("tau", [0.0, 2.0])
@pytest.mark.parametrize("kind", MODELS)
def test_options_hold_all_sets_that_forbidding_a_feature_finds(kind, tau):
    explainer, query = fitted(kind, tau=tau)
    k = 5
    result = explained(explainer, query, 1, n_counterfactuals=k)
    success, changed, _ = by_row(explainer, result, k)
    for i in np.flatnonzero(success[:, 0] & ~success[:, -1]):
        sets = {tuple(np.flatnonzero(one)) for one in changed[i][success[i]]}
        for feature in set().union(*sets):
            rules = Rules(immutable=[query.columns[feature]])
            other = explained(explainer, query.iloc[[i]], 1, rules=rules)
            if other.success[0]:
                assert tuple(np.flatnonzero(np.asarray(other.changed)[0])) in sets


@pytest.mark.parametrize("seed", [0, 1])
def test_options_hold_every_smallest_set_that_answers_a_row(seed):
    # A set of two features beside others that answer alone: those must stay all at once.
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.integers(0, 3, (400, 4)), columns=list("abcd"))
    points = pd.DataFrame(
        np.stack(np.meshgrid(*[range(3)] * 4), -1).reshape(-1, 4), columns=X.columns
    )

    def model(rows):
        good = np.where((rows.a == 2) | (rows.b == 2), 0.9, 0.2 * (rows.c + rows.d))
        return np.column_stack([1 - good, good])

    query = X[model(X)[:, 1] < 0.5][:10]
    explainer = CounterfactualExplainer(model, tau=0.0).fit(X, model(X).argmax(axis=1))
    result = explained(explainer, query, 1, n_counterfactuals=12)
    success, changed, _ = by_row(explainer, result, 12)
    assert not success[:, -1].all()
    valid = points[model(points)[:, 1] > 0.5].to_numpy()
    for i in np.flatnonzero(~success[:, -1]):
        sets = {frozenset(np.flatnonzero(one)) for one in valid != query.to_numpy()[i]}
        smallest = {one for one in sets if not any(other < one for other in sets)}
        assert smallest <= {frozenset(np.flatnonzero(one)) for one in changed[i][success[i]]}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("columns", [2, 6])
def test_options_with_one_set_of_features_differ_clearly(kind, columns):
    explainer, query = fitted(kind, columns=columns)
    k = 6
    result = explained(explainer, query, 1, n_counterfactuals=k)
    success, changed, Z = by_row(explainer, result, k)
    assert success[:, 0].any()
    for i in range(len(query)):
        for a in range(k):
            for b in range(a):
                same = success[i, [a, b]].all() and (changed[i, a] == changed[i, b]).all()
                assert not same or np.abs(Z[i, a] - Z[i, b]).max() > 0.49


def test_options_offer_clearly_different_values_where_one_feature_is_free():
    explainer, query = fitted("logistic", columns=3)
    rules = Rules(immutable=list(query.columns[1:]))
    result = explained(explainer, query, 1, n_counterfactuals=3, rules=rules)
    success, _, Z = by_row(explainer, result, 3)
    found = success[:, 0]
    # The model is monotone: every value beyond an answer is an answer, up to the end of the range.
    space = explainer.space_
    end = (space.min_[0] - space.center_[0]) / space.scale_[0]
    room = found & (Z[:, 0, 0] - end > 1.5)
    assert room.any() and success[room].all()


def test_options_are_told_apart_after_decoding():
    rng = np.random.default_rng(3)
    n = 300
    X = pd.DataFrame(
        {
            "a": (1e5 + rng.normal(size=n)).astype(np.float32),
            "b": rng.integers(0, 100000, n),
            "j": rng.choice(["u", "v", "w"], n),
        }
    )
    y = (X["a"].astype(float) - 1e5 + X["b"] / 5e4 + (X["j"] == "u") * 2 > 2).astype(int)
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["j"]))
    model = make_pipeline(columns, LogisticRegression()).fit(X, y)
    query = X[model.predict(X) == 0][:30]
    explainer = CounterfactualExplainer(FrozenEstimator(model), tau=0, beta=0).fit(X, y)
    result = explained(explainer, query, 1, n_counterfactuals=3)
    shown = result.counterfactuals.assign(row=np.repeat(np.arange(len(query)), 3))
    assert not shown[np.asarray(result.success)].duplicated().any()


@pytest.mark.parametrize("kind", ["logistic", "forest"])
def test_options_batch_equals_rows(kind):
    explainer, query = fitted(kind, columns=4)
    together = explained(explainer, query, 1, n_counterfactuals=5)
    for i in range(len(query)):
        alone = explained(explainer, query.iloc[[i]], 1, n_counterfactuals=5)
        part = together.counterfactuals.iloc[5 * i : 5 * i + 5]
        pd.testing.assert_frame_equal(alone.counterfactuals, part, check_dtype=False)


@pytest.mark.parametrize("kind", MODELS)
def test_options_do_not_change_the_first_answer(kind):
    explainer, query = fitted(kind, columns=5, tau=0.0)
    several = explained(explainer, query, 1, n_counterfactuals=4)
    first = np.asarray(several.success).reshape(-1, 4)
    assert (first[:, 0] == explained(explainer, query, 1).success).all()
    # There is no hole among the options of a row.
    assert (np.diff(first.astype(int), axis=1) <= 0).all()
