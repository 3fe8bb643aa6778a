"""Derived columns: recomputed, checked, judged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scfe_sklearn.data import Derived


def _frame(n=50):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"debt": rng.uniform(0, 9, n), "income": rng.integers(1, 90, n)})
    X["ratio"] = (X["debt"] / X["income"]).astype(np.float32)
    X["rich"] = X["income"] > 40
    X["rank"] = X["income"] // 10
    X["word"] = np.where(X["rich"], "high", "low")
    return X.set_axis(rng.integers(0, 9, n), axis=0)


FUNCTIONS = {
    "ratio": lambda X: X["debt"] / X["income"],
    "rich": lambda X: X["income"] > 40,
    "rank": lambda X: X["income"] // 10,
    "word": lambda X: np.where(X["rich"], "high", "low"),
}


def test_recomputed_rows_are_those_of_a_loop():
    X = _frame()
    derived = Derived(FUNCTIONS)
    derived.check(X)
    rng = np.random.default_rng(1)
    moved = X.assign(income=rng.integers(1, 90, len(X)), debt=rng.uniform(0, 9, len(X)))
    before = moved.copy()
    out = derived.recompute(moved)
    pd.testing.assert_frame_equal(moved, before)
    assert (out.dtypes == X.dtypes).all() and out.index.equals(X.index)
    for i in range(len(X)):
        row = out.iloc[i]
        assert row["ratio"] == np.float32(row["debt"] / row["income"])
        assert row["rich"] == (row["income"] > 40)
        assert row["rank"] == row["income"] // 10
        assert row["word"] == ("high" if row["income"] > 40 else "low")
    assert derived.obeys(out).all()
    stale = (out[["rich", "rank", "word"]] != X[["rich", "rank", "word"]]).any(axis=1).to_numpy()
    stale = stale | ~np.isclose(out["ratio"], X["ratio"], rtol=1e-6)
    np.testing.assert_array_equal(derived.obeys(moved), ~stale)


def test_values_that_are_right_already_keep_their_bits():
    X = pd.DataFrame({"a": [0.1, 0.2], "b": [0.3, 0.6]})
    X["c"] = [0.4, 0.8000000000000002]
    out = Derived({"c": lambda X: X.a + X.b}).recompute(X)
    assert out["c"].tolist() == X["c"].tolist()


def test_no_finite_value_is_a_missing_one():
    X = pd.DataFrame({"a": [1.0, 0.0, 4.0, np.nan], "b": [0.0, 0.0, 2.0, 2.0]})
    X["c"] = [np.inf, np.nan, 2.0, np.nan]
    derived = Derived({"c": lambda X: X.a / X.b})
    assert derived.obeys(X).tolist() == [False, True, True, True]
    assert derived.recompute(X.assign(c=9.0))["c"].isna().tolist() == [True, True, False, True]


def test_one_derived_column_may_follow_another():
    X = np.array([[1.0, 2.0, 4.0], [5.0, 0.0, 0.0]])
    derived = Derived({1: lambda X: 2 * X[:, 0], 2: lambda X: 2 * X[:, 1]})
    np.testing.assert_array_equal(derived.recompute(X), [[1, 2, 4], [5, 10, 20]])
    assert derived.obeys(X).tolist() == [True, False]
    assert derived.names == (1, 2)


def test_a_function_that_writes_into_its_rows_does_no_harm():
    def rude(X):
        X["a"] = 0.0
        return X["b"]

    X = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [3.0, 5.0]})
    assert Derived({"c": rude}).obeys(X).tolist() == [True, False]
    assert X["a"].tolist() == [1.0, 2.0]
    assert Derived({"c": rude}).recompute(X)["a"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("functions", "match"),
    [
        ({}, "must be a dict"),
        ({"ratio": 3}, "must have functions. Got 3 for 'ratio'"),
        ({"nope": len}, "'functions' parameter of Derived must name columns of X"),
        ({"ratio": lambda X: 1.0}, r"Got shape \(\) instead"),
        ({"ratio": lambda X: X[["debt", "income"]]}, r"Got shape \(50, 2\) instead"),
        ({"ratio": lambda X: X["debt"][:-1]}, r"one value for each of the 50 rows"),
        ({"ratio": lambda X: X["debt"].sort_values()}, "values in another order of rows"),
        ({"ratio": lambda X: X["word"]}, "that returns numbers"),
        ({"rank": lambda X: X["income"] / 10}, "that returns whole numbers"),
        ({"rich": lambda X: X["income"]}, "that returns booleans"),
    ],
)
def test_wrong_functions(functions, match):
    X = _frame()
    for call in (Derived(functions).obeys, Derived(functions).recompute):
        with pytest.raises(ValueError, match=match):
            call(X)


def test_training_rows_must_obey():
    with pytest.raises(ValueError, match=r"Got other values of \['rank'\] in 50 rows"):
        Derived({"rank": lambda X: X["income"] + 1000}).check(_frame())


# ---------------------------------------------------------------------- order, circles, stale

CHAIN = {
    "a": lambda X: X["x"] + 1,
    "b": lambda X: X["a"] * 2,
    "c": lambda X: X["b"] + X["a"],
    "word": lambda X: np.where(X["c"] > 20, "much", "little"),
    "flag": lambda X: X["word"] == "much",
}


def _chained(x):
    frame = pd.DataFrame({"x": np.asarray(x, dtype=float)})
    for name, function in CHAIN.items():
        frame[name] = function(frame)
    return frame


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fitted", [True, False])
def test_derived_order_of_the_dict_does_not_matter(seed, fitted):
    names = np.random.default_rng(seed).permutation(list(CHAIN)).tolist()
    derived = Derived({name: CHAIN[name] for name in names})
    X = _chained(range(12))
    if fitted:
        derived.arrange(X)
    moved = X.assign(x=np.arange(12)[::-1] + 3.0)
    expected = _chained(moved["x"])
    pd.testing.assert_frame_equal(derived.recompute(moved), expected)
    assert derived.obeys(expected).all()


@pytest.mark.parametrize("column", ["a", "word", "flag"])
def test_derived_function_of_its_own_column_is_refused(column):
    X = _chained(range(12))
    with pytest.raises(ValueError, match=f"a function of '{column}' that depends on '{column}'"):
        Derived({column: lambda X: X[column]}).arrange(X)
    half = {column: lambda X: X[column].where(X["x"] > 5, CHAIN[column](X))}
    with pytest.raises(ValueError, match=f"depends on '{column}' itself"):
        Derived(half).recompute(X)


def test_derived_function_of_its_own_constant_column_is_refused():
    X = pd.DataFrame({"x": [1.0, 2.0], "one": [1, 1], "word": ["k", "k"]})
    for name in ("one", "word"):
        with pytest.raises(ValueError, match="itself"):
            Derived({name: lambda X, name=name: X[name]}).arrange(X)


def test_derived_columns_in_a_circle_are_refused_by_name():
    X = pd.DataFrame({"x": np.arange(9.0), "a": np.arange(9.0), "b": np.arange(9.0)})
    circle = {"a": lambda X: X["b"], "b": lambda X: X["a"]}
    with pytest.raises(ValueError, match=r"circle\. Got 'a' from 'b' from 'a'"):
        Derived(circle).arrange(X)


def test_derived_function_may_leave_its_own_column_out():
    X = pd.DataFrame({"x": np.arange(9.0), "y": np.arange(9.0)})
    X["total"] = X["x"] + X["y"]
    functions = {"total": lambda X: X.drop(columns="total").sum(axis=1)}
    assert Derived(functions).arrange(X).order_ == ["total"]
    by_place = {"total": lambda X: X.iloc[:, :2].sum(axis=1)}
    assert Derived(by_place).arrange(X).obeys(X).all()


def test_derived_functions_that_are_replaced_are_put_in_order_again():
    X = _chained(range(6))
    derived = Derived({"a": CHAIN["a"]}).arrange(X)
    derived.set_params(functions={"b": CHAIN["b"], "a": CHAIN["a"]})
    moved = X[["x", "a", "b"]].assign(x=7.0)
    assert derived.recompute(moved)[["a", "b"]].iloc[0].tolist() == [8.0, 16.0]


def test_stale_rows_are_said_by_name_and_value():
    X = _chained([1, 2, 3, 20])
    X.loc[1, "b"] = 5.5
    X.loc[2, "word"] = "much"
    X.loc[3, "a"] = np.nan
    assert Derived(CHAIN).stale(X).tolist() == [
        None,
        "'b' is 5.5, but its function gives 6",
        "'word' is 'much', but its function gives 'little'",
        "'a' is missing, but its function gives 21",
    ]
