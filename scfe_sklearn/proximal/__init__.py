"""Penalties and constraints with exact proximal operators, projections and linear oracles.

One convention: ``prox(v, step)`` minimises 1/2 ||u - v||^2 + step * g(u) over the set, box
included; ``lmo(c)`` maximises <c, u>. Batches have rows first and rows do not see each other.
"""

from scfe_sklearn.proximal.constraints import Box, Budget, LpBall, Simplex
from scfe_sklearn.proximal.feature_sets import FeatureSets
from scfe_sklearn.proximal.own_sets import INTERVAL, SIMPLEX, VERTICES
from scfe_sklearn.proximal.penalties import L0, L1, LHalf, LTwoThirds, Penalty

__all__ = [
    "INTERVAL",
    "L0",
    "L1",
    "SIMPLEX",
    "VERTICES",
    "Box",
    "Budget",
    "FeatureSets",
    "LHalf",
    "LTwoThirds",
    "LpBall",
    "Penalty",
    "Simplex",
]
