"""Short names of the densities, and one density per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from scfe_sklearn._utils import Documented
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


class ClassConditionalDensity(Documented, BaseEstimator):
    """Densities q(z | t), one per class, evaluated in one batch.

    Parameters
    ----------
    density : "kde", "gmm", "knn", "lof" or Density, default="kde"
        Fitted anew, as a clone, on the rows of each class.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted class labels; a class index is a position in it.
    densities_ : list of Density
        In the order of `classes_`.
    reference_log_prob_ : list of ndarray
        Sorted log-densities of the training rows of each class, each row left out of its own
        value.
    n_features_in_ : int
        D.

    Examples
    --------
    >>> import numpy as np, torch
    >>> rng = np.random.default_rng(0)
    >>> Z = np.vstack([rng.normal(-2, 1, (80, 2)), rng.normal(2, 1, (80, 2))])
    >>> density = ClassConditionalDensity("kde").fit(Z, ["no"] * 80 + ["yes"] * 80)
    >>> z, yes = torch.tensor([[2.0, 2.0], [-2.0, -2.0]]), torch.tensor([1, 1])
    >>> value = density.log_prob(z, yes)
    >>> bool(value[0] > value[1]), bool(density.quantile(value, yes)[1] < 0.05)
    (True, True)
    """

    def __init__(self, density: str | Density = "kde") -> None:
        self.density = density

    def fit(self, Z: Any, y: Any) -> Self:
        """Fit one density per class.

        Parameters
        ----------
        Z : array-like of shape (n, D)
        y : array-like of shape (n,)
            Class labels; one row of a class is enough.

        Returns
        -------
        self
        """
        template = resolve_density(self.density)
        Z = validate_data(self, Z, dtype=np.float64)
        labels = np.asarray(y)
        if labels.ndim != 1:
            raise ValueError(
                f"The labels of ClassConditionalDensity must have shape (n,). "
                f"Got {labels.shape} instead."
            )
        check_consistent_length(Z, labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        groups = [Z[index == c] for c in range(len(self.classes_))]
        # safe=False: a density without parameters is copied.
        self.densities_ = [clone(template, safe=False).fit(rows) for rows in groups]
        self.reference_log_prob_ = [
            np.sort(density.training_log_prob(rows))
            for density, rows in zip(self.densities_, groups, strict=True)
        ]
        return self

    def joined(self, others: Sequence[ClassConditionalDensity]) -> ClassConditionalDensity:
        """Return these densities followed by others; classes become positions."""
        every = (self, *others)
        out = copy(self)
        out.densities_ = [density for one in every for density in one.densities_]
        out.reference_log_prob_ = [values for one in every for values in one.reference_log_prob_]
        out.classes_ = np.arange(len(out.densities_))
        return out

    def log_prob(self, z: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        """Log-density of each row under the density of its class.

        Parameters
        ----------
        z : Tensor of shape (n, D)
        class_index : LongTensor of shape (n,)
            Positions in `classes_`.

        Returns
        -------
        Tensor of shape (n,)
        """

        def evaluate(density: Density, part: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (density.log_prob(part),)

        return self._by_class(evaluate, z, class_index)[0]

    def log_prob_and_grad(
        self, z: torch.Tensor, class_index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density of each row under the density of its class, and its gradient.

        Parameters
        ----------
        z : Tensor of shape (n, D)
        class_index : LongTensor of shape (n,)
            Positions in `classes_`.

        Returns
        -------
        value : Tensor of shape (n,)
        gradient : Tensor of shape (n, D)
        """

        def evaluate(density: Density, part: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return density.log_prob_and_grad(part)

        value, gradient = self._by_class(evaluate, z, class_index)
        return value, gradient

    def quantile(self, log_prob: Any, class_index: Any) -> np.ndarray:
        """Share of the training rows of a class that are no denser than each value.

        Parameters
        ----------
        log_prob : Tensor or array-like of shape (n,)
            Log-densities, as `log_prob` returns them.
        class_index : Tensor or array-like of int, shape (n,)
            Positions in `classes_`.

        Returns
        -------
        ndarray of shape (n,)
            In [0, 1]; small for an outlier of the class. NaN where the value is NaN.
        """
        check_is_fitted(self)
        values, index = (
            a.detach().cpu().numpy() if isinstance(a, torch.Tensor) else np.asarray(a)
            for a in (log_prob, class_index)
        )
        self._check_index(index, values.shape)
        result = np.empty(len(values))
        for c in np.unique(index):
            reference, rows = self.reference_log_prob_[c], index == c
            result[rows] = np.searchsorted(reference, values[rows], side="right") / len(reference)
        result[np.isnan(values)] = np.nan
        return result

    def _by_class(
        self,
        evaluate: Callable[[Density, torch.Tensor], tuple[torch.Tensor, ...]],
        z: torch.Tensor,
        class_index: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Evaluate each row under its class, one batch per class."""
        check_is_fitted(self)
        present = np.unique(class_index.cpu().numpy())
        self._check_index(present, None)
        if class_index.shape != z.shape[:1]:
            self._check_index(class_index.cpu().numpy(), tuple(z.shape[:1]))
        if len(present) <= 1:
            return evaluate(self.densities_[int(present[0]) if len(present) else 0], z)
        groups = [torch.nonzero(class_index == int(c)).squeeze(1) for c in present]
        pieces = [
            evaluate(self.densities_[int(c)], z[rows])
            for c, rows in zip(present, groups, strict=True)
        ]
        order = torch.argsort(torch.cat(groups))
        return tuple(torch.cat(part)[order] for part in zip(*pieces, strict=True))

    def _check_index(self, index: np.ndarray, shape: tuple[int, ...] | None) -> None:
        if shape is not None and index.shape != shape:
            raise ValueError(
                f"The class indices of ClassConditionalDensity must have shape {shape}. "
                f"Got {index.shape} instead."
            )
        n_classes = len(self.classes_)
        whole = np.issubdtype(index.dtype, np.integer)
        if index.size and not (whole and 0 <= index.min() <= index.max() < n_classes):
            raise ValueError(
                f"The class indices of ClassConditionalDensity must be ints in [0, {n_classes}). "
                f"Got {index.dtype} values from {index.min()} to {index.max()} instead."
            )
