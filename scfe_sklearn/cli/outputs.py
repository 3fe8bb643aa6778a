"""Outputs of answers: a page, a table, JSON, or sentences on the standard output."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pandas.api.types import is_numeric_dtype

from scfe_sklearn.cli.refusal import OUTPUT, PACKAGE, Refusal
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.files import write_file
from scfe_sklearn.presentation.containers import is_polars
from scfe_sklearn.presentation.neutral import spreadsheet_cell


def check_outputs(names: Sequence[str], known: Sequence[str] = (".html", ".csv", ".json")) -> None:
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
    else:
        answers = table(result) if raw else without_formulas(table(result))
        content = answers.to_csv(index=False, lineterminator="\n")
    if name == "-":
        sys.stdout.write(str(content))
        sys.stdout.flush()
        return
    write_output(name, lambda: write_file(name, content))


def write_output(name: str, write: Callable[[], Any]) -> None:
    """Write a file; raise a Refusal if the disk or the system does not take it."""
    try:
        write()
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
    first = {"row": pd.Series(list(result.index))}
    if result.index.name is not None:
        first = {str(result.index.name): first["row"]}
    names = [str(name) for name in frame.columns]
    labels = pd.DataFrame({_free(name, names): values for name, values in first.items()})
    return pd.concat([labels.set_axis(frame.index), frame], axis=1)


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = f"explanation_{name}"
    return name
