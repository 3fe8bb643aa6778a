"""What ``explain`` returns: its rows, tables, sentences, pictures and its form in JSON."""

from scfe_sklearn.explanation.result import Explanation as Explanation
