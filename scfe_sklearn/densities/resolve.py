"""Short names of the densities."""

from __future__ import annotations

from typing import Any

from scfe_sklearn.densities.base import Density
from scfe_sklearn.densities.kernel import GaussianKDE
from scfe_sklearn.densities.mixture import GaussianMixture
from scfe_sklearn.densities.neighbours import NearestNeighbours
from scfe_sklearn.densities.outlier import LocalOutlierDensity

DENSITIES: dict[str, type[Density]] = {
    "kde": GaussianKDE,
    "gmm": GaussianMixture,
    "knn": NearestNeighbours,
    "lof": LocalOutlierDensity,
}
"""All short names, with their classes. This is the only list."""


def resolve_density(density: Any) -> Density:
    """Turn a short name into a density with default parameters.

    Parameters
    ----------
    density : "kde", "gmm", "knn", "lof" or Density
        Any object with `fit`, `log_prob`, `log_prob_and_grad` and `training_log_prob`, as
        `Density` describes them, is a density. It is returned as it is.

    Returns
    -------
    Density

    Examples
    --------
    >>> resolve_density("kde")
    GaussianKDE()
    """
    if isinstance(density, str) and density in DENSITIES:
        return DENSITIES[density]()
    methods = ("fit", "log_prob", "log_prob_and_grad", "training_log_prob")
    if not isinstance(density, type) and all(hasattr(density, name) for name in methods):
        return density
    names = ", ".join(repr(name) for name in DENSITIES)
    raise ValueError(
        f"The 'density' parameter must be one of {names} or a Density. Got {density!r} instead."
    )
