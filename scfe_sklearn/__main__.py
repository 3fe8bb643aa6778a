"""``python -m scfe_sklearn``: the demonstration, or with a command the same as ``scfe-sklearn``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scfe_sklearn.cli import COMMANDS, guarded, run
from scfe_sklearn.cli.demonstration import demonstrate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration, or the command that the first argument names."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        return run(given, prog="python -m scfe_sklearn")
    prog = "python -m scfe_sklearn"
    return guarded(lambda: demonstrate(given, prog=prog), argparse.Namespace(name=prog))


if __name__ == "__main__":
    sys.exit(main())
