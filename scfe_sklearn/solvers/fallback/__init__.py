"""Systematic search for rows with too few answers of a solver."""

from scfe_sklearn.solvers.fallback.lines import Columns
from scfe_sklearn.solvers.fallback.search import SPACING, Found, fall_back, vary
from scfe_sklearn.solvers.fallback.sweeps import FallbackSettings

__all__ = ["SPACING", "Columns", "Found", "FallbackSettings", "fall_back", "vary"]
