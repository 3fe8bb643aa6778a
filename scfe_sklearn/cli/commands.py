"""What the commands do."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import sys
import textwrap
import traceback
import warnings
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scfe_sklearn.cli.demonstration import demonstrate
from scfe_sklearn.cli.levels import match_texts
from scfe_sklearn.cli.model_files import fitted_explainer, frozen_if_fitted, read_model
from scfe_sklearn.cli.outputs import check_outputs, write_explanation, write_whole
from scfe_sklearn.cli.parser import build_parser
from scfe_sklearn.cli.refusal import (
    BROKEN_PIPE,
    INCOMPLETE,
    INPUT,
    INTERNAL,
    INTERRUPTED,
    OK,
    OUTPUT,
    PACKAGE,
    USAGE,
    Refusal,
    unknown,
)
from scfe_sklearn.cli.rule_files import KNOWN, LISTS, Columns, rule_parameters
from scfe_sklearn.cli.table_files import read_guessed, read_texts
from scfe_sklearn.cli.training_types import as_trained
from scfe_sklearn.cli.wanted import wanted
from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.features import Rules
from scfe_sklearn.models import UnsupportedModelError
from scfe_sklearn.persistence import save
from scfe_sklearn.status import Status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``scfe-sklearn``; return its exit code.

    Parameters
    ----------
    arguments : sequence of str, default=None
        None: those of the process.

    Returns
    -------
    int

    Examples
    --------
    >>> main(["explain", "--model", "none.skops", "--data", "refused.csv"])
    3
    """
    return run(list(sys.argv[1:] if arguments is None else arguments), prog="scfe-sklearn")


def run(arguments: Sequence[str], prog: str) -> int:
    """Run a command under the name by which it was called."""
    if arguments and arguments[0] == "demo":
        name = f"{prog} demo"
        return _guarded(lambda: demonstrate(arguments[1:], prog=name), name, argparse.Namespace())
    options = build_parser(prog).parse_args(arguments)
    options.name = name = f"{prog} {options.command}"
    return _guarded(lambda: _heard(options, name), name, options)


def _heard(options: argparse.Namespace, name: str) -> int:
    """Run with warnings in one line each; those for programmers are left out."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        if not options.quiet:
            print(f"{name}: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", UserWarning)
        # Rows without an answer are counted by the summary; names by the check of columns.
        warnings.filterwarnings("ignore", message=".* have no counterfactual")
        warnings.filterwarnings("ignore", message="X has feature names, but")
        warnings.showwarning = show
        return COMMANDS[options.command](options)


def _guarded(command: Callable[[], int], name: str, options: argparse.Namespace) -> int:
    """Turn what a command raises into a sentence and an exit code."""
    try:
        code = command()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Nothing can be said to who went away; nor shall the interpreter try when it ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if getattr(options, "debug", False):
            traceback.print_exc()
        code, message = _told(error, options)
        print(f"{name}: error: {message}", file=sys.stderr)
        return code


def _told(error: Exception, options: argparse.Namespace) -> tuple[int, str]:
    if isinstance(error, Refusal):
        return error.code, str(error)
    if isinstance(error, ImportError):
        return PACKAGE, str(error)
    if isinstance(error, (ValueError, UnsupportedModelError)):
        return USAGE, _in_options(str(error), options)
    what = textwrap.shorten(str(error), 300, placeholder=" ...")
    return INTERNAL, f"unexpected {type(error).__name__}: {what} (--debug shows where)"


def _in_options(message: str, options: argparse.Namespace) -> str:
    """A message of the library, with options where it names parameters."""

    def option(found: re.Match[str]) -> str:
        if getattr(options, found[1], None):
            return f"The '--{found[1].replace('_', '-')}' option"
        from_file = found[1] in KNOWN and getattr(options, "rules", None)
        return f"The '--rules, {found[1]}' option" if from_file else found[0]

    return re.sub(r"The '(\w+)' parameter of \w+", option, " ".join(message.split()))


# --------------------------------------------------------------------------------- commands


def _explain(options: argparse.Namespace) -> int:
    outputs = options.out or []
    check_outputs(outputs)
    explainer = _explainer(options)
    rows, labels, target = _question(explainer, options)
    for name in ("max_changes", "tau", "beta"):
        value = getattr(options, name)
        if value is not None:
            explainer.set_params(**{name: value})
    parameters = rule_parameters(
        _columns(explainer), {name: getattr(options, name) for name in LISTS}, options.rules, False
    )
    result = explainer.explain(
        rows,
        target,
        rules=Rules(**parameters) if parameters else None,
        n_counterfactuals=options.options,
        time_limit=options.time_limit,
        progress=_shows_progress(options),
    )
    if labels is not None:  # polars frames and arrays have no labels of their own
        result = dataclasses.replace(result, index=labels.repeat(options.options))
    for name in outputs:
        _step(options, f"writing {name}")
        write_explanation(result, name, options.title)
    if not outputs:
        _print_sentences(result)
    first = result[np.flatnonzero(result.option == 0)]
    _tell(options, _summary(first))
    if (result.reason == "interrupted").any():
        _tell(options, "interrupted; the rows that were done are written")
        return INTERRUPTED
    answered = first.success | (first.status == Status.ALREADY_TARGET)
    return INCOMPLETE if options.strict and not answered.all() else OK


def _fit(options: argparse.Namespace) -> int:
    check_outputs([options.out], (".skops",))
    if options.out == "-":
        raise Refusal("The '--out' option must name a file of 'fit'. Got '-' instead.")
    _step(options, f"reading {options.model}")
    model = read_model(options.model, options.trust)
    if hasattr(model, "explain") or hasattr(model, "explainer_"):
        raise Refusal("The '--model' option of 'fit' must name a model. Got an explainer instead.")
    explainer = _fitted(model, "--data", options.data, options, explaining=False)
    _step(options, f"writing {options.out}")
    write_whole(options.out, lambda partial: _save(explainer, partial))
    kind = (
        "classes " + ", ".join(map(repr, explainer.classes_.tolist()))
        if hasattr(explainer, "classes_")
        else "a regressor"
    )
    _tell(
        options,
        f"{options.out}: {explainer.n_features_in_} columns, {kind}, solver {explainer.solver_}",
    )
    return OK


def _report(options: argparse.Namespace) -> int:
    check_outputs(options.out)
    _step(options, f"reading {options.source}")
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
        _step(options, f"writing {name}")
        write_explanation(result, name, options.title)
    return OK


def _serve(options: argparse.Namespace) -> int:
    from scfe_sklearn.serving import serve

    explainer = _explainer(options)
    rows, _, target = _question(explainer, options)
    try:
        server = serve(explainer, rows, target=target, port=options.port)
    except OSError as error:
        raise Refusal(
            f"The '--port' option must name a free port. Got {options.port}: {error.strerror}.",
            OUTPUT,
        ) from error
    with server:
        print(server.url, flush=True)
        _tell(options, "for this machine only; Ctrl-C ends it")
        if options.open:
            webbrowser.open(server.url)
        try:
            server.wait()
        except KeyboardInterrupt:
            _tell(options, "closed")
    return OK


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "explain": _explain,
    "fit": _fit,
    "report": _report,
    "serve": _serve,
    "demo": lambda _: demonstrate([]),
}

# ------------------------------------------------------------------------------------ parts


def _explainer(options: argparse.Namespace) -> Any:
    """The explainer of ``--model``, made of the training data where it is only a model."""
    _step(options, f"reading {options.model}")
    model = read_model(options.model, options.trust)
    explainer = fitted_explainer(model)
    training, label = getattr(options, "training", None), getattr(options, "label", None)
    if explainer is not None:
        if training is not None or label is not None:
            given = "--training" if training is not None else "--label"
            raise Refusal(
                f"The {given!r} option is for a model without training data. The "
                "'--model' file holds an explainer, which has learned from them."
            )
        options.usual_target = getattr(model, "target", None)  # of a transformer
        return explainer
    if training is None or label is None:
        hint = " Or give '--training' and '--label'." if options.command == "explain" else ""
        raise Refusal(
            f"The '--model' file {options.model!r} holds a model and no explainer, which knows "
            f"the training data: make one by 'fit'.{hint}"
        )
    return _fitted(model, "--training", training, options, explaining=True)


def _fitted(
    model: Any, option: str, file: str, options: argparse.Namespace, explaining: bool
) -> Any:
    """Fit an explainer; what is asked of the answers is left to the question, if there is one."""
    _step(options, f"reading {file}")
    table = read_guessed(option, file)
    if options.label not in table.columns:
        raise unknown("--label", "a column", table.columns, options.label)
    for column in options.drop:
        if column not in table.columns:
            raise unknown("--drop", "a column", table.columns, column)
    others = table.columns.drop([options.label, *options.drop])
    names = list(getattr(model, "feature_names_in_", others))
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise Refusal(
            f"The {option!r} file {file!r} must have the columns of the model. Got none "
            f"called {absent}.",
            INPUT,
        )
    X, y = table[names], table[options.label]
    if not len(table) or y.isna().any():
        what = "have rows" if not len(table) else f"have a {options.label!r} in every row"
        raise Refusal(f"The {option!r} file {file!r} must {what}.", INPUT)
    parameters: dict[str, Any] = {}
    if not explaining:
        levels = {name: X[name].dropna().unique() for name in names if not _is_number(X[name])}
        given = {name: getattr(options, name) for name in LISTS}
        parameters = rule_parameters(Columns(names, levels), given, options.rules, True)
        for name in ("density", "solver", "tau", "beta", "max_changes"):
            if getattr(options, name) is not None:
                parameters[name] = getattr(options, name)
    estimator = frozen_if_fitted(model)
    _step(options, f"fitting on {len(X):,} rows of {X.shape[1]} columns")
    return CounterfactualExplainer(estimator, **parameters).fit(X, _labels(model, y))


def _labels(model: Any, y: Any) -> Any:
    """Labels in the type of the model's classes, such as 1 for True."""
    if not hasattr(model, "classes_"):
        return y.to_numpy()
    classes = list(np.asarray(model.classes_).tolist())
    if set(y) <= set(classes):
        return y.to_numpy()
    meant = match_texts({str(value) for value in y.unique()}, classes)
    return np.array([meant.get(str(value), value) for value in y.tolist()])


def _is_number(column: Any) -> bool:
    import pandas as pd

    kinds = pd.api.types
    return kinds.is_numeric_dtype(column.dtype) and not kinds.is_bool_dtype(column.dtype)


def _question(explainer: Any, options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The rows, their names in the column of ``--id`` if there is one, and the target."""
    import pandas as pd

    asked = (options.target, options.at_least, options.at_most)
    usual = getattr(options, "usual_target", None)
    said = any(part is not None for part in asked)
    target = wanted(explainer, *asked) if said or usual is None else usual
    _step(options, f"reading {options.data}")
    frame = read_texts("--data", options.data)
    where = f"'--data' file {options.data!r}"
    if not len(frame):
        raise Refusal(f"The {where} must have rows. Got none.", INPUT)
    labels = None
    if options.id is not None:
        if options.id not in frame.columns:
            raise unknown("--id", "a column", frame.columns, options.id)
        labels = pd.Index(frame[options.id], name=options.id)
        if not hasattr(explainer, "feature_names_in_"):
            frame = frame.drop(columns=options.id)
    rows = as_trained(frame, explainer, where)
    if labels is not None and isinstance(rows, pd.DataFrame):
        rows = rows.set_axis(labels, axis=0)
    return rows, labels, target


def _columns(explainer: Any) -> Columns:
    space = explainer.space_
    pairs = zip(space.names_, space.levels_, strict=True)
    return Columns(
        space.names_, {name: list(levels) for name, levels in pairs if levels is not None}
    )


def _save(explainer: Any, path: Any) -> None:
    try:
        save(explainer, path)
    except TypeError as error:
        raise Refusal(
            f"The '--model' file gives an explainer that cannot be written: {error}", INPUT
        ) from error


def _print_sentences(result: Explanation) -> None:
    for label, sentence in zip(result.index, result.sentences(), strict=True):
        print(f"{label}: {sentence}")


def _summary(result: Explanation) -> str:
    """How many rows became what."""
    counts = [(status, int((result.status == status).sum())) for status in Status.ALL]
    parts = [f"{count:,} {status}" for status, count in counts if count]
    return f"{len(result):,} row{'' if len(result) == 1 else 's'}: {', '.join(parts)}"


def _shows_progress(options: argparse.Namespace) -> bool:
    shown = sys.stderr.isatty() if options.progress is None else options.progress
    return bool(shown and not options.quiet)


def _step(options: argparse.Namespace, text: str) -> None:
    """Say which step of a long command comes now."""
    if _shows_progress(options):
        _tell(options, f"{text} ...")


def _tell(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        print(f"{options.name}: {text}", file=sys.stderr)
