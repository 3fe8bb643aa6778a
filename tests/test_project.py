"""The files around the package agree with it: versions, dependencies, paths that they name."""

import re
import tomllib
from pathlib import Path

import pytest

import scfe_sklearn
from scfe_sklearn.densities.class_conditional import DENSITIES
from scfe_sklearn.persistence import TRUSTED

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = ["CONTRIBUTING.md", "RELEASE.md", "SECURITY.md", "tests/README.md", "benchmarks/README.md"]
PAGES += ["docs/architecture.md", "docs/stability.md"]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_versions_agree():
    version = PROJECT["version"]
    assert scfe_sklearn.__version__ == version
    assert f"\nversion: {version}\n" in text("CITATION.cff")
    assert f'version = "{version}"' in text("conda/meta.yaml")


def test_conda_depends_on_what_pip_installs():
    needs = {
        need.replace(">=", " >=").replace("torch ", "pytorch ") for need in PROJECT["dependencies"]
    }
    run = text("conda/meta.yaml").split("  run:\n")[1].split("\n\n")[0]
    assert set(re.findall(r"- (.*)", run)) == needs | {f"python {PROJECT['requires-python']}"}


def test_oldest_versions_are_those_that_are_declared():
    declared = {one.replace(">=", "==") for one in PROJECT["dependencies"]}
    tested = {line for line in text(".ci/oldest.txt").splitlines() if not line.startswith("#")}

    def release(version):  # 1.3 is 1.3.0
        name, number = version.split("==")
        return name, (*map(int, number.split(".")), 0, 0)[:3]

    assert {release(one) for one in tested} == {release(one) for one in declared}


def test_the_workflow_begins_with_the_oldest_python():
    versions = re.findall(r'python: \["([\d.]+)"', text(".github/workflows/tests.yml"))
    assert versions == [PROJECT["requires-python"].removeprefix(">=")] * 2


@pytest.mark.parametrize("page", PAGES)
def test_paths_that_a_page_names_exist(page):
    """Paths in backticks, from the root or from the folder of the page; and links."""
    here = (ROOT / page).parent
    words = re.findall(r"`([\w./-]+)`", text(page))
    for path in words + re.findall(r"\]\((?!https?:|#)([^)#]+)", text(page)):
        inside = path.split("/")[0] in ("scfe_sklearn", "tests", "docs", "benchmarks", ".ci")
        if path in words and not (inside and "/" in path):
            continue
        assert (ROOT / path).exists() or (here / path).exists(), path


def test_every_named_density_can_be_saved():
    for kind in DENSITIES.values():
        assert f"{kind.__module__}.{kind.__qualname__}" in TRUSTED
