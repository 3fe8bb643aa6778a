"""The other commands: ``fit``, ``report``, ``serve``, ``demo``, and the name without any."""

import importlib
import io
import json
import tomllib
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from scfe_sklearn import CounterfactualExplainer, Explanation, load
from scfe_sklearn.__main__ import main as module_main
from scfe_sklearn.cli import COMMANDS, main
from scfe_sklearn.serving import WhatIfServer

skops_io = pytest.importorskip("skops.io")
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:.*have no counterfactual")


def same(result, expected):
    pd.testing.assert_frame_equal(result.to_frame(), expected.to_frame(), check_exact=True)


@pytest.fixture
def fitting(desk, tmp_path):
    """Options of ``fit``, and the file that it writes."""
    out = str(tmp_path / "made.skops")
    data = ["--data", desk.files["training.parquet"], "--label", "decision"]
    return ["--model", desk.files["model.skops"], *data, "--out", out], out


def test_a_fitted_model_is_kept_as_it_is(desk, fitting, capsys):
    options, out = fitting
    assert main(["fit", *options, "--max-changes", "3"]) == 0
    assert "14 columns, classes 'approved', 'refused', solver apg" in capsys.readouterr().err
    made = load(out)
    same(made.explain(desk.refused, "approved"), desk.explainer.explain(desk.refused, "approved"))


def test_a_model_that_is_not_trained_is_trained(desk, fitting, tmp_path):
    options, out = fitting
    file = str(tmp_path / "unfitted.skops")
    skops_io.dump(clone(desk.model), file)
    assert main(["fit", "--model", file, *options[2:], "--quiet"]) == 0
    expected = CounterfactualExplainer(clone(desk.model)).fit(desk.training, desk.labels)
    same(load(out).explain(desk.refused), expected.explain(desk.refused))
    assert main(["fit", "--model", file, *options[2:], "--drop", "sex", "age", "--quiet"]) == 0
    assert load(out).feature_names_in_.tolist() == [
        name for name in desk.training if name not in ("sex", "age")
    ]


def test_parameters_and_rules_are_kept(desk, fitting, tmp_path):
    options, out = fitting
    rules = {
        "steps": {"income": 100},
        "continuous": ["debt_ratio"],
        "transitions": {"housing": {"rent": ["mortgage"]}},
        "ordinal": {"purpose": sorted(desk.training["purpose"].unique())},
    }
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rules))
    more = ["--rules", str(file), "--immutable", "sex", "--density", "kde", "--tau", "1"]
    more += ["--solver", "search", "--max-changes", "fewest"]
    assert main(["fit", *options, *more]) == 0
    made = load(out)
    assert made.get_params(deep=False) | {"estimator": None} == {
        **CounterfactualExplainer(None).get_params(deep=False),
        **rules,
        "immutable": ["sex"],
        "density": "kde",
        "tau": 1.0,
        "solver": "search",
        "max_changes": "fewest",
    }


def test_a_csv_gives_an_explainer_that_a_csv_is_asked_of(desk, fitting, capsys):
    options, out = fitting
    options = [*options[:2], "--data", desk.files["training.csv"], *options[4:]]
    assert main(["fit", *options, "--quiet"]) == 0
    data = ["--data", desk.files["refused.csv"], "--target", "approved", "--out", "-"]
    assert main(["explain", "--model", out, *data]) == 0
    frame = pd.read_csv(io.StringIO(capsys.readouterr().out))
    found = frame["success"]
    assert found.sum() >= 10
    assert (desk.model.predict(frame[desk.training.columns][found]) == "approved").all()


def test_labels_of_another_type_are_those_of_the_model(desk, fitting, tmp_path):
    options, out = fitting
    file, data = str(tmp_path / "truth.skops"), str(tmp_path / "training.csv")
    model = clone(desk.model).fit(desk.training, desk.labels == "approved")
    skops_io.dump(model, file)
    numbers = (desk.labels == "approved").astype(int)
    desk.training.assign(decision=numbers).to_csv(data, index=False)
    assert main(["fit", "--model", file, "--data", data, *options[4:]]) == 0
    assert load(out).classes_.tolist() == [False, True]
    asked = ["--model", out, "--data", desk.files["refused.csv"], "--quiet"]
    assert main(["explain", *asked, "--target", "true", "--out", str(tmp_path / "a.csv")]) == 0


def test_a_regressor_is_fitted(desk, fitting, tmp_path, capsys):
    out = fitting[1]
    file, data = str(tmp_path / "values.skops"), str(tmp_path / "values.csv")
    skops_io.dump(LinearRegression(), file)
    desk.training[["age", "income", "savings"]].to_csv(data, index=False)
    values = ["--data", data, "--label", "savings", "--out", out]
    assert main(["fit", "--model", file, *values]) == 0
    assert "2 columns, a regressor" in capsys.readouterr().err
    assert main(["explain", "--model", out, "--data", data, "--at-least", "9000", "-q"]) == 0


def test_a_report_of_what_was_kept(desk, tmp_path, capsys):
    result = desk.explainer.explain(desk.refused, "approved")
    source, page = str(tmp_path / "kept.json"), tmp_path / "page.html"
    result.to_json(source)
    out = ["--out", str(page), "--out", "-"]
    assert main(["report", source, *out, "--title", "Your <loan>"]) == 0
    assert page.read_text(encoding="utf-8") == Explanation.from_json(source).to_html(
        title="Your <loan>"
    )
    assert "Your &lt;loan&gt;" in page.read_text(encoding="utf-8")
    assert len(pd.read_csv(io.StringIO(capsys.readouterr().out))) == len(desk.refused)


def test_serving_until_ctrl_c(desk, asked, monkeypatch, capsys):
    seen = []

    def wait(server):
        with urllib.request.urlopen(server.url + "api/setup", timeout=20) as answer:
            seen.append(json.load(answer))
        raise KeyboardInterrupt

    monkeypatch.setattr(WhatIfServer, "wait", wait)
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["serve", *asked, "--target", "approved", "--open"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed.startswith("http://127.0.0.1:")
    assert opened == [printed]
    assert (seen[0]["people"], seen[0]["target"]) == (len(desk.refused), "approved")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(printed, timeout=5)


def test_a_port_that_is_taken(desk, asked, capsys):
    from scfe_sklearn.serving import serve

    with serve(desk.explainer, desk.refused) as server:
        assert main(["serve", *asked, "--port", str(server.port)]) == 4
    assert "'--port' option must name a free port" in capsys.readouterr().err


def test_the_demonstration_has_two_names(capsys):
    options = ["--rows", "400", "--density", "kde"]
    main(["demo", *options])
    first = capsys.readouterr().out
    module_main(options)
    second = capsys.readouterr().out
    assert "generated loan applications" in first

    def without_time(text):
        return [line for line in text.splitlines() if not line.startswith("  time")]

    assert without_time(first) == without_time(second)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: scfe-sklearn {command}" in said
    assert "exit code" in said.lower()
    assert "%(prog)" not in said


def test_the_command_is_installed_under_its_name():
    described = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    module, name = described["project"]["scripts"]["scfe-sklearn"].split(":")
    assert getattr(importlib.import_module(module), name) is main


def test_long_commands_say_where_they_are(desk, fitting, asked, tmp_path, monkeypatch, capsys):
    def steps(*arguments):
        assert main([*arguments]) == 0
        said = capsys.readouterr().err
        return [line.split(": ", 1)[1] for line in said.splitlines() if line.endswith(" ...")]

    options, out = fitting
    model, data = desk.files["model.skops"], desk.files["training.parquet"]
    expected = [f"reading {model} ...", f"reading {data} ..."]
    expected += [f"fitting on {len(desk.training)} rows of 14 columns ...", f"writing {out} ..."]
    assert steps("fit", *options, "--progress") == expected
    assert steps("fit", *options) == []  # no terminal
    assert steps("fit", *options, "--progress", "--quiet") == []
    kept, page = str(tmp_path / "kept.json"), str(tmp_path / "page.html")
    asking = [f"reading {name} ..." for name in (asked[1], asked[3])]
    told = steps("explain", *asked, "--target", "approved", "--out", kept, "--progress")
    assert told == [*asking, f"writing {kept} ..."]
    told = steps("report", kept, "--out", page, "--progress")
    assert told == [f"reading {kept} ...", f"writing {page} ..."]

    def wait(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(WhatIfServer, "wait", wait)
    assert steps("serve", *asked, "--progress") == asking
