"""Errors that end a command early: an exit code, and a sentence for the user."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

OK, INCOMPLETE, USAGE, INPUT, OUTPUT, PACKAGE, INTERNAL = 0, 1, 2, 3, 4, 5, 70
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the number of the signal, as shells count

EXIT_CODES = f"""\
exit codes:
  {OK}    done
  {INCOMPLETE}    with --strict: some rows have no answer (all outputs are written)
  {USAGE}    an option is wrong, or does not fit the model and the data
  {INPUT}    an input file is missing, unreadable or not trusted
  {OUTPUT}    an output cannot be written
  {PACKAGE}    an optional package is not installed
  {INTERNAL}   something unexpected; --debug shows where
  {INTERRUPTED}  interrupted by Ctrl-C; rows that were done by then are written
  {BROKEN_PIPE}  the reader of standard output went away"""


class Refusal(Exception):
    """Ends a command.

    Parameters
    ----------
    message : str
        What was wrong, with the name of the option.
    code : int
        Exit code.
    """

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


def unknown(option: str, what: str, known: Iterable[Any], got: str) -> Refusal:
    """Refuse a name that is none of the known ones, and guess which one was meant.

    Examples
    --------
    >>> print(unknown("--immutable", "a column", ["sex", "age"], "sxe"))
    The '--immutable' option must name a column among ['sex', 'age']. Got 'sxe' instead. Did you
    mean 'sex'?
    """
    names = [str(name) for name in known]
    shown = f"{names[:20]}{' and more' if len(names) > 20 else ''}"
    close = difflib.get_close_matches(got, names, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return Refusal(
        f"The {option!r} option must name {what} among {shown}. Got {got!r} instead.{guess}"
    )


def too_large(option: str, name: str, max_size: int) -> Refusal:
    """Refuse a file that unpacks to more than is allowed."""
    return Refusal(
        f"The {option!r} file {name!r} unpacks to more than {max_size / 2**20:g} MiB. If you know "
        "where it comes from, allow more by '--max-size'.",
        INPUT,
    )
