"""Answers of a long call in a folder: a call that was killed resumes with what is missing."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np

from scfe_sklearn._utils import MAX_SIZE, read_bounded, write_file
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.fingerprint import fingerprint, fingerprint_of_rows
from scfe_sklearn.recourse.question import Question
from scfe_sklearn.rules import PARAMETERS

__all__ = ["Checkpoint"]

FORMAT = 1
"""Raised whenever the files change."""

MANIFEST = "manifest.json"
"""File that identifies the call."""

UNRELATED = {"estimator", "ensemble", "chunk_size", "memory", "milp_seconds"}
"""Parameters that change no answer, or that count by what `fit` made of them."""

_NAME = re.compile(r"rows-(\d{12})-(\d{12})\.([0-9a-f]{64})\.json\.gz")


class Checkpoint:
    """Folder of answered slices. A slice is one file whose name holds its rows and checksum.

    A file is written beside its place and renamed, so that it is there as a whole or not at all.
    A file that was cut off or changed does not have its checksum, and one of other rows does not
    fit the call: their rows are answered again. Files of other names stay.

    Parameters
    ----------
    folder : Path
        The folder.
    question : Question
        All rows of the call.
    """

    def __init__(self, folder: Path, question: Question) -> None:
        self.folder, self.question = folder, question

    @classmethod
    def of(cls, path: str | os.PathLike[str], explainer: Any, question: Question) -> Self:
        """Open the folder of a call, or begin one.

        Parameters
        ----------
        path : str or path-like
            A folder, which need not exist.
        explainer : CounterfactualExplainer
            Fitted.
        question : Question
            All rows of the call.

        Returns
        -------
        Checkpoint

        Raises
        ------
        ValueError
            If the folder belongs to another call, or holds something else.
        TypeError
            If the model or a rule has no fingerprint.
        OSError
            If the folder cannot be written to.
        """
        folder, about = Path(path), _about(explainer, question)
        known = _manifest(folder, path)
        if known is None:
            folder.mkdir(parents=True, exist_ok=True)
            write_file(folder / MANIFEST, json.dumps(about, indent=1))
            return cls(folder, question)
        differ = [name for name, value in about.items() if known.get(name) != value]
        if differ:
            raise ValueError(
                f"The 'checkpoint' parameter of explain must name a folder of the same call. Got "
                f"{os.fspath(path)!r}, which was begun with other {_listed(differ)}. Name another "
                "folder, or delete this one to begin again."
            )
        killed = f".{'[0-9a-f]' * 16}.part"  # of a process that was killed while it wrote
        for partial in folder.glob(killed):
            with contextlib.suppress(OSError):
                partial.unlink()
        return cls(folder, question)

    def kept(self) -> Iterator[tuple[int, int, Explanation]]:
        """Give the first row, the end and the answers of each slice that is whole."""
        at = 0
        for file in sorted(self.folder.iterdir()):
            name = _NAME.fullmatch(file.name)
            if name is None or int(name[1]) < at:
                continue
            part = _read(file, name[3])
            if part is None or not self._fits(part, int(name[1]), int(name[2])):
                with contextlib.suppress(OSError):
                    file.unlink()
                continue
            at = int(name[2])
            yield int(name[1]), at, part

    def _fits(self, part: Explanation, start: int, stop: int) -> bool:
        """Return whether answers are of these rows of the call."""
        question = self.question
        inside = start < stop <= question.n_rows
        whole = len(part) == (stop - start) * question.count
        return inside and whole and _columns(part.factual) == _columns(question.X)

    def keep(self, start: int, stop: int, part: Explanation) -> None:
        """Write the answers of the rows from ``start`` to ``stop``.

        Raises
        ------
        OSError
            If the disk is full, or the folder cannot be written to. What was kept before stays.
        TypeError
            If a cell of the rows cannot be written.
        """
        try:
            text = part.to_json() or ""
        except TypeError as error:
            raise TypeError(f"The 'checkpoint' parameter of explain: {error}") from error
        content = gzip.compress(text.encode("utf-8", "surrogatepass"), 1, mtime=0)
        digest = hashlib.sha256(content).hexdigest()
        name = f"rows-{start:012d}-{stop:012d}.{digest}.json.gz"
        try:
            write_file(self.folder / name, content)
        except OSError as error:
            raise OSError(
                error.errno,
                f"The 'checkpoint' folder {os.fspath(self.folder)!r} cannot be written to "
                f"({error.strerror}); what it holds is kept, and the same call resumes",
            ) from error


def _columns(X: Any) -> list[Any]:
    """Return the names or positions of columns."""
    return list(getattr(X, "columns", range(np.shape(X)[1])))


def _read(file: Path, digest: str) -> Explanation | None:
    """Read the answers of a slice; None if they are damaged."""
    if not file.is_file():  # a pipe would wait for ever
        return None
    try:
        content = read_bounded(file, MAX_SIZE)
        if hashlib.sha256(content).hexdigest() != digest:
            return None
        with gzip.open(io.BytesIO(content)) as unpacked:
            text = unpacked.read(MAX_SIZE + 1)
        if len(text) > MAX_SIZE:
            return None
        return Explanation.from_json(text.decode("utf-8", "surrogatepass"))
    except (OSError, EOFError, ValueError, zlib.error):
        return None


def _manifest(folder: Path, path: Any) -> dict[str, Any] | None:
    """Read the manifest of a folder; None if nothing was begun there."""
    where = (
        "The 'checkpoint' parameter of explain must name a folder of an earlier call, or a new "
        f"one. Got {os.fspath(path)!r}"
    )
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise ValueError(f"{where}, which is a file.")
    file = folder / MANIFEST
    if not file.exists():
        if any(not one.name.endswith(".part") for one in folder.iterdir()):
            raise ValueError(f"{where}, which holds other files.")
        return None
    try:
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (ValueError, RecursionError):
        known = None
    if not isinstance(known, dict):
        raise ValueError(f"{where}, whose {MANIFEST} is damaged.")
    return known


def _about(explainer: Any, question: Question) -> dict[str, Any]:
    """Return what a call must have in common with the one that it resumes."""
    fitted = {
        name: value
        for name, value in explainer.__getstate__().items()
        if name.endswith("_") and name not in ("estimator_", "ensemble_", "background_")
    }
    parameters = explainer.get_params(deep=False)
    for name in UNRELATED | set(PARAMETERS):
        parameters.pop(name, None)
    return {
        "format": FORMAT,
        "version of the package": _version(),
        "model": fingerprint((explainer.estimator_, explainer.ensemble_)),
        "training data": fingerprint(fitted),
        "parameters": fingerprint(parameters),
        "rules": fingerprint(question.rules),
        "rows": fingerprint_of_rows(question.X),
        "target": fingerprint(question.target),
        "number of answers": [int(question.count), bool(question.best_effort)],
    }


def _version() -> str:
    try:
        return version("scfe-sklearn")
    except PackageNotFoundError:
        return "unknown"


def _listed(names: list[str]) -> str:
    """Return names in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
