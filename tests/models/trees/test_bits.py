"""Trees as bits against the trees walked node by node, and against the estimators."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, QuantileTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn.data import Column
from scfe_sklearn.models import UnsupportedModelError, read_trees
from scfe_sklearn.models.black_box.black_box import BlackBox
from scfe_sklearn.models.black_box.rows import column_points
from scfe_sklearn.models.trees.bits import BitTrees
from scfe_sklearn.models.trees.incremental import TreeCells

COLUMNS = [
    Column("age", None),
    Column("job", np.array(["a", "b", "c", "d"], dtype=object)),
    Column("pay", None),
    Column("sex", np.array(["f", "m"], dtype=object)),
]


def _rows(n, seed=0, classes=2, missing=False):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n).astype(float),
            "job": rng.choice(list("abcd"), n),
            "pay": rng.lognormal(3, 1, n),
            "sex": rng.choice(list("fm"), n),
        }
    )
    score = X.age / 40 + np.log(X.pay) + (X.job == "a") - 2 * (X.sex == "f") * (X.job == "c")
    y = np.digitize(score + rng.normal(0, 0.5, n), np.linspace(3.5, 5.5, classes - 1))
    if missing:
        X.loc[rng.random(n) < 0.1, "age"] = np.nan
    return X, y


def _front(numbers):
    encoder = OneHotEncoder(sparse_output=False)
    return make_column_transformer((numbers, ["age", "pay"]), (encoder, ["job", "sex"]))


NUMBERS = ["passthrough", StandardScaler(), QuantileTransformer(n_quantiles=50)]
MODELS = {
    "boosting": (HistGradientBoostingClassifier(max_iter=15, random_state=0), 2),
    "classes": (HistGradientBoostingClassifier(max_iter=5, random_state=0), 4),
    "many leaves": (
        HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=150, min_samples_leaf=1),
        2,
    ),
    "gradient": (GradientBoostingClassifier(n_estimators=10, random_state=0), 3),
    "forest": (RandomForestClassifier(9, random_state=0), 3),
    "shallow": (RandomForestClassifier(9, max_depth=3, random_state=0), 2),
    "extra": (ExtraTreesClassifier(9, max_depth=6, random_state=0), 2),
    "stumps": (AdaBoostClassifier(n_estimators=7, random_state=0), 2),
    "tree": (DecisionTreeClassifier(random_state=0), 2),
    "leaf": (DecisionTreeClassifier(min_samples_split=10**6), 2),
    "bagging": (BaggingClassifier(DecisionTreeClassifier(max_depth=5), 5, random_state=0), 2),
    "regressor": (HistGradientBoostingRegressor(max_iter=9), 5),
    "forest regressor": (RandomForestRegressor(7, random_state=0), 5),
}


@pytest.mark.parametrize(
    "numbers", ["passthrough", StandardScaler(), QuantileTransformer(n_quantiles=50)]
)
@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_walking_the_trees_and_with_the_estimator(name, numbers):
    model, classes = MODELS[name]
    X, y = _rows(400, classes=classes)
    model = make_pipeline(_front(numbers), model).fit(X, y)
    trees = read_trees(model, COLUMNS, X)
    bits = BitTrees(trees)
    new, _ = _rows(300, seed=1)
    u = column_points(new, COLUMNS)
    assert bits.readable(u).all()
    np.testing.assert_allclose(bits.scores(u), trees.scores(u), rtol=1e-12, atol=1e-12)
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    expected = getattr(model, method)(new)
    np.testing.assert_allclose(bits.value(u), expected, rtol=1e-9, atol=1e-12)
    # At the thresholds themselves, and one float beside.
    for j, cuts in zip((0, 5), (trees.thresholds()[0], trees.thresholds()[5]), strict=True):
        for side in (-np.inf, None, np.inf):
            beside = cuts if side is None else np.nextafter(cuts, side)
            at = np.repeat(u[:1], len(cuts), axis=0)
            at[:, j] = beside
            np.testing.assert_allclose(bits.scores(at), trees.scores(at), rtol=1e-12, atol=1e-12)


def test_missing_values_and_categories_of_the_trees_own():
    X, y = _rows(500, missing=True)
    codes = make_column_transformer(
        (OrdinalEncoder(), ["job", "sex"]), remainder="passthrough", verbose_feature_names_out=False
    )
    last = HistGradientBoostingClassifier(max_iter=12, categorical_features=[0, 1])
    model = make_pipeline(codes, last).fit(X, y)
    bits = BitTrees(read_trees(model, COLUMNS, X))
    new, _ = _rows(200, seed=2, missing=True)
    u = column_points(new, COLUMNS)
    np.testing.assert_allclose(bits.value(u), model.predict_proba(new), rtol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_one_column_taken_over_from_another_row(name):
    model, classes = MODELS[name]
    X, y = _rows(400, classes=classes)
    model = make_pipeline(_front(StandardScaler()), model).fit(X, y)
    bits = BitTrees(read_trees(model, COLUMNS, X))
    rows, others = _rows(7, seed=1)[0], _rows(12, seed=2)[0]
    column = np.arange(12) % 4
    got = bits.value_after(column_points(rows, COLUMNS), column_points(others, COLUMNS), column)
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    for i, j in enumerate(column):
        replaced = rows.assign(**{COLUMNS[j].name: others.iloc[i, j]})
        expected = getattr(model, method)(replaced)
        np.testing.assert_allclose(got[:, i], expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_a_column_that_is_missing_or_becomes_known(seed):
    X, y = _rows(300, seed=seed, missing=True)
    codes = make_column_transformer(
        (OrdinalEncoder(), ["job", "sex"]), remainder="passthrough", verbose_feature_names_out=False
    )
    last = HistGradientBoostingClassifier(max_iter=5, categorical_features=[0, 1])
    model = make_pipeline(codes, last).fit(X, y)
    box = BlackBox(model, COLUMNS, X)
    rows, others = _rows(20, seed=seed + 1, missing=True)[0], _rows(8, seed=seed + 2)[0]
    u, other = (torch.from_numpy(column_points(part, COLUMNS)) for part in (rows, others))
    column = np.arange(8) % 4
    got = box.scores_after(u, other, column)
    starts = [0, 1, 5, 6, 8]
    for i, j in enumerate(column):
        one = u.clone()
        one[:, starts[j] : starts[j + 1]] = other[i, starts[j] : starts[j + 1]]
        torch.testing.assert_close(got[:, i], box.scores(one), rtol=1e-9, atol=1e-9)
    unknown = other.clone()
    unknown[1, 1:5] = 0
    assert box.scores_after(u, unknown, column) is None


def test_rows_without_one_known_level_are_told():
    X, y = _rows(200)
    model = make_pipeline(_front("passthrough"), RandomForestClassifier(3, max_depth=3)).fit(X, y)
    bits = BitTrees(read_trees(model, COLUMNS, X))
    u = np.repeat(column_points(X[:1], COLUMNS), 5, axis=0)
    u[1, 1:5] = 0
    u[2, 1:5] = [1, 1, 0, 0]
    u[3, 1:5] = [0.5, 0, 0.5, 0]
    u[4, 1:5] = np.nan
    assert bits.readable(u).tolist() == [True, False, False, False, False]


def test_large_trees_and_medians_are_refused():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20000, 3)), rng.integers(2, size=20000)
    columns = [Column(j, None) for j in range(3)]
    trees = read_trees(RandomForestClassifier(20, random_state=0).fit(X, y), columns, X)
    with pytest.raises(UnsupportedModelError, match="too large"):
        BitTrees(trees)
    from sklearn.ensemble import AdaBoostRegressor

    model = AdaBoostRegressor(n_estimators=3, random_state=0).fit(X[:99], X[:99, 0])
    with pytest.raises(UnsupportedModelError, match="median"):
        BitTrees(read_trees(model, columns, X[:99]))


@pytest.mark.parametrize("name", ["boosting", "classes", "forest", "shallow", "stumps", "tree"])
def test_a_black_box_takes_them_and_says_the_same(name):
    model, classes = MODELS[name]
    X, y = _rows(400, classes=classes)
    model = make_pipeline(_front(StandardScaler()), model).fit(X, y)
    box = BlackBox(model, COLUMNS, X)
    assert box.fast and box._bare.__qualname__.startswith("BlackBox._by_bits")
    new, _ = _rows(50, seed=1)
    u = column_points(new, COLUMNS)
    expected = np.log(np.maximum(model.predict_proba(new), 1e-9))
    np.testing.assert_allclose(box.scores(torch.from_numpy(u)), expected, rtol=1e-9, atol=1e-9)


def test_a_black_box_does_not_take_what_it_cannot_read():
    X, y = _rows(300)
    voting = VotingClassifier(
        [("a", DecisionTreeClassifier(max_depth=2)), ("b", DecisionTreeClassifier(max_depth=3))]
    )
    bins = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["age", "job", "sex"]),
        ("passthrough", ["pay"]),
    )
    # Votes are no sums of trees; numbers that are encoded as categories have no thresholds.
    for model in (
        make_pipeline(_front("passthrough"), voting),
        make_pipeline(bins, MODELS["shallow"][0]),
    ):
        box = BlackBox(model.fit(X, y), COLUMNS, X)
        assert box._bare is None or not box._bare.__qualname__.startswith("BlackBox._by_bits")


def test_trees_with_too_many_splits_are_walked(monkeypatch):
    monkeypatch.setattr("scfe_sklearn.models.trees.reading._MOST_CELLS", 100)
    X, y = _rows(300)
    model = make_pipeline(_front(StandardScaler()), MODELS["shallow"][0]).fit(X, y)
    box = BlackBox(model, COLUMNS, X)
    assert box.fast and not box._bare.__qualname__.startswith("BlackBox._by_bits")


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), leaves=st.integers(2, 140), trees=st.integers(1, 6))
def test_a_row_does_not_depend_on_its_batch(seed, leaves, trees):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(300, 3)).round(1)
    y = rng.integers(2, size=300)
    forest = RandomForestClassifier(trees, max_leaf_nodes=leaves, random_state=seed).fit(X, y)
    ensemble = read_trees(forest, [Column(j, None) for j in range(3)], X)
    bits = BitTrees(ensemble)
    whole = bits.value(X)
    np.testing.assert_allclose(whole, forest.predict_proba(X), atol=1e-12)
    for i in (0, 17, 299):
        np.testing.assert_array_equal(bits.value(X[i : i + 1])[0], whole[i])


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        (RandomForestClassifier(7, max_depth=6, random_state=0), False),
        (ExtraTreesClassifier(5, random_state=0), False),
        (HistGradientBoostingClassifier(max_iter=9, max_leaf_nodes=12), True),
        (GradientBoostingClassifier(n_estimators=6, random_state=0), False),
    ],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_changed_cells_are_rows_with_one_other_column(model, missing, classes):
    X, y = _rows(300, classes=classes, missing=missing)
    pipeline = make_pipeline(_front(StandardScaler()), model).fit(X, y)
    cells = TreeCells(BitTrees(read_trees(pipeline, COLUMNS, X)))
    u, other = column_points(X[:40], COLUMNS), column_points(X[40:140], COLUMNS)
    rng = np.random.default_rng(1)
    state = np.sort(rng.integers(40, size=600))
    source, column = rng.integers(100, size=600), rng.integers(4, size=600)
    places, others = cells.places(u), cells.places(other)
    got = cells.value_changed(places, state, column, others[source, column])
    changed = X.iloc[state].reset_index(drop=True)
    for k, name in enumerate(X.columns):
        own = column == k
        changed.loc[own, name] = X[name].to_numpy()[40 + source[own]]
    np.testing.assert_allclose(got, pipeline.predict_proba(changed), rtol=1e-9, atol=1e-12)
    empty = np.empty(0, dtype=np.int64)
    assert cells.value_changed(places, empty, empty, empty).shape == (0, classes)
