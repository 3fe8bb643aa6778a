"""Explanations and the containers in them, through JSON and back."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scfe_sklearn import CounterfactualExplainer, Explanation, Interval
from scfe_sklearn._utils.json_codec import pack, unpack
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.explanation.tables import VERSION as JSON_VERSION

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")


def through_json(value):
    return unpack(json.loads(json.dumps(pack(value), allow_nan=False)))


def test_a_data_frame_keeps_types_values_and_labels():
    frame = pd.DataFrame(
        {
            "float": [0.1, np.nan, -np.inf],
            "single": np.array([0.1, np.nan, 3], dtype=np.float32),
            "int8": np.array([1, -2, 3], dtype=np.int8),
            "uint64": np.array([0, 1, 2**64 - 1], dtype=np.uint64),
            "bool": [True, False, True],
            "text": ["x", None, "Zürich"],
            "object": pd.Series([1, "b", np.nan], dtype=object),
            "ordered": pd.Categorical(["u", None, "v"], ["v", "u", "never"], ordered=True),
            "numbers": pd.Categorical([2, 1, 2]),
            "Int16": pd.array([1, None, 3], dtype="Int16"),
            "Float32": pd.array([1.5, None, 3], dtype="Float32"),
            "boolean": pd.array([True, None, False], dtype="boolean"),
            "string": pd.array(["a", None, "b"], dtype="string"),
            "date": pd.to_datetime(["2020-01-01", None, "2021-02-03"]),
            "span": pd.to_timedelta([1, 2, None], unit="D"),
            ("a", 1): [1, 2, 3],
            7: [1, 2, 3],
        },
        index=pd.Index(["r", "s", "r"], name="who"),
    )
    again = through_json(frame)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert again["text"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(3, 12, 4, name="n"),
        pd.Index([1.5, np.nan]),
        pd.Index([], dtype=object),
        pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", None]),
        pd.DatetimeIndex(["2020-03-29", "2020-10-25"], tz="Europe/Berlin", name="day"),
    ],
    ids=lambda index: type(index).__name__,
)
def test_an_index_stays_what_it_is(index):
    pd.testing.assert_index_equal(through_json(index), index, exact=True)


def test_pandas_columns_of_arrow():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": pd.array([1, None, 2], dtype="int32[pyarrow]")})
    pd.testing.assert_frame_equal(through_json(frame), frame)


def test_polars_frames():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "float": [0.1, None, float("nan")],
            "single": pl.Series([0.1, None, float("inf")], dtype=pl.Float32),
            "text": ["x", None, "z"],
            "bool": [True, None, False],
            "small": pl.Series([1, 2, 255], dtype=pl.UInt8),
            "enum": pl.Series(["u", "v", None], dtype=pl.Enum(["v", "u", "w"])),
            "cat": pl.Series(["u", "v", None], dtype=pl.Categorical),
        }
    )
    again = through_json(frame)
    assert again.schema == frame.schema
    assert again.equals(frame, null_equal=True)
    with pytest.raises(TypeError, match=r"polars column of .* cannot be written"):
        pack(pl.DataFrame({"list": [[1], [2]]}))


@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int16, np.uint8, np.bool_, "U3"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_arrays_keep_every_bit(array):
    again = through_json(array)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    np.testing.assert_array_equal(again, array)
    if array.dtype.kind == "f":  # 0.0 and -0.0 are equal, but not the same
        np.testing.assert_array_equal(np.signbit(again)[array == 0], np.signbit(array)[array == 0])


def test_objects_keep_their_types():
    cells = [1, 1.5, True, None, "a", ("x", (1, None)), np.float32(0.1), np.int8(3), np.str_("b")]
    cells += [
        float("nan"),
        -0.0,
        b"\x00\xff",
        datetime.date(2020, 2, 29),
        pd.Timestamp("2020-01-01"),
    ]
    cells += [datetime.datetime(2020, 1, 1, 12), {"a": 1, (2, 3): [4]}, 2**70, pd.NaT, pd.NA]
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    again = through_json(array)
    assert [type(v) for v in again] == [type(v) for v in cells]
    assert again[-1] is pd.NA
    assert again[-2] is pd.NaT
    assert np.isnan(again[9])
    assert list(again[:9]) == cells[:9]
    assert list(again[10:-2]) == cells[10:-2]


@pytest.mark.parametrize(
    "value", [object(), 1j, np.array([1j]), {1, 2}, len], ids=lambda value: type(value).__name__
)
def test_what_json_cannot_hold_is_refused_by_name(value):
    with pytest.raises(TypeError, match="cannot be written"):
        pack(value)


@pytest.mark.parametrize("value", [{}, {"is": "code"}, {"value": 1}, {"is": None}])
def test_what_nobody_wrote_is_refused(value):
    with pytest.raises(ValueError, match="Unsupported type in the file"):
        unpack(value)


# ------------------------------------------------------------------------------ explanations


def explanation(kind):
    X, y = make_loan_applications(150, random_state=0)
    X.index = [f"p{i % 140}" for i in range(len(X))]  # labels may repeat
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )
    model = make_pipeline(columns, LogisticRegression())
    numbers = X[["age", "income", "savings"]].astype(float)
    if kind == "pandas":
        fitted = CounterfactualExplainer(model, max_changes=1, immutable=["sex"]).fit(X, y)
        return fitted.explain(X[:8])
    if kind == "several answers":
        return CounterfactualExplainer(model).fit(X, y).explain(X[:5], n_counterfactuals=2)
    if kind == "array":
        fitted = CounterfactualExplainer(make_pipeline(StandardScaler(), LogisticRegression()))
        rows = numbers.to_numpy()
        query = rows[:6].copy()
        query[2, 1] = np.nan
        return fitted.fit(rows, y == "approved").explain(query, best_effort=True)
    if kind == "values":
        fitted = CounterfactualExplainer(LinearRegression()).fit(
            numbers[["age", "income"]], X.savings
        )
        return fitted.explain(numbers[["age", "income"]][:4], Interval(at_least=X.savings.median()))
    if kind == "blocks":
        dummies = pd.get_dummies(X[["age", "income", "housing"]], columns=["housing"])
        block = [name for name in dummies if name.startswith("housing")]
        fitted = CounterfactualExplainer(
            LogisticRegression(max_iter=9999), blocks={"housing": block}
        )
        return fitted.fit(dummies, y).explain(dummies[:5])
    pl = pytest.importorskip("polars")
    fitted = CounterfactualExplainer(make_pipeline(StandardScaler(), LogisticRegression()))
    frame = pl.DataFrame(numbers.to_dict("list"))
    return fitted.fit(frame, y).explain(frame[:5])


KINDS = ["pandas", "several answers", "array", "values", "blocks", "polars"]


def assert_same(one, two):
    """Equal in all that can be asked of them, types included."""
    for name in ("target", "prediction", "prediction_after", "status", "reason", "kinds", "option"):
        a, b = getattr(one, name), getattr(two, name)
        assert a.dtype == b.dtype, name
        assert a.tolist() == b.tolist() or pd.isna(a).any(), name
    for name in ("probability_before", "probability_after", "n_changes", "distance", "gap"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    np.testing.assert_array_equal(one.changed, two.changed)
    for name in ("factual", "counterfactuals"):
        a, b = getattr(one, name), getattr(two, name)
        assert type(a) is type(b)
        if isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        elif isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a.schema == b.schema
            assert a.equals(b)
    pd.testing.assert_index_equal(one.index, two.index, exact=True)
    for a, b in zip(one.background.positions, two.background.positions, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    for a, b in zip(one.background.heights, two.background.heights, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    assert list(one.background.labels) == list(two.background.labels)
    pd.testing.assert_frame_equal(one.changes, two.changes, check_exact=True)
    assert one.sentences() == two.sentences()
    assert one._repr_html_() == two._repr_html_()


@pytest.mark.parametrize("kind", KINDS)
def test_an_explanation_survives_json(kind, tmp_path):
    before = explanation(kind)
    assert_same(Explanation.from_json(before.to_json()), before)
    assert before.to_json(tmp_path / "some.json") is None
    assert_same(Explanation.from_json(tmp_path / "some.json"), before)
    assert_same(Explanation.from_json(str(tmp_path / "some.json")), before)


def test_some_rows_and_no_rows_survive_json():
    before = explanation("pandas")
    for part in (before[[2, 0]], before[:0]):
        assert_same(Explanation.from_json(part.to_json()), part)


def test_another_process_reads_and_writes_the_same_text(tmp_path):
    before = explanation("pandas")
    before.to_json(tmp_path / "one.json")
    code = (
        "import sys; from scfe_sklearn import Explanation;"
        "Explanation.from_json(sys.argv[1]).to_json(sys.argv[2])"
    )
    files = [str(tmp_path / "one.json"), str(tmp_path / "two.json")]
    subprocess.run([sys.executable, "-c", code, *files], check=True)
    assert Path(files[0]).read_bytes() == Path(files[1]).read_bytes()
    assert_same(Explanation.from_json(files[1]), before)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda content: [], "must be an explanation in JSON"),
        (lambda content: {"schema": "other", "version": 1}, "must be an explanation in JSON"),
        (lambda content: {**content, "version": "1"}, "must be an explanation in JSON"),
        (
            lambda content: {**content, "version": JSON_VERSION + 1},
            "must have version 2 at most. Got 3",
        ),
        (lambda content: {**content, "fields": {}}, "is damaged"),
        (
            lambda content: {**content, "fields": {**content["fields"], "extra": 1}},
            "is damaged",
        ),
        (
            lambda content: {
                **content,
                "fields": {**content["fields"], "status": pack(np.array(["fine"] * 5))},
            },
            "'status' parameter of Explanation",
        ),
    ],
)
def test_a_changed_text_is_refused(change, match):
    content = json.loads(explanation("array")[:5].to_json())
    text = json.dumps(change(content))
    with pytest.raises(ValueError, match=match):
        Explanation.from_json(text if text.startswith("{") else '{"a": ' + text + "}")


def test_broken_text_is_refused():
    with pytest.raises(ValueError, match="must be an explanation in JSON"):
        Explanation.from_json("{not json")


def test_a_text_of_the_first_version_is_read():
    whole = explanation("array")[:5]
    content = json.loads(whole.to_json())
    del content["fields"]["front"]
    again = Explanation.from_json(json.dumps({**content, "version": 1}))
    assert again.sentences() == whole.sentences()
    assert not again.front
