"""Explanations built by hand: frames, sentences, tables."""

import copy
import dataclasses
import html
import pickle
import re

import numpy as np
import pandas as pd
import pytest

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.wording import (
    exact,
    plain,
    probability_pair,
    rounded_pair,
    value_pair,
)
from scfe_sklearn.status import Status

EDUCATION = np.array(["primary", "secondary", "bachelor", "master"])
NAMES = ["age", "income", "debt_ratio", "education", "housing", "has_cosigner"]
KINDS = ["integer", "integer", "numeric", "ordinal", "categorical", "categorical"]
NAN = float("nan")


def loans():
    """Three refused applicants, two under the same label."""
    return pd.DataFrame(
        {
            "age": [34, 51, 28],
            "income": [31000, 27500, 52000],
            "debt_ratio": [0.31, 0.45, 0.1],
            "education": ["bachelor", "secondary", "master"],
            "housing": ["rent", "rent", "own"],
            "has_cosigner": [False, False, True],
        },
        index=[17, 17, 204],
    )


def answers(X):
    """The first and second get one, the third none."""
    answer = X.astype(object)
    answer.iloc[0, 1] = 36500
    answer.iloc[0, 4] = "own"
    answer.iloc[1, 2] = 0.3
    answer.iloc[1, 3] = "primary"
    answer.iloc[1, 5] = True
    answer.iloc[2] = None
    return answer.astype({"debt_ratio": float})


def build(factual=None, after=None, **changed):
    """An Explanation of the loans; any argument can be replaced."""
    factual = loans() if factual is None else factual
    arguments = {
        "factual": factual,
        "counterfactuals": answers(factual) if after is None else after,
        "target": np.array(["approved"] * 3),
        "prediction": np.array(["refused"] * 3),
        "success": [True, True, False],
        "status": [Status.FOUND, Status.FOUND, Status.UNREACHABLE],
        "reason": ["", "", ""],
        "probability_before": [0.21, 0.34, 0.03],
        "probability_after": [0.634, 0.52, NAN],
        "n_changes": [2, 3, NAN],
        "distance": [1.5, 2.5, NAN],
        "log_density": [-3.0, -4.0, NAN],
        "density_quantile": [0.2, 0.6, NAN],
        "changed": [
            [False, True, False, False, True, False],
            [False, False, True, True, False, True],
            [False] * 6,
        ],
        "feature_names": NAMES,
        "kinds": KINDS,
        "levels": (None, None, None, EDUCATION, None, None),
        "solver": "apg",
        "rules_text": ["age may only increase"],
    }
    return Explanation(**(arguments | changed))


def one_row(before, after, kinds, *, names=None, levels=None, status=Status.FOUND, **changed):
    """An Explanation of one row of objects in which every feature changes."""
    d = len(before)
    found = status == Status.FOUND
    return Explanation(
        factual=np.array([before], dtype=object),
        counterfactuals=np.array([after], dtype=object),
        target=["yes"],
        prediction=["no"],
        success=[found],
        status=[status],
        reason=changed.pop("reason", [""]),
        probability_before=changed.pop("probability_before", [NAN]),
        probability_after=changed.pop("probability_after", [NAN]),
        n_changes=[d if found else NAN],
        distance=[1.0 if found else NAN],
        log_density=[NAN],
        density_quantile=[NAN],
        changed=np.full((1, d), found),
        feature_names=names or [f"x{j}" for j in range(d)],
        kinds=kinds,
        levels=levels,
        **changed,
    )


# Wording


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (31000, "31,000"),
        (36500.0, "36,500"),
        (np.int64(-1200), "-1,200"),
        (0.1 + 0.2, "0.30000000000000004"),
        (np.float32(0.1), "0.1"),
        (np.float16(0.1), "0.1"),
        (np.float32(16777216), "16,777,216"),
        (36512.345678, "36,512.345678"),
        (-1234567.25, "-1,234,567.25"),
        (0.0009348800516443102, "0.0009348800516443102"),
        (0.000012, "0.000012"),
        (2e-9, "2e-09"),
        (np.float32(2e-9), "2e-09"),
        (1e22, "1e+22"),
        (10**20 + 1, "100,000,000,000,000,000,001"),
        (-0.0, "0"),
        (float("inf"), "inf"),
        ("rent", "rent"),
        (True, "yes"),
        (None, "missing"),
    ],
)
def test_values_are_written_in_full(value, expected):
    assert exact(value) == expected


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_values_read_back_bitwise(dtype):
    rng = np.random.default_rng(0)
    powers = 10.0 ** rng.integers(-4, 4 if dtype == np.float16 else 16, 2000)
    numbers = rng.normal(size=2000) * powers
    values = np.r_[numbers, numbers.round(2)].astype(dtype)
    values = np.r_[values, np.nextafter(values, dtype(0))]
    read = np.array([dtype(float(exact(value).replace(",", ""))) for value in values])
    np.testing.assert_array_equal(read, values)


def test_pairs_of_different_values_have_different_texts():
    rng = np.random.default_rng(0)
    for _ in range(300):
        a = rng.normal() * 10.0 ** rng.integers(-8, 12)
        b = np.nextafter(a, np.inf)
        first, second = value_pair(a, b)
        assert first != second
    assert value_pair("1", 1, quotes=False) == ("'1'", "1")
    assert value_pair(True, "yes", quotes=False) == ("yes", "'yes'")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0.45, 0.1 + 0.2, ("0.45", "0.3")),
        (1234.5, 36512.345678, ("1,234.5", "36,512")),
        (52.18345612, 61.99120034, ("52.18", "61.99")),
        (0.00093488, 11.138744807, ("0.00093488", "11.138744807")),
        (1.00000012, 1.00000034, ("1.00000012", "1.00000034")),
        (1.0, float("inf"), ("1", "inf")),
        ("no", "yes", ("no", "yes")),
        (0.1 + 0.2, 0.3, ("0.3", "0.3")),
    ],
)
def test_predictions_are_rounded_and_never_to_zero(before, after, expected):
    assert rounded_pair(before, after) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "missing"),
        (NAN, "missing"),
        (pd.NA, "missing"),
        (pd.NaT, "missing"),
        (np.bool_(False), "no"),
        (np.str_("rent"), "rent"),
        (12345.6789012, "12,345.6789"),
        (0.00001234, "1.234e-05"),
        (0.0, "0"),
        (1e16, "1e+16"),
        ((1, "a"), "(1, 'a')"),
    ],
)
def test_a_value_on_its_own(value, expected):
    assert plain(value) == expected


def test_text_is_quoted_and_missing_levels_are_not():
    assert value_pair(None, "clerk") == ("missing", "'clerk'")
    assert probability_pair(0.49999, 0.500004) == ("0.5000", "0.5000")


# Sentences


def test_sentences_of_found_and_failed_rows():
    assert build().sentences() == [
        "Increase income from 31,000 to 36,500 and change housing from 'rent' to 'own'.",
        "Decrease debt_ratio from 0.45 to 0.3, lower education from 'secondary' to 'primary' "
        "and set has_cosigner to yes (now no).",
        "No change found: not reachable under these rules.",
    ]


def test_the_other_changes_are_counted():
    explanation = build()
    assert explanation.sentences(max_features=1)[:2] == [
        "Increase income from 31,000 to 36,500 and make 1 more change.",
        "Decrease debt_ratio from 0.45 to 0.3 and make 2 more changes.",
    ]
    assert explanation.sentences(max_features=3) == explanation.sentences()


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", True])
def test_max_features_is_refused(bad):
    with pytest.raises(ValueError, match=re.escape(f"Got {bad!r} instead.")):
        build().sentences(max_features=bad)


@pytest.mark.parametrize(
    ("before", "after", "kind", "levels", "expected"),
    [
        ("bachelor", "master", "ordinal", EDUCATION, "Raise x0 from 'bachelor' to 'master'."),
        ("bachelor", "master", "ordinal", None, "Change x0 from 'bachelor' to 'master'."),
        (3, 2, "ordinal", [3, 2, 1], "Increase x0 from 3 to 2."),
        (1, 4, "categorical", None, "Change x0 from 1 to 4."),
        (None, "clerk", "categorical", None, "Change x0 from missing to 'clerk'."),
        (True, False, "categorical", None, "Set x0 to no (now yes)."),
        ("it's", 'a "b"', "categorical", None, 'Change x0 from "it\'s" to \'a "b"\'.'),
    ],
)
def test_a_change_is_worded_by_its_kind(before, after, kind, levels, expected):
    assert one_row([before], [after], [kind], levels=[levels]).sentences() == [expected]


def test_features_without_a_name_are_numbered():
    explanation = one_row([1], [2], ["integer"], names=[3])
    assert explanation.sentences() == ["Increase feature 3 from 1 to 2."]


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (Status.NOT_FOUND, "", "No change found: budget exhausted."),
        (
            Status.INVALID_INPUT,
            "missing value in 'age'",
            "No change found: invalid input (missing value in 'age').",
        ),
        (
            Status.CONFLICTING_RULES,
            "low > high.",
            "No change found: conflicting rules (low > high).",
        ),
        (Status.ALREADY_TARGET, "", "No change needed: the prediction is already 'no'."),
    ],
)
def test_rows_without_an_answer_say_why(status, reason, expected):
    explanation = one_row([1], [None], ["integer"], status=status, reason=[reason])
    assert explanation.sentences() == [expected]


# Frames


def test_changes_hold_raw_values_by_row_then_feature():
    changes = build().changes
    assert list(changes.columns) == ["row", "feature", "from", "to"]
    assert changes.index.tolist() == [0, 0, 1, 1, 1]
    assert changes.index.name == "position"
    assert changes["row"].tolist() == [17] * 5
    assert changes["feature"].tolist() == [
        "income",
        "housing",
        "debt_ratio",
        "education",
        "has_cosigner",
    ]
    assert changes["from"].tolist() == [31000, "rent", 0.45, "secondary", False]
    assert changes["to"].tolist() == [36500, "own", 0.3, "primary", True]
    assert [type(v) for v in changes["from"]] == [int, str, float, str, bool]


def test_rows_can_have_several_labels():
    X = loans().set_index(pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]))
    assert build(X).changes["row"].tolist() == [("a", 1)] * 2 + [("a", 2)] * 3
    assert "('a', 1): Increase income" in repr(build(X))


def test_to_frame_puts_the_answers_first():
    explanation = build()
    frame = explanation.to_frame()
    pd.testing.assert_frame_equal(frame[NAMES], explanation.counterfactuals)
    assert list(frame.columns[6:]) == [
        "success",
        "status",
        "reason",
        "target",
        "prediction",
        "prediction_after",
        "probability_before",
        "probability_after",
        "n_changes",
        "distance",
        "log_density",
        "density_quantile",
        "gap",
        "option",
        "outside_rules",
    ]
    assert frame["status"].tolist() == explanation.status.tolist()
    assert frame["success"].dtype == bool
    assert frame.loc[204, NAMES].isna().all()
    np.testing.assert_array_equal(frame["distance"], [1.5, 2.5, NAN])


def test_to_frame_renames_only_what_clashes():
    names = ["status", "explanation_status", "debt_ratio", "target", "housing", "has_cosigner"]
    X, after = loans().set_axis(names, axis=1), answers(loans()).set_axis(names, axis=1)
    frame = build(X, after, feature_names=names).to_frame()
    assert frame.columns.is_unique
    assert frame["status"].iloc[0] == 34
    assert frame["explanation_explanation_status"].iloc[0] == "found"
    assert frame["explanation_target"].iloc[0] == "approved"
    assert "reason" in frame


def test_summary_counts_and_averages_the_known():
    summary = build().summary()
    assert len(summary) == 1
    line = summary.iloc[0]
    assert line[["rows", "found", Status.UNREACHABLE, Status.INVALID_INPUT]].tolist() == [
        3,
        2,
        1,
        0,
    ]
    assert line["coverage"] == pytest.approx(2 / 3)
    assert line["validity"] == 1
    assert line["mean_changes"] == 2.5
    assert line["mean_distance"] == 2
    assert line["mean_probability_after"] == pytest.approx(0.577)
    assert line["median_density_quantile"] == pytest.approx(0.4)
    assert set(Status.ALL[1:]) <= set(summary.columns)


def test_rows_that_have_the_target_do_not_lower_the_coverage():
    status = [Status.FOUND, Status.FOUND, Status.ALREADY_TARGET]
    assert build(status=status).summary()["coverage"].item() == 1


def test_validity_is_counted_over_the_rows_that_hold_an_answer():
    explanation = build(
        success=[True, False, False], changed=[[True] + [False] * 5, [False] * 6, [False] * 6]
    )
    assert explanation.summary()["validity"].item() == 0.5


# Containers


def test_arrays_are_labelled_by_position_also_in_a_slice():
    factual = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    after = np.array([[1.0, 8.0], [4.0, 6.0], [NAN, NAN]])
    explanation = build(
        factual,
        after,
        changed=[[False, True], [True, False], [False, False]],
        feature_names=[0, 1],
        kinds=["numeric", "integer"],
        levels=None,
    )
    assert explanation.sentences()[0] == "Increase feature 1 from 5 to 8."
    part = explanation[1:]
    assert part.changes[["row", "feature"]].to_numpy().tolist() == [[1, 0]]
    frame = part.to_frame()
    assert frame.index.tolist() == [1, 2]
    assert list(frame.columns[:3]) == [0, 1, "success"]
    assert isinstance(part.counterfactuals, np.ndarray)
    np.testing.assert_array_equal(part.counterfactuals, after[1:])


def test_single_precision_shows_its_own_digits():
    factual = np.array([[0.1], [0.2], [0.3]], dtype=np.float32)
    explanation = build(
        factual,
        np.array([[0.7], [0.8], [NAN]], dtype=np.float32),
        changed=[[True], [True], [False]],
        feature_names=["x"],
        kinds=["numeric"],
        levels=None,
    )
    assert explanation.sentences()[:2] == [
        "Increase x from 0.1 to 0.7.",
        "Increase x from 0.2 to 0.8.",
    ]


def test_pandas_categories_and_nullable_columns():
    X = loans().astype(
        {
            "age": "Int64",
            "income": "Int64",
            "housing": "category",
            "has_cosigner": "boolean",
            "education": pd.CategoricalDtype(EDUCATION, ordered=True),
        }
    )
    after = X.copy()
    after["income"] = pd.array([36500, 27500, None], dtype="Int64")
    after["housing"] = pd.Categorical(["own", "rent", None], categories=["own", "rent"])
    after["has_cosigner"] = pd.array([False, True, None], dtype="boolean")
    after["education"] = X["education"].cat.set_categories(EDUCATION)
    after.iloc[1, 3] = "primary"
    after.iloc[1, 2] = 0.3
    after.iloc[2, [0, 2, 3]] = [pd.NA, NAN, NAN]
    explanation = build(X, after)
    assert explanation.sentences() == build().sentences()
    assert explanation.summary()["validity"].item() == 1
    pd.testing.assert_frame_equal(explanation.to_frame()[NAMES], after)


def test_polars_stays_polars():
    pl = pytest.importorskip("polars")
    X = pl.DataFrame(loans().to_dict("list"))
    after = pl.DataFrame(
        {
            "age": [34, 51, None],
            "income": [36500, 27500, None],
            "debt_ratio": [0.31, 0.3, None],
            "education": ["bachelor", "primary", None],
            "housing": ["own", "rent", None],
            "has_cosigner": [False, True, None],
        }
    )
    explanation = build(X, after)
    assert explanation.sentences() == build().sentences()
    frame = explanation.to_frame()
    assert isinstance(frame, pl.DataFrame)
    assert frame.select(NAMES).equals(after)
    assert frame["status"].to_list() == explanation.status.tolist()
    assert frame["distance"].dtype == pl.Float64
    last = explanation[-1]
    assert isinstance(last.factual, pl.DataFrame)
    assert last.index.tolist() == [2]
    assert explanation[:0].to_frame().shape == (0, 21)
    assert explanation.summary()["validity"].item() == 1
    assert "31,000" in explanation._repr_html_()


# Selecting rows


def test_rows_are_selected_by_position():
    explanation = build()
    assert len(explanation) == 3
    assert explanation[-1].status.tolist() == [Status.UNREACHABLE]
    assert explanation[np.int64(1)].changes["to"].tolist() == [0.3, "primary", True]
    assert explanation[::2].index.tolist() == [17, 204]
    assert explanation[[2, 0]].sentences() == [explanation.sentences()[i] for i in (2, 0)]
    assert len(explanation[explanation.success]) == 2
    assert len(explanation[[]]) == 0
    assert [len(part) for part in explanation] == [1, 1, 1]
    assert explanation[0].rules_text == explanation.rules_text
    pd.testing.assert_frame_equal(explanation[1:].factual, explanation.factual.iloc[1:])


@pytest.mark.parametrize("rows", ["a", 1.5, [[0, 1]], None])
def test_other_selections_are_refused(rows):
    with pytest.raises(TypeError, match="Rows must be a position, a slice"):
        build()[rows]


@pytest.mark.parametrize("rows", [3, -4, [0, 7], [True, False]])
def test_selections_out_of_range(rows):
    with pytest.raises(IndexError):
        build()[rows]


# Empty and failed


def test_no_rows():
    explanation = build()[:0]
    assert len(explanation) == 0
    assert explanation.sentences() == []
    assert explanation.changes.shape == (0, 4)
    assert explanation.to_frame().shape == (0, 21)
    line = explanation.summary().iloc[0]
    assert line["rows"] == line["found"] == 0
    assert np.isnan(line[["coverage", "validity", "mean_changes"]].astype(float)).all()
    assert repr(explanation) == "Explanation: 0 of 0 rows found"
    assert "<table" not in explanation._repr_html_()


def test_no_rows_built_from_lists():
    aligned = [field.name for field in dataclasses.fields(Explanation)[2:14]]
    assert (aligned[0], aligned[-1]) == ("target", "changed")
    blank = {name: [] for name in aligned}
    X = loans().iloc[:0]
    assert len(build(X, X, **blank)) == 0


def test_all_rows_failed():
    explanation = build()[[2, 2]]
    assert explanation.changes.empty
    assert explanation.summary()["found"].item() == 0
    assert explanation.summary()["coverage"].item() == 0
    table = explanation._repr_html_()
    assert ">outcome<" in table
    assert table.count("not reachable under these rules") == 2


# Text and table


def test_repr_shows_the_first_rows():
    assert repr(build()[[0, 2]]) == (
        "Explanation: 1 of 2 rows found, target 'approved'\n"
        "  17: Increase income from 31,000 to 36,500 and change housing from 'rent' to 'own'.\n"
        "  204: No change found: not reachable under these rules."
    )
    many = repr(build()[[2] * 1500])
    assert many.endswith("\n  ... and 1,495 more")
    assert len(many.splitlines()) == 7


def test_several_targets_are_counted_and_shown():
    explanation = build(target=[0, 1, 1])
    assert "2 targets" in repr(explanation)
    assert explanation.target.dtype.kind == "i"
    assert ">target</th>" in explanation._repr_html_()
    assert ">target</th>" not in build()._repr_html_()


def test_a_row_may_have_no_single_target():
    explanation = build(target=np.array(["a", "a", None], dtype=object))
    assert repr(explanation).startswith("Explanation: 2 of 3 rows found, target 'a'\n")
    assert ">target</th>" not in explanation._repr_html_()
    several = build(target=np.array(["a", "b", None], dtype=object))
    assert text_of(several._repr_html_())[-6:-4] == ["204", ""]
    assert several.to_frame()["target"].tolist()[:2] == ["a", "b"]


def text_of(table):
    """What a reader sees, cell by cell."""
    body = re.sub(r"<style>.*?</style>", "", table, flags=re.S)
    cells = re.findall(r"<(?:td|th|p)[^>]*>(.*?)</(?:td|th|p)>", body)
    return [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in cells]


def test_table_shows_changed_cells_only():
    cells = text_of(build()._repr_html_())
    heads = ["row", "income", "debt_ratio", "education", "housing", "has_cosigner"]
    assert cells[0] == "2 of 3 rows found, target 'approved'"
    assert cells[1:8] == [*heads, "probability of target"]
    assert cells[8:15] == ["17", "31,000 → 36,500", "", "", "rent → own", "", "0.21 → 0.63"]
    assert cells[15:22] == [
        "17",
        "",
        "0.45 → 0.3",
        "secondary → primary",
        "",
        "no → yes",
        "0.34 → 0.52",
    ]
    assert cells[22:25] == ["204", "not reachable under these rules", "0.03"]
    assert cells[25:] == ["solver: apg", "rules: age may only increase"]


def test_long_levels_that_begin_alike_are_not_cut():
    factual = loans()
    after = answers(factual)
    now, then = f"{'flat ' * 10}of the town", f"{'flat ' * 10}of a friend"
    factual.iloc[0, 4], after.iloc[0, 4] = now, then
    assert f"{now} \u2192 {then}" in text_of(build(factual, after)._repr_html_())


def test_every_row_of_the_table_has_the_same_width():
    table = build(target=["a", "b", "b"])._repr_html_()
    widths = [
        sum(int(span or 1) for span in re.findall(r'<t[dh](?: [^>]*?(?:colspan="(\d+)")?)?>', row))
        for row in re.findall(r"<tr>(.*?)</tr>", table)
    ]
    assert widths == [8, 8, 8, 8]


def test_probabilities_are_left_out_where_the_model_has_none():
    unknown = [NAN] * 3
    table = build(probability_before=unknown, probability_after=unknown)._repr_html_()
    assert "probability" not in table


def test_names_values_reasons_and_rules_are_escaped():
    evil = "<script>alert('&')</script>"
    explanation = one_row(
        ["a<b"],
        [evil],
        ["categorical"],
        names=[evil],
        index=pd.Index([evil]),
        solver=evil,
        rules_text=[evil],
    )
    failed = one_row(["a"], [None], ["categorical"], status=Status.INVALID_INPUT, reason=[evil])
    for table in (explanation._repr_html_(), failed._repr_html_()):
        assert "<script" not in table
        assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;" in table


def test_long_text_is_cut_with_the_whole_as_a_tooltip():
    text = "a long & winding purpose " * 8
    table = one_row(["short"], [text], ["categorical"])._repr_html_()
    assert f'<span title="{html.escape(text)}">a long &amp; winding' in table
    assert all(len(cell) < 60 for cell in text_of(table))


def test_a_wide_table_keeps_the_most_frequent_features():
    d = 40
    wide = one_row(list(range(d)), list(range(1, d + 1)), ["integer"] * d)
    cells = text_of(wide._repr_html_())
    assert cells[1:11] == ["row", *[f"x{j}" for j in range(8)], "other changes"]
    assert cells[-1] == "+ 32"


def test_a_long_table_says_how_many_rows_are_hidden():
    table = build()[[0] * 1012]._repr_html_()
    assert table.count('<th scope="row">') == 10
    assert "1,002 more rows not shown" in table
    assert "1 more row not shown" in build()[[0] * 11]._repr_html_()


def test_the_table_stands_alone():
    table = build()._repr_html_()
    assert not re.search(r"https?:|src=|@import|url\(", table)


# Construction


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", ["approved"] * 2),
        ("prediction", ["refused"] * 4),
        ("success", [True]),
        ("status", [Status.FOUND]),
        ("reason", [""] * 2),
        ("probability_before", [0.1]),
        ("distance", [[1.0, 2.0, 3.0]]),
        ("changed", [[False] * 6] * 2),
        ("feature_names", NAMES[:5]),
        ("kinds", KINDS[:5]),
        ("levels", [None]),
        ("index", pd.RangeIndex(2)),
        ("counterfactuals", loans().iloc[:2]),
    ],
)
def test_misaligned_arguments_are_refused(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of Explanation must have shape"):
        build(**{name: value})


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match=r"'status' parameter .* Got 'lost' instead"):
        build(status=["lost", Status.FOUND, Status.UNREACHABLE])
    with pytest.raises(ValueError, match=r"'kinds' parameter .* Got 'date' instead"):
        build(kinds=["date", *KINDS[1:]])


def test_a_failed_row_cannot_change():
    with pytest.raises(ValueError, match="Got a change at position 2 instead"):
        build(changed=np.ones((3, 6), dtype=bool))


def test_nothing_can_be_overwritten_and_nothing_is_taken_away():
    success = np.array([True, True, False])
    explanation = build(success=success)
    with pytest.raises(AttributeError):
        explanation.solver = "other"
    with pytest.raises(ValueError, match="read-only"):
        explanation.success[0] = False
    success[0] = False
    assert explanation.success[0]


def test_it_can_be_pickled_and_copied():
    explanation = build()
    for twin in (pickle.loads(pickle.dumps(explanation)), copy.deepcopy(explanation)):
        assert twin.sentences() == explanation.sentences()
        pd.testing.assert_frame_equal(twin.to_frame(), explanation.to_frame())


def test_targets_may_be_sets():
    explanation = build(target=[{"a"}, {"a"}, {"a"}])
    assert explanation.target[0] == {"a"}
    assert "target \"{'a'}\"" in repr(explanation)


def test_statuses_are_plain_strings():
    assert len(set(Status.ALL)) == 9
    assert all(type(status) is str for status in Status.ALL)
