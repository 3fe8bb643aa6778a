"""The result of ``explain``: rows, tables, sentences, pictures and JSON."""

from scfe_sklearn.explanation.result import Explanation as Explanation
