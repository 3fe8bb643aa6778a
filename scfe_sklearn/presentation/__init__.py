"""Explanations for people: wording, sentences and the notebook table."""

from scfe_sklearn.presentation.notebook import notebook_table
from scfe_sklearn.presentation.sentences import Change, Outcome, direction, sentence

__all__ = ["Change", "Outcome", "direction", "notebook_table", "sentence"]
