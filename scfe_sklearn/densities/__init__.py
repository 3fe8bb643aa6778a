"""Densities of points of solver space, with analytic gradients in torch."""

from scfe_sklearn.densities.base import Density
from scfe_sklearn.densities.class_conditional import ClassConditionalDensity, resolve_density
from scfe_sklearn.densities.kernel import GaussianKDE
from scfe_sklearn.densities.mixture import GaussianMixture
from scfe_sklearn.densities.neighbours import NearestNeighbours
from scfe_sklearn.densities.outlier import LocalOutlierDensity

__all__ = [
    "ClassConditionalDensity",
    "Density",
    "GaussianKDE",
    "GaussianMixture",
    "LocalOutlierDensity",
    "NearestNeighbours",
    "resolve_density",
]
