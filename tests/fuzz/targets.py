"""Properties that hold for any input, each with a strategy: what the fuzzer calls.

A call ends with a ValueError or TypeError that names what was wrong, or with an answer in which
every row has a status, every success is confirmed by the model, and every rule holds.
"""

import contextlib
import functools
import io
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, note
from hypothesis import strategies as st

from scfe_sklearn import CounterfactualExplainer, Explanation, Rules, load, save
from scfe_sklearn.cli import main
from scfe_sklearn.models import UnsupportedModelError
from scfe_sklearn.status import Status
from tests.contract.test_damaged_files import mutated
from tests.explainer import test_constraint_properties as points
from tests.explainer import test_properties as frames
from tests.fuzz import strategies

PARAMETERS = sorted({*CounterfactualExplainer(None).get_params(deep=False), "estimator"})
NAMES = [
    *PARAMETERS,
    *("X", "y", "target", "rules", "Rules", "Probability", "Interval", "n_counterfactuals"),
    *("best_effort", "time_limit", "n_jobs", "checkpoint", "sample", "samples"),
    *("feature", "features", "column", "columns", "row", "rows"),
]
NAMED = re.compile(rf"\b({'|'.join(NAMES)})\b", re.IGNORECASE)
EXIT_CODES = {0, 1, 2, 3, 4, 5}


@functools.cache
def world(kind="linear"):
    """A fitted model of four columns, and its explainer."""
    rng = np.random.default_rng(0)
    X = points.training_rows(rng)
    y, _ = points.labelled(rng, X, 2)
    model = points.fitted(kind, X, y)
    return X, y, model, CounterfactualExplainer(points.FrozenEstimator(model)).fit(X, y)


def refused(error):
    """Whether an error is one for the user: of a value, with a name in its message."""
    return isinstance(error, (ValueError, TypeError)) and NAMED.search(str(error)) is not None


def check(result, model, space, query, rules, rows):
    """Assert that an explanation is whole and true."""
    assert len(result) == rows and set(result.status) <= set(Status.ALL)
    assert (result.success == (result.status == Status.FOUND)).all()
    assert len(result.sentences()) == len(result.to_frame()) == rows
    good = np.flatnonzero(result.success)
    answers = result.counterfactuals
    if len(good):
        found = answers.iloc[good] if hasattr(answers, "iloc") else answers[good.tolist()]
        assert (np.asarray(model.predict(as_trained(found))) == result.target[good]).all()
    if isinstance(query, pd.DataFrame) and rows == len(query):
        assert not rules.violations(space, query, answers)[good].any()
        assert list(answers.index) == list(query.index) or query.index.hasnans
    try:
        text = result.to_json()
    except TypeError as error:
        assert "cannot be written" in str(error)
        return
    assert list(Explanation.from_json(text).status) == list(result.status)


def as_trained(rows):
    """Rows as the model knows them."""
    rows = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(np.asarray(rows))
    rows = rows if set(points.COLUMNS) <= set(rows) else rows.set_axis(points.COLUMNS, axis=1)
    rows = rows[points.COLUMNS].astype({"whole": float, "few": float})
    return rows.assign(size=pd.Categorical(rows["size"], points.SIZES, ordered=True))


def questions(data):
    """Ask a fitted explainer about damaged frames, with any target, rules and options."""
    _, _, model, explainer = world(data.draw(st.sampled_from(["linear", "forest"])))
    query = data.draw(strategies.queries(points.EVERY))
    target = data.draw(strategies.targets([0, 1], 6))
    rules, options = data.draw(strategies.rules(points)), data.draw(strategies.call_options())
    note(f"{query!r}\n{target!r}\n{rules!r}\n{options!r}")
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.pop("checkpoint", False):
                options["checkpoint"] = Path(folder) / "run"
            result = explainer.explain(query, target, rules=rules, **options)
    except (ValueError, TypeError) as error:
        if not refused(error):
            raise
        return
    rows = len(query) * options.get("n_counterfactuals", 1)
    every = explainer._rules() if rules is None else explainer._rules().merged(rules)
    check(result, model, explainer.space_, query, every, rows)


def parameters(data):
    """Fit explainers whose parameters are anything, and explain some rows."""
    X, y, model, _ = world()
    chosen = data.draw(strategies.parameters(PARAMETERS, points.COLUMNS))
    if isinstance(chosen.get("ensemble"), int):  # so many models are trained
        chosen["ensemble"] = min(chosen["ensemble"], 3)
    note(repr(chosen))
    query = points.EVERY[:6]
    explainer = CounterfactualExplainer(**{"estimator": points.FrozenEstimator(model), **chosen})
    try:
        explainer.fit(X, y)
        result = explainer.explain(query, time_limit=5)
    except UnsupportedModelError:
        if chosen.get("solver") != "milp":  # the model has no trees
            raise
        return
    except (ValueError, TypeError) as error:
        if not refused(error):
            raise
        return
    if "estimator" not in chosen:
        rules = explainer._rules() or Rules()
        check(result, explainer.estimator_, explainer.space_, query, rules, len(query))


@functools.cache
def files():
    """Content of files that the package writes and reads."""
    explainer = world()[3]
    query = points.EVERY[:6]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(explainer, folder / "e.skops")
        explainer.explain(query, 1, checkpoint=folder / "run")
        kept = {path.name: path.read_bytes() for path in (folder / "run").iterdir()}
        return (folder / "e.skops").read_bytes(), explainer.explain(query, 1).to_json(), kept


def damaged_files(data):
    """Read damaged explainers, explanations, checkpoints and tables."""
    explainer = world()[3]
    model, kept, run = files()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kind = data.draw(st.sampled_from(["model", "json", "text", "checkpoint", "table", "rules"]))
        if kind == "model":
            (folder / "e.skops").write_bytes(data.draw(strategies.damaged(model)))
            with contextlib.suppress(ValueError):
                assert type(load(folder / "e.skops")) is CounterfactualExplainer
        elif kind == "json":
            content = json.loads(kept)
            content["fields"] = mutated(content["fields"], data.draw(strategies.RANDOM))
            read_json(json.dumps(content))
        elif kind == "text":
            read_json(data.draw(strategies.damaged(kept.encode())).decode("utf-8", "replace"))
        elif kind == "checkpoint":
            resume(explainer, folder, {n: data.draw(strategies.damaged(c)) for n, c in run.items()})
        else:
            (folder / "e.skops").write_bytes(model)
            table = points.EVERY[:6].to_csv(index=False).encode()
            rules = b'{"immutable": ["whole"], "ranges": {"few": [0, 2]}}'
            table = data.draw(strategies.damaged(table)) if kind == "table" else table
            rules = data.draw(strategies.damaged(rules)) if kind == "rules" else rules
            command(folder, table, rules)


def read_json(text):
    """An explanation, or a ValueError."""
    try:
        result = Explanation.from_json(text)
    except (ValueError, OSError):  # a text that is no JSON is taken for the name of a file
        return
    assert isinstance(result, Explanation)


def resume(explainer, folder, content):
    """Resume from damaged files: the same answers, or a refusal."""
    for name, part in content.items():
        (folder / name).write_bytes(part)
    query = points.EVERY[:6]
    try:
        result = explainer.explain(query, 1, checkpoint=folder)
    except ValueError as error:
        assert "'checkpoint' parameter" in str(error)
        return
    expected = explainer.explain(query, 1)
    pd.testing.assert_frame_equal(result.to_frame(), expected.to_frame())


def command(folder, table, rules):
    """The command line ends with a code of its own."""
    (folder / "q.csv").write_bytes(table)
    (folder / "rules.json").write_bytes(rules)
    names = [str(folder / name) for name in ("e.skops", "q.csv", "rules.json", "out.csv")]
    options = [f"--{option}={name}" for option, name in zip(
        ("model", "data", "rules", "out"), names, strict=True)]  # fmt: skip
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        code = main(["explain", *options, "--target=1"])
    assert code in EXIT_CODES, shown.getvalue()
    assert (folder / "out.csv").exists() == (code == 0)


PROPERTIES = {
    "frames": (
        frames.test_every_answer_is_what_it_claims_to_be.hypothesis.inner_test,
        frames.problems([*frames.NUMBERS, "size", "colour", "flag"]),
    ),
    "classes": (points.test_classes.hypothesis.inner_test, st.data()),
    "values": (points.test_values.hypothesis.inner_test, st.data()),
    "questions": (questions, st.data()),
    "parameters": (parameters, st.data()),
    "files": (damaged_files, st.data()),
}
"""Functions and what they are given. Those of the suite come without its settings."""


def hypothesis_test(name):
    """A new test of a property."""
    function, strategy = PROPERTIES[name]
    return given(strategy)(function)
