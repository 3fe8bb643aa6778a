"""The documentation tells the truth: its code runs, its names, links and references exist."""

import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import scfe_sklearn
import scfe_sklearn.image
from scfe_sklearn.densities import resolve_density
from scfe_sklearn.learning import CounterfactualResampler
from scfe_sklearn.models.compiled.dispatch import compile_classifier, supported

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md")) + sorted((DOCS / "guide").glob("*.md"))
API = (DOCS / "api.rst").read_text(encoding="utf-8")
ELSEWHERE = {"scikit_learn"}  # tests/contract/test_guide.py runs it
HOW_IT_IS_DONE = {"cli", "objective", "solvers", "targets"}
"""Packages that the reference leaves out, and says so."""
EXTRAS = {
    "matplotlib": [".plot(", "Display"],
    "jinja2": [".to_html(", "serve("],
    "skops": ["save("],
}
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
    assert np.less_equal(names["survival"]["plain"], names["survival"]["surer"]).all()


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
    outside = ~names["region"][:, None]
    assert (names["inside"].changes[outside] == 0).all()
    assert names["inside"].success.any()
    assert (names["both"].target != names["both"].before).all()


def attacks(names):
    results = names["results"]
    for name in ("GSE", "sigma-zero", "mask"):
        assert results[name].success.all()
    means = {name: result.summary(3) for name, result in results.items()}
    assert means["GSE"]["clusters"] <= means["sigma-zero"]["clusters"]
    assert means["GSE"]["pixels"] < means["plain proximal"]["pixels"]
    assert means["mask"]["pixels"] <= 3
    assert names["maps"].shape == names["rows"].shape


def learning(names):
    assert names["shortcuts"].alarms == ["channel"]
    assert names["after"] > names["before"] + 0.03
    means = names["curve"].groupby("radius")["answer"].mean()
    assert means[0.1] < means[2.0]


def failures(names):
    assert list(names["closest"].status) == [scfe_sklearn.Status.CLOSEST] * 2
    assert "'tau' parameter" in names["message"]
    table = (DOCS / "guide" / "failures.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `([a-z][^`]+)` \|", table, re.M)[1:]) == scfe_sklearn.Status.ALL


def displays(names):
    assert names["result"].success.any()
    assert "What you can do" in names["page"]
    assert names["address"].startswith("http://127.0.0.1:")


def recipes(names):
    status = scfe_sklearn.Status
    assert set(names["policy"].status) == {status.FOUND, status.ALREADY_TARGET}
    assert names["missing"].success.all()
    assert (names["answers"]["months"] >= 0).any()
    assert names["reply"][0]["status"] == status.FOUND
    assert names["everything"].success.all()
    assert status.CLOSEST in set(names["closest"].status)


def large_data(names):
    assert names["result"].success.any() and len(names["parts"]) == 20


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
        attacks,
        learning,
        failures,
        displays,
        recipes,
        large_data,
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


def page_text(name):
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_table_of_parameters_has_the_defaults_of_the_code():
    text = page_text("guide/tuning.md")
    defaults = inspect.signature(scfe_sklearn.CounterfactualExplainer).parameters
    for name in ("tau", "beta", "max_changes", "density"):
        shown = re.search(rf"^\| `{name}` \| ([^|]+) \|", text, flags=re.M)[1]
        default = defaults[name].default
        words = f"{default:g}" if isinstance(default, float) else str(default)
        assert shown.strip('` "') == words
    densities = re.findall(r'^\| `"(\w+)"`', text, flags=re.M)
    assert len(densities) == 4
    for density in densities:
        resolve_density(density)


def test_the_table_of_the_result_names_what_it_has():
    table = page_text("guide/first_steps.md").split("| of the result |")[1].split("\n\n")[0]
    names = [n for n in re.findall(r"`(\w+)[`(]", table) if n != "result"]
    assert len(names) > 10
    result = scfe_sklearn.Explanation
    assert set(names) <= set(dir(result)) | set(result.__dataclass_fields__)


def test_every_classifier_with_an_adapter_is_listed():
    listed = page_text("guide/models.md").replace("(CV)", "CV")
    for name in supported(compile_classifier):
        if name != "Pipeline":
            assert name in listed or name in listed.replace("CV", ""), name


def test_the_commands_of_the_benchmarks_exist():
    commands = re.findall(r"^\$ python -m benchmarks\.(\w+)(.*)$", page_text("benchmarks.md"), re.M)
    assert len(commands) == 31
    for name, options in commands:
        source = "".join(
            (DOCS.parent / "benchmarks" / file).read_text(encoding="utf-8")
            for file in (f"{name}.py", "reporting.py")
        )
        for option in re.findall(r"--[\w-]+", options):
            assert f'"{option}"' in source, (name, option)


def test_the_short_benchmarks_are_those_that_were_printed():
    text = page_text("benchmarks.md")
    short = text.split("## Published tables")[0]

    def column(command, header, name, rows=""):
        """Numbers of a column of a printed table, of the rows that hold a text."""
        block = text.split(f"$ python -m benchmarks.{command}\n")[1].split("```")[0]
        table = block[block.index(header) :].split("\n\n")[0].splitlines()
        end = table[0].index(name) + len(name)
        return [float(line[:end].split()[-1]) for line in table[1:] if rows in line]

    batch = column("speed", "cell  ", "ms a row")
    assert f"{min(batch):.0f} to {max(batch):.0f} ms a row in a batch" in short
    one = column("speed", "cell  ", "one row, ms")
    assert f"{min(one):.0f} to {max(one):.0f} ms for a single row" in short
    ours = column("mixed_quality", "cell  ", "ms a row", "tau x 1 ")
    nice = column("mixed_quality", "cell  ", "ms a row", "NICE")
    assert f"{min(ours):.1f} to {max(ours):.1f} ms a row against" in short
    assert f"against {min(nice):.0f} to {max(nice):.0f}" in short
    for name in ("changes", "distance"):
        pair = [column("mixed_quality", "cell  ", name, who) for who in ("tau x 1 ", "NICE")]
        assert np.less(*pair).all()
    trees = "mixed_quality --models boosting,forest --rows 200 --dice-rows 200"
    for who, form in (("tau x 1 ", ".1f"), ("NICE", ".0f"), ("DiCE", ".0f")):
        times = column(trees, "cell  ", "ms a row", who)
        assert f"{min(times):{form}} to {max(times):{form}}" in short


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
    known |= {"checkpoint", "n_jobs", "keep"}
    known |= {"of", "at_least", "bandwidth", "cost", "cv", "max_size", "rules", "trusted"}
    known |= {"OMP_NUM_THREADS"}  # of the environment
    known |= set(scfe_sklearn.CounterfactualExplainer(None).get_params(deep=False))
    for name in scfe_sklearn.image.__all__:
        if issubclass(type(getattr(scfe_sklearn.image, name)), type):
            known |= set(inspect.signature(getattr(scfe_sklearn.image, name)).parameters)
    known |= {"region", "maps"}  # of explain and plot_panels of images
    known |= set(CounterfactualResampler(None).get_params(deep=False)) | {"groups"}
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
        and not module.name.startswith("_")
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
