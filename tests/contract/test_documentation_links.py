"""The HTML of an estimator links to the page of its class where there is one, else to nothing.

With SCFE_SKLEARN_DOCS set to the address of a built documentation, ``file:///.../html``, the
pages themselves are read; without it, the names of the pages that the reference asks for.
"""

import importlib
import inspect
import os
import re
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import pytest
import sklearn
import torch
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.fixes import parse_version

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn._utils import doc_link
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.densities import GaussianKDE

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "api.rst"
BUILT = os.environ.get("SCFE_SKLEARN_DOCS") or ""
ADDRESS = BUILT or "https://example.org/docs"
NEEDED = {
    "estimator": LogisticRegression(),
    "explainer": CounterfactualExplainer(LogisticRegression()),
    "functions": {"ratio": abs},
    "model": torch.nn.Linear(1, 2),
    "module": torch.nn.Linear(1, 2),
    "steps": [("explain", CounterfactualExplainer(LogisticRegression()))],
}


class Links(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src")]


def links(estimator):
    return Links(estimator._repr_html_()).found


def made(kind):
    """An object of a class, with the parameters that have no default."""
    parameters = inspect.signature(kind).parameters.values()
    return kind(**{p.name: NEEDED[p.name] for p in parameters if p.default is p.empty})


def page(link):
    """Where a link of ours leads: the text of a page, or a name that the reference lists."""
    assert link.startswith(f"{ADDRESS}/generated/")
    address = link.partition("#")[0]
    if BUILT:
        return Path(url2pathname(urlsplit(address).path)).read_text(encoding="utf-8")
    text = REFERENCE.read_text(encoding="utf-8")
    room, _, name = address.rpartition("/")[2].removesuffix(".html").rpartition(".")
    listed = text.split(f".. currentmodule:: {room}\n")[1].split(".. currentmodule::")[0]
    assert re.search(rf"^   {name}$", listed, re.M), link
    return f"{name} {getattr(importlib.import_module(room), name).__doc__}"


@pytest.fixture
def at_an_address(monkeypatch):
    monkeypatch.setenv(doc_link.VARIABLE, ADDRESS)


@pytest.fixture
def without_address(monkeypatch):
    monkeypatch.setenv(doc_link.VARIABLE, "")


def test_without_an_address_there_is_no_link_to_our_pages(without_address, public_kind):
    estimator = made(public_kind)
    assert public_kind.__name__ in estimator._repr_html_()
    found = links(estimator)
    assert [link for link in found if "scfe" in link] == []
    assert [link for link in found if public_kind.__name__ in link] == []


def test_with_an_address_the_link_leads_to_the_page_of_the_class(at_an_address, public_kind):
    found = links(made(public_kind))
    (own,) = {link.partition("#")[0] for link in found if f".{public_kind.__name__}.html" in link}
    text = page(own)
    assert public_kind.__name__ in text
    # Newer versions of scikit-learn link every parameter to its place on the page.
    for link in found:
        if link.startswith(f"{own}#:~:text="):
            parameter = unquote(link.partition("text=")[2].partition(",-")[0])
            assert parameter in text


@pytest.mark.parametrize("frozen", [False, True])
def test_all_links_of_an_explained_pipeline_lead_to_sklearn_or_to_us(at_an_address, frozen):
    X, y = make_loan_applications(80, random_state=0)
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )
    model = make_pipeline(columns, LogisticRegression())
    model = FrozenEstimator(model.fit(X, y)) if frozen else model
    found = links(CounterfactualExplainer(model, density=GaussianKDE()).fit(X, y))

    ours = {link.partition("#")[0] for link in found if link.startswith(ADDRESS)}
    assert ours == {
        f"{ADDRESS}/generated/scfe_sklearn.CounterfactualExplainer.html",
        f"{ADDRESS}/generated/scfe_sklearn.densities.GaussianKDE.html",
    }
    assert all(page(link) for link in ours)
    version = parse_version(sklearn.__version__)
    start = f"https://scikit-learn.org/{version.major}.{version.minor}/modules/generated/"
    seen = set()
    for link in found:
        if not link.startswith(ADDRESS):
            assert link.startswith(start)
            room, _, name = link.removeprefix(start).partition(".html")[0].rpartition(".")
            seen.add(getattr(importlib.import_module(room), name))
    # scikit-learn draws no link for what only wraps another box.
    assert {StandardScaler, OneHotEncoder, LogisticRegression} <= seen
    assert seen <= {StandardScaler, OneHotEncoder, LogisticRegression} | {
        ColumnTransformer,
        FrozenEstimator,
        Pipeline,
    }


def test_a_class_of_somebody_else_and_a_helper_have_no_page(at_an_address):
    class Mine(CounterfactualExplainer):
        pass

    assert Mine(LogisticRegression())._get_doc_link() == ""
    assert doc_link.public_name(doc_link.Documented) == ""
    assert doc_link.public_name(LogisticRegression) == ""


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("file:///home/me/my docs/html", "file:///home/me/my%20docs/html"),
        ('https://example.org/"><script>', "https://example.org/%22%3E%3Cscript%3E"),
        ("", ""),
    ],
)
def test_the_address_of_the_environment(monkeypatch, given, address):
    monkeypatch.setenv(doc_link.VARIABLE, given)
    assert doc_link.documentation_address() == address


@pytest.mark.parametrize("given", ["docs/_build/html", "javascript:alert(1)", "ftp://example.org"])
def test_an_address_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv(doc_link.VARIABLE, given)
    with pytest.raises(ValueError, match="SCFE_SKLEARN_DOCS must be an http, https or file"):
        doc_link.documentation_address()


@pytest.mark.parametrize(
    ("entries", "address"),
    [
        (["Source, https://a.org", "Documentation, https://b.org/docs/"], "https://b.org/docs"),
        (["Source, https://a.org"], ""),
        ([], ""),
    ],
)
def test_the_address_of_the_installed_package(monkeypatch, entries, address):
    told = Message()
    for entry in entries:
        told["Project-URL"] = entry
    monkeypatch.delenv(doc_link.VARIABLE, raising=False)
    monkeypatch.setattr(doc_link, "metadata", {"scfe-sklearn": told}.__getitem__)
    doc_link._published_address.cache_clear()
    try:
        assert doc_link.documentation_address() == address
    finally:
        doc_link._published_address.cache_clear()


def test_a_package_that_is_not_installed_has_no_address(monkeypatch):
    def missing(name):
        raise doc_link.PackageNotFoundError(name)

    monkeypatch.delenv(doc_link.VARIABLE, raising=False)
    monkeypatch.setattr(doc_link, "metadata", missing)
    doc_link._published_address.cache_clear()
    try:
        assert doc_link.documentation_address() == ""
    finally:
        doc_link._published_address.cache_clear()
