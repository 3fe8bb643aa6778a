"""The command ``scfe-sklearn``: fit, explain, report, serve, demo."""

from scfe_sklearn.cli.commands import COMMANDS
from scfe_sklearn.cli.running import guarded, main, run

__all__ = ["COMMANDS", "guarded", "main", "run"]
