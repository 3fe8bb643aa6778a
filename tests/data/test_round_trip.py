"""Random mixed frames: what goes in comes out, to the last bit and the last dtype."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from scfe_sklearn.data import FeatureSpace

QUICK = settings(deadline=None, max_examples=150)

WORDS = ["a", "b", "c", "longer", "0", ""]


def _texts(rng, n):
    return rng.choice(np.array(WORDS, dtype=object), n)


def _with_missing(values, rng, missing):
    values = np.array(values, dtype=object)
    values[rng.random(len(values)) < 0.3] = missing
    return values


MAKERS = {
    "int64": lambda r, n: r.integers(-50, 50, n),
    "int8": lambda r, n: r.integers(-128, 128, n).astype(np.int8),
    "uint8": lambda r, n: r.integers(0, 256, n).astype(np.uint8),
    "int32": lambda r, n: r.integers(-9, 9, n).astype(np.int32),
    "uint64": lambda r, n: r.integers(0, 2**63, n, dtype=np.uint64) * np.uint64(2),
    "float64": lambda r, n: r.normal(1e3, 7.0, n),
    "far away": lambda r, n: r.normal(1.6e9, 3.0, n),
    "tiny": lambda r, n: r.normal(0.0, 1e-7, n),
    "heavy tails": lambda r, n: np.exp(r.normal(0, 6, n)),
    "float32": lambda r, n: r.normal(size=n).astype(np.float32),
    "float16": lambda r, n: r.normal(size=n).astype(np.float16),
    "sparse": lambda r, n: pd.arrays.SparseArray(r.normal(size=n) * (r.random(n) < 0.5)),
    "decimals": lambda r, n: np.round(r.normal(size=n), 1),
    "decimals in float32": lambda r, n: np.round(r.normal(size=n), 2).astype(np.float32),
    "whole floats": lambda r, n: r.integers(0, 9, n).astype(float),
    "constant": lambda r, n: np.full(n, 0.1 + 0.2),
    "bool": lambda r, n: r.random(n) < 0.5,
    "Int64": lambda r, n: pd.array(r.integers(-9, 9, n), dtype="Int64"),
    "Int8": lambda r, n: pd.array(r.integers(-128, 128, n), dtype="Int8"),
    "Float32": lambda r, n: pd.array(r.normal(size=n), dtype="Float32"),
    "Float64": lambda r, n: pd.array(r.normal(size=n), dtype="Float64"),
    "boolean": lambda r, n: pd.array(_with_missing(r.random(n) < 0.5, r, pd.NA), dtype="boolean"),
    "string": lambda r, n: pd.array(_with_missing(_texts(r, n), r, pd.NA), dtype="string"),
    "str": lambda r, n: pd.Series(_texts(r, n)).array,
    "object": lambda r, n: pd.Series(_texts(r, n), dtype=object),
    "object with None": lambda r, n: pd.Series(_with_missing(_texts(r, n), r, None), dtype=object),
    "object with both": lambda r, n: pd.Series(
        _with_missing(_with_missing(_texts(r, n), r, np.nan), r, None), dtype=object
    ),
    "object ints": lambda r, n: pd.Series(r.integers(0, 9, n).tolist(), dtype=object),
    "mixed object": lambda r, n: pd.Series(
        r.choice(np.array([1, "1", 2.5, "x"], dtype=object), n), dtype=object
    ),
    "category": lambda r, n: pd.Categorical(_texts(r, n), categories=[*WORDS, "unused"]),
    "category of ints": lambda r, n: pd.Categorical(r.integers(0, 4, n)),
    "category with missing": lambda r, n: pd.Categorical(_with_missing(_texts(r, n), r, None)),
    "ordered": lambda r, n: pd.Categorical(
        _texts(r, n), categories=["unused", *WORDS[::-1]], ordered=True
    ),
}


def _index(kind, n):
    if kind == "range":
        return pd.RangeIndex(n)
    if kind == "repeated":
        return pd.Index([7, 7, *range(n)][:n], name="who")
    if kind == "multi":
        return pd.MultiIndex.from_arrays([np.arange(n) // 2, list("xy" * n)[:n]])
    return pd.date_range("2020-01-01", periods=n)


@st.composite
def frames(draw, min_rows=2):
    n = draw(st.integers(min_rows, 12))
    kinds = draw(st.lists(st.sampled_from(sorted(MAKERS)), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    index = _index(draw(st.sampled_from(["range", "repeated", "multi", "dates"])), n)
    columns = {}
    for i, kind in enumerate(kinds):
        column = pd.Series(MAKERS[kind](rng, n))
        if column.isna().all():
            column = pd.Series(["a"] * n)
        columns[(i, kind) if draw(st.booleans()) else f"{i} {kind}"] = column.array
    frame = pd.DataFrame(dict(enumerate(columns.values())), index=index, copy=True)
    frame.columns = pd.Index(list(columns), tupleize_cols=False)
    return frame, rng


def _moved(Z, rng, size=1.0):
    return Z + size * rng.normal(size=Z.shape) * (rng.random(Z.shape) < 0.4)


def _alike(a, b):
    return bool(pd.isna(b)) if pd.isna(a) else bool(not pd.isna(b) and a == b)


@QUICK
@given(frames())
def test_unchanged_rows_come_back_bit_for_bit(drawn):
    frame, _ = drawn
    space = FeatureSpace().fit(frame)
    Z = space.encode(frame)
    before = frame.copy(deep=True)
    assert_frame_equal(space.decode(Z, like=frame), frame, check_exact=True, check_freq=False)
    assert_frame_equal(frame, before, check_exact=True)
    np.testing.assert_array_equal(space.snap(Z, Z), Z)


@QUICK
@given(frames(), st.sampled_from([1e-6, 0.3, 1.0, 100.0]))
def test_snapped_points_are_the_coordinates_of_decoded_rows(drawn, size):
    frame, rng = drawn
    space = FeatureSpace().fit(frame)
    Z = space.encode(frame)
    moved = _moved(Z, rng, size)
    snapped = space.snap(moved, Z)
    np.testing.assert_array_equal(space.snap(snapped, Z), snapped)
    decoded = space.decode(moved, like=frame)
    np.testing.assert_allclose(space.encode(decoded), snapped, rtol=1e-12, atol=1e-12)
    assert_frame_equal(space.decode(snapped, like=frame), decoded, check_exact=True)
    assert decoded.index.equals(frame.index)
    assert list(decoded.columns) == list(frame.columns)
    for old, new in zip(frame.dtypes, decoded.dtypes, strict=True):
        assert old == new, (old, new)
        if isinstance(old, pd.CategoricalDtype):
            assert list(old.categories) == list(new.categories)
            assert old.ordered == new.ordered


@QUICK
@given(frames())
def test_only_changed_cells_change(drawn):
    frame, rng = drawn
    space = FeatureSpace().fit(frame)
    Z = space.encode(frame)
    snapped = space.snap(_moved(Z, rng), Z)
    decoded = space.decode(snapped, like=frame)
    changed = space.changed(snapped, Z)
    for j in range(frame.shape[1]):
        old, new = frame.iloc[:, j].tolist(), decoded.iloc[:, j].tolist()
        for a, b, moved in zip(old, new, changed[:, j], strict=True):
            same = _alike(a, b)
            if moved:
                assert not same or (a is None) != (b is None)
            else:
                assert same and type(a) is type(b)


@QUICK
@given(frames(min_rows=3))
def test_rows_may_be_picked_and_repeated(drawn):
    frame, rng = drawn
    space = FeatureSpace().fit(frame)
    rows = rng.integers(0, len(frame), 5)
    Z = _moved(space.encode(frame)[rows], rng)
    assert_frame_equal(
        space.decode(Z, like=frame, rows=rows),
        space.decode(Z, like=frame.iloc[rows]),
        check_freq=False,
    )


@QUICK
@given(frames())
def test_failed_rows_are_missing_and_others_are_not_touched(drawn):
    frame, rng = drawn
    space = FeatureSpace().fit(frame)
    Z = space.encode(frame)
    failed = rng.random(len(frame)) < 0.5
    failed[0] = True
    Z[failed] = np.nan
    decoded = space.decode(Z, like=frame)
    assert decoded[failed].isna().all(axis=None)
    assert (decoded.isna() == frame.isna())[~failed].all(axis=None)
    for old, new in zip(frame.dtypes, decoded.dtypes, strict=True):
        if isinstance(old, np.dtype) and old.kind in "iu":
            assert str(new).lower() == str(old)
        elif str(old) == "bool":
            assert str(new) == "boolean"
        else:
            assert old == new
    for j in range(frame.shape[1]):
        kept, was = decoded.iloc[~failed, j].tolist(), frame.iloc[~failed, j].tolist()
        assert all(_alike(a, b) for a, b in zip(kept, was, strict=True))


@QUICK
@given(frames(), st.booleans())
def test_empty_frames_pass_through(drawn, with_rows):
    frame, _ = drawn
    space = FeatureSpace().fit(frame)
    empty = frame.iloc[:0]
    Z = space.encode(empty)
    assert Z.shape == (0, len(space.groups_))
    rows = np.array([], dtype=int) if with_rows else None
    assert_frame_equal(space.decode(Z, like=empty, rows=rows), empty, check_freq=False)
    assert space.snap(Z, Z).shape == Z.shape
    assert space.changed(Z, Z).shape == (0, frame.shape[1])
    assert space.input_problems(empty).shape == (0,)


@pytest.mark.parametrize(
    "dtype", ["int8", "int64", "uint16", "float32", "float64", "bool", "U3", "object"]
)
def test_arrays(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2 if dtype == "bool" else 120, (30, 3)).astype(dtype)
    if dtype == "object":
        X[:, 1] = rng.choice(["u", "v", None], 30)
        X[:, 2] = rng.normal(size=30)
    space = FeatureSpace().fit(X)
    Z = space.encode(X)
    same = space.decode(Z, like=X)
    assert same.dtype == X.dtype and same is not X
    np.testing.assert_array_equal(same, X)
    decoded = space.decode(_moved(Z, rng), like=X)
    assert decoded.dtype == X.dtype
    np.testing.assert_allclose(space.encode(decoded), space.snap(space.encode(decoded), Z))
    Z[0] = np.nan
    failed = space.decode(Z, like=X)
    assert pd.isna(failed[0]).all()
    np.testing.assert_array_equal(failed[1:], X[1:])


def test_text_arrays_are_never_cut_short():
    X = np.array([["a"], ["longer"]])
    space = FeatureSpace().fit(X)
    short = np.array([["a"]])
    decoded = space.decode(space.encode(X[1:]), like=short)
    assert decoded.tolist() == [["longer"]]


def test_wide_arrays_and_frames():
    X = np.random.default_rng(0).normal(size=(20, 300))
    space = FeatureSpace().fit(X)
    Z = space.encode(X)
    np.testing.assert_allclose(Z, (X - X.mean(0)) / X.std(0))
    frame = pd.DataFrame(X)
    assert_frame_equal(space.decode(Z, like=frame), frame, check_exact=True)
    np.testing.assert_allclose(space.decode(Z + 1, like=frame), X + X.std(0), atol=1e-10)


# ---------------------------------------------------------------------------- polars


def _polars_frame(pl, rng, n):
    return pl.DataFrame(
        {
            "i8": pl.Series(rng.integers(-128, 128, n), dtype=pl.Int8),
            "u64": pl.Series(rng.integers(0, 99, n), dtype=pl.UInt64),
            "f32": pl.Series(rng.normal(size=n), dtype=pl.Float32),
            "f64": rng.normal(size=n),
            "utf": rng.choice(["a", "bc", ""], n),
            "cat": pl.Series(rng.choice(["a", "b"], n), dtype=pl.Categorical),
            "enum": pl.Series(rng.choice(["a", "b"], n), dtype=pl.Enum(["z", "b", "a"])),
            "bool": rng.random(n) < 0.5,
            "null": pl.Series([None if v < 0.4 else "x" for v in rng.random(n)]),
        }
    )


@pytest.mark.parametrize("seed", range(5))
def test_polars(seed):
    pl = pytest.importorskip("polars")
    from polars.testing import assert_frame_equal as assert_polars_equal

    rng = np.random.default_rng(seed)
    frame = _polars_frame(pl, rng, 25)
    space = FeatureSpace().fit(frame)
    assert space.kinds_[:4] == ("integer", "integer", "numeric", "numeric")
    assert set(space.kinds_[4:]) == {"categorical"}
    Z = space.encode(frame)
    assert_polars_equal(space.decode(Z, like=frame), frame, check_exact=True)
    moved = _moved(Z, rng)
    snapped = space.snap(moved, Z)
    decoded = space.decode(moved, like=frame)
    assert decoded.schema == frame.schema
    np.testing.assert_allclose(space.encode(decoded), snapped, atol=1e-12)
    # The same numbers and levels as through pandas.
    with_pandas = FeatureSpace().fit(frame.to_pandas())
    np.testing.assert_allclose(with_pandas.encode(frame.to_pandas())[:, :4], Z[:, :4])
    rows = np.array([3, 3, 0])
    picked = space.decode(moved[rows], like=frame, rows=rows)
    assert_polars_equal(picked, decoded[rows], check_exact=True)
    Z[::2] = np.nan
    failed = space.decode(Z, like=frame)
    assert failed.schema == frame.schema
    assert all(v is None for row in failed[::2].rows() for v in row)
    assert_polars_equal(failed[1::2], frame[1::2], check_exact=True)
    assert space.decode(space.encode(frame[:0]), like=frame[:0]).schema == frame.schema


def test_polars_enum_can_be_ordinal():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"e": pl.Series(["lo", "hi", "mid"], dtype=pl.Enum(["lo", "mid", "hi"]))})
    space = FeatureSpace(ordinal=["e"]).fit(frame)
    assert space.levels_[0].tolist() == ["lo", "mid", "hi"]
    assert (np.diff(space.encode(frame)[[0, 2, 1], 0]) > 0).all()
