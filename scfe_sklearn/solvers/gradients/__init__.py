"""Gradient methods over balls and boxes, independent of the recourse problem."""

from scfe_sklearn.solvers.gradients.auto_projected import (
    auto_projected_gradient,
    projected_gradient,
)
from scfe_sklearn.solvers.gradients.frank_wolfe import Ascent, auto_frank_wolfe, best_of

__all__ = [
    "Ascent",
    "auto_frank_wolfe",
    "auto_projected_gradient",
    "best_of",
    "projected_gradient",
]
