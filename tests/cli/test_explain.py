"""``scfe-sklearn explain``: the same answers as by hand, in files that fit."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB

from scfe_sklearn import (
    CounterfactualExplainer,
    CounterfactualTransformer,
    Explanation,
    Interval,
    Probability,
    RecoursePipeline,
    Relative,
    Rules,
    save,
)
from scfe_sklearn.cli import main
from scfe_sklearn.cli.messages import BROKEN_PIPE, INTERRUPTED
from scfe_sklearn.recourse.engine import Engine

skops_io = pytest.importorskip("skops.io")
pytestmark = pytest.mark.filterwarnings("ignore:.*have no counterfactual")


def same(result, expected):
    pd.testing.assert_frame_equal(result.to_frame(), expected.to_frame(), check_exact=True)


def test_the_answers_are_those_of_the_explainer(desk, asked, tmp_path):
    out = str(tmp_path / "answers.json")
    options = ["--target", "approved", "--immutable", "sex", "purpose", "--increasing", "age"]
    assert main(["explain", *asked, *options, "--max-changes", "2", "--out", out]) == 0
    explainer = desk.explainer.__class__(**desk.explainer.get_params(deep=False))
    explainer.set_params(max_changes=2).fit(desk.training, desk.labels)
    rules = Rules(immutable=["sex", "purpose"], increasing=["age"])
    result = Explanation.from_json(out)
    same(result, explainer.explain(desk.refused, "approved", rules=rules))
    assert result.factual.dtypes.equals(desk.refused.dtypes)
    assert np.nanmax(result.n_changes) <= 2
    assert "sex must not change" in result.rules_text


def test_every_form_of_output_says_the_same(desk, asked, tmp_path, capsys):
    names = [str(tmp_path / f"recourse.{form}") for form in ("html", "csv", "json")]
    outs = [part for name in [*names, "-"] for part in ("--out", name)]
    assert main(["explain", *asked, "--id", "person", "--target", "approved", *outs]) == 0
    printed, said = capsys.readouterr()
    page, table = (Path(name).read_bytes().decode() for name in names[:2])
    assert printed == table
    assert f"{len(desk.refused)} rows: " in said
    frame = pd.read_csv(io.StringIO(table), index_col="person")
    result = Explanation.from_json(names[2])
    assert list(frame.index) == list(result.index) == [f"P{k}" for k in range(len(result))]
    columns = list(desk.refused.columns)
    found = result.success
    assert found.any()
    for name in columns:
        assert frame[name][found].astype(str).tolist() == (
            result.counterfactuals[name][found].astype(str).tolist()
        )
    assert (desk.model.predict(frame[columns][found]) == "approved").all()
    assert "<html" in page
    assert all(f"P{k}" in page for k in range(3))
    assert not list(tmp_path.glob("*.part"))


def test_without_an_output_it_prints_sentences(desk, asked, capsys):
    assert main(["explain", *asked, "--target", "approved", "--quiet"]) == 0
    printed, said = capsys.readouterr()
    expected = desk.explainer.explain(desk.refused, "approved").sentences()
    assert printed.splitlines() == [f"{k}: {text}" for k, text in enumerate(expected)]
    assert said == ""


def test_several_answers_of_a_person_are_numbered(desk, asked, capsys):
    assert main(["explain", *asked, "--options", "2", "--out", "-"]) == 0
    printed, said = capsys.readouterr()
    frame = pd.read_csv(io.StringIO(printed))
    assert frame[["row", "option"]].values.tolist() == [
        [row, option] for row in range(len(desk.refused)) for option in (0, 1)
    ]
    assert f"{len(desk.refused)} rows: " in said


def test_a_model_is_explained_with_its_training_data(desk, asked, tmp_path):
    out = str(tmp_path / "answers.json")
    training = ["--training", desk.files["training.parquet"], "--label", "decision"]
    options = ["--model", desk.files["model.skops"], *training, *asked[2:], "--target", "approved"]
    assert main(["explain", *options, "--max-changes", "3", "--out", out]) == 0
    same(Explanation.from_json(out), desk.explainer.explain(desk.refused, "approved"))


def test_a_csv_comes_from_standard_input(desk, asked, capsys, monkeypatch):
    text = desk.refused.to_csv(index=False)
    stream = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stream)
    assert main(["explain", *asked[:2], "--data", "-", "--target", "approved", "--out", "-"]) == 0
    streamed = capsys.readouterr().out
    assert main(["explain", *asked, "--target", "approved", "--out", "-"]) == 0
    assert capsys.readouterr().out == streamed


@pytest.mark.parametrize(
    ("wish", "probability"),
    [
        (["--target", "approved", "--at-least", "0.8"], Probability("approved", 0.8)),
        (["--target", "refused", "--at-most", "0.7"], Probability("refused", at_most=0.7)),
    ],
)
def test_a_probability_is_reached(desk, asked, tmp_path, wish, probability):
    out = str(tmp_path / "answers.json")
    assert main(["explain", *asked, *wish, "--out", out]) == 0
    result = Explanation.from_json(out)
    assert result.success.any()
    column = desk.model.classes_.tolist().index(probability.label)
    answers = result.counterfactuals[result.success].astype(desk.refused.dtypes.to_dict())
    p, (low, high) = desk.model.predict_proba(answers)[:, column], probability.limits
    assert ((p >= low) & (p <= high)).all()
    same(result, desk.explainer.explain(desk.refused, probability))


def test_a_regressor_takes_an_interval(tmp_path):
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(80, 2)), columns=["a", "b"])
    y = X["a"] + 2 * X["b"]
    values = CounterfactualExplainer(LinearRegression()).fit(X, y)
    save(values, tmp_path / "values.skops")
    X[:3].to_csv(tmp_path / "data.csv", index=False)
    options = ["--model", str(tmp_path / "values.skops"), "--data", str(tmp_path / "data.csv")]
    out = str(tmp_path / "answers.json")
    ends = ["--at-least", "-0.5", "--at-most", "0.25"]
    assert main(["explain", *options, *ends, "--out", out]) == 0
    same(Explanation.from_json(out), values.explain(X[:3], Interval(-0.5, 0.25)))
    assert main(["explain", *options, "--target", "1"]) == 2
    assert main(["explain", *options]) == 2
    assert main(["explain", *options, "--at-least", "2", "--at-most", "1"]) == 2


def test_pipelines_and_transformers_are_asked_like_explainers(desk, asked, tmp_path):
    file, out = str(tmp_path / "saved.skops"), str(tmp_path / "answers.json")
    inner = CounterfactualExplainer(**desk.explainer.get_params(deep=False))
    columns, classifier = clone(desk.model).steps
    last = ("explain", CounterfactualExplainer(classifier[1], max_changes=3))
    for made in (CounterfactualTransformer(inner, "refused"), RecoursePipeline([columns, last])):
        save(made.fit(desk.training, desk.labels), file)
        options = ["explain", "--model", file, *asked[2:], "--out", out]
        assert main([*options, "--target", "approved"]) == 0
        same(Explanation.from_json(out), desk.explainer.explain(desk.refused, "approved"))
    save(CounterfactualTransformer(inner, "refused").fit(desk.training, desk.labels), file)
    assert main(options) == 0  # what the transformer was made for
    assert set(Explanation.from_json(out).status) == {"already has the target"}


def test_people_of_an_array_have_names_too(tmp_path, capsys):
    random = np.random.default_rng(0)
    rows = random.normal(size=(80, 2))
    made = CounterfactualExplainer(GaussianNB()).fit(rows, rows.sum(axis=1) > 0)
    save(made, tmp_path / "e.skops")
    frame = pd.DataFrame(rows[:3], columns=["a", "b"]).assign(who=["x", "y", "z"])
    frame[["who", "a", "b"]].to_csv(tmp_path / "d.csv", index=False)
    options = ["--model", str(tmp_path / "e.skops"), "--data", str(tmp_path / "d.csv")]
    assert main(["explain", *options, "--id", "who", "--options", "2", "--out", "-"]) == 0
    answers = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert answers["who"].tolist() == ["x", "x", "y", "y", "z", "z"]
    expected = made.explain(rows[:3], n_counterfactuals=2).counterfactuals
    np.testing.assert_allclose(answers[["0", "1"]], expected)


def test_rules_of_a_file_and_of_options_hold_together(desk, asked, tmp_path):
    rules = {
        "immutable": ["sex"],
        "ranges": {
            "debt_ratio": [0.05, 0.6],
            "income": {"low": 1, "high": 1.25, "factor": True},
            "credit_score": {"low": -80, "high": 80, "relative": True},
            "education": ["secondary", None],
        },
        "transitions": {"housing": {"rent": ["mortgage"], "own": []}},
        "relations": ["loan_amount <= 2 * income"],
        "implications": [
            {"if": {"housing": "rent"}, "then": {"savings": [None, 50_000]}},
            {"if": {"has_cosigner": False}, "then": {"purpose": ["car", "medical", "debt"]}},
        ],
        "costs": {"age": 5},
    }
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rules))
    out = str(tmp_path / "answers.json")
    options = ["--target", "approved", "--rules", str(file), "--immutable", "age", "--out", out]
    assert main(["explain", *asked, *options]) == 0
    written = Rules(
        immutable=["sex", "age"],
        ranges={
            "debt_ratio": (0.05, 0.6),
            "income": Relative(1, 1.25, factor=True),
            "credit_score": Relative(-80, 80),
            "education": ("secondary", None),
        },
        transitions={"housing": {"rent": ["mortgage"], "own": []}},
        relations=["loan_amount <= 2 * income"],
        implications=[
            ({"housing": "rent"}, {"savings": (None, 50_000)}),
            ({"has_cosigner": False}, {"purpose": {"car", "medical", "debt"}}),
        ],
        costs={"age": 5},
    )
    result = Explanation.from_json(out)
    expected = desk.explainer.explain(desk.refused, "approved", rules=written)
    same(result, expected)
    assert result.rules_text == expected.rules_text


def test_strict_tells_that_somebody_has_no_answer(desk, asked, tmp_path, capsys):
    everything = ["--immutable", *desk.refused.columns]
    out = ["--target", "approved", "--out", str(tmp_path / "answers.csv")]
    assert main(["explain", *asked, *everything, *out]) == 0
    assert main(["explain", *asked, *everything, *out, "--strict"]) == 1
    assert "not reachable" in capsys.readouterr().err
    assert not pd.read_csv(tmp_path / "answers.csv")["success"].any()
    # One who is refused already needs no answer.
    assert main(["explain", *asked, "--target", "refused", "--strict", "--quiet"]) == 0


def test_trees_are_asked_for_trust(desk, asked, tmp_path, capsys):
    forest = desk.model.__class__(
        [*desk.model.steps[:-1], ("forest", RandomForestClassifier(5, random_state=0))]
    ).fit(desk.training, desk.labels)
    file = str(tmp_path / "forest.skops")
    skops_io.dump(forest, file)
    options = ["--model", file, *asked[2:], "--training", desk.files["training.parquet"]]
    options += ["--label", "decision", "--target", "approved"]
    assert main(["explain", *options]) == 3
    said = capsys.readouterr().err
    assert "--trust sklearn.tree._tree.Tree" in said
    assert main(["explain", *options, "--trust", "sklearn.tree._tree.Tree", "-q"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(desk.refused)


def test_ctrl_c_writes_what_is_done(desk, asked, tmp_path, monkeypatch, capsys):
    rows = pd.concat([desk.refused] * 100, ignore_index=True)
    file, out = str(tmp_path / "many.csv"), str(tmp_path / "answers.csv")
    rows.to_csv(file, index=False)
    calls = []

    def second_part_is_interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    import scfe_sklearn.explainer as module

    original = module.answer
    monkeypatch.setattr(module, "answer", second_part_is_interrupted)
    options = ["--model", asked[1], "--data", file, "--target", "approved", "--out", out]
    assert main(["explain", *options, "--progress"]) == INTERRUPTED
    assert "interrupted" in capsys.readouterr().err
    frame = pd.read_csv(out)
    assert len(frame) == 1200
    assert frame["success"][:600].sum() > 0
    assert (frame["reason"][600:] == "interrupted").all()


def test_ctrl_c_before_anything_is_done(asked, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "__init__", interrupted)
    assert main(["explain", *asked]) == INTERRUPTED
    assert capsys.readouterr().err == "scfe-sklearn explain: interrupted\n"


def test_as_a_process_with_a_reader_that_goes_away(desk, asked):
    """Two processes: one that is read to its end, and one whose reader closes at once."""
    command = [sys.executable, "-m", "scfe_sklearn", "explain", *asked, "--target", "approved"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(desk.refused)
    assert "12 rows: " in done.stderr

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == BROKEN_PIPE
    assert "Traceback" not in said
    assert "Exception" not in said
