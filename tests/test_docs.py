"""The documentation tells the truth: its code runs, its names, links and references exist."""

import contextlib
import importlib
import io
import pkgutil
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import scfe_sklearn
import scfe_sklearn.image

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md")) + sorted((DOCS / "guide").glob("*.md"))
API = (DOCS / "api.rst").read_text(encoding="utf-8")
ELSEWHERE = {"scikit_learn"}  # tests/contract/test_guide.py runs it
HOW_IT_IS_DONE = {"cli", "objective", "presentation", "solvers", "targets"}
"""Packages that the reference leaves out, and says so."""
EXTRAS = {"matplotlib": [".plot(", "Display"], "jinja2": [".to_html("]}
"""What a page does that needs an optional package; all other pages run without."""


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def run(page):
    """Names after all blocks of a page, and what they print."""
    names, printed = {"__name__": page.stem}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for number, block in enumerate(blocks(page)):
            exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    return names | {"printed": printed.getvalue()}


def first_steps(names):
    assert names["result"].success.all()
    assert "approved" in names["page"]
    # What the page says of an answer that nobody can follow.
    changes = names["result"].changes
    age = changes[changes["feature"] == "age"]
    assert (age["to"].astype(int) < age["from"].astype(int)).any()


def rules(names):
    before, after = names["refused"], names["after"]
    assert len(after) > 10
    before = before.loc[after.index]
    assert (after["loan_amount"] <= np.maximum(1.5 * after["income"], before["loan_amount"])).all()
    parts = ["savings", "income"]
    assert (after[parts] - before[parts]).sum(axis=1).max() <= 20_000
    moved = (after["housing"] == "own") & (before["housing"] != "own")
    assert (after.loc[moved, "savings"] >= 2_000).all()
    own = names["own"]
    stays = own.success & names["refused"]["age"].gt(50).to_numpy()
    assert stays.any()
    column = list(own.feature_names).index("debt_ratio")
    assert not own.changed[stays, column].any()
    assert own.changed[~stays, column].any()


def tuning(names):
    distance, quantile = np.array(list(names["curve"].values())).T
    assert (np.diff(distance) > 0).all()
    assert (np.diff(quantile) > 0).all()
    assert (np.diff(list(names["few"].values())) <= 0).all()
    assert (names["result"].density_quantile >= 0.1).all()
    assert names["own_result"].success.all()


def models(names):
    assert names["proved"].success.all()
    np.testing.assert_allclose(names["proved"].gap, 0, atol=1e-9)
    assert "Increase proline" in names["printed"]


def targets(names):
    assert list(names["each"].prediction_after) == [1, 2, 1, 2]
    after = names["step"].prediction_after.astype(float)[names["step"].success]
    now = names["now"][names["step"].success]
    assert len(after) > 5
    assert ((after >= now - 60) & (after <= now - 20)).all()


def several(names):
    three = names["three"]
    for row in range(0, len(three), 3):
        assert len({tuple(changed) for changed in three.changed[row : row + 3]}) == 3
    assert np.less_equal(names["survival"]["usual"], names["survival"]["surer"]).all()


def fairness(names):
    costs = names["display"].costs
    assert costs["n"].sum() == len(names["refused"])
    assert set(names["by_age"].costs["group"]) == {"younger", "40 and older"}


def images(names):
    result, sparse, plausible = names["result"], names["sparse"], names["plausible"]
    assert result.success.all() and sparse.success.all() and plausible.success.all()
    assert result.measures()["pixels"].max() <= 12  # of 64
    assert sparse.measures()["pixels"].max() <= 10
    assert (np.diff(names["paths"].confidence(1.5), axis=0) >= 0).all()
    assert "digit 7" in names["page"]


def failures(names):
    assert list(names["closest"].status) == [scfe_sklearn.Status.CLOSEST] * 2
    assert "'tau' parameter" in names["message"]
    table = (DOCS / "guide" / "failures.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `([a-z][^`]+)` \|", table, re.M)[1:]) == scfe_sklearn.Status.ALL


def mathematics(names):
    assert names["v"].shape == (1, 3)
    assert "[[ 3.,  0., -2.]]" in names["printed"]


CHECKS = {
    check.__name__: check
    for check in (
        first_steps,
        rules,
        tuning,
        models,
        targets,
        several,
        fairness,
        images,
        failures,
        mathematics,
    )
}


def test_no_page_with_code_is_forgotten():
    assert {page.stem for page in PAGES if blocks(page)} == set(CHECKS) | ELSEWHERE


@pytest.mark.parametrize("page", sorted(CHECKS))
# The page of failures is about rows without an answer; others leave one or two.
@pytest.mark.filterwarnings("ignore:.*rows have no counterfactual:UserWarning")
def test_the_blocks_run_and_do_what_is_said(page):
    (path,) = [path for path in PAGES if path.stem == page]
    code = "".join(blocks(path))
    for package, uses in EXTRAS.items():
        if any(use in code for use in uses):
            pytest.importorskip(package)
    try:
        CHECKS[page](run(path))
    finally:
        if "matplotlib" in sys.modules:
            importlib.import_module("matplotlib.pyplot").close("all")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_every_page_is_in_a_table_of_contents():
    entries = re.findall(r"^([\w/]+)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.M)
    made = {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES} - {"index"}
    assert made | {"api", "gallery/index"} == set(entries)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_parameter_in_backticks_exists(page):
    """Words such as `tau=0` are those of the explainer, of explain or of another public call."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    known = {"target", "n_counterfactuals", "best_effort", "callback", "time_limit", "progress"}
    known |= {"of", "at_least", "bandwidth", "cost", "cv", "max_size", "trusted"}
    known |= set(scfe_sklearn.CounterfactualExplainer(None).get_params(deep=False))
    known |= set(scfe_sklearn.image.GroupSparseExplainer(None).get_params(deep=False))
    assert set(re.findall(r"[`(, ](\w+)=[^=]", " ".join(re.findall(r"`[^`]+`", text)))) <= known


def listed():
    """Names of the reference by the room they are listed in, in the order of the page."""
    rooms = {}
    for part in API.split(".. currentmodule:: ")[1:]:
        room, _, rest = part.partition("\n")
        names = re.findall(r"^   ([^\W\d]\w*)$", rest, re.M)
        names += re.findall(r"^\.\. py:data:: (\w+)", rest, re.M)
        before = API.split(f".. currentmodule:: {room}\n")[0].rsplit("\n---", 1)[-1]
        also = re.findall(r"`~scfe_sklearn\.(\w+)`", before + rest.split("\n---")[0])
        rooms[room] = (names, also)
    return rooms


def public(room):
    module = importlib.import_module(room)
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == room
    }


@pytest.mark.parametrize("room", listed())
def test_the_reference_of_a_room_is_complete(room):
    names, also = listed()[room]
    assert len(names) == len(set(names))
    assert set(names) | set(also) == public(room)
    module = importlib.import_module(room)
    for name in names:
        assert hasattr(module, name)
    for name in also:  # listed above, and the same thing
        assert getattr(module, name) is getattr(scfe_sklearn, name)


def test_no_public_room_is_missing():
    packages = {
        f"scfe_sklearn.{module.name}"
        for module in pkgutil.iter_modules(scfe_sklearn.__path__)
        if module.ispkg
        and module.name not in HOW_IT_IS_DONE
        and hasattr(importlib.import_module(f"scfe_sklearn.{module.name}"), "__all__")
    }
    assert packages <= set(listed())
    for name in HOW_IT_IS_DONE:
        assert f"`{name}`" in API


def test_every_public_name_has_a_docstring():
    for room in listed():
        for name in public(room):
            value = getattr(importlib.import_module(room), name)
            assert not callable(value) or (value.__doc__ or "").strip(), f"{room}.{name}"
