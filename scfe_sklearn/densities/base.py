"""Base class of densities, and helpers that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from scfe_sklearn._utils import Documented

# Elements of the largest temporary (rows x kernels): small enough for a processor's cache,
# large enough to keep a matrix product efficient. An accelerator prefers larger pieces.
_CHUNK_CPU = 2**20
_CHUNK_ACCELERATOR = 2**26


class Density(Documented, DensityMixin, BaseEstimator, ABC):
    """A smooth log-density over solver space with an analytic gradient.

    A density is fitted once on the rows of an array and then evaluated on tensors, row by
    row: the value of a row never depends on the other rows of its batch. Fitted state is
    numpy only, so a fitted density can be pickled, cloned and sent to workers. It is also a
    scikit-learn density estimator: `score_samples` and `score` take arrays.

    Attributes
    ----------
    n_features_in_ : int
        Number of solver coordinates, D.
    """

    n_features_in_: int

    @abstractmethod
    def fit(self, Z: Any, y: Any = None) -> Self:
        """Fit the density to the rows of Z.

        Parameters
        ----------
        Z : array-like of shape (n, D)
            Finite points of solver space.
        y : None
            Ignored.

        Returns
        -------
        self
        """

    @abstractmethod
    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Log-density of each row.

        Parameters
        ----------
        z : Tensor of shape (n, D)
            Evaluated in float32 if it is float32, else in float64. Memory does not grow with n.

        Returns
        -------
        Tensor of shape (n,)
        """

    @abstractmethod
    def log_prob_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density of each row and its gradient, without automatic differentiation.

        Parameters
        ----------
        z : Tensor of shape (n, D)

        Returns
        -------
        value : Tensor of shape (n,)
        gradient : Tensor of shape (n, D)
        """

    def score_samples(self, Z: Any) -> np.ndarray:
        """Log-density of each row of an array.

        Parameters
        ----------
        Z : array-like of shape (n, D)

        Returns
        -------
        ndarray of shape (n,)
        """
        check_is_fitted(self)
        Z = validate_data(self, Z, dtype=np.float64, reset=False)
        with torch.no_grad():
            return self.log_prob(to_tensor(Z)).numpy()

    def score(self, Z: Any, y: Any = None) -> float:
        """Mean log-density of the rows of an array (larger is better).

        Parameters
        ----------
        Z : array-like of shape (n, D)
        y : None
            Ignored.

        Returns
        -------
        float
        """
        return float(np.mean(self.score_samples(Z)))

    def training_log_prob(self, Z: Any) -> np.ndarray:
        """Log-densities of rows that the density was fitted on, as if each were new.

        Densities in which a training row supports itself (kernels, neighbours) leave that
        row out of its own value, so that new points can be ranked among the training rows.

        Parameters
        ----------
        Z : array-like of shape (n, D)
            The rows of `fit`.

        Returns
        -------
        ndarray of shape (m,)
            In no particular order; m may be smaller than n where the density kept only a
            part of the rows.
        """
        return self.score_samples(Z)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_tensor_cache"}

    def _input(self, z: torch.Tensor) -> torch.Tensor:
        """Check a batch of points; anything but float32 is evaluated in float64."""
        check_is_fitted(self)
        name = type(self).__name__
        if not isinstance(z, torch.Tensor):
            raise TypeError(
                f"{name}.log_prob takes a torch.Tensor. Got {type(z).__name__} instead; "
                "use score_samples for arrays."
            )
        if z.ndim != 2 or z.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} was fitted on {self.n_features_in_} coordinates and takes a tensor of "
                f"shape (n, {self.n_features_in_}). Got {tuple(z.shape)} instead."
            )
        return z if z.dtype == torch.float32 else z.to(torch.float64)

    def _tensor(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Return a fitted array as a tensor with the dtype and device of `like`, made once."""
        array = getattr(self, name)
        cache = self.__dict__.setdefault("_tensor_cache", {})
        key = (name, like.dtype, like.device)
        kept = cache.get(key)
        if kept is None or kept[0] is not array:  # a later fit replaces the arrays
            with torch.inference_mode(False):  # it may be used for gradients later
                kept = (array, to_tensor(array).to(dtype=like.dtype, device=like.device))
            cache[key] = kept
        return kept[1]


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """View an array as a tensor; copy it only where torch cannot share its memory."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def chunks(n_rows: int, row_size: int, device: torch.device) -> Iterator[slice]:
    """Slices over rows, such that rows x row_size stays within a fixed budget.

    >>> import torch
    >>> [(s.start, s.stop) for s in chunks(5, 2**19, torch.device("cpu"))]
    [(0, 2), (2, 4), (4, 5)]
    """
    budget = _CHUNK_CPU if device.type == "cpu" else _CHUNK_ACCELERATOR
    step = max(1, budget // max(1, row_size))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def map_rows(
    function: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor, row_size: int
) -> torch.Tensor:
    """Apply a function of rows in chunks and join the pieces."""
    pieces = [function(z[part]) for part in chunks(len(z), row_size, z.device)]
    if len(pieces) == 1:
        return pieces[0]
    return torch.cat(pieces) if pieces else function(z)


def training_rows(density: Any, Z: Any) -> np.ndarray:
    """Check the rows that a density is fitted on, and keep at most ``max_samples`` of them."""
    if density.max_samples is not None and not is_int(density.max_samples, 1):
        raise parameter_error(density, "max_samples", "an int in [1, inf) or None")
    Z = validate_data(density, Z, dtype=np.float64)
    return np.asarray(Z[kept_rows(len(Z), density.max_samples, density.random_state)])


def kept_rows(n_rows: int, max_samples: int | None, random_state: Any) -> np.ndarray:
    """Positions of at most `max_samples` rows, drawn uniformly, in ascending order.

    >>> kept_rows(4, 10, 0)
    array([0, 1, 2, 3])
    >>> len(kept_rows(40, 10, 0))
    10
    """
    if max_samples is None or n_rows <= max_samples:
        return np.arange(n_rows)
    rows = check_random_state(random_state).choice(n_rows, max_samples, replace=False)
    return np.sort(rows)


def floored(distances: np.ndarray, fraction: float = 0.1) -> np.ndarray:
    """Distances in units of their geometric mean, never below a fraction of it.

    Duplicates have neighbours at distance zero; the geometric mean is over the positive
    distances, and all ones are returned where there are none.

    >>> import numpy as np
    >>> floored(np.array([0.0, 1.0, 4.0]))
    array([0.1, 0.5, 2. ])
    """
    positive = distances[distances > 0]
    if not len(positive):
        return np.ones_like(distances)
    return np.maximum(distances / np.exp(np.mean(np.log(positive))), fraction)


def parameter_error(owner: object, name: str, expected: str) -> ValueError:
    """Build the error for a parameter out of its domain, in the grammar of the library."""
    value = getattr(owner, name)
    return ValueError(
        f"The '{name}' parameter of {type(owner).__name__} must be {expected}. "
        f"Got {value!r} instead."
    )


def is_int(value: object, low: int) -> bool:
    """Whether a value is an integer of at least `low`, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= low


def is_positive(value: object) -> bool:
    """Whether a value is a finite positive number, and no bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < np.inf
