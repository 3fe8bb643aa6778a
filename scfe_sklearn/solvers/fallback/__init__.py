"""Systematic search for rows with too few answers of a solver."""

from scfe_sklearn.solvers.fallback.lines import Columns
from scfe_sklearn.solvers.fallback.search import Found, fall_back
from scfe_sklearn.solvers.fallback.sweeps import Limits
from scfe_sklearn.solvers.fallback.variants import SPACING, vary

__all__ = ["SPACING", "Columns", "Found", "Limits", "fall_back", "vary"]
