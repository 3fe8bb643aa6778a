"""Trees read from estimators: equal to them bit for bit, also right at the thresholds."""

import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from scfe_sklearn.data import Column
from scfe_sklearn.models import UnsupportedModelError, read_trees

NUMBERS = ["income", "age"]
WORDS = ["job", "grade", "owner", "rooms"]
CLASSIFIERS = {
    "tree": DecisionTreeClassifier(random_state=0),
    "extra-tree": ExtraTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(7, random_state=0),
    "extra-trees": ExtraTreesClassifier(7, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=7, random_state=0),
    "boosting-zero": GradientBoostingClassifier(n_estimators=3, init="zero", random_state=0),
    "hist": HistGradientBoostingClassifier(max_iter=7),
    "adaboost": AdaBoostClassifier(n_estimators=5, random_state=0),
    "adaboost-deep": AdaBoostClassifier(
        DecisionTreeClassifier(max_depth=2), n_estimators=5, random_state=0
    ),
    "bagging": BaggingClassifier(DecisionTreeClassifier(), 5, max_features=0.6, random_state=0),
}
REGRESSORS = {
    "tree": DecisionTreeRegressor(random_state=0),
    "extra-tree": ExtraTreeRegressor(random_state=0),
    "forest": RandomForestRegressor(7, random_state=0),
    "extra-trees": ExtraTreesRegressor(7, random_state=0),
    "boosting": GradientBoostingRegressor(n_estimators=7, random_state=0),
    "hist": HistGradientBoostingRegressor(max_iter=7),
    "adaboost": AdaBoostRegressor(n_estimators=7, random_state=0),
    "bagging": BaggingRegressor(DecisionTreeRegressor(max_depth=4), 5, random_state=0),
}


def usual():
    return make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(sparse_output=False), WORDS)
    )


def beside_thresholds(ensemble, u, column, dtype=np.float64):
    """Rows with one coordinate at each of its thresholds, and one float below and above."""
    k = int(ensemble.starts[column])
    cuts = ensemble.thresholds()[k]
    cuts = cuts[np.isfinite(cuts)].astype(dtype)
    down, up = (np.nextafter(cuts, dtype(side)) for side in (-np.inf, np.inf))
    values = np.concatenate([down, cuts, up])
    rows = np.arange(len(values)) % len(u)
    out = u[rows].copy()
    out[:, k] = values
    return rows, out


def answers(model, ensemble, X):
    return getattr(model, ensemble.response_method)(X)


def assert_same(model, ensemble, X, u):
    assert np.array_equal(ensemble.value(u), answers(model, ensemble, X))
    if ensemble.n_classes:
        assert np.array_equal(model.classes_[ensemble.decide(u)], model.predict(X))


def assert_same_beside_thresholds(model, ensemble, X, u, columns, dtype=np.float64):
    """Replace the number in the raw rows too, and compare."""
    seen = 0
    for j in columns:
        rows, moved = beside_thresholds(ensemble, u, j, dtype)
        values = moved[:, int(ensemble.starts[j])]
        if isinstance(X, pd.DataFrame):
            raw = X.iloc[rows].copy()
            raw[X.columns[j]] = values.astype(dtype)
        else:
            raw = X[rows].copy()
            raw[:, j] = values
        if len(raw):
            assert_same(model, ensemble, raw, moved)
            seen += len(raw)
    assert seen > 0


@pytest.mark.parametrize("kind", ["binary", "multi", "mixed", "mixed3"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_reproduced_bit_for_bit(world, kind, name):
    w = world(kind)
    front = usual() if kind.startswith("mixed") else StandardScaler()
    model = w.fit(make_pipeline(front, CLASSIFIERS[name]))
    ensemble = read_trees(model, w.columns, w.X)
    u = w.u.numpy()
    assert_same(model, ensemble, w.X, u)
    assert_same_beside_thresholds(model, ensemble, w.X, u, range(2))


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_is_reproduced_bit_for_bit(world, name):
    w = world("mixed")
    y = w.X["income"] / 1000 + w.X["age"] + 5.0 * (w.X["job"] == "nurse")
    model = make_pipeline(usual(), REGRESSORS[name]).fit(w.X, y)
    ensemble = read_trees(model, w.columns, w.X)
    assert ensemble.n_classes == 0
    assert_same(model, ensemble, w.X, w.u.numpy())
    assert_same_beside_thresholds(model, ensemble, w.X, w.u.numpy(), range(2))


@pytest.mark.parametrize(
    "front",
    [
        "passthrough",
        StandardScaler(),
        MinMaxScaler(clip=True),
        RobustScaler(),
        PowerTransformer(),
        QuantileTransformer(n_quantiles=30),
        KBinsDiscretizer(6, encode="ordinal", strategy="uniform"),
        make_pipeline(MinMaxScaler((1, 2)), FunctionTransformer(np.log), StandardScaler()),
        make_pipeline(StandardScaler(), FunctionTransformer(np.negative)),
        FeatureUnion([("a", StandardScaler()), ("b", FunctionTransformer(np.negative))]),
        SelectKBest(k=2),
        SimpleImputer(),
    ],
    ids=lambda step: step if isinstance(step, str) else type(step).__name__,
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_thresholds_are_exact_through_transformers(world, front, dtype):
    w = world("multi")
    X = w.X.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make_pipeline(front, RandomForestClassifier(5, random_state=0)).fit(X, w.y)
    ensemble = read_trees(model, w.columns, X)
    assert_same(model, ensemble, X, X.astype(float))
    assert_same_beside_thresholds(model, ensemble, X, X.astype(float), range(4), dtype)


def test_a_plain_threshold_is_the_last_double_that_rounds_to_the_left(world):
    w = world("binary")
    tree = w.fit(DecisionTreeClassifier(random_state=0))
    ensemble = read_trees(tree, w.columns)
    inner = tree.tree_.children_left >= 0
    told, got = tree.tree_.threshold[inner], ensemble.threshold[inner]
    assert np.all(got.astype(np.float32) <= told)
    assert np.all(np.nextafter(got, np.inf).astype(np.float32) > told)


def test_double_precision_boosting_keeps_its_thresholds(world):
    w = world("binary")
    model = w.fit(HistGradientBoostingClassifier(max_iter=5))
    told = np.concatenate([p[0].nodes["num_threshold"] for p in model._predictors])
    ensemble = read_trees(model, w.columns)
    split = ensemble.column >= 0
    assert np.array_equal(ensemble.threshold[split], told[split])


@pytest.mark.parametrize("wrap", [FrozenEstimator, lambda m: GridSearchCV(m, {}, cv=2)])
def test_wrappers_are_looked_through(world, wrap):
    w = world("mixed")
    model = wrap(w.fit(make_pipeline(usual(), RandomForestClassifier(4, random_state=0))))
    model.fit(w.X, w.y)
    assert_same(model, read_trees(model, w.columns, w.X), w.X, w.u.numpy())


@pytest.mark.parametrize("encoder", [OrdinalEncoder(), TargetEncoder(cv=3)])
def test_codes_of_levels_become_sets_of_levels(world, encoder):
    w = world("mixed3")
    steps = make_column_transformer((encoder, WORDS), remainder="passthrough")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = w.fit(make_pipeline(steps, RandomForestClassifier(5, random_state=0)))
    ensemble = read_trees(model, w.columns, w.X)
    assert (ensemble.level_sets.sum(axis=1) > 1).any()
    assert_same(model, ensemble, w.X, w.u.numpy())


def test_without_training_rows_the_layout_is_enough(world):
    w = world("mixed")
    model = w.fit(make_pipeline(usual(), RandomForestClassifier(5, random_state=0)))
    assert_same(model, read_trees(model, w.columns), w.X, w.u.numpy())


def test_columns_in_another_order_are_found_by_name(world):
    w = world("mixed")
    model = w.fit(make_pipeline(usual(), RandomForestClassifier(5, random_state=0)))
    back = w.columns[::-1]
    ensemble = read_trees(model, back, w.X[[column.name for column in back]])
    ends = np.cumsum([0] + [column.width for column in w.columns])
    blocks = [w.u.numpy()[:, a:b] for a, b in pairwise(ends)]
    assert_same(model, ensemble, w.X, np.hstack(blocks[::-1]))


def with_gaps(w, seed=0):
    rng = np.random.default_rng(seed)
    X = w.X.copy()
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=6),
        RandomForestClassifier(6, random_state=0),
        make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)),
        make_pipeline(SimpleImputer(add_indicator=True), RandomForestClassifier(6, random_state=0)),
        make_pipeline(SimpleImputer(), GradientBoostingClassifier(n_estimators=5)),
        make_pipeline(FunctionTransformer(np.negative), HistGradientBoostingClassifier(max_iter=6)),
    ],
    ids=["hist", "forest", "scaled-tree", "indicator", "imputed", "falling"],
)
def test_missing_numbers_go_where_the_estimator_sends_them(world, model):
    w = world("multi")
    X = with_gaps(w)
    model.fit(X, w.y)
    ensemble = read_trees(model, w.columns, X)
    assert ensemble.readable.all()
    assert_same(model, ensemble, X, X)


def test_a_missing_number_is_no_answer_where_the_estimator_refuses_it(world):
    w = world("binary")
    model = w.fit(GradientBoostingClassifier(n_estimators=3))
    ensemble = read_trees(model, w.columns, w.X)
    u = w.u.numpy()[:3].copy()
    u[1, 2] = np.nan
    assert not ensemble.readable.any()
    assert np.array_equal(np.isnan(ensemble.value(u)), [False, True, False])
    assert ensemble.decide(u)[1] == -1


def test_an_unknown_level_is_no_answer(world):
    w = world("mixed")
    model = w.fit(make_pipeline(usual(), DecisionTreeClassifier(random_state=0)))
    ensemble = read_trees(model, w.columns, w.X)
    u = w.u.numpy()[:2].copy()
    u[0, 2:6] = 0.0
    assert np.array_equal(ensemble.decide(u) == -1, [True, False])


def test_native_categories_of_histogram_boosting(world):
    w = world("missing")
    X = w.X.copy()
    for name in WORDS:
        X[name] = X[name].astype("category")
    model = HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=3).fit(X, w.y)
    ensemble = read_trees(model, w.columns, X)
    assert len(ensemble.level_sets) > 3
    assert_same(model, ensemble, X, w.u.numpy())
    assert_same_beside_thresholds(model, ensemble, X, w.u.numpy(), range(2))


@pytest.mark.parametrize("weights", [None, [2.0, 1.0]])
def test_soft_voting_of_forests(world, weights):
    w = world("mixed3")
    members = [
        ("f", make_pipeline(usual(), RandomForestClassifier(5, random_state=0))),
        ("t", make_pipeline(usual(), ExtraTreesClassifier(4, max_depth=4, random_state=0))),
    ]
    model = w.fit(VotingClassifier(members, voting="soft", weights=weights))
    ensemble = read_trees(model, w.columns, w.X)
    assert np.allclose(ensemble.value(w.u.numpy()), model.predict_proba(w.X), atol=1e-14)
    assert np.array_equal(model.classes_[ensemble.decide(w.u.numpy())], model.predict(w.X))


def test_nested_means(world):
    w = world("binary")
    inner = BaggingRegressor(RandomForestRegressor(3, random_state=0), 3, random_state=0)
    members = [("b", inner), ("g", GradientBoostingRegressor(n_estimators=4))]
    model = VotingRegressor(members, weights=[1, 3]).fit(w.X, w.X[:, 1])
    ensemble = read_trees(model, w.columns, w.X)
    assert np.allclose(ensemble.value(w.u.numpy()), model.predict(w.X), rtol=1e-13)


def test_a_member_that_misses_a_class(world):
    w = world("multi")
    y = np.where(np.arange(len(w.y)) < 2, 2, w.y % 2)
    # a pipeline takes no sample weights, so its members see a part of the rows only
    member = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))
    model = BaggingClassifier(member, 8, max_samples=0.3, random_state=0).fit(w.X, y)
    assert min(len(inner.classes_) for inner in model.estimators_) < 3
    assert_same(model, read_trees(model, w.columns, w.X), w.X, w.u.numpy())


def test_exponential_loss_has_twice_the_slope(world):
    w = world("binary")
    model = w.fit(GradientBoostingClassifier(loss="exponential", n_estimators=4))
    ensemble = read_trees(model, w.columns, w.X)
    p = 1 / (1 + np.exp(-ensemble.slope * ensemble.value(w.u.numpy())))
    assert np.allclose(p, model.predict_proba(w.X)[:, 1])


class Lying(RandomForestClassifier):
    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]


def refused():
    return {
        "projection": (make_pipeline(PCA(2), DecisionTreeClassifier()), "PCA"),
        "unknown function": (
            make_pipeline(FunctionTransformer(np.square), DecisionTreeClassifier()),
            "FunctionTransformer",
        ),
        "no trees": (LogisticRegression(), "LogisticRegression cannot be read"),
        "hard voting": (
            VotingClassifier([("a", DecisionTreeClassifier())], voting="hard"),
            "voting='hard'",
        ),
        "voting of sums": (
            VotingClassifier([("a", GradientBoostingClassifier(n_estimators=2))], voting="soft"),
            "means over trees",
        ),
        "stacking": (
            StackingClassifier([("a", DecisionTreeClassifier())], cv=2),
            "StackingClassifier",
        ),
        "own start": (
            GradientBoostingClassifier(init=DecisionTreeClassifier(max_depth=1), n_estimators=2),
            "init=DecisionTreeClassifier",
        ),
        "encoded number": (
            make_pipeline(
                make_column_transformer(
                    (OneHotEncoder(handle_unknown="ignore"), [0]), remainder="passthrough"
                ),
                DecisionTreeClassifier(),
            ),
            "declare it as categorical",
        ),
        "subclass": (Lying(3), "Lying"),
        "no single trees": (
            AdaBoostClassifier(RandomForestClassifier(2), n_estimators=2),
            "one decision tree",
        ),
    }


@pytest.mark.parametrize("case", refused())
def test_what_is_no_sum_of_trees_is_refused(world, case):
    w = world("binary")
    model, words = refused()[case]
    with pytest.raises(UnsupportedModelError, match=words.replace("(", r"\(")):
        read_trees(w.fit(model), w.columns, w.X)


def test_several_outputs_are_refused(world):
    w = world("binary")
    model = RandomForestRegressor(2).fit(w.X, w.X[:, :2])
    with pytest.raises(UnsupportedModelError, match="several outputs"):
        read_trees(model, w.columns)


def test_exponentials_of_sums_are_refused(world):
    w = world("binary")
    model = HistGradientBoostingRegressor(loss="poisson", max_iter=3).fit(w.X, w.y + 1.0)
    with pytest.raises(UnsupportedModelError, match="poisson"):
        read_trees(model, w.columns)


def test_text_without_encoder_is_refused():
    X = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": ["0", "1", "0", "1"]})
    model = DecisionTreeClassifier().fit(X, [0, 1, 1, 0])
    columns = [Column("a", None), Column("b", np.array(["x", "y"], dtype=object))]
    with pytest.raises(UnsupportedModelError, match="cannot be read as numbers"):
        read_trees(model, columns)


def test_a_tree_that_was_tampered_with_is_noticed(world, monkeypatch):
    w = world("binary")
    model = w.fit(GradientBoostingClassifier(n_estimators=3))
    plain = GradientBoostingClassifier.decision_function
    monkeypatch.setattr(
        GradientBoostingClassifier, "decision_function", lambda self, X: plain(self, X) + 1e-6
    )
    with pytest.raises(UnsupportedModelError, match="more than they show"):
        read_trees(model, w.columns, w.X)


def test_rows_of_a_wrong_shape(world):
    w = world("binary")
    ensemble = read_trees(w.fit(DecisionTreeClassifier()), w.columns)
    with pytest.raises(ValueError, match=r"must have shape \(n, 4\)"):
        ensemble.value(np.zeros((2, 3)))


def test_many_rows_are_walked_in_parts(world, monkeypatch):
    from scfe_sklearn.models.trees import ensemble as trees_ensemble

    w = world("binary")
    ensemble = read_trees(w.fit(RandomForestClassifier(4, random_state=0)), w.columns)
    whole = ensemble.value(w.u.numpy()), ensemble.leaves(w.u.numpy())
    monkeypatch.setattr(trees_ensemble, "_CELLS", 28)
    assert np.array_equal(whole[0], ensemble.value(w.u.numpy()))
    assert np.array_equal(whole[1], ensemble.leaves(w.u.numpy()))
