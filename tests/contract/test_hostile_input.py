"""Hostile names and categories pass through tables, JSON, pages, csv and commands as plain text."""

import csv
import html.parser
import io
import json
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from scfe_sklearn import CounterfactualExplainer, Explanation
from scfe_sklearn.cli.commands import table, without_formulas

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no counterfactual")
HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "\"quoted\", and 'so'",
    "=cmd|' /C calc'!A0",
    "line\nbreak\r\tand tab",
    "\x1b[2J\x07",
    "\u202eevil\u2066",
    "../../etc/passwd",
    "$(reboot) `reboot`; rm -rf /",
    "%s %d {0}",
    "NaN",
    " ",
    "--target",
]
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
)


class Tags(html.parser.HTMLParser):
    """The tags of a page with their attributes, outside of what is text."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, [name for name, _ in attributes]))


def tags(page):
    parser = Tags()
    parser.feed(page)
    return parser.found


def loans(name, levels):
    """Rows of one number and one category, and an explainer of their model."""
    n = 12 * len(levels)
    wage = np.linspace(0, 10, n).round(1)
    X = pd.DataFrame({"wage": wage, name: [levels[k % len(levels)] for k in range(n)]})
    y = np.where(wage + (X[name] == levels[0]) * 3 > 6, levels[0], levels[-1])
    encoder = OneHotEncoder(handle_unknown="ignore")
    model = make_pipeline(
        make_column_transformer((encoder, [name]), remainder="passthrough"),
        LogisticRegression(max_iter=300),
    )
    return X, CounterfactualExplainer(model, density="kde").fit(X, y)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    TEXTS.filter(lambda name: name != "wage"), st.lists(TEXTS, min_size=2, max_size=4, unique=True)
)
def test_texts_of_any_kind_stay_what_they_are(name, levels):
    X, explainer = loans(name, levels)
    refused = X[explainer.predict(X) == levels[-1]][:4]
    result = explainer.explain(refused, levels[0])
    assert list(result.counterfactuals.columns) == ["wage", name]
    assert set(result.counterfactuals[name].dropna()) <= set(levels)
    again = Explanation.from_json(result.to_json())
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())
    assert json.loads(json.dumps(result.to_records()))
    written = io.StringIO(without_formulas(table(again)).to_csv(index=False), newline="")
    rows = list(csv.reader(written))
    assert len(rows) == 1 + len(result) and {len(row) for row in rows} == {len(rows[0])}
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "@")]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_has_no_tag_of_a_hostile_text(text):
    pytest.importorskip("jinja2")
    X, explainer = loans(text, [text, "plain"])
    harmless, other = loans("purpose", ["plain text", "plain"])
    pages = [explainer.explain(X[:3]).to_html(), other.explain(harmless[:3]).to_html()]
    assert sorted({tag for tag, _ in tags(pages[0])}) == sorted({tag for tag, _ in tags(pages[1])})
    names = {name for _, attributes in tags(pages[0]) for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not set(string.whitespace) & {character for name in names for character in name}
    assert "<script>alert" not in pages[0] and "<img src=x" not in pages[0]
