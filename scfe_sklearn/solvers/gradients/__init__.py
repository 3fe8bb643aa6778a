"""Gradient methods over sets and penalties, independent of the recourse problem."""

from scfe_sklearn.solvers.gradients.apg import DescentResult, accelerated_proximal_gradient
from scfe_sklearn.solvers.gradients.auto_projected import (
    auto_projected_gradient,
    projected_gradient,
)
from scfe_sklearn.solvers.gradients.frank_wolfe import Ascent, auto_frank_wolfe, best_of
from scfe_sklearn.solvers.gradients.prox_linear import Evaluation, ProximalMap, Smooth

__all__ = [
    "Ascent",
    "DescentResult",
    "Evaluation",
    "ProximalMap",
    "Smooth",
    "accelerated_proximal_gradient",
    "auto_frank_wolfe",
    "auto_projected_gradient",
    "best_of",
    "projected_gradient",
]
