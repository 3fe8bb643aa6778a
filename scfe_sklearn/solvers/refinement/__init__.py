"""From a start to a good answer: descend, polish, narrow, enrich."""

from scfe_sklearn.solvers.refinement.enriching import Enrich, enrich
from scfe_sklearn.solvers.refinement.narrowing import Section, narrow
from scfe_sklearn.solvers.refinement.polishing import Pattern, polish
from scfe_sklearn.solvers.refinement.refining import COARSE_STEP, merge_instances, refine
from scfe_sklearn.solvers.refinement.stepping import Stepping, step
from scfe_sklearn.solvers.refinement.trade_off import Descent

__all__ = [
    "COARSE_STEP",
    "Descent",
    "Enrich",
    "Pattern",
    "Section",
    "Stepping",
    "enrich",
    "merge_instances",
    "narrow",
    "polish",
    "refine",
    "step",
]
