"""Refinement of starts: descend, polish, narrow, enrich."""

from scfe_sklearn.solvers.refinement.enriching import EnrichSettings, enrich
from scfe_sklearn.solvers.refinement.narrowing import NarrowSettings, narrow
from scfe_sklearn.solvers.refinement.polishing import Pattern, polish
from scfe_sklearn.solvers.refinement.refining import COARSE_STEP, merge_instances, refine
from scfe_sklearn.solvers.refinement.stepping import StepSettings, step
from scfe_sklearn.solvers.refinement.trade_off import Descent

__all__ = [
    "COARSE_STEP",
    "Descent",
    "EnrichSettings",
    "Pattern",
    "NarrowSettings",
    "StepSettings",
    "enrich",
    "merge_instances",
    "narrow",
    "polish",
    "refine",
    "step",
]
