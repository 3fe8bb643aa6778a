"""Messages of a command: errors with an exit code, standard streams, and progress."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.wording import one_line
from scfe_sklearn.status import Status

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


# --------------------------------------------------------------------------------------- streams


@contextlib.contextmanager
def guarded_streams() -> Iterator[None]:
    """Replace the standard streams, which may be full, closed or missing, for a command."""
    output, messages = _Output(sys.stdout), _Messages(sys.stderr)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(messages):
        yield


def discard(stream: Any) -> None:
    """Send what a stream still holds nowhere, so that the interpreter ends without an error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Stream:
    """A stream that may be None, as Python has it where the descriptor is closed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return self._stream is not None and bool(self._stream.isatty())


class _Output(_Stream):
    """The standard output: a command whose answers cannot be written fails."""

    def write(self, text: str) -> int:
        if self._stream is None:
            raise Refusal("Standard output cannot be written: it is closed.", OUTPUT)
        return int(self._tried(lambda: self._stream.write(text)))

    def flush(self) -> None:
        if self._stream is not None:
            self._tried(self._stream.flush)

    def _tried(self, action: Any) -> Any:
        try:
            return action()
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:
            discard(self._stream)
            why = getattr(error, "strerror", None) or str(error)
            raise Refusal(f"Standard output cannot be written: {why}.", OUTPUT) from error


class _Messages(_Stream):
    """The standard error: a command does what it is for, whether or not it can be followed."""

    def write(self, text: str) -> int:
        self._tried(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._tried(lambda: self._stream.flush())

    def _tried(self, action: Any) -> None:
        if self._stream is None:
            return
        try:
            action()
        except (OSError, ValueError):
            discard(self._stream)
            self._stream = None


# -------------------------------------------------------------------------------------- progress


def print_sentences(result: Explanation) -> None:
    """Print a line for each row or option: its label and its sentence."""
    shown = result[result.status != Status.NO_FURTHER]
    for label, sentence in zip(shown.index, shown.sentences(), strict=True):
        print(f"{one_line(str(label))}: {one_line(sentence)}")


def summary(result: Explanation) -> str:
    """Return the number of rows of each outcome."""
    return summary_of(Counter(result.status.tolist()))


def summary_of(counts: Counter[str]) -> str:
    """Return the number of rows of each status in a sentence."""
    parts = [f"{counts[status]:,} {status}" for status in Status.ALL if counts[status]]
    n = counts.total()
    return f"{n:,} row{'' if n == 1 else 's'}: {', '.join(parts)}"


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
