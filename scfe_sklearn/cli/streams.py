"""Standard streams of a command: output that fails is an error, messages that fail are dropped."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from scfe_sklearn.cli.refusal import OUTPUT, Refusal

__all__ = ["discard", "guarded_streams"]


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
