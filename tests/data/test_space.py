"""What a feature space learns, what it refuses, and how it maps to column space."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.data.domains import NO_ROUNDING, Lattice, infer_offset, infer_step


def _frame():
    return pd.DataFrame(
        {
            "age": [20, 30, 40, 50],
            "rate": [0.1, 0.2, 0.30, 0.7],
            "x": np.array([1.0, np.pi, np.e, 1e-3 / 3]),
            "job": ["b", "a", "b", None],
            "own": [True, False, True, True],
            "level": pd.Categorical(
                ["lo", "hi", "hi", "mid"], categories=["lo", "mid", "hi", "never"], ordered=True
            ),
        }
    )


def test_what_is_learnt():
    X = _frame()
    space = FeatureSpace().fit(X)
    assert space.kinds_ == (
        "integer",
        "numeric",
        "numeric",
        "categorical",
        "categorical",
        "ordinal",
    )
    np.testing.assert_allclose(space.step_, [1, 0.1, 0, 0, 0, 1])
    np.testing.assert_allclose(space.center_[:3], X.iloc[:, :3].mean())
    np.testing.assert_allclose(space.scale_[:3], X.iloc[:, :3].std(ddof=0))
    np.testing.assert_allclose(space.min_, [20, 0.1, 1e-3 / 3, np.nan, np.nan, 0])
    np.testing.assert_allclose(space.max_, [50, 0.7, np.pi, np.nan, np.nan, 2])
    assert space.levels_[3].tolist()[:2] == ["a", "b"] and pd.isna(space.levels_[3][2])
    assert space.levels_[4].dtype == bool
    assert space.levels_[5].tolist() == ["lo", "mid", "hi"]  # "never" has no training row
    assert space.center_[5] == np.mean([0, 2, 2, 1]) and space.scale_[5] == np.std([0, 2, 2, 1])
    assert space.groups_.tolist() == [0, 1, 2, 3, 3, 3, 4, 4, 5]
    assert space.feature_names_in_.tolist() == list(X) and space.n_features_in_ == 6
    assert [c.width for c in space.columns_] == [1, 1, 1, 3, 2, 3]
    lattice = (X["rate"].to_numpy() - space.center_[1]) / space.scale_[1]
    steps = (lattice - space.z_offset_[1]) / space.z_step_[1]
    np.testing.assert_allclose(steps, [1, 2, 3, 7])
    assert (space.z_step_[2:8] == 0).all()


def test_a_changed_category_is_one_unit_of_squared_distance():
    X = pd.DataFrame({"job": list("abc")})
    Z = FeatureSpace().fit(X).encode(X)
    for i in range(3):
        for j in range(3):
            assert ((Z[i] - Z[j]) ** 2).sum() == pytest.approx(float(i != j), abs=1e-15)


def test_parameters_say_what_columns_are():
    X = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [1.5, 2.5, 2.5],
            "c": [1.0, 2.0, 3.0],
            "d": [1, 2, 2],
            "e": [5, 15, 25],
        }
    )
    space = FeatureSpace(
        categorical=["a"], integer=["b"], continuous=["c"], ordinal={"d": [2, 1]}, steps={"e": 10}
    ).fit(X)
    assert space.kinds_ == ("categorical", "integer", "numeric", "ordinal", "integer")
    assert space.step_.tolist() == [0, 1, 0, 1, 10] and space.offset_[4] == 5
    assert space.levels_[3].tolist() == [2, 1]
    hinted = FeatureSpace(continuous=["c"]).fit(X, categorical_hint=["a", "c"])
    assert hinted.kinds_[0] == "categorical" and hinted.kinds_[2] == "numeric"
    # A value off the lattice stays, and moves onto it.
    Z = space.encode(X)
    assert space.decode(Z, like=X)["b"].tolist() == [1.5, 2.5, 2.5]
    Z[:, 3] += 0.01
    assert set(space.decode(Z, like=X)["b"]) <= {1.0, 2.0, 3.0}


def test_off_lattice_values_stay_or_land_on_the_lattice():
    X = pd.DataFrame({"n": [1.0, 2.0, 4.0]})
    space = FeatureSpace().fit(X)
    like = pd.DataFrame({"n": [2.6, 2.6]})
    Z = space.encode(like)
    Z[1] += 0.2 / space.scale_[0]
    assert space.decode(Z, like=like)["n"].tolist() == [2.6, 3.0]


def test_lattice_points_are_the_decimal_literals():
    X = pd.DataFrame({"r": np.arange(1, 1000) / 10})
    space = FeatureSpace().fit(X)
    Z = space.encode(X)
    moved = np.roll(Z, 1, axis=0) + 1e-12
    literals = [float(f"{v:.1f}") for v in np.roll(np.arange(1, 1000) / 10, 1)]
    assert space.decode(moved, like=X)["r"].tolist() == literals


def test_continuous_values_hit_plain_decimal_bounds():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(5e4, 2e4, 200)})
    space = FeatureSpace().fit(X)
    for value in (0.0, 120_000.0, 33_333.25):
        z = np.full((200, 1), (value - space.center_[0]) / space.scale_[0])
        assert (space.decode(z, like=X)["x"] == value).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "Int8", "uint64"])
def test_no_overflow(dtype):
    X = pd.DataFrame({"n": pd.array([0, 100, 120], dtype=dtype)})
    space = FeatureSpace().fit(X)
    Z = space.encode(X)
    low, high = np.iinfo(dtype.lower()).min, np.iinfo(dtype.lower()).max
    top = space.decode(np.full_like(Z, 1e30), like=X)["n"]
    bottom = space.decode(np.full_like(Z, -1e30), like=X)["n"]
    assert top.dtype == bottom.dtype == X["n"].dtype
    assert int(bottom.iloc[0]) == low
    assert high - 2048 <= int(top.iloc[0]) <= high


def test_values_that_the_column_cannot_hold_widen_it():
    X = pd.DataFrame({"x": [0.5, 1.25, 2.0], "c": list("abc")})
    space = FeatureSpace(categorical=["c"]).fit(X)
    like = pd.DataFrame({"x": [1, 2], "c": pd.Categorical(["a", "b"])})
    Z = space.encode(like)
    Z[0, 0] = (0.75 - space.center_[0]) / space.scale_[0]
    Z[1, 1:] = [0, 0, 1]
    decoded = space.decode(Z, like=like)
    assert decoded["x"].tolist() == [0.75, 2.0]
    assert decoded["c"].tolist() == ["a", "c"]
    assert decoded["c"].cat.categories.tolist() == ["a", "b", "c"]


def test_missing_numbers_are_left_out_of_statistics():
    X = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": pd.array([1, None, 5], dtype="Int64")})
    space = FeatureSpace().fit(X)
    assert space.center_.tolist() == [2, 3] and space.kinds_ == ("integer", "integer")
    Z = space.encode(X)
    assert np.isnan(Z[1]).all() and np.isfinite(Z[[0, 2]]).all()


def test_constant_columns_have_scale_one():
    X = pd.DataFrame({"a": [3, 3], "b": [0.1 + 0.2] * 2, "c": ["x", "x"], "d": [1e-200, 0.0]})
    space = FeatureSpace().fit(X)
    assert space.scale_[:3].tolist() == [1, 1, 1] and space.scale_[3] > 0
    assert space.constant_.tolist() == [True, True, True, False]
    assert np.isfinite(space.encode(X)).all()


def test_columns_may_stand_in_any_order():
    X = _frame()
    space = FeatureSpace().fit(X)
    shuffled = X[X.columns[::-1]]
    np.testing.assert_array_equal(space.encode(shuffled), space.encode(X))
    Z = space.encode(X)
    Z[:, 0] += 1
    decoded = space.decode(Z, like=shuffled)
    assert list(decoded) == list(shuffled)
    pd.testing.assert_frame_equal(decoded[X.columns], space.decode(Z, like=X))


def test_input_problems():
    X = _frame()
    space = FeatureSpace().fit(X)
    bad = pd.concat([X] * 2, ignore_index=True).astype({"age": float, "level": object})
    bad.loc[0, "age"] = np.nan
    bad.loc[1, "x"] = -np.inf
    bad.loc[2, "job"] = "pilot"
    bad.loc[3, "level"] = "never"
    bad["own"] = bad["own"].astype(object)
    bad.loc[4, "own"] = None
    bad.loc[5, ["age", "job"]] = [np.nan, "pilot"]
    assert space.input_problems(bad).tolist() == [
        "missing value in 'age'",
        "infinite value in 'x'",
        "unseen category 'pilot' in 'job'",
        "unseen category 'never' in 'level'",
        "missing value in 'own'",
        "missing value in 'age'",
        None,
        None,  # a missing job is a level that training showed
    ]
    finite = np.isfinite(space.encode(bad)).all(axis=1)
    np.testing.assert_array_equal(finite, [p is None for p in space.input_problems(bad)])


def test_levels_match_across_dtypes():
    X = pd.DataFrame({"k": [1, 2, 3], "w": ["a", "b", "a"]})
    space = FeatureSpace(categorical=["k"]).fit(X)
    Z = space.encode(X)
    for other in (
        X.astype({"k": float, "w": "category"}),
        X.astype({"k": "Int64", "w": "string"}),
        X.astype(object),
        X.astype({"k": "category"}),
    ):
        np.testing.assert_array_equal(space.encode(other), Z)


def test_clone_pickle_and_refit():
    X = _frame()
    space = FeatureSpace(steps={"x": 0.5}).fit(X)
    again = pickle.loads(pickle.dumps(space))
    np.testing.assert_array_equal(again.encode(X), space.encode(X))
    fresh = clone(space)
    assert not hasattr(fresh, "groups_") and fresh.steps == {"x": 0.5}
    space.set_params(steps=None).fit(X.to_numpy(dtype=object))
    assert not hasattr(space, "feature_names_in_")
    assert space.names_ == (0, 1, 2, 3, 4, 5)


# ------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"categorical": ["nope"]}, "'categorical' parameter of FeatureSpace must name columns"),
        ({"categorical": "job"}, "must be a list of columns. Got 'job'"),
        ({"integer": ["job"]}, "must name numeric columns. Got 'job' of dtype"),
        ({"integer": ["age"], "continuous": ["age"]}, "Got 'age' in both"),
        ({"continuous": ["age"]}, "stored as int64 and must have a whole step"),
        ({"steps": {"age": 0.5}}, "must have a whole step"),
        ({"steps": {"rate": 0}}, "must be positive. Got 0 for 'rate'"),
        ({"steps": ["rate"]}, "must be a dict"),
        ({"steps": {"x": 1}, "continuous": ["x"]}, "Got 'x' in both"),
        ({"ordinal": ["job"]}, "must be a dict that gives the levels in order"),
        ({"ordinal": {"job": ["a"]}}, "must list every level of 'job'"),
        ({"ordinal": {"job": "ab"}}, "must give a list of levels"),
        ({"ordinal": {"job": ["a", "a"]}}, "distinct levels"),
    ],
)
def test_wrong_parameters(parameters, match):
    with pytest.raises(ValueError, match=match):
        FeatureSpace(**parameters).fit(_frame())


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        (pd.DataFrame({"t": pd.date_range("2020", periods=2)}), ValueError, "'t' of X must hold"),
        (pd.DataFrame({"t": pd.to_timedelta([1, 2], unit="D")}), ValueError, "Got timedelta64"),
        (pd.DataFrame({"t": [1j, 2j]}), ValueError, "Got complex128"),
        (pd.DataFrame({"t": [[1], [2]]}), ValueError, "must hold hashable values"),
        (pd.DataFrame({"t": [np.nan, np.nan]}), ValueError, "Got only missing ones"),
        (pd.DataFrame({"t": [None, None]}, dtype=object), ValueError, "Got only missing ones"),
        (pd.DataFrame({"t": [1.0, np.inf]}), ValueError, "must be finite"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, r"unique .* Got \['a'\]"),
        (pd.DataFrame({"a": []}), ValueError, "at least one row"),
        (pd.DataFrame(index=[0, 1]), ValueError, "one column"),
        (np.zeros(3), ValueError, "2-D array. Got 1 dim"),
        ([1, 2], ValueError, "2-D array. Got 1 dim"),
    ],
)
def test_data_that_cannot_be_fitted(X, error, match):
    with pytest.raises(error, match=match):
        FeatureSpace().fit(X)


def test_data_that_does_not_match():
    X = _frame()
    space = FeatureSpace().fit(X)
    with pytest.raises(
        ValueError, match=r"missing columns \['age'\] and unknown columns \['agee'\]"
    ):
        space.encode(X.rename(columns={"age": "agee"}))
    with pytest.raises(ValueError, match="must have the 6 columns"):
        space.encode(X.to_numpy()[:, :5])
    with pytest.raises(
        ValueError, match=r"'age' of X must hold numbers. Got str values such as 'x'"
    ):
        space.encode(X.assign(age=np.array([1, "x", None, 2], dtype=object)))
    with pytest.raises(ValueError, match="'age' of X must hold numbers"):
        space.encode(X.assign(age=["1", "2", "3", "4"]))
    with pytest.raises(ValueError, match=r"Z must have shape \(n, 9\)"):
        space.decode(np.zeros((4, 3)), like=X)
    with pytest.raises(ValueError, match="one row for each row"):
        space.decode(np.zeros((3, 9)), like=X)


# ----------------------------------------------------------------------- column space


def test_to_columns_gives_raw_numbers_and_one_hot_levels():
    torch = pytest.importorskip("torch")
    X = _frame()
    space = FeatureSpace().fit(X)
    Z = space.encode(X)
    u = space.to_columns(torch.as_tensor(Z)).numpy()
    np.testing.assert_allclose(u[:, :3], X.iloc[:, :3], rtol=1e-14, atol=1e-15)
    expected = np.column_stack(
        [X["job"].eq("a"), X["job"].eq("b"), X["job"].isna(), ~X["own"], X["own"]]
        + [X["level"].eq(v) for v in ("lo", "mid", "hi")]
    )
    np.testing.assert_array_equal(u[:, 3:], expected.astype(float))
    single = space.to_columns(torch.as_tensor(Z, dtype=torch.float32)).numpy()
    np.testing.assert_array_equal(single[:, 3:], expected.astype(np.float32))


@pytest.mark.parametrize("n_levels", [1, 2, 3, 6])
def test_hat_weights_interpolate_between_levels(n_levels):
    torch = pytest.importorskip("torch")
    X = pd.DataFrame({"o": np.arange(n_levels), "x": np.linspace(0, np.pi, n_levels)})
    space = FeatureSpace(ordinal={"o": list(range(n_levels))}).fit(X)
    value = np.random.default_rng(0).normal(size=n_levels)  # of each level
    top = n_levels - 1
    r = np.concatenate([np.linspace(0, top, 41), np.arange(n_levels)])
    Z = np.zeros((len(r), 2))
    Z[:, 0] = (r - space.center_[0]) / space.scale_[0]
    z = torch.tensor(Z, requires_grad=True)
    weights = space.to_columns(z)[:, :n_levels]
    np.testing.assert_allclose(weights.detach().sum(1), 1)
    got = weights @ torch.as_tensor(value)
    np.testing.assert_allclose(got.detach(), np.interp(r, np.arange(n_levels), value), atol=1e-12)
    got.sum().backward()
    assert z.grad is not None
    slope = z.grad[:, 0].numpy() * (1 / space.scale_[0])
    jumps = np.diff(value)
    for rank, found in zip(r, slope, strict=True):
        if n_levels == 1:
            assert found == 0
            continue
        right = jumps[min(int(np.floor(rank + 1e-9)), top - 1)]
        left = jumps[max(int(np.ceil(rank - 1e-9)) - 1, 0)]
        assert found == pytest.approx((left + right) / 2, abs=1e-9)


# --------------------------------------------------------------------------- lattices


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1.0, 2.0], 1.0),
        ([0.1, 0.2, 0.3], 0.1),
        ([0.5, 0.25], 0.01),
        ([0.0001], 0.0001),
        ([0.00001], 0.0),
        ([0.1 + 0.2], 0.0),
        ([1e17, 1.0], 0.0),
    ],
)
def test_steps_are_inferred(values, step):
    assert infer_step(np.array(values)) == step


def test_offsets_are_inferred():
    assert infer_offset(np.array([5.0, 15.0, 45.0]), 10.0) == 5.0
    assert infer_offset(np.array([10.0, 20.0]), 10.0) == 0.0
    assert infer_offset(np.array([1.0, 2.5]), 10.0) == 0.0
    assert infer_offset(np.array([0.35, 0.85]), 0.5) == 0.35


def _lattice(step, offset=0.0, decimals=NO_ROUNDING, low=-np.inf, high=np.inf, bits=64):
    return Lattice(*(np.array([v]) for v in (step, offset, decimals, low, high, bits)))


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_rounding_inward_is_tight(bits):
    lattice = _lattice(0.1, 0.0, 1, bits=bits)
    points = lattice.nearest(np.arange(-50, 51)[:, None] * 0.1).ravel()
    assert len(set(points)) == 101
    for value in np.random.default_rng(0).uniform(-4.9, 4.9, 300).tolist() + points[1:-1].tolist():
        above = lattice.at_least(np.array([[value]])).item()
        below = lattice.at_most(np.array([[value]])).item()
        assert above == points[points >= value].min()
        assert below == points[points <= value].max()


def test_single_precision_bounds_are_representable():
    lattice = _lattice(0.0, bits=32)
    for value in (0.1, 1 / 3, -0.1, 0.5):
        below, above = lattice.at_most([[value]]).item(), lattice.at_least([[value]]).item()
        assert below <= value <= above
        assert np.float32(below) == below and np.float32(above) == above
        assert np.nextafter(np.float32(below), np.float32(9)) >= np.float32(above)
