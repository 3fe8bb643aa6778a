"""The commands."""

from __future__ import annotations

import argparse
import dataclasses
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scfe_sklearn.cli.demonstration import demonstrate
from scfe_sklearn.cli.explainers import columns_of, explainer_of, fitted_on
from scfe_sklearn.cli.model_files import read_model
from scfe_sklearn.cli.outputs import check_outputs, write_explanation, write_output
from scfe_sklearn.cli.questions import question
from scfe_sklearn.cli.refusal import INCOMPLETE, INPUT, INTERRUPTED, OK, OUTPUT, Refusal
from scfe_sklearn.cli.rule_files import rule_parameters
from scfe_sklearn.cli.telling import print_sentences, shows_progress, step, summary, tell
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.persistence import save
from scfe_sklearn.rules import FLAGS, Rules
from scfe_sklearn.status import Status


def _explain(options: argparse.Namespace) -> int:
    outputs = options.out or []
    check_outputs(outputs)
    explainer = explainer_of(options)
    rows, labels, target = question(explainer, options)
    for name in ("max_changes", "tau", "beta", "penalty", "effort"):
        value = getattr(options, name)
        if value is not None:
            explainer.set_params(**{name: value})
    result = explainer.explain(
        rows,
        target,
        rules=_rules(explainer, options),
        n_counterfactuals=options.options,
        time_limit=options.time_limit,
        progress=shows_progress(options),
    )
    if labels is not None:  # polars frames and arrays have no labels of their own
        result = dataclasses.replace(result, index=labels.repeat(options.options))
    for name in outputs:
        step(options, f"writing {name}")
        write_explanation(result, name, options.title, options.raw)
    if not outputs:
        print_sentences(result)
    first = result[np.flatnonzero(result.option == 0)]
    tell(options, summary(first))
    if (result.reason == "interrupted").any():
        tell(options, "interrupted; the rows that were done are written")
        return INTERRUPTED
    answered = first.success | (first.status == Status.ALREADY_TARGET)
    return INCOMPLETE if options.strict and not answered.all() else OK


def _rules(explainer: Any, options: argparse.Namespace) -> Rules | None:
    """The rules of the options and of a file."""
    given = {name: getattr(options, name) for name in FLAGS}
    parameters = rule_parameters(columns_of(explainer), given, options.rules, False)
    return Rules(**parameters) if parameters else None


def _fit(options: argparse.Namespace) -> int:
    check_outputs([options.out], (".skops",))
    if options.out == "-":
        raise Refusal("The '--out' option must name a file of 'fit'. Got '-' instead.")
    step(options, f"reading {options.model}")
    model = read_model(options.model, options.trust, options.max_size)
    if hasattr(model, "explain") or hasattr(model, "explainer_"):
        raise Refusal("The '--model' option of 'fit' must name a model. Got an explainer instead.")
    explainer = fitted_on(model, "--data", options.data, options, explaining=False)
    step(options, f"writing {options.out}")
    write_output(options.out, lambda: _save(explainer, options.out))
    kind = (
        "classes " + ", ".join(map(repr, explainer.classes_.tolist()))
        if hasattr(explainer, "classes_")
        else "a regressor"
    )
    tell(
        options,
        f"{options.out}: {explainer.n_features_in_} columns, {kind}, solver {explainer.solver_}",
    )
    return OK


def _save(explainer: Any, path: Any) -> None:
    try:
        save(explainer, path)
    except TypeError as error:
        raise Refusal(
            f"The '--model' file gives an explainer that cannot be written: {error}", INPUT
        ) from error


def _report(options: argparse.Namespace) -> int:
    check_outputs(options.out)
    step(options, f"reading {options.source}")
    try:
        result = Explanation.from_json(Path(options.source))
    except OSError as error:
        raise Refusal(
            f"The file {options.source!r} cannot be read: {error.strerror}.", INPUT
        ) from error
    except ValueError as error:
        why = str(error).replace("The 'source' of from_json", f"The file {options.source!r}")
        raise Refusal(why, INPUT) from error
    for name in options.out:
        step(options, f"writing {name}")
        try:
            write_explanation(result, name, options.title, options.raw)
        except (Refusal, OSError, ImportError):
            raise
        except Exception as error:  # everything that is shown comes from the file
            raise Refusal(
                f"The file {options.source!r} is damaged: {type(error).__name__}: {error}", INPUT
            ) from error
    return OK


def _serve(options: argparse.Namespace) -> int:
    from scfe_sklearn.serving import serve

    explainer = explainer_of(options)
    rows, _, target = question(explainer, options)
    rules = _rules(explainer, options)
    try:
        server = serve(explainer, rows, target=target, rules=rules, port=options.port)
    except OSError as error:
        raise Refusal(
            f"The '--port' option must name a free port. Got {options.port}: {error.strerror}.",
            OUTPUT,
        ) from error
    with server:
        print(server.url, flush=True)
        tell(options, "for this machine only; Ctrl-C ends it")
        if options.open:
            webbrowser.open(server.url)
        try:
            server.wait()
        except KeyboardInterrupt:
            tell(options, "closed")
    return OK


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "explain": _explain,
    "fit": _fit,
    "report": _report,
    "serve": _serve,
    "demo": lambda _: demonstrate([]),
}
