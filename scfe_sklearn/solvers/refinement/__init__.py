"""Refinement of starts without a gradient: narrow, step, enrich."""

from scfe_sklearn.solvers.refinement.enriching import EnrichSettings, enrich
from scfe_sklearn.solvers.refinement.narrowing import NarrowSettings, narrow
from scfe_sklearn.solvers.refinement.stepping import StepSettings, step

__all__ = ["EnrichSettings", "NarrowSettings", "StepSettings", "enrich", "narrow", "step"]
