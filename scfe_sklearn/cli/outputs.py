"""Where answers go: a page, a table, JSON, or sentences on the standard output."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scfe_sklearn.cli.refusal import OUTPUT, PACKAGE, Refusal
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.presentation.containers import is_polars


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
        folder = path.parent
        if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
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


def write_explanation(result: Explanation, name: str, title: str | None = None) -> None:
    """Write answers in the form that the suffix of the file says; "-" is csv."""
    form = ".csv" if name == "-" else Path(name).suffix.lower()
    if form == ".html":
        text = result.to_html(title=title)
    elif form == ".json":
        text = result.to_json() or ""
    else:
        text = table(result).to_csv(index=False, lineterminator="\n")
    if name == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    write_whole(name, lambda partial: partial.write_text(text, encoding="utf-8", newline="\n"))


def write_whole(name: str, write: Callable[[Path], Any]) -> None:
    """Write a file whose name appears when all of it is there.

    Raises
    ------
    Refusal
        If the disk refuses.
    """
    partial = Path(name).with_name(Path(name).name + ".part")
    try:
        write(partial)
        os.replace(partial, name)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Refusal(
            f"The '--out' file {name!r} cannot be written: {error.strerror or error}.", OUTPUT
        ) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


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
