"""Explanations in a frame, as records, by label, and several as one."""

import csv
import dataclasses
import io
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer, Explanation, Rules
from scfe_sklearn.cli.commands import table
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.explanation.alignment import PARTLY

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
NAMES = ["age", "income", "savings", "credit_score", "late_payments"]
X, Y = make_loan_applications(300, random_state=0)
X = X[NAMES]
NEW = ["prediction_after", "gap", "option", "outside_rules"]


@pytest.fixture(scope="module")
def model():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


@pytest.fixture(scope="module")
def explainer(model):
    return CounterfactualExplainer(FrozenEstimator(model), immutable=["age"]).fit(X, Y)


@pytest.fixture(scope="module")
def refused(model):
    rows = X[model.predict(X) == "refused"][:6]
    return rows.set_axis([f"p{k}" for k in range(6)])


@pytest.fixture(scope="module")
def result(explainer, refused):
    return explainer.explain(refused, "approved", n_counterfactuals=2)


@pytest.fixture(scope="module")
def values():
    """Two options for the rows of a regressor, whose predictions are numbers."""
    rows, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    model = LinearRegression().fit(rows, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(rows, y)
    asked = rows[model.predict(rows) > 200][:3]
    return model, explainer.explain(asked, (None, 150), n_counterfactuals=2)


# Frames and csv


def test_frame_holds_the_prediction_after_the_option_and_the_gap(values, result):
    model, found = values
    frame = found.to_frame()
    assert frame["option"].tolist() == [0, 1] * 3
    good = frame["success"].to_numpy()
    after = model.predict(frame.loc[good, list(model.feature_names_in_)])
    np.testing.assert_allclose(frame.loc[good, "prediction_after"].astype(float), after)
    assert frame["gap"].isna().all()
    assert (result.to_frame()["prediction_after"][result.success] == "approved").all()


def test_frame_holds_the_gap_of_a_proved_answer():
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y)
    explainer = CounterfactualExplainer(
        FrozenEstimator(tree), tau=0, min_plausibility=0.0, solver="milp"
    ).fit(X, Y)
    found = explainer.explain(X[tree.predict(X) == "refused"][:2], "approved")
    assert found.to_frame()["gap"].tolist() == found.gap.tolist()
    assert (found.gap[found.success] == 0).any()


def test_polars_frame_holds_the_same_columns(result):
    pl = pytest.importorskip("polars")
    rows = pl.DataFrame({name: result.factual[name].tolist() for name in NAMES})
    answers = pl.DataFrame(
        {name: result.counterfactuals[name].tolist() for name in NAMES}, strict=False
    )
    other = dataclasses.replace(result, factual=rows, counterfactuals=answers, index=None)
    frame = other.to_frame()
    assert frame["option"].to_list() == result.option.tolist()
    assert frame["prediction_after"].to_list() == result.prediction_after.tolist()
    assert set(NEW) <= set(frame.columns)


def test_csv_holds_every_column_of_the_frame(result):
    text = table(result).to_csv(index=False)
    lines = list(csv.DictReader(io.StringIO(text)))
    assert list(lines[0]) == ["row", *result.to_frame().columns]
    assert [line["option"] for line in lines] == [str(k) for k in result.option]
    assert {line["prediction_after"] for line in lines} <= {"approved", ""}


# Records


def test_records_are_json_and_agree_with_the_explanation(result):
    records = result.to_records()
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert [record["row"] for record in records] == list(result.index)
    assert [record["sentence"] for record in records] == result.sentences()
    for i, record in enumerate(records):
        assert record["success"] is bool(result.success[i])
        assert record["status"] == result.status[i]
        assert record["option"] == result.option[i]
        lines = result.changes.loc[[i]] if record["changes"] else result.changes[:0]
        assert [change["feature"] for change in record["changes"]] == lines["feature"].tolist()
        assert [change["to"] for change in record["changes"]] == lines["to"].tolist()
        if not result.success[i]:
            assert record["counterfactual"] is None and record["n_changes"] is None
            continue
        answer = result.counterfactuals.iloc[i].to_dict()
        assert record["counterfactual"] == pytest.approx(answer)
        assert list(record["counterfactual"]) == NAMES
        assert record["n_changes"] == len(record["changes"])
        assert type(record["n_changes"]) is int


def test_records_of_unusual_values_are_json():
    none = np.array([np.nan])
    explanation = Explanation(
        factual=np.array([[np.float32(0.1), pd.Timestamp("2020-01-02"), None]], dtype=object),
        counterfactuals=np.array([[np.float32(0.3), None, np.inf]], dtype=object),
        target=["yes"],
        prediction=["no"],
        success=[True],
        status=["found"],
        reason=[""],
        probability_before=none,
        probability_after=none,
        n_changes=[3],
        distance=[1.0],
        log_density=[-np.inf],
        density_quantile=none,
        changed=[[True, True, True]],
        feature_names=["a", ("b", 1), 3],
        kinds=["numeric", "categorical", "numeric"],
        index=pd.MultiIndex.from_tuples([("x", 1)]),
    )
    (record,) = explanation.to_records()
    json.dumps(record, allow_nan=False)
    assert record["row"] == ["x", 1]
    assert record["log_density"] == "-inf"
    assert record["counterfactual"] == {"a": 0.3, "('b', 1)": None, "3": "inf"}
    assert record["changes"][1] == {
        "feature": ["b", 1],
        "from": "2020-01-02T00:00:00",
        "to": None,
    }
    assert explanation[:0].to_records() == []


# Labels


def test_loc_gives_the_entries_of_labels_as_pandas_does(result):
    frame = result.to_frame()
    for labels in (
        "p2",
        ["p4", "p1"],
        slice("p1", "p3"),
        slice(None, "p1"),
        result.index == "p5",
        frame["success"],
        lambda series: series.index.isin(["p0"]),
    ):
        found = result.loc[labels]
        expected = pd.Series(np.arange(len(frame)), index=frame.index).loc[labels]
        assert list(found.index) == list(expected.index)
        pd.testing.assert_frame_equal(found.to_frame(), frame.iloc[expected.to_numpy()])
    assert result.loc["p2"].option.tolist() == [0, 1]


def test_loc_of_one_entry_is_an_explanation(result):
    first = result[result.option == 0]
    assert first.loc["p3"].sentences() == [result.sentences()[6]]
    assert len(first.loc[[]]) == 0


def test_loc_of_several_levels_takes_tuples_and_parts(explainer, refused):
    labels = pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]])
    found = explainer.explain(refused.set_axis(labels), "approved")
    assert list(found.loc["b"].index) == [("b", 1), ("b", 2), ("b", 3)]
    assert list(found.loc[("a", 2)].index) == [("a", 2)]


def test_loc_refuses_unknown_labels_and_columns(result):
    for labels in ("nobody", ["p1", "nobody"]):
        with pytest.raises(KeyError, match="nobody"):
            result.loc[labels]
    with pytest.raises(TypeError, match=r"Explanation\.loc must be given labels of rows only"):
        result.loc["p1", "age"]


# Several as one


def same(one, other):
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame(), check_exact=True)
    pd.testing.assert_frame_equal(one.changes, other.changes)
    assert one.sentences() == other.sentences()
    assert list(one.index) == list(other.index)


def test_concat_of_slices_is_the_whole(result):
    whole = Explanation.concat([result[:4], result[4:5], result[5:]])
    same(whole, result)
    assert whole.rules_text == result.rules_text
    assert whole.background is result.background
    assert whole.solver == result.solver
    same(Explanation.concat(part for part in [result]), result)


def test_concat_after_json_keeps_the_background(result):
    parts = [Explanation.from_json(part.to_json()) for part in (result[:4], result[4:])]
    whole = Explanation.concat(parts)
    same(whole, result)
    assert whole.background is not None


def test_concat_of_other_targets_rules_and_explainers(model, explainer, refused):
    approved = X[model.predict(X) == "approved"][:2]
    free = CounterfactualExplainer(FrozenEstimator(model)).fit(X, Y)
    parts = [
        explainer.explain(refused[:2], "approved"),
        explainer.explain(refused[2:4], "approved", rules=Rules(immutable=["income"])),
        free.explain(approved, "refused"),
    ]
    whole = Explanation.concat(parts)
    assert whole.target.tolist() == ["approved"] * 4 + ["refused"] * 2
    assert whole.sentences() == [text for part in parts for text in part.sentences()]
    assert whole.index.tolist() == [*refused.index[:4], *approved.index]
    own = [set(part.rules_text) for part in parts]
    common = set.intersection(*own)
    assert set(whole.rules_text) == common | {PARTLY + text for text in set.union(*own) - common}
    # A second time, nothing is marked twice.
    again = Explanation.concat([whole, parts[0]])
    assert not any(text.count(PARTLY) > 1 for text in again.rules_text)
    assert whole.summary()["rows"].item() == 6


def test_concat_pairs_columns_by_name(explainer, refused, result):
    turned = explainer.explain(refused[NAMES[::-1]], "approved", n_counterfactuals=2)
    whole = Explanation.concat([result[:4], turned[4:]])
    same(whole, result)


def test_concat_of_numbers_and_texts_keeps_both(result, values):
    _, found = values
    numbers = dataclasses.replace(found[:1], target=[1], prediction=[0])
    texts = dataclasses.replace(found[1:2], target=["yes"], prediction=["no"])
    assert Explanation.concat([numbers, texts]).target.tolist() == [1, "yes"]


def test_concat_of_failed_and_answered_rows_keeps_whole_numbers(explainer, refused):
    hard = Rules(ranges=dict.fromkeys(NAMES[1:], (0, 1)), immutable=NAMES[1:])
    parts = [
        explainer.explain(refused[:2], "approved"),
        explainer.explain(refused[2:4], "approved", rules=hard),
    ]
    assert not parts[1].success.any()
    whole = Explanation.concat(parts)
    assert str(whole.counterfactuals["income"].dtype) == "Int64"
    assert whole.counterfactuals["income"].isna().tolist() == [False, False, True, True]


def test_concat_of_arrays_and_polars(model):
    pl = pytest.importorskip("polars")
    array = X.to_numpy(float)
    for rows in (array, pl.DataFrame({name: X[name].tolist() for name in NAMES})):
        own = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, Y)
        explainer = CounterfactualExplainer(FrozenEstimator(own)).fit(rows, Y)
        found = explainer.explain(rows[:6], "approved")
        whole = Explanation.concat([found[:2], found[2:]])
        assert type(whole.factual) is type(rows)
        assert whole.sentences() == found.sentences()
        assert whole.index.tolist() == list(range(6))


def test_concat_refuses_what_does_not_fit(result, values, model):
    _, found = values
    with pytest.raises(ValueError, match="must hold at least one part"):
        Explanation.concat([])
    with pytest.raises(TypeError, match=r"must hold Explanation objects\. Got str"):
        Explanation.concat([result, "no"])
    with pytest.raises(ValueError, match="must have the same features"):
        Explanation.concat([result, found])
    array = X.to_numpy(float)
    arrays = dataclasses.replace(
        result, factual=array[: len(result)], counterfactuals=array[: len(result)]
    )
    with pytest.raises(TypeError, match="Got DataFrame and ndarray instead"):
        Explanation.concat([result, arrays])
    kinds = dataclasses.replace(result, kinds=["numeric"] * 5)
    with pytest.raises(ValueError, match="the same kind of feature 'age'"):
        Explanation.concat([result, kinds])
    levels = dataclasses.replace(result, levels=[None, None, None, None, [0, 1]])
    with pytest.raises(ValueError, match="the same levels of feature 'late_payments'"):
        Explanation.concat([result, levels])
