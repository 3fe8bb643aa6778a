"""Docstrings and pages are written in plain words: those that were retired do not come back."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "scfe_sklearn"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "docs" / "api.rst"]
PAGES += [ROOT / "benchmarks" / "README.md", ROOT / "tests" / "README.md"]
PAGES += [*ROOT.glob("examples/*.py"), ROOT / "examples" / "README.rst"]
PAGES = sorted(page for page in PAGES if not {"gallery", "generated", "_build"} & {*page.parts})

OLD = r"dear|dearer|dearest|lawful|manners|usual|usually|spares|walk|walks|walked|walking|heard"
OLD += r"|thrifty|sprint|voice|voices|wish|wishes|wished|at need|for want of|so many|at home"
# Functions return, raise and predict; they do none of these.
SPEECH = r"says|said|asks|asked|tells|told|hears|speaks"
TO_READERS = r"say|ask|asking|tell|hear|speak"  # pages may, docstrings may not
# A first line names the thing, or says in the imperative what a function does.
QUESTIONS = r"What|Whatever|How|Where|Which|Who"


def found(text, words):
    return sorted({match.lower() for match in re.findall(rf"\b(?:{words})\b", text, re.I)})


def docstrings(path, documented=False):
    """Docstrings of a file, also those below a constant or an attribute unless ``documented``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if documented:
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""
            continue
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield node.lineno, value.value


FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_have_no_retired_words(page):
    text = re.sub(r"^```text\n.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    text = re.sub(r"`[^`\n]+`", "", text)  # a name, such as one that was retired
    assert found(text, f"{OLD}|{SPEECH}") == []


@pytest.mark.parametrize(
    "path",
    FILES,
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_docstrings_have_no_retired_words(path):
    words = f"{OLD}|{SPEECH}|{TO_READERS}"
    hits = {line: found(text, words) for line, text in docstrings(path)}
    assert {line: words for line, words in hits.items() if words} == {}


@pytest.mark.parametrize(
    "path",
    FILES,
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_docstrings_do_not_open_with_a_question(path):
    opening = {
        line: text.split("\n")[0]
        for line, text in docstrings(path, documented=True)
        if re.match(rf"(?:{QUESTIONS})\b", text)
    }
    assert opening == {}


def test_words_are_found_whole_and_in_any_case():
    assert found("The USUAL way. It asks so many; unusual, asking.", f"{OLD}|{SPEECH}") == [
        "asks",
        "so many",
        "usual",
    ]
