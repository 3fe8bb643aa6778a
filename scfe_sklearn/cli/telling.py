"""Messages of a command while it works and when it is done."""

from __future__ import annotations

import argparse
import sys

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.presentation.neutral import one_line
from scfe_sklearn.status import Status


def print_sentences(result: Explanation) -> None:
    """Print a line for each row or option: its label and its sentence."""
    shown = result[result.status != Status.NO_FURTHER]
    for label, sentence in zip(shown.index, shown.sentences(), strict=True):
        print(f"{one_line(str(label))}: {one_line(sentence)}")


def summary(result: Explanation) -> str:
    """Return the number of rows of each outcome."""
    counts = [(status, int((result.status == status).sum())) for status in Status.ALL]
    parts = [f"{count:,} {status}" for status, count in counts if count]
    return f"{len(result):,} row{'' if len(result) == 1 else 's'}: {', '.join(parts)}"


def shows_progress(options: argparse.Namespace) -> bool:
    """Return whether the steps of a long command are shown: by the option, else on a terminal."""
    shown = sys.stderr.isatty() if options.progress is None else options.progress
    return bool(shown and not options.quiet)


def step(options: argparse.Namespace, text: str) -> None:
    """Print which step of a long command comes now."""
    if shows_progress(options):
        tell(options, f"{text} ...")


def tell(options: argparse.Namespace, text: str) -> None:
    """Print a message to standard error, unless the command is quiet."""
    if not options.quiet:
        print(f"{options.name}: {one_line(text)}", file=sys.stderr)
