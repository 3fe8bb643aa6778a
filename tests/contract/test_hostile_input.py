"""Hostile names and categories pass through tables, JSON, pages, csv and commands as plain text."""

import contextlib
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

from scfe_sklearn import CounterfactualExplainer, Explanation, Rules, save
from scfe_sklearn.cli import main
from scfe_sklearn.cli.commands import write_explanation
from scfe_sklearn.cli.tables import read_texts
from scfe_sklearn.explanation.wording import spreadsheet_cell

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
    "</textarea></title></script><script>alert(1)</script>",
    "<!--",
    "carriage\rreturn",
    "nul\x00",
    "separators\u2028\x85\x1c",
    "\ufeff\u200b",
    "\U0001f469\u200d\U0001f680",
    "long" * 2000,
    "'=1+1",
    "007",
]
HALF = "half \ud800"  # of a surrogate pair: no character, and in no file of UTF-8
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
    texts = [levels[k % len(levels)] for k in range(n)]
    texts = pd.Series(texts, dtype=object if HALF in levels else None)
    X = pd.DataFrame({"wage": wage, name: texts})
    first = wage + (texts == levels[0]) * 3 > 6
    y = np.array([levels[0] if one else levels[-1] for one in first], dtype=object)
    encoder = OneHotEncoder(handle_unknown="ignore")
    model = make_pipeline(
        make_column_transformer((encoder, [1]), remainder="passthrough"),
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
    assert json.loads(json.dumps(result.to_records())) == result.to_records()
    buffer = io.StringIO()
    with contextlib.redirect_stdout(buffer):
        write_explanation(again, "-")
    rows = list(csv.reader(io.StringIO(buffer.getvalue(), newline="")))
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


def same(one, two):
    """Whether two lists of cells are equal, missing ones in the same places."""
    return [None if pd.isna(v) else v for v in one] == [None if pd.isna(v) else v for v in two]


@pytest.mark.parametrize("text", HOSTILE)
def test_commands_read_and_write_hostile_texts(text, tmp_path, capsys):
    for package in ("skops", "pyarrow", "jinja2"):
        pytest.importorskip(package)
    X, explainer = loans(text, [text, "plain"])
    save(explainer, tmp_path / "e.skops")
    rows = X[:3].reset_index(drop=True)
    with open(tmp_path / "q.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([list(rows), *rows.to_numpy().tolist()])
    asked = ["explain", f"--model={tmp_path / 'e.skops'}", f"--data={tmp_path / 'q.csv'}",
             f"--target={text}", "--increasing=wage"]  # fmt: skip
    outputs = [f"--out={tmp_path / name}" for name in ("a.json", "a.html", "a.csv", "a.parquet")]
    assert main([*asked, *outputs]) == 0
    assert main([*asked, f"--immutable={text}", f"--id={text}"]) == 0
    shown = capsys.readouterr()
    asked = ["report", str(tmp_path / "a.json"), "--raw", f"--out={tmp_path / 'raw.csv'}"]
    assert main(asked) == 0
    assert not set("\x00\x07\x1b\u202e\u2066") & set(shown.out + shown.err)
    assert len(shown.out.split("\n")) == 4  # a line for each row
    kept = Explanation.from_json(tmp_path / "a.json")
    expected = explainer.explain(rows, text, rules=Rules(increasing=["wage"]))
    pd.testing.assert_frame_equal(kept.to_frame(), expected.to_frame(), check_dtype=False)
    of_parquet = pd.read_parquet(tmp_path / "a.parquet")
    raw = read_texts("--data", str(tmp_path / "raw.csv"))
    safe = read_texts("--data", str(tmp_path / "a.csv"))
    answers = kept.counterfactuals[text]
    assert same(of_parquet[text], answers) and list(raw[text]) == list(answers.fillna(""))
    assert set(of_parquet["target"]) == set(raw["target"]) == {text}
    assert safe.shape == raw.shape == of_parquet.shape
    assert spreadsheet_cell(text) in safe.columns
    assert set(safe["target"]) == {spreadsheet_cell(text)}


def test_half_of_a_surrogate_pair_stays_or_is_refused(tmp_path, capsys):
    X, explainer = loans("purpose", [HALF, "plain"])
    result = explainer.explain(X[:4], HALF)
    assert (
        Explanation.from_json(result.to_json()).factual["purpose"].tolist() == [HALF, "plain"] * 2
    )
    result.to_json(tmp_path / "a.json")
    result.to_html(tmp_path / "a.html")
    for shown in (*result.sentences(), result._repr_html_(), repr(result)):
        assert shown.encode("utf-8")
    for _ in range(2):
        again = explainer.explain(X[:4], HALF, checkpoint=tmp_path / "run")
        pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())
    with pytest.raises(ValueError, match="begun with other rows"):
        explainer.explain(X[1:5], HALF, checkpoint=tmp_path / "run")
    report = ["report", str(tmp_path / "a.json"), "--out"]
    for name in ("b.csv", "b.json", "b.html"):
        assert main([*report, str(tmp_path / name)]) == 0
    assert set(pd.read_csv(tmp_path / "b.csv")["target"]) == {"half \ufffd"}
    assert Explanation.from_json(tmp_path / "b.json").target[0] == HALF
    for name, *more in (("b.parquet",), ("raw.csv", "--raw")):
        assert main([*report, str(tmp_path / name), *more]) == 4
        assert "cannot hold '\\ud800'" in capsys.readouterr().err
        assert not (tmp_path / name).exists()
