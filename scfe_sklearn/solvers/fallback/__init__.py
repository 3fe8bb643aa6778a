"""Systematic search for rows with too few answers of a solver."""

from scfe_sklearn.solvers.fallback.lines import Columns
from scfe_sklearn.solvers.fallback.search import SPACING, Found, fall_back, vary
from scfe_sklearn.solvers.fallback.sweeps import Limits

__all__ = ["SPACING", "Columns", "Found", "Limits", "fall_back", "vary"]
