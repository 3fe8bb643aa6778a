"""Values per row: Series by label, iterators as lists, and what is no number."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression

from scfe_sklearn import CounterfactualExplainer, Interval, Linear, Relative, Rules
from scfe_sklearn._utils.row_values import by_label, listed, numbers
from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.inspection.groups import group_costs

rng = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "age": rng.integers(20, 70, 200),
        "income": rng.integers(10, 90, 200).astype(float),
        "job": rng.choice(["a", "b", "c"], 200),
    },
    index=[f"row {i}" for i in range(200)],
)
SPACE = FeatureSpace(ordinal={"job": ["a", "b", "c"]}).fit(X)
FREE = FeatureSpace().fit(X)
TEN = X[:10]
TURNED = np.array([7, 2, 9, 0, 4, 1, 8, 3, 6, 5])
CAP = TEN.income + 5
FLAG = TEN.age > 45
ITEMS = pd.Series([["a"], ["b"], None, {"a": ["b"]}, ["c"]] * 2, index=TEN.index)


def per_row(number, flag, items):
    """Rules with values per row of every kind."""
    return {
        "immutable": Rules(immutable={"income": flag}),
        "frame of flags": Rules(immutable=flag.to_frame("income")),
        "increasing": Rules(increasing={"age": flag, "income": ~flag}),
        "decreasing": Rules(decreasing={"age": flag}),
        "fillable": Rules(fillable={"income": flag}),
        "ranges": Rules(ranges={"income": (None, number)}),
        "frame of ranges": Rules(
            ranges={"income": pd.DataFrame({"low": number - 9, "high": number})}
        ),
        "relative": Rules(ranges={"income": Relative(-number, number)}),
        "transitions": Rules(transitions={"job": items}),
        "relations": Rules(relations=[Linear({"age": 1, "income": 2}, at_most=number)]),
        "implications": Rules(implications=[({"job": "a"}, {"income": (number, None)})]),
        "costs": Rules(costs={"income": number}),
        "merged": Rules(also=[Rules(ranges={"income": (None, number)})]),
    }


def bound(rules, rows=TEN, space=FREE):
    """What rules permit the rows, as arrays."""
    Z = space.encode(rows)
    found = rules.bind(space, rows, Z)
    slack = [r.__dict__.get("low", np.zeros(1)) for r in found.requirements]
    return [found.lower, found.upper, found.allowed, found.cost, *slack]


@pytest.mark.parametrize("kind", per_row(CAP, FLAG, ITEMS))
def test_series_in_rules_is_taken_by_label(kind):
    expected = bound(per_row(CAP, FLAG, ITEMS)[kind])
    turned = (values.iloc[TURNED] for values in (CAP, FLAG, ITEMS))
    for got, wanted in zip(bound(per_row(*turned)[kind]), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("kind", per_row(CAP, FLAG, ITEMS))
def test_series_in_rules_changes_the_verdict_by_label(kind):
    after = TEN.assign(age=TEN.age - 1, income=TEN.income + 7, job="b")
    turned = (values.iloc[TURNED] for values in (CAP, FLAG, ITEMS))
    np.testing.assert_array_equal(
        per_row(*turned)[kind].violations(FREE, TEN, after),
        per_row(CAP, FLAG, ITEMS)[kind].violations(FREE, TEN, after),
    )


def test_series_with_further_labels_serves_a_part_of_the_rows():
    rules = Rules(ranges={"income": (None, X.income + 5)})
    np.testing.assert_array_equal(
        bound(rules)[1], bound(Rules(ranges={"income": (None, CAP.to_numpy())}))[1]
    )


@pytest.mark.parametrize(
    ("series", "words"),
    [(CAP[1:], "'row 0' is missing"), (pd.concat([CAP, CAP[3:4]]), "'row 3' occurs more than")],
)
@pytest.mark.parametrize("place", ["ranges", "relative", "relations", "implications", "costs"])
def test_series_without_a_label_is_refused_by_name(series, words, place):
    rules = per_row(series, FLAG, ITEMS)[place]
    with pytest.raises(ValueError, match=f"income.*{words}"):
        bound(rules)


def test_series_with_repeated_labels_in_the_order_of_the_rows_is_taken():
    rows = TEN.iloc[[0, 0, 3]]
    got = bound(Rules(ranges={"income": (None, rows.income + 5)}), rows)
    wanted = bound(Rules(ranges={"income": (None, (rows.income + 5).to_numpy())}), rows)
    np.testing.assert_array_equal(got[1], wanted[1])
    # Unique labels in the Series serve repeated ones in the query.
    np.testing.assert_array_equal(
        bound(Rules(ranges={"income": (None, CAP.iloc[TURNED])}), rows)[1], wanted[1]
    )


def test_series_for_rows_without_labels_is_taken_by_position():
    numeric = X[["age", "income"]].to_numpy(float)
    space = FeatureSpace().fit(numeric)
    rows, cap = numeric[:10], CAP.iloc[TURNED]
    got = bound(Rules(ranges={1: (None, cap)}), rows, space)
    wanted = bound(Rules(ranges={1: (None, cap.to_numpy())}), rows, space)
    np.testing.assert_array_equal(got[1], wanted[1])


def test_series_for_polars_rows_is_taken_by_position():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"age": X.age.to_numpy(), "income": X.income.to_numpy()})
    space = FeatureSpace().fit(frame)
    cap = CAP.iloc[TURNED]
    got = bound(Rules(ranges={"income": (None, cap)}), frame[:10], space)
    other = bound(Rules(ranges={"income": (None, pl.Series(cap.to_numpy()))}), frame[:10], space)
    np.testing.assert_array_equal(got[1], other[1])


def test_nullable_series_gives_no_limit_where_it_is_missing():
    cap = CAP.convert_dtypes().astype("Float64")
    cap.iloc[4] = pd.NA
    plain = CAP.to_numpy().copy()
    plain[4] = np.nan
    np.testing.assert_array_equal(
        bound(Rules(ranges={"income": (None, cap.iloc[TURNED])}))[1],
        bound(Rules(ranges={"income": (None, plain)}))[1],
    )


@pytest.fixture(scope="module")
def fitted():
    y = np.where(X.income + X.age > 90, "yes", np.where(X.income < 30, "no", "maybe"))
    model = LogisticRegression(max_iter=2000).fit(X[["age", "income"]], y)
    return CounterfactualExplainer(FrozenEstimator(model)).fit(X[["age", "income"]], y)


def test_target_series_is_taken_by_label(fitted):
    rows = X[["age", "income"]][:12]
    predicted = fitted.estimator_.predict(rows)
    wanted = pd.Series(np.where(predicted == "yes", "no", "yes"), index=rows.index)
    first = fitted.explain(rows, wanted)
    second = fitted.explain(rows, wanted.sort_values())
    assert list(first.target) == list(second.target) == wanted.tolist()
    pd.testing.assert_frame_equal(first.counterfactuals, second.counterfactuals)
    with pytest.raises(ValueError, match=r"'target' parameter of explain.*'row 0' is missing"):
        fitted.explain(rows, wanted[1:])


def test_answers_keep_the_cap_of_their_own_label(fitted):
    rows = X[["age", "income"]][fitted.estimator_.predict(X[["age", "income"]]) == "no"][:20]
    cap = rows.income + 30
    result = fitted.explain(rows, "yes", rules=Rules(ranges={"income": (None, cap.sort_values())}))
    answers = result.counterfactuals[result.success]
    assert len(answers) and (answers.income <= cap[answers.index]).all()


def test_interval_ends_are_taken_by_label():
    data = X[["age", "income"]]
    model = LinearRegression().fit(data, 2 * data.age + data.income)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(data, 2 * data.age)
    rows = data[:8]
    low = pd.Series(model.predict(rows) + np.arange(5, 13), index=rows.index)
    high = (low + 10).sort_values(ascending=False)
    result = explainer.explain(rows, Interval(at_least=low.sort_index(), at_most=high))
    value = pd.Series(model.predict(result.counterfactuals), index=rows.index)
    assert result.success.all()
    assert ((value >= low - 1e-9) & (value <= low + 10 + 1e-9)).all()
    pair = explainer.explain(rows, (low.iloc[::-1], high))
    pd.testing.assert_frame_equal(pair.counterfactuals, result.counterfactuals)


def test_group_costs_take_a_series_by_label(fitted):
    rows = X[["age", "income"]][:30]
    result = fitted.explain(rows, {"yes", "maybe"})
    group = pd.Series(np.arange(30) % 2, index=rows.index)
    pd.testing.assert_frame_equal(
        group_costs(result, group.sort_values()), group_costs(result, group.to_numpy())
    )


# ------------------------------------------------------------------------------- iterators


def test_rules_keep_generators_as_lists():
    inner = Rules(immutable=(c for c in ["age"]))
    rules = Rules(
        increasing=iter(["income"]),
        transitions={"job": {level: (v for v in "b") for level in "a"}},
        relations=(r for r in ["age <= income"]),
        implications=(({"job": (v for v in "ab")}, {"age": (None, 40)}) for _ in range(1)),
        also=(r for r in [inner]),
    )
    for _ in range(2):  # as often as one likes
        assert sorted(rules.describe(FREE)) == [
            "a row that breaks a relation or an implication already must not break it more",
            "a value that breaks a rule already may stay as it is",
            "age must be at most income",
            "age must not change",
            "if job is 'a' or 'b', age must be at most 40",
            "income may only increase",
            "job may change from 'a' only to 'b'",
        ]
    assert clone(inner).immutable == ["age"]
    assert Rules().set_params(immutable=(c for c in ["age"])).immutable == ["age"]


def test_explainer_keeps_generators_as_lists():
    y = np.where(X.income + X.age > 90, "yes", "no")
    given = {
        "immutable": lambda: (c for c in ["age"]),
        "transitions": lambda: {"job": {"a": (v for v in ["b"])}},
        "ordinal": lambda: {"job": (v for v in "abc")},
        "ensemble": lambda: (m for m in [FrozenEstimator(model)]),
        "relations": lambda: (r for r in ["income <= 300"]),
    }
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(X, y)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), **{name: make() for name, make in given.items()}
    )
    explainer = clone(explainer).fit(X, y)
    rows = X[model.predict(X) == "no"][:15]
    for _ in range(2):
        result = explainer.explain(rows, "yes", rules=Rules(also=(r for r in [Rules()])))
        answers = result.counterfactuals[result.success]
        assert len(answers) and (answers.age == rows.age[answers.index]).all()
        assert not ((rows.job[answers.index] == "a") & (answers.job == "c")).any()
        assert {"age must not change", "job may change from 'a' only to 'b'"} <= set(
            result.rules_text
        )


def test_targets_may_be_a_generator(fitted):
    rows = X[["age", "income"]][:4]
    result = fitted.explain(rows, (label for label in ["yes", "no", "yes", "maybe"]))
    assert list(result.target) == ["yes", "no", "yes", "maybe"]


def test_listed_keeps_what_holds_no_iterator():
    value = {"a": [1, (2, {"b": "text"})]}
    assert listed(value) is value
    cyclic: list = []
    cyclic.append(cyclic)
    assert listed(cyclic) is cyclic


def test_rules_that_contain_themselves_are_refused():
    rules = Rules(immutable=["age"])
    rules.also = [Rules(also=[rules])]
    with pytest.raises(ValueError, match="Got Rules that contain themselves"):
        rules.describe(FREE)
    twice = Rules(increasing=["age"])
    assert len(list(Rules(also=[twice, twice]).parts())) == 3


@pytest.mark.parametrize("also", [Rules(), 3, "rules", [Rules(), None]])
def test_also_that_is_no_sequence_of_rules_is_refused(also):
    with pytest.raises(ValueError, match="'also' parameter of Rules must be a sequence of Rules"):
        list(Rules(also=also).parts())


# --------------------------------------------------------------------------- clear refusals


@pytest.mark.parametrize("wrong", ["10", True, ["10"] * 10, [True] * 10, "text", 1j, object()])
@pytest.mark.parametrize(
    ("rules", "parameter"),
    [
        (lambda v: Rules(ranges={"income": (v, None)}), "ranges"),
        (lambda v: Rules(ranges={"income": Relative(None, v)}), "ranges"),
        (lambda v: Rules(relations=[Linear({"income": 1}, at_most=v)]), "at_most"),
        (lambda v: Rules(implications=[({"job": "a"}, {"income": (v, None)})]), "implications"),
        (lambda v: Rules(costs={"income": v}), "costs"),
    ],
)
def test_text_and_booleans_are_no_limits(wrong, rules, parameter):
    with pytest.raises(ValueError, match=f"{parameter}' parameter of"):
        bound(rules(wrong))


@pytest.mark.parametrize("wrong", ["10", True, [True, False]])
def test_text_and_booleans_are_no_ends_of_an_interval(wrong):
    with pytest.raises(ValueError, match="'at_least' parameter of Interval must be a number"):
        Interval(at_least=wrong)


@pytest.mark.parametrize(
    "rules",
    [
        Rules(transitions={"job": {"a": [["b"]]}}),
        Rules(transitions={"job": [[["b"]]] * 10}),
        Rules(transitions={"job": [{"a": [{"b": 1}]}] * 10}),
        Rules(transitions={"job": [{"a": "b"}] * 10}),
        Rules(implications=[({"job": [["a"]]}, {"age": (1, 2)})]),
    ],
)
@pytest.mark.parametrize("space", [FREE, SPACE], ids=["categorical", "ordinal"])
def test_unhashable_level_is_refused_by_name(rules, space):
    with pytest.raises(ValueError, match=r"'(transitions|implications)' parameter of Rules.*'job'"):
        bound(rules, space=space)


@pytest.mark.parametrize(
    "rules",
    [
        Rules(ranges={"job": ([["a"]] * 10, None)}),
        Rules(implications=[({"age": (1, 2)}, {"job": ({"a": 1}, None)})]),
    ],
)
def test_unhashable_limit_of_an_ordinal_column_is_refused_by_name(rules):
    with pytest.raises(ValueError, match=r"parameter of Rules.*'job'"):
        bound(rules, space=SPACE)


def test_masked_limit_is_no_limit():
    cap = np.ma.masked_array(CAP.to_numpy(), mask=np.arange(10) % 2 == 0)
    plain = np.where(np.arange(10) % 2 == 0, np.nan, CAP.to_numpy())
    np.testing.assert_array_equal(
        bound(Rules(ranges={"income": (None, cap)}))[1],
        bound(Rules(ranges={"income": (None, plain)}))[1],
    )


def test_masked_flags_and_targets_are_refused(fitted):
    flags = np.ma.masked_array(np.ones(10, dtype=bool), mask=np.arange(10) == 3)
    with pytest.raises(ValueError, match="'immutable' parameter of Rules must give one bool"):
        bound(Rules(immutable={"age": flags}))
    target = np.ma.masked_array(["yes"] * 4, mask=[True, False, False, False])
    with pytest.raises(ValueError, match=r"'target' parameter of explain.*masked"):
        fitted.explain(X[["age", "income"]][:4], target)


@pytest.mark.parametrize("dtype", [float, int, np.float32])
def test_masked_value_of_a_row_is_missing(dtype):
    rows = np.arange(40, dtype=dtype).reshape(20, 2) % 7
    y = (rows.sum(axis=1) > 5).astype(int)
    explainer = CounterfactualExplainer(LogisticRegression()).fit(rows, y)
    masked = np.ma.masked_array(rows[:3], mask=[[False, True], [False, False], [False, False]])
    with pytest.warns(UserWarning, match="no counterfactual"):
        result = explainer.explain(masked)
    assert result.reason[0] == "missing value in 1"
    assert result.status[1] == explainer.explain(rows[1:2]).status[0]


def test_masked_labels_are_refused():
    rows = np.arange(40.0).reshape(20, 2)
    y = np.ma.masked_array(np.arange(20) % 2, mask=np.arange(20) == 5)
    with pytest.raises(ValueError, match="y must not hold missing labels"):
        CounterfactualExplainer(LogisticRegression()).fit(rows, y)


def test_infinite_scores_are_called_infinite():
    def model(rows):
        score = np.where(np.asarray(rows)[:, 0] > 3, np.inf, 0.3)
        return np.column_stack([1 - score, score])

    rows = np.arange(40.0).reshape(20, 2) % 7
    with pytest.raises(ValueError, match="infinity"):
        CounterfactualExplainer(model).fit(rows, np.arange(20) % 2)


def test_by_label_matches_labels_of_any_type():
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    series = pd.Series([1.0, 2.0], index=index[::-1])
    np.testing.assert_array_equal(by_label(series, index, "It"), [2.0, 1.0])
    dates = pd.date_range("2024-01-01", periods=3)
    np.testing.assert_array_equal(
        by_label(pd.Series([1, 2, 3], index=dates[::-1]), dates, "It"), [3, 2, 1]
    )
    assert numbers(np.ma.masked_array([1, 2], mask=[True, False])).tolist()[1] == 2.0
