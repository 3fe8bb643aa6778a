"""Black boxes: what they say is what the estimator says of the same raw rows."""

import warnings

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
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn.data import Column, FeatureSpace
from scfe_sklearn.models import UnsupportedModelError
from scfe_sklearn.models.black_box.black_box import BlackBox
from scfe_sklearn.models.black_box.rows import RowWriter, column_numbers, column_points

NUMBERS, TEXTS, REST = ["income", "age"], ["job", "grade"], ["owner", "rooms"]


def front(passthrough="passthrough"):
    return make_column_transformer(
        (StandardScaler(), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore"), TEXTS),
        remainder=passthrough,
        sparse_threshold=0,
    )


def small_forest(**kwargs):
    return RandomForestClassifier(12, max_depth=6, random_state=0, **kwargs)


CLASSIFIERS = {
    "forest": lambda: small_forest(),
    "weighted forest": lambda: small_forest(class_weight="balanced"),
    "extra": lambda: ExtraTreesClassifier(12, random_state=0),
    "tree": lambda: DecisionTreeClassifier(random_state=0),
    "hgb": lambda: HistGradientBoostingClassifier(max_iter=15),
    "gb": lambda: GradientBoostingClassifier(n_estimators=10, random_state=0),
    "ada": lambda: AdaBoostClassifier(n_estimators=10, random_state=0),
    "bagging": lambda: BaggingClassifier(n_estimators=5, random_state=0),
    "knn": lambda: KNeighborsClassifier(),
    "stacking": lambda: StackingClassifier([("a", small_forest())], cv=2),
    "voting": lambda: VotingClassifier([("a", small_forest()), ("b", LogisticRegression())]),
    "ridge": lambda: RidgeClassifier(),
    "search": lambda: GridSearchCV(DecisionTreeClassifier(), {"max_depth": [2, 3]}, cv=2),
}


def expected_scores(estimator, X):
    """What the documentation promises, straight from the estimator."""
    if hasattr(estimator, "predict_proba"):
        return np.log(np.clip(estimator.predict_proba(X), 1e-9, None))
    if hasattr(estimator, "decision_function"):
        f = estimator.decision_function(X)
        return np.stack([-f / 2, f / 2], 1) if f.ndim == 1 else f
    return (estimator.predict(X)[:, None] == estimator.classes_).astype(float)


@pytest.mark.parametrize("kind", ["mixed", "mixed3"])
@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_pipelines_take_the_fast_road_and_say_what_the_estimator_says(world, kind, name):
    data = world(kind)
    model = data.fit(make_pipeline(front(), CLASSIFIERS[name]()))
    box = BlackBox(model, data.columns, data.X)
    got = box.scores(data.u).numpy()
    assert box.fast
    assert box.n_classes == len(model.classes_)
    np.testing.assert_allclose(got, expected_scores(model, data.X), rtol=1e-9, atol=1e-9)
    assert (model.classes_[got.argmax(1)] == model.predict(data.X)).all()


@pytest.mark.parametrize("kind", ["binary", "multi"])
@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_estimators_on_arrays(world, kind, name):
    data = world(kind)
    model = data.fit(CLASSIFIERS[name]())
    box = BlackBox(model, data.columns, data.X)
    expected = expected_scores(model, data.X)
    assert box.fast
    np.testing.assert_allclose(box.scores(data.u).numpy(), expected, rtol=1e-9, atol=1e-9)


def on_splits(model, data, name):
    """Rows at the exact raw values where the trees of a pipeline split a column, and beside."""
    scaler = model[0].named_transformers_["standardscaler"]
    k = NUMBERS.index(name)
    thresholds = np.concatenate(
        [t.tree_.threshold[t.tree_.feature == k] for t in model[-1].estimators_]
    )
    raw = thresholds * scaler.scale_[k] + scaler.mean_[k]
    raw = np.concatenate([raw, np.nextafter(raw, -np.inf), np.nextafter(raw, np.inf)])
    return data.X.iloc[np.arange(len(raw)) % len(data.X)].assign(**{name: raw})


def test_the_fast_road_falls_on_the_same_side_of_every_split(world):
    data = world("mixed")
    model = data.fit(make_pipeline(front(), small_forest()))
    box = BlackBox(model, data.columns, data.X)
    X = on_splits(model, data, "income")
    got = box.scores(torch.from_numpy(column_points(X, data.columns))).numpy()
    expected = np.log(np.maximum(model.predict_proba(X), 1e-9))
    np.testing.assert_allclose(got, expected, rtol=1e-12)  # sums in another order


FRONTS = {
    "scalers": make_pipeline(StandardScaler(with_std=False), MinMaxScaler()),
    "union": FeatureUnion([("a", StandardScaler(with_mean=False)), ("b", MinMaxScaler())]),
    "quantiles": QuantileTransformer(n_quantiles=10),
    "bins": KBinsDiscretizer(4, encode="onehot", strategy="uniform"),
    "function": FunctionTransformer(np.log1p),
}


@pytest.mark.parametrize("name", sorted(FRONTS))
def test_any_transformer_of_numbers_is_replayed(world, name):
    data = world("mixed")
    columns = make_column_transformer(
        (FRONTS[name], NUMBERS), (OrdinalEncoder(), TEXTS), remainder="drop", sparse_threshold=0
    )
    columns.transformer_weights = {"ordinalencoder": 3.0}
    model = data.fit(make_pipeline(columns, StandardScaler(), small_forest()))
    box = BlackBox(model, data.columns, data.X)
    assert box.fast
    np.testing.assert_allclose(box.scores(data.u).exp(), model.predict_proba(data.X), atol=1e-8)


def missing_numbers(world):
    data = world("mixed")
    X = data.X.assign(income=data.X["income"].where(np.arange(len(data.X)) % 7 > 0))
    u = data.u.clone()
    u[::7, 0] = torch.nan
    return data, X, u


@pytest.mark.parametrize("imputed", [True, False])
def test_missing_numbers_are_passed_on(world, imputed):
    data, X, u = missing_numbers(world)
    first = make_column_transformer(
        (SimpleImputer() if imputed else StandardScaler(), NUMBERS),
        (OneHotEncoder(sparse_output=False), TEXTS),
    )
    model = make_pipeline(first, HistGradientBoostingClassifier(max_iter=10)).fit(X, data.y)
    box = BlackBox(model, data.columns, X)
    assert box.fast
    np.testing.assert_allclose(box.scores(u).exp(), model.predict_proba(X), atol=1e-9)
    # Where training rows miss nothing, the fast road has not been compared.
    u[3, 1] = torch.nan
    X = X.astype({"age": float})
    X.iloc[3, 1] = np.nan
    np.testing.assert_allclose(box.scores(u).exp(), model.predict_proba(X), atol=1e-9)


class Function:
    """Predictions and nothing else, of frames that are as they were in training."""

    def __init__(self, labels, columns):
        self.labels, self.columns = np.asarray(labels), columns

    def _first(self, X):
        if hasattr(X, "columns"):
            assert list(X.columns) == self.columns
            return np.asarray(X[self.columns[0]], dtype=float)
        return np.asarray(X[:, 0], dtype=float)

    def predict(self, X):
        return self.labels[(self._first(X) > 1).astype(int) + (self._first(X) > 2)]


class Probabilities:
    """Probabilities and classes, no predictions."""

    classes_ = np.array(["no", "yes"])

    def predict_proba(self, X):
        p = 1 / (1 + np.exp(-np.asarray(X)[:, 0].astype(float)))
        return np.stack([1 - p, p], 1)


@pytest.mark.parametrize("labels", [["x", "y", "z"], [4, 2, 9]])
def test_functions_with_predictions_only(labels):
    X = pd.DataFrame({"a": [0.5, 1.5, 2.5], "b": ["u", "v", "u"]})
    columns = [Column("a", None), Column("b", np.array(["u", "v"]))]
    box = BlackBox(Function(labels, ["a", "b"]), columns, X)
    u = torch.tensor([[0.0, 1, 0], [1.2, 0, 1], [9.0, 1, 0]], dtype=torch.float64)
    assert box.response_method == "predict"
    assert box.classes.tolist() == sorted(labels)
    got = box.classes[box.scores(u).argmax(1)]
    assert got.tolist() == labels
    assert set(box.scores(u).flatten().tolist()) == {0.0, 1.0}


def test_functions_with_probabilities_only():
    X = np.array([[-1.0], [2.0]])
    box = BlackBox(Probabilities(), [Column(0, None)], X)
    scores = box.scores(torch.tensor([[0.3], [-40.0]], dtype=torch.float64))
    np.testing.assert_allclose(scores.exp().sum(1), 1, atol=1e-8)
    np.testing.assert_allclose(scores[0, 1] - scores[0, 0], 0.3)
    np.testing.assert_allclose(scores[1, 1], np.log(1e-9))


@pytest.mark.parametrize(
    "model",
    [RandomForestRegressor(8, random_state=0), HistGradientBoostingRegressor(max_iter=5)],
    ids=["forest", "hgb"],
)
@pytest.mark.parametrize("whole", [False, True])
def test_regressors_have_one_score(world, model, whole):
    data = world("binary")
    y = data.X[:, 1].round() if whole else data.X[:, 1]
    model.fit(data.X, y)
    box = BlackBox(model, data.columns, data.X)
    assert (box.n_classes, box.classes, box.fast) == (1, None, True)
    np.testing.assert_allclose(box.scores(data.u)[:, 0], model.predict(data.X), rtol=1e-12)


@pytest.mark.parametrize("threshold", [0.2, 0.8])
def test_the_largest_score_is_the_prediction_whatever_the_threshold(world, threshold):
    data = world("mixed")
    model = FixedThresholdClassifier(make_pipeline(front(), small_forest()), threshold=threshold)
    model = data.fit(model.set_params(pos_label="a"))
    box = BlackBox(model, data.columns, data.X)
    got = model.classes_[box.scores(data.u).argmax(1)]
    assert (got == model.predict(data.X)).all()
    assert (got != model.classes_[model.predict_proba(data.X).argmax(1)]).any()


def test_one_vs_one_decisions_are_no_scores(world):
    data = world("multi")
    three = np.digitize(data.X[:, 0], [-0.5, 0.5]) + (data.X[:, 2] > 1.3)
    model = SVC(decision_function_shape="ovo").fit(data.X, np.minimum(three, 3))
    box = BlackBox(model, data.columns, data.X)
    assert box.response_method == "predict"
    assert (model.classes_[box.scores(data.u).argmax(1)] == model.predict(data.X)).all()


class Suspicious(DecisionTreeClassifier):
    """Answers otherwise when it is not given a frame."""

    def predict_proba(self, X, check_input=True):
        out = super().predict_proba(X, check_input)
        return out if isinstance(X, pd.DataFrame) else out[:, ::-1]


def test_a_fast_road_that_differs_is_not_taken(world):
    data = world("binary")
    X = pd.DataFrame(data.X, columns=list("abcd"))
    columns = [Column(name, None) for name in X]
    model = Suspicious(max_depth=3).fit(X, data.y)
    box = BlackBox(model, columns, X)
    assert not box.fast
    np.testing.assert_allclose(box.scores(data.u).exp(), model.predict_proba(X), atol=1e-8)


def test_several_outputs_are_refused(world):
    data = world("binary")
    model = DecisionTreeClassifier().fit(data.X, np.stack([data.y, data.y], 1))
    with pytest.raises(UnsupportedModelError, match="several outputs"):
        BlackBox(model, data.columns, data.X)


def test_rows_of_another_width_are_refused(world):
    data = world("binary")
    box = BlackBox(data.fit(small_forest()), data.columns, data.X)
    with pytest.raises(ValueError, match=r"must have shape \(n, 4\)"):
        box.scores(data.u[:, :3])
    assert box.scores(data.u[:0]).shape == (0, 2)


# ------------------------------------------------------------------- raw rows


def frame_of(n=40):
    rng = np.random.default_rng(0)
    some = rng.random(n) < 0.2
    return pd.DataFrame(
        {
            "i": rng.integers(0, 9, n),
            "small": rng.integers(0, 9, n).astype(np.int8),
            "f": rng.normal(size=n),
            "f32": rng.normal(size=n).astype(np.float32),
            "gaps": np.where(some, np.nan, rng.normal(size=n)),
            "nullable": pd.array(np.where(some, None, rng.integers(0, 5, n)), dtype="Int64"),
            "bool": rng.random(n) < 0.5,
            "text": rng.choice(["a", "b"], n),
            "object": np.where(some, None, rng.choice(["p", "q"], n)),
            "cat": pd.Categorical(rng.choice(["k", "l"], n), categories=["l", "k", "unused"]),
            "ordered": pd.Categorical(rng.choice([1, 2], n), categories=[2, 1], ordered=True),
        }
    )


def round_trip(X):
    space = FeatureSpace().fit(X)
    u = space.to_columns(torch.from_numpy(space.encode(X))).numpy()
    exact = space.exact_columns()
    u = exact(torch.from_numpy(space.encode(X))).numpy()
    return RowWriter(X, space.columns_)(u)


def test_pandas_rows_come_back_with_their_dtypes():
    X = frame_of()
    back = round_trip(X)
    assert (back.dtypes == X.dtypes).all()
    # The exact map rounds continuous numbers to twelve digits.
    pd.testing.assert_frame_equal(back, X, rtol=1e-10)


def test_polars_rows_come_back_with_their_dtypes():
    pl = pytest.importorskip("polars")
    X = pl.DataFrame(
        {
            "i": [3, 4, 5],
            "f": [0.5, None, 0.25],
            "text": ["a", None, "b"],
            "flag": [True, False, True],
            "cat": pl.Series(["x", "y", "x"], dtype=pl.Enum(["y", "x"])),
        }
    )
    back = round_trip(X)
    assert back.schema == X.schema
    assert back.equals(X)


@pytest.mark.parametrize(
    "X",
    [
        np.array([[1, 2], [3, 5], [0, 9]]),
        np.array([[0.5, 2], [np.nan, 5], [0, 9]]),
        np.array([[0.5, 2], [0.25, 5]], dtype=np.float32),
        np.array([[True, False], [False, False], [True, True]]),
        np.array([["a", "b"], ["b", "b"], ["a", "c"]]),
        np.array([[1, "b"], [2, "b"], [5, None]], dtype=object),
        np.array([[1.5, "b"], [2, "b"], [5, "a"]], dtype=object),
    ],
    ids=["int", "float", "float32", "bool", "text", "object", "numbers"],
)
def test_arrays_come_back_with_their_dtype(X):
    back = round_trip(X)
    assert back.dtype == X.dtype
    gone = pd.isna(X)
    assert (pd.isna(back) == gone).all()
    assert (back[~gone] == X[~gone]).all()


def test_columns_of_a_frame_keep_their_order():
    X = pd.DataFrame({"b": [1.0, 2.0], "a": ["u", "v"]})
    columns = [Column("a", np.array(["u", "v"])), Column("b", None)]
    back = RowWriter(X, columns)(np.array([[0.0, 1.0, 7.0]]))
    assert list(back.columns) == ["b", "a"]
    assert back.iloc[0].tolist() == [7.0, "v"]


# ------------------------------------------------------------------- exact map


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_the_exact_map_gives_the_values_of_the_decoded_row(seed):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "whole": rng.integers(-5, 300, 30),
            "tenths": rng.integers(0, 99, 30) / 10,
            "free": rng.normal(size=30) * 10.0 ** rng.integers(-6, 7),
            "single": rng.normal(size=30).astype(np.float32),
            "text": rng.choice(["a", "b", "c"], 30),
            "rank": pd.Categorical(
                rng.choice(list("xyz"), 30), categories=list("xyz"), ordered=True
            ),
        }
    )
    space = FeatureSpace().fit(X)
    Z = space.encode(X)
    moved = space.snap(Z + rng.normal(size=Z.shape) * (rng.random(Z.shape) < 0.5), Z)
    frame = space.decode(moved, X, reference=Z)
    exact = space.exact_columns()
    got = exact(torch.from_numpy(moved)).numpy()
    expected = column_points(frame, space.columns_)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11 * float(X["free"].std()))
    levels = np.concatenate([np.full(c.width, c.levels is not None) for c in space.columns_])
    stepped = np.isin(np.arange(len(levels)), [0, 1]) | levels
    assert (got[:, stepped] == expected[:, stepped]).all()


def test_the_exact_map_leaves_an_odd_factual_alone():
    X = pd.DataFrame({"whole": [1.0, 2.0, 3.0], "text": ["a", "b", "a"]})
    space = FeatureSpace().fit(X)
    exact = space.exact_columns()
    Z = space.encode(pd.DataFrame({"whole": [1.4, np.nan], "text": ["a", "b"]}))
    got = exact(torch.from_numpy(Z)).numpy()
    np.testing.assert_allclose(got, [[1.4, 1, 0], [np.nan, 0, 1]])


@pytest.mark.parametrize("package", ["xgboost", "lightgbm", "catboost"])
def test_other_libraries(world, package):
    module = pytest.importorskip(package)
    data = world("mixed")
    y = (data.y == "a").astype(int)
    model = {
        "xgboost": lambda: module.XGBClassifier(n_estimators=5),
        "lightgbm": lambda: module.LGBMClassifier(n_estimators=5, verbose=-1),
        "catboost": lambda: module.CatBoostClassifier(
            iterations=5, verbose=False, allow_writing_files=False
        ),
    }[package]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make_pipeline(front(), model).fit(data.X, y)
        box = BlackBox(model, data.columns, data.X)
        expected = model.predict_proba(data.X)
    assert box.fast
    np.testing.assert_allclose(box.scores(data.u).exp(), expected, atol=1e-6)


def test_points_of_frames_of_numbers_are_those_of_their_columns():
    frame = pd.DataFrame({"a": [1.5, np.nan, 3.0], "b": [1, 2, 3], "c": [True, False, True]})
    columns = [Column(name, None) for name in frame]
    expected = np.column_stack([column_numbers(frame, k, one) for k, one in enumerate(columns)])
    np.testing.assert_array_equal(column_points(frame, columns), expected)
    # Other orders and other types are read column by column.
    turned = frame[["b", "c", "a"]].astype({"b": "Int64"})
    np.testing.assert_array_equal(column_points(turned, columns), expected)
