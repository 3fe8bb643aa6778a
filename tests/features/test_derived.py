"""Derived columns: recomputed, checked, judged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scfe_sklearn.features import Derived


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
        ({"ratio": lambda X: X["word"]}, "must return numbers"),
        ({"rank": lambda X: X["income"] / 10}, "must return whole numbers"),
        ({"rich": lambda X: X["income"]}, "must return booleans"),
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
