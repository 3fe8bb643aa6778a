"""The commands, and their outputs: a page, a table, JSON, or sentences."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import importlib.util
import io
import os
import sys
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pandas.api.types import is_numeric_dtype

from scfe_sklearn._utils import write_file
from scfe_sklearn.cli.demonstration import demonstrate
from scfe_sklearn.cli.explainers import columns_of, explainer_of, fitted_on, read_model
from scfe_sklearn.cli.messages import (
    INCOMPLETE,
    INPUT,
    INTERRUPTED,
    OK,
    OUTPUT,
    PACKAGE,
    Refusal,
    print_sentences,
    shows_progress,
    step,
    summary,
    summary_of,
    tell,
)
from scfe_sklearn.cli.query import question, target_of
from scfe_sklearn.cli.rule_files import rule_parameters
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.containers import is_polars
from scfe_sklearn.explanation.wording import spreadsheet_cell
from scfe_sklearn.persistence import save
from scfe_sklearn.rules import FLAGS, Rules
from scfe_sklearn.status import Status


def check_outputs(
    names: Sequence[str], known: Sequence[str] = (".html", ".csv", ".json", ".parquet")
) -> None:
    """Refuse outputs that could not be written, before anything is computed.

    Parameters
    ----------
    names : sequence of str
        Files; "-" is the standard output.
    known : sequence of str
        Suffixes.

    Raises
    ------
    Refusal
        If a suffix is not known, a folder does not exist, or a package is missing.
    """
    for name in names:
        if name == "-":
            continue
        path = Path(name)
        if path.suffix.lower() not in known:
            raise Refusal(
                f"The '--out' option must name a file that ends in {', '.join(known)}, or be '-'. "
                f"Got {name!r} instead."
            )
        folder = Path(os.path.realpath(path)).parent
        allowed = os.access(folder, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
        if path.is_dir() or not folder.is_dir() or not allowed:
            raise Refusal(
                f"The '--out' option must name a file in a folder that can be written to. "
                f"Got {name!r} instead.",
                OUTPUT,
            )
        if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
            raise Refusal(
                "The '--out' option needs pyarrow for parquet: python -m pip install pyarrow",
                PACKAGE,
            )
        if path.suffix.lower() == ".html" and importlib.util.find_spec("jinja2") is None:
            raise Refusal(
                "The '--out' option needs jinja2 for a page: "
                "python -m pip install 'scfe-sklearn[report]'",
                PACKAGE,
            )


def write_explanation(
    result: Explanation, name: str, title: str | None = None, raw: bool = False
) -> None:
    """Write answers in the form of the suffix of the file; "-" is csv.

    Parameters
    ----------
    result : Explanation
        The answers.
    name : str
        A file, or "-" for the standard output.
    title : str or None
        Heading of a page.
    raw : bool
        Whether the cells of csv are written as they are, also those that are formulas.

    Raises
    ------
    Refusal
        If it cannot be written.
    """
    form = ".csv" if name == "-" else Path(name).suffix.lower()
    if form == ".html":
        content: str | bytes = result.to_html(title=title)
    elif form == ".json":
        content = (result.to_json() or "").encode("utf-8", "backslashreplace")
    elif form == ".parquet":
        content = _parquet(table(result), name)
    else:
        content = _csv(table(result) if raw else without_formulas(table(result)), name)
    if name == "-":
        sys.stdout.write(str(content))
        sys.stdout.flush()
        return
    write_output(name, lambda: write_file(name, content))


def _csv(answers: Any, name: str) -> str:
    """Return a table as csv in which every line break of a cell is within quotes."""
    text = str(answers.to_csv(index=False, lineterminator="\n"))
    if "\r" in text:  # Python before 3.13 leaves cells with a carriage return without quotes
        text = answers.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    with _refusing_half_pairs(name):
        text.encode("utf-8")
    return text


def _parquet(answers: Any, name: str) -> bytes:
    buffer = io.BytesIO()
    with _refusing_half_pairs(name):
        answers.to_parquet(buffer, index=False)
    return buffer.getvalue()


@contextlib.contextmanager
def _refusing_half_pairs(name: str) -> Iterator[None]:
    """Refuse texts that UTF-8 cannot hold."""
    try:
        yield
    except UnicodeEncodeError as error:
        text = str(error.object)[error.start : error.end]
        raise Refusal(
            f"The '--out' file {name!r} cannot hold {text!r}: half of a surrogate pair is no "
            "character.",
            OUTPUT,
        ) from error


def write_output(name: str, write: Callable[[], Any]) -> Any:
    """Write a file; raise a Refusal if the disk or the system does not take it."""
    try:
        return write()
    except OSError as error:
        raise Refusal(
            f"The '--out' file {name!r} cannot be written: {error.strerror or error}.", OUTPUT
        ) from error


def without_formulas(answers: Any) -> Any:
    """A pandas table whose texts and names no spreadsheet takes for formulas."""
    safe = answers.copy()
    safe.columns = [spreadsheet_cell(name) for name in safe.columns]
    for j in range(safe.shape[1]):
        column = answers.iloc[:, j]
        if not is_numeric_dtype(column.dtype):
            safe.isetitem(j, column.astype(object).map(spreadsheet_cell, na_action="ignore"))
    return safe


def table(result: Explanation) -> Any:
    """Answers as a pandas table: `Explanation.to_frame` with the label of the row in front."""
    import pandas as pd

    frame = result.to_frame()
    frame = frame.to_pandas() if is_polars(frame) else frame
    label = "row" if result.index.name is None else str(result.index.name)
    first = {label: pd.Series(result.index.to_flat_index())}
    names = [str(name) for name in frame.columns]
    labels = pd.DataFrame({_free(name, names): values for name, values in first.items()})
    return pd.concat([labels.set_axis(frame.index), frame], axis=1)


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = f"explanation_{name}"
    return name


# -------------------------------------------------------------------------------------- commands


def _explain(options: argparse.Namespace) -> int:
    outputs = options.out or []
    check_outputs(outputs)
    explainer = explainer_of(options)
    for name in ("max_changes", "tau", "beta", "penalty", "effort"):
        value = getattr(options, name)
        if value is not None:
            explainer.set_params(**{name: value})
    from scfe_sklearn.cli.batches import is_out_of_core

    if is_out_of_core(explainer, options):
        return _explain_batches(explainer, options)
    rows, labels, target = question(explainer, options)
    result = explainer.explain(
        rows,
        target,
        rules=_rules(explainer, options),
        n_counterfactuals=options.options,
        time_limit=options.time_limit,
        progress=shows_progress(options),
        checkpoint=options.checkpoint,
        n_jobs=options.jobs,
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


def _explain_batches(explainer: Any, options: argparse.Namespace) -> int:
    """Answer a parquet file that need not fit into memory."""
    from scfe_sklearn.cli.batches import explain_in_batches

    target = target_of(explainer, options)
    counts, interrupted = explain_in_batches(explainer, target, _rules(explainer, options), options)
    tell(options, summary_of(counts))
    if interrupted:
        tell(options, "interrupted; the rows that were done are written")
        return INTERRUPTED
    answered = counts[Status.FOUND] + counts[Status.ALREADY_TARGET]
    return INCOMPLETE if options.strict and answered < counts.total() else OK


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
