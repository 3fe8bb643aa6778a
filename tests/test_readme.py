"""The front page tells the truth: its code runs, its commands, words and links exist."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from scfe_sklearn.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """Code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.S | re.M)


@pytest.fixture(scope="module")
def ran():
    """Names and printed text after all Python blocks, which continue one another."""
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for number, block in enumerate(blocks("python")):
            exec(compile(block, f"README.md, block {number}", "exec"), names)
    return names, printed.getvalue()


def test_the_python_blocks_run_and_do_what_is_said(ran):
    names, printed = ran
    result = names["result"]
    assert result.success.mean() > 0.95
    answers = result.counterfactuals[result.success]
    assert (names["model"].predict(answers) == "approved").all()
    assert "rows found, target 'approved'" in printed


def test_a_stranger_reads_it_in_one_sitting():
    assert len(TEXT.splitlines()) <= 250


def test_the_printed_example_looks_like_the_page(ran):
    """Word for word would depend on the platform; the form does not."""
    shown = TEXT.split("<!-- first output -->")[1].split("<!-- /first output -->")[0]
    for line in ("Explanation: ", "position", "... and "):
        assert line in shown
        assert line in ran[1]


def test_the_main_output_looks_like_that_of_the_command(capsys):
    main(["--rows", "600"])
    out = capsys.readouterr().out
    shown = TEXT.split("<!-- main output -->")[1].split("<!-- /main output -->")[0]
    for line in out.splitlines():
        if line.startswith(("Rules  ", "  density quantile", "  validity", "  (among")):
            assert line.split()[0] in shown
            assert re.sub(r"[\d.% ]+", "", line) in re.sub(r"[\d.% ]+", "", shown)


def test_the_test_command_is_that_of_the_gates():
    gates = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    _, command = [line for line in "".join(blocks("bash")).splitlines() if line]
    assert 'pip install -c constraints.txt -e ".[test]"' in command
    assert '-c constraints.txt -e ".[test]"' in gates
    for part in ("python -m pytest -q -n 2", "OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE"):
        assert part in command
        assert part in gates


def test_links_and_pictures_exist():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert "docs/images/loans.png" in links
    for link in links:
        assert (ROOT / link).exists(), link


def test_pictures_are_small():
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 150_000
