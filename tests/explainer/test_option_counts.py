"""Rows and options are counted apart: a row with one answer of three asked for is no failure."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from scfe_sklearn import CounterfactualExplainer, Status
from scfe_sklearn.cli.messages import print_sentences, summary
from scfe_sklearn.explanation.tables import row_numbers
from scfe_sklearn.inspection.base import people
from scfe_sklearn.inspection.report import page_context


@pytest.fixture(scope="module")
def explainer():
    """Of a yes or no that one change of a flag decides, where it can."""
    random = np.random.default_rng(0)
    X = pd.DataFrame({"a": random.integers(0, 2, 300), "b": random.integers(0, 5, 300)})
    y = np.where(X["a"] * 3 + X["b"] > 3, "yes", "no")
    model = LogisticRegression().fit(X, y)
    return CounterfactualExplainer(FrozenEstimator(model), max_changes=1, immutable=["b"]).fit(X, y)


# One answer (a = 1) for the first two; none for (0, 0); (1, 4) is accepted as it is.
QUERY = pd.DataFrame({"a": [0, 0, 0, 1], "b": [2, 3, 0, 4]}, index=list("pqrs"))


@pytest.fixture(scope="module")
def options(explainer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return explainer.explain(QUERY, "yes", n_counterfactuals=3)


def test_status_of_a_missing_option_is_its_own(options):
    assert options.status[:3].tolist() == [Status.FOUND, Status.NO_FURTHER, Status.NO_FURTHER]
    assert options.status[3:6].tolist() == options.status[:3].tolist()
    assert set(options.status[6:9]) == {Status.UNREACHABLE}
    assert set(options.status[9:]) == {Status.ALREADY_TARGET}
    assert not options.success[options.status == Status.NO_FURTHER].any()
    assert options.sentences()[1] == "No further option found."


def test_summary_counts_rows_and_options_apart(options):
    line = options.summary().iloc[0]
    assert line["rows"] == 4
    assert line["found"] == 2
    assert line["answers"] == 2
    assert line["coverage"] == pytest.approx(2 / 3)
    assert line["validity"] == 1
    assert line[Status.UNREACHABLE] == 1
    assert line[Status.ALREADY_TARGET] == 1
    assert line[Status.NOT_FOUND] == 0
    assert line[Status.NO_FURTHER] == 4
    alone = options[options.option == 0].summary().iloc[0]
    names = ["rows", "found", "coverage", "answers", Status.UNREACHABLE]
    assert line[names].tolist() == alone[names].tolist()


def test_repr_and_notebook_count_rows_and_leave_empty_options_out(options):
    assert repr(options).splitlines()[0] == (
        "Explanation: 2 of 4 rows found, 2 options in all, target 'yes'"
    )
    assert repr(options[:6]).splitlines() == [
        "Explanation: 2 of 2 rows found, 2 options in all, target 'yes'",
        "  p: Increase a from 0 to 1.",
        "  q: Increase a from 0 to 1.",
    ]
    html = options[:6]._repr_html_()
    assert "2 of 2 rows found" in html
    assert Status.NO_FURTHER not in html and Status.NOT_FOUND not in html


def test_warning_counts_rows(explainer):
    with pytest.warns(UserWarning, match=r"^1 of 4 rows have no counterfactual"):
        explainer.explain(QUERY, "yes", n_counterfactuals=3)
    explainer.explain(QUERY[:2], "yes", n_counterfactuals=3)  # no warning: a warning is an error


def test_rows_are_told_apart_after_any_selection(options):
    assert row_numbers(options).tolist() == np.repeat(np.arange(4), 3).tolist()
    # Option 0 of one row, then option 1 of the next: the number rises, the label differs.
    assert row_numbers(options[[0, 4]]).tolist() == [0, 1]
    assert options[[0, 4]].summary()["rows"].item() == 2
    assert [part.tolist() for part in people(options[[0, 1, 4, 5]])] == [[0, 1], [2, 3]]


def test_rows_are_told_apart_under_labels_that_repeat_or_are_missing(explainer):
    query = QUERY[:2].set_axis([np.nan, np.nan])
    found = explainer.explain(query, "yes", n_counterfactuals=2)
    assert row_numbers(found).tolist() == [0, 0, 1, 1]
    query = QUERY[:2].set_axis(pd.MultiIndex.from_tuples([("x", 1), ("x", 2)]))
    found = explainer.explain(query, "yes", n_counterfactuals=2)
    assert row_numbers(found).tolist() == [0, 0, 1, 1]
    assert row_numbers(found[:0]).tolist() == []


def test_page_and_command_line_count_rows(options, capsys):
    context = page_context(options)
    counts = {line["status"]: line["count"] for line in context["statuses"]}
    assert counts == {Status.FOUND: 2, Status.UNREACHABLE: 1, Status.ALREADY_TARGET: 1}
    assert summary(options[options.option == 0]).startswith("4 rows: 2 found")
    print_sentences(options[:6])
    assert capsys.readouterr().out.splitlines() == [
        "p: Increase a from 0 to 1.",
        "q: Increase a from 0 to 1.",
    ]


def test_row_without_an_answer_that_shows_what_came_closest_is_one_row(explainer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        close = explainer.explain(QUERY[2:3], "yes", n_counterfactuals=3, best_effort=True)
    line = close.summary().iloc[0]
    assert (line["rows"], line["found"], line["answers"]) == (1, 0, 0)
    assert sum(line[status] for status in Status.ALL[1:]) == 1
