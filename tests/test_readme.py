"""The front page tells the truth: its code runs, its commands, words and links exist."""

import contextlib
import inspect
import io
import re
from pathlib import Path

import pytest

from scfe_sklearn import CounterfactualExplainer, Explanation, Status
from scfe_sklearn.__main__ import main
from scfe_sklearn.densities.resolve import resolve_density
from scfe_sklearn.models.compiled.dispatch import compile_classifier, supported

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """Code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.S | re.M)


@pytest.fixture(scope="module")
def ran():
    """Names and printed text after all Python blocks, which continue one another."""
    for package in ("jinja2", "matplotlib"):
        pytest.importorskip(package)
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.warns(UserWarning) as warned:
        for number, block in enumerate(blocks("python")):
            exec(compile(block, f"README.md, block {number}", "exec"), names)
    return names, printed.getvalue(), warned


def test_the_python_blocks_run_and_do_what_is_said(ran):
    names, printed, warned = ran
    assert len(blocks("python")) >= 5
    result = names["result"]
    assert result.success.mean() > 0.9
    assert (names["model"].predict(result[result.success].counterfactuals) == "approved").all()
    assert "may become 1 to 1.25 times its value" in printed
    assert names["try_again"].status[0] == Status.INVALID_INPUT
    # The row with a missing income is announced; nothing else warns.
    assert {str(w.message).split(";")[0] for w in warned} == {"1 of 2 rows have no counterfactual"}


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


def test_every_status_is_explained():
    table = TEXT.split("| `status` | meaning |\n")[1].split("\n\n")[0]
    assert tuple(re.findall(r"^\| `([^`]+)` \|", table, flags=re.M)) == Status.ALL


def test_the_table_of_parameters_has_the_defaults_of_the_code():
    defaults = inspect.signature(CounterfactualExplainer).parameters
    for name in ("tau", "beta", "max_changes", "density"):
        shown = re.search(rf"^\| `{name}` \| ([^|]+) \|", TEXT, flags=re.M)[1]
        default = defaults[name].default
        words = f"{default:g}" if isinstance(default, float) else str(default)
        assert shown.strip('` "') == words
    for density in re.findall(r'^\| \| `"(\w+)"`', TEXT, flags=re.M):
        resolve_density(density)


def test_the_table_of_the_result_names_what_it_has():
    table = TEXT.split("| of the result |")[1].split("\n\n")[0]
    names = [n for n in re.findall(r"`(\w+)[`(]", table) if n != "result"]
    assert len(names) > 10
    known = set(dir(Explanation)) | set(Explanation.__dataclass_fields__)
    assert set(names) <= known


def test_every_classifier_with_an_adapter_is_listed():
    listed = TEXT.split("## Models")[1].split("## ")[0].replace("(CV)", "CV")
    for name in supported(compile_classifier):
        if name != "Pipeline":
            assert name in listed or name in listed.replace("CV", ""), name


def test_links_and_pictures_exist():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert "docs/images/loans.png" in links
    for link in links:
        assert (ROOT / link).exists(), link


def test_pictures_are_small():
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 150_000
