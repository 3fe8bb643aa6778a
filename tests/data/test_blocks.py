"""One-hot blocks: there and back, and the gradient of a model behind them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn.data import BlockExpander, FeatureSpace
from scfe_sklearn.models import UnsupportedModelError, as_torch, categorical_columns, verify


def _dummies(jobs, **kwargs):
    return pd.get_dummies(pd.Series(jobs, name="job"), prefix="job", **kwargs)


def _mixed(n, dtype=bool, seed=0):
    """A block that is scattered among other columns."""
    rng = np.random.default_rng(seed)
    block = _dummies(np.append(["a", "b", "c"], rng.choice(["a", "b", "c"], n - 3)), dtype=dtype)
    frame = pd.DataFrame({"age": rng.integers(18, 60, n), "pay": rng.normal(size=n)})
    frame = pd.concat([block[["job_c"]], frame, block[["job_a", "job_b"]]], axis=1)
    return frame.set_axis(rng.integers(0, n, n), axis=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["bool", "int8", "uint8", "float32", "Int64"]))
def test_there_and_back_is_the_same_frame(seed, dtype):
    X = _mixed(20, dtype, seed)
    expander = BlockExpander({"job": ["job_a", "job_b", "job_c"]}).fit(X)
    collapsed = expander.collapse(X)
    assert list(collapsed.columns) == ["job", "age", "pay"]
    block = X[["job_a", "job_b", "job_c"]].astype(float).to_numpy()
    assert collapsed["job"].tolist() == np.array(["a", "b", "c"])[block.argmax(axis=1)].tolist()
    pd.testing.assert_frame_equal(expander.transform(collapsed), X)
    shuffled = collapsed[["pay", "job", "age"]].astype({"job": object})
    pd.testing.assert_frame_equal(expander.transform(shuffled), X)
    pd.testing.assert_frame_equal(expander.collapse(X[X.columns[::-1]]), collapsed)


def test_rows_of_zeros_are_a_level_where_training_has_them():
    X = _dummies(["a", "b", "c", "b"], drop_first=True, dtype=int)
    expander = BlockExpander({"job": ["job_b", "job_c"]}).fit(X)
    assert expander.collapse(X)["job"].tolist() == ["none", "b", "c", "b"]
    named = BlockExpander({"job": {"a": None, "b": "job_b", "c": "job_c"}}).fit(X)
    assert named.collapse(X)["job"].tolist() == ["a", "b", "c", "b"]
    for fitted in (expander, named):
        pd.testing.assert_frame_equal(fitted.transform(fitted.collapse(X)), X)
    full = BlockExpander({"job": ["job_b", "job_c"]}).fit(X[1:])
    problem = "no 1 in the columns of 'job', ['job_b', 'job_c']: exactly one of them must be 1"
    assert full.input_problems(X)[0].startswith(problem)
    assert full.input_problems(X)[1:].tolist() == [None] * 3
    assert expander.input_problems(X).tolist() == [None] * 4


def test_rows_that_are_not_one_hot_are_a_problem():
    X = _mixed(6, float)
    expander = BlockExpander({"job": ["job_a", "job_b", "job_c"]}).fit(X)
    odd = X.copy()
    odd.iloc[0, [0, 3, 4]] = 1.0
    odd.iloc[1, 3] = 0.5
    odd.iloc[2, 4] = np.nan
    problems = expander.input_problems(odd)
    starts = ["more than one 1 in", "other values than 0 and 1 in", "other values than 0 and 1 in"]
    assert [p.startswith(s) for p, s in zip(problems[:3], starts, strict=True)] == [True] * 3
    assert problems[3:].tolist() == [None] * 3
    assert expander.collapse(odd)["job"].isna().tolist() == [True] * 3 + [False] * 3
    with pytest.raises(ValueError, match=r"must be one-hot in the training rows.* in row 0"):
        BlockExpander({"job": ["job_a", "job_b", "job_c"]}).fit(odd)


def test_a_missing_category_is_a_missing_block():
    X = _mixed(3, bool)
    expander = BlockExpander({"job": ["job_a", "job_b", "job_c"]}).fit(X)
    collapsed = expander.collapse(X)
    collapsed["job"] = collapsed["job"].where([True, False, True])
    out = expander.transform(collapsed)
    assert out["job_a"].isna().tolist() == [False, True, False]
    assert str(out["job_a"].dtype) == "boolean" and out["age"].dtype == X["age"].dtype


def test_arrays_know_columns_by_position():
    X = np.array([[1.5, 1, 0, 7], [2.5, 0, 1, 8], [3.5, 0, 1, 9]])
    expander = BlockExpander({"colour": {"red": 1, "blue": 2}}).fit(X)
    collapsed = expander.collapse(X)
    assert collapsed.columns.tolist() == [0, "colour", 3]
    back = expander.transform(collapsed)
    assert isinstance(back, np.ndarray) and back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)
    lost = collapsed.assign(colour=pd.Series([None, "red", "red"], dtype=object))
    np.testing.assert_array_equal(expander.transform(lost)[:, 1], [np.nan, 1, 1])


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float64])
def test_a_model_behind_the_block_is_exact(dtype):
    X = _mixed(120, dtype)
    rng = np.random.default_rng(1)
    X["rooms"] = rng.integers(1, 4, len(X))
    y = (X["pay"] + X["job_a"].astype(float) + rng.normal(0, 0.3, len(X)) > 0.5).to_numpy()
    numeric = ["age", "pay"]
    front = make_column_transformer(
        (StandardScaler(), numeric),
        (OneHotEncoder(), ["rooms", "job_b"]),
        ("passthrough", ["job_a", "job_c"]),
    )
    model = make_pipeline(front, LogisticRegression()).fit(X, y)
    expander = BlockExpander({"job": ["job_a", "job_b", "job_c"]}).fit(X)
    collapsed = expander.collapse(X)
    whole = make_pipeline(FrozenEstimator(expander), FrozenEstimator(model))
    np.testing.assert_array_equal(whole.predict_proba(collapsed), model.predict_proba(X))

    hint = categorical_columns(whole, list(collapsed.columns))
    assert set(hint) == {"job", "rooms"}
    space = FeatureSpace().fit(collapsed, categorical_hint=hint)
    scores = as_torch(whole, space.columns_)
    u = space.to_columns(torch.from_numpy(space.encode(collapsed)))
    verify(scores, whole, collapsed, u)
    expected = model.decision_function(X)
    found = scores.scores(u).detach().numpy()
    np.testing.assert_allclose(found[:, 1] - found[:, 0], expected, atol=1e-9)


def test_a_number_cannot_be_expanded():
    X = pd.DataFrame({"job_1": [1, 0, 1], "job_2": [0, 1, 0]})
    expander = BlockExpander({"job": {1: "job_1", 2: "job_2"}}).fit(X)
    model = make_pipeline(FrozenEstimator(expander), LogisticRegression())
    model.fit(expander.collapse(X), [0, 1, 0])
    from scfe_sklearn.data import Column

    with pytest.raises(UnsupportedModelError, match="has no levels here"):
        as_torch(model, [Column("job", None)])


@pytest.mark.parametrize(
    ("blocks", "match"),
    [
        ({}, "must be a dict"),
        (["job_a"], "must be a dict"),
        ({"job": "job_a"}, "must give {level: column} or a list"),
        ({"job": ["job_a"]}, "at least two levels"),
        ({"job": {"a": "job_a", "b": None, "c": None}}, "at most one has no column"),
        ({"job": ["job_a", "nope"]}, "must name columns of X.* Got 'nope'"),
        ({"job": ["job_a", "job_a"]}, "must name every column once"),
        ({"x": ["job_a", "job_b", "job_c"], "y": ["job_a", "age"]}, "name every column once"),
        ({"age": ["job_a", "job_b", "job_c"]}, "names that no other column has. Got 'age'"),
        ({"job": ["job_a", "age"]}, "must be one-hot in the training rows"),
        ({"job": {"none": "job_a", "b": "job_b"}}, "and a level 'none' besides"),
    ],
)
def test_wrong_blocks(blocks, match):
    with pytest.raises(ValueError, match=match):
        BlockExpander(blocks).fit(_mixed(30))


def test_wrong_rows():
    X = _mixed(5)
    expander = BlockExpander({"job": ["job_a", "job_b", "job_c"]}).fit(X)
    with pytest.raises(ValueError, match="must have the columns that BlockExpander was fitted"):
        expander.collapse(X.drop(columns="age"))
    with pytest.raises(ValueError, match="Got no 'age'"):
        expander.transform(expander.collapse(X).drop(columns="age"))
    with pytest.raises(ValueError, match=r"must have levels of its block.* Got 'z'"):
        expander.transform(expander.collapse(X).assign(job="z"))
    with pytest.raises(TypeError, match="must be a pandas data frame or a 2-D array"):
        expander.collapse([[1, 2]])
