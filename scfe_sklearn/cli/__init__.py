"""The command ``scfe-sklearn``: fit, explain, report, serve, demo."""

from scfe_sklearn.cli.commands import COMMANDS, main, run

__all__ = ["COMMANDS", "main", "run"]
