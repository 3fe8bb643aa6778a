"""Systematic search for rows that a solver leaves without an answer."""

from scfe_sklearn.solvers.fallback.lines import Columns
from scfe_sklearn.solvers.fallback.search import Found, fall_back
from scfe_sklearn.solvers.fallback.sweeps import Limits

__all__ = ["Columns", "Found", "Limits", "fall_back"]
