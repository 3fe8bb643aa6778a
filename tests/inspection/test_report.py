import dataclasses
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from scfe_sklearn import Explanation, Status
from scfe_sklearn.inspection.report import script_policy

NAMES = [
    "<script>alert(1)</script>",
    "\"quotes' & <b>",
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u202e",
    "\U0001f469\u200d\U0001f680 n\u00e4me",
    "long" * 50,
    "{{ 7 * 7 }} {% raw %}",
]
VOID = {"meta", "input", "br", "link", "path", "use"}


class Reader(HTMLParser):
    """Collects the text and checks that every tag is closed in its turn."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.attributes = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def words(page):
    return " ".join("".join(read(page).text).split())


def evil():
    n, d = 2, len(NAMES)
    return Explanation(
        factual=pd.DataFrame([NAMES, NAMES], columns=NAMES, index=["</title>", "<i>2</i>"]),
        counterfactuals=pd.DataFrame([NAMES[::-1], [None] * d], columns=NAMES),
        target=["<u>yes</u>"] * n,
        prediction=["<s>no</s>"] * n,
        prediction_after=["<u>yes</u>", None],
        success=[True, False],
        status=["found", "budget exhausted"],
        reason=["", "<img src=x onerror=alert(2)>"],
        probability_before=[0.1, 0.2],
        probability_after=[0.9, np.nan],
        n_changes=[d, np.nan],
        distance=[2.4, np.nan],
        log_density=[0.0, np.nan],
        density_quantile=[0.5, np.nan],
        changed=[[True] * d, [False] * d],
        feature_names=NAMES,
        kinds=["categorical"] * d,
        rules_text=["<script>rules</script> & \"more'"],
    )


@pytest.fixture(scope="module")
def pages(result, options):
    return {
        "one": result[0].to_html(),
        "many": result.to_html(title="A <title>"),
        "options": options.to_html(),
        "evil": evil().to_html(title="</title><script>alert(3)</script>"),
    }


@pytest.mark.parametrize("name", ["one", "many", "options", "evil"])
def test_a_page_is_whole_and_names_no_other_host(pages, name):
    reader = read(pages[name])
    assert reader.tags[0] == "html" and reader.tags.count("script") == 1
    for tag, attribute, value in reader.attributes:
        assert not attribute.startswith("on"), (tag, attribute)
        if attribute in ("src", "href", "action", "srcset", "data"):
            assert value.startswith("#"), (tag, value)
    assert "http" not in re.sub(r"http-equiv", "", pages[name])
    assert "url(" not in pages[name] and "@import" not in pages[name]


def test_the_policy_allows_the_script_of_the_page(pages):
    script = re.search(r"<script>(.*?)</script>", pages["one"], re.DOTALL).group(1)
    (policy,) = [v for t, a, v in read(pages["one"]).attributes if v and "default-src" in v]
    assert policy == script_policy(script)
    assert script_policy(script) != script_policy(script + " ")


def test_names_and_values_are_escaped_and_complete(pages):
    page, text = pages["evil"], words(pages["evil"])
    for name in NAMES:
        assert " ".join(name.replace("\u202e", "\ufffd").split()) in text
    assert "\u202e" not in page
    assert page.count("<script>") == 1
    for harm in ("<script>alert", "<img", "<u>", "<s>", "<i>2", "<b>q", "<script>rules"):
        assert harm not in page
    assert "<img src=x onerror=alert(2)>" in text and "{{ 7 * 7 }}" in text
    assert "</title><script>alert(3)</script>" in text


def test_the_story_comes_first(pages, result):
    text = words(pages["one"])
    story = result.sentences()[0]
    assert text.index(story) < text.index("The rules of every change")
    assert text.index(story) < text.index("What became of the row")
    for line in result.rules_text:
        assert line in text


def test_a_page_of_many_holds_every_row_once(pages, result):
    page, text = pages["many"], words(pages["many"])
    for sentence in result.sentences():
        assert sentence in text
    statuses = [value for _, name, value in read(page).attributes if name == "data-status"]
    assert statuses == list(result.status)
    found = int(result.success.sum())
    assert f"For {found} of {len(result)} rows there is a change" in text
    assert "A <title>" in text


def test_options_belong_to_their_person(pages, options):
    text = words(pages["options"])
    statuses = [v for _, name, v in read(pages["options"]).attributes if name == "data-status"]
    assert len(statuses) == 3
    for sentence, good in zip(options.sentences(), options.success, strict=True):
        assert (sentence in text) or not good


def test_every_status_has_a_meaning_and_its_reasons(result):
    n = len(Status.ALL)
    some = result[np.zeros(n, int)]
    found = np.array([status in (Status.FOUND, Status.CLOSEST) for status in Status.ALL])
    page = dataclasses.replace(
        some,
        status=list(Status.ALL),
        success=np.array(Status.ALL) == Status.FOUND,
        changed=some.changed & found[:, None],
        reason=[f"reason {k}" for k in range(n)],
    ).to_html()
    text = words(page)
    for k, status in enumerate(Status.ALL):
        assert status in text and f"reason {k}" in text
    assert page.count("<option>") == n


def test_the_file_is_the_page(tmp_path, result):
    path = tmp_path / "page.html"
    page = result[:2].to_html(path)
    assert path.read_bytes().decode("utf-8") == page
    assert result[:2].to_html() == page  # the same words every time


def test_lone_surrogates_and_numbers_without_names_are_written(tmp_path):
    odd = Explanation(
        factual=np.array([[1.0], [2.0]]), counterfactuals=np.array([[3.0], [2.5]]),
        target=["[0, 1]", None], prediction=[7.25, 8.0], prediction_after=[0.5, 0.75],
        success=[True] * 2, status=["found"] * 2, reason=["", "\ud800"],
        probability_before=[np.nan] * 2, probability_after=[np.nan] * 2, n_changes=[1, 1],
        distance=[1, 1], log_density=[np.nan] * 2, density_quantile=[np.nan] * 2,
        changed=[[True], [True]], feature_names=[0], kinds=["numeric"],
    )  # fmt: skip
    text = words(odd.to_html(tmp_path / "odd.html"))
    assert "7.25 \u2192 0.5" in text and "feature 0" in text
    assert "Probability" not in text


def test_no_row_and_a_title_that_is_none_are_refused(result):
    with pytest.raises(ValueError, match="at least one row"):
        result[:0].to_html()
    with pytest.raises(TypeError, match=r"'title' parameter of Explanation\.to_html"):
        result.to_html(title=3)


def test_what_is_missing_is_named(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=re.escape("scfe-sklearn[report]")):
        result.to_html()


def test_all_values_are_listed_and_of_many_features_those_that_change(result):
    one = result[0]
    moved = int(one.n_changes[0])
    assert one.to_html().count('<tr class="moved">') == moved
    assert one.to_html().count('<th scope="row">') == 14 + 1  # and the status
    wide = 70
    many = Explanation(
        factual=np.zeros((2, wide)), counterfactuals=np.eye(2, wide), target=["a"] * 2,
        prediction=["b"] * 2, success=[True] * 2, status=["found"] * 2, reason=[""] * 2,
        probability_before=[0.1] * 2, probability_after=[0.9] * 2, n_changes=[1, 1],
        distance=[1, 1], log_density=[0, 0], density_quantile=[0.5, 0.5],
        changed=np.eye(2, wide, dtype=bool), feature_names=range(wide), kinds=["numeric"] * wide,
    )  # fmt: skip
    assert many.to_html().count('<th scope="row">') == 2 + 1
