"""The command line runs a command: its warnings and errors as sentences, and an exit code."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from scfe_sklearn.cli.commands import COMMANDS
from scfe_sklearn.cli.demonstration import demonstrate
from scfe_sklearn.cli.messages import (
    BROKEN_PIPE,
    INTERNAL,
    INTERRUPTED,
    PACKAGE,
    USAGE,
    Refusal,
    discard,
    guarded_streams,
)
from scfe_sklearn.cli.parser import build_parser
from scfe_sklearn.cli.rule_files import KNOWN
from scfe_sklearn.models import UnsupportedModelError


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
    options = argparse.Namespace(name=prog)

    def command() -> int:
        if arguments and arguments[0] == "demo":
            options.name = f"{prog} demo"
            return demonstrate(arguments[1:], prog=options.name)
        build_parser(prog).parse_args(arguments, options)
        options.name = f"{prog} {options.command}"
        return _heard(options, options.name)

    return guarded(command, options)


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


def guarded(command: Callable[[], int], options: argparse.Namespace) -> int:
    """Run a command; turn what it raises into a sentence and an exit code.

    Parameters
    ----------
    command : callable
        Returns its exit code.
    options : Namespace
        What it was called with: ``name``, and ``debug`` where there is one.

    Returns
    -------
    int
    """
    with guarded_streams():
        try:
            return _flushed(command)
        except BrokenPipeError:
            # The reader went away; nothing more is written when the interpreter ends.
            discard(sys.stdout)
            return BROKEN_PIPE
        except KeyboardInterrupt:
            print(f"{options.name}: interrupted", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            if getattr(options, "debug", False):
                traceback.print_exc()
            code, message = _told(error, options)
            print(f"{options.name}: error: {message}", file=sys.stderr)
            return code


def _flushed(command: Callable[[], int]) -> int:
    """Run a command until its output is written."""
    try:
        code = command()
    except SystemExit:  # after the help, or a wrong option
        sys.stdout.flush()
        raise
    sys.stdout.flush()
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
