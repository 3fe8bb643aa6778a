"""The guide to scikit-learn's places: every block runs, and does what is said."""

import contextlib
import io
import re
from pathlib import Path

import pandas as pd
import pytest

import scfe_sklearn
from scfe_sklearn.scoring import METRICS

pytest.importorskip("skops")
FILE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "scikit_learn.md"
TEXT = FILE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names():
    found = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", TEXT, re.S | re.M)):
            exec(compile(block, f"{FILE.name}, block {number}", "exec"), found)
    return {**found, "printed": printed.getvalue()}


def test_the_roads_lead_where_the_guide_says(names):
    result, same = names["result"], names["same"]
    assert result.success.all()
    pd.testing.assert_frame_equal(result.counterfactuals, same.counterfactuals)
    assert list(names["inner_answers"].columns) != list(names["X"].columns)


def test_the_search_keeps_the_rule(names):
    search = names["search"]
    table = search.cv_results_
    assert set(METRICS) <= {name.removeprefix("mean_test_") for name in table}
    enough = table["mean_test_validity"] >= min(0.95, table["mean_test_validity"].max())
    sparsest = table["mean_test_few_changes"][enough].max()
    assert table["mean_test_few_changes"][search.best_index_] == pytest.approx(sparsest)


def test_what_was_kept_comes_back(names):
    refused, explainer = names["refused"], names["explainer"]
    one, two = (e.explain(refused[:3], "approved") for e in (names["loaded"], explainer))
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame(), check_exact=True)
    assert names["again"].sentences() == names["result"].sentences()
    assert "20 of 20 rows, 20 found" in names["printed"]


def test_every_name_of_the_package_in_the_guide_exists():
    imported = re.findall(r"^from scfe_sklearn import (.+)$", TEXT, re.M)
    known = {name.strip() for line in imported for name in line.split(",")}
    assert known <= set(scfe_sklearn.__all__)
    for metric in METRICS:
        assert f"`{metric}`" in TEXT
