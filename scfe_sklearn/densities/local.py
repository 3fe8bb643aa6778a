"""Densities from distances to training points, and their restriction to a few coordinates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch

from scfe_sklearn.densities.base import Density, chunks
from scfe_sklearn.densities.topk import FEW, TwoSteps, smallest

T = TypeVar("T")

WIDEST = 32
"""Most coordinates of a support with points of its own; wider ones use the whole density."""


Distances = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Rows (n, D) to squared distances (n, m) minus an offset (n, 1), and the offset."""


class LocalDensity(Protocol):
    """A density around n instances, each of which moves along some coordinates only.

    An instance is a point and its *support*: w coordinates, padded with D. It moves by offsets
    along its support. Offsets at padded places have no effect, and their gradients are 0.
    ``instances`` (k,) selects instances; None for all.
    """

    def log_prob(self, offset: torch.Tensor, instances: torch.Tensor | None = None) -> torch.Tensor:
        """Log-densities (k, K) at offsets (k, K, w), row i being about ``instances[i]``."""

    def log_prob_and_grad(
        self, offset: torch.Tensor, instances: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-densities (k,) at offsets (k, w) and their gradients (k, w)."""


class PointDensity(Density, ABC):
    """A density whose value depends on the distances to its fitted points ``samples_`` only."""

    samples_: np.ndarray

    @abstractmethod
    def facts(self, index: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return fitted values of the points ``index`` (n, S), each (n, S), in like's dtype."""

    @abstractmethod
    def from_distances(
        self, squared: torch.Tensor, facts: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density from squared distances to some of the points, which include all near ones.

        Parameters
        ----------
        squared : Tensor of shape (n, K, S)
            Squared distances of K places each to S points.
        facts : tuple of Tensor of shape (n, S)
            `facts` of the points.

        Returns
        -------
        value : Tensor of shape (n, K)
            Log-density.
        pull : Tensor of shape (n, K, S)
            Weights a of the gradient ``sum_i a_i (y_i - z)``.
        """

    @abstractmethod
    def value_from_distances(
        self, squared: torch.Tensor, facts: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """Return the log-density alone, as `from_distances`."""

    def nearest(self, z: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions and squared distances (n, size) of the nearest points, in any order."""
        places, squares = [torch.empty(0, size, dtype=torch.long)], [z.new_empty(0, size)]
        for rows in chunks(len(z), len(self.samples_), z.device):
            near, place = self._nearest_of(z[rows], size, ordered=False)
            places.append(place)
            squares.append(near)
        return torch.cat(places), torch.cat(squares)

    def _nearest_of(
        self, z: torch.Tensor, size: int, ordered: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared distances and positions (n, size) of the nearest points, in order."""
        found = None
        worth = len(self.samples_) >= max(FEW, 4 * size) and z.device.type == "cpu"
        if worth and z.dtype == torch.float64 and not z.requires_grad and len(z):
            found = self._prepared("two steps", z, TwoSteps).nearest(z, size)
        if found is not None:
            return found
        relative, own = self._distances(z)(z)
        if ordered or 2 * size <= relative.shape[1]:
            near, place = smallest(relative, size)
        else:  # sorting would be most of the work
            near, place = relative.topk(size, dim=1, largest=False, sorted=False)
        return (near + own).clamp_min(0), place

    def _distances(self, like: torch.Tensor) -> Distances:
        """Return the distances to the points, prepared once for the dtype of ``like``."""
        return self._prepared("distances", like, distances_to)

    def _prepared(self, name: str, like: torch.Tensor, make: Callable[[torch.Tensor], T]) -> T:
        """Return ``make(points)``, cached for the dtype and device of ``like``."""
        samples = self._tensor("samples_", like)
        cache = self.__dict__["_tensor_cache"]
        kept = cache.get((name, like.dtype, like.device))
        if kept is None or kept[0] is not samples:
            with torch.inference_mode(False):  # it may be used for gradients later
                kept = (samples, make(samples))
            cache[name, like.dtype, like.device] = kept
        made: T = kept[1]
        return made


def near(density: Density, z: torch.Tensor, support: torch.Tensor, size: int = 128) -> LocalDensity:
    """Restrict a density to moves along a few coordinates around each row of ``z``.

    Distant kernels and neighbours do not matter: only the nearest ``size`` points are used, and
    of these only the coordinates that move. All other densities are evaluated whole.

    Parameters
    ----------
    density : Density
        A fitted density.
    z : Tensor of shape (n, D)
        Points of the n instances.
    support : LongTensor of shape (n, w)
        Coordinates along which they move, padded with D.
    size : int, default=128
        Points kept for each; at least twice the neighbours of the density.

    Returns
    -------
    LocalDensity
        The density around the instances.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from scfe_sklearn.densities import GaussianKDE
    >>> density = GaussianKDE(0.1).fit(np.random.default_rng(0).normal(size=(500, 2)))
    >>> z, along, rows = torch.tensor([[0.0, 1.0]]), torch.tensor([[1]]), torch.tensor([0])
    >>> local = near(density, z, along).log_prob(torch.tensor([[[-0.5]]]), rows)
    >>> bool(torch.isclose(local[0, 0], density.log_prob(torch.tensor([[0, 0.5]])), atol=1e-2))
    True
    """
    if isinstance(density, PointDensity) and support.shape[1] <= WIDEST:
        # Neighbours change while an instance moves.
        size = max(size, 2 * (getattr(density, "n_neighbors", None) or 0))
        index, squares = density.nearest(z, min(size, len(density.samples_)))
        at = torch.cat([z, torch.zeros_like(z[:, :1])], 1).gather(1, support)
        samples = density._tensor("samples_", z)
        padded = torch.cat([samples, torch.zeros_like(samples[:, :1])], 1)
        points = padded[index[..., None], support[:, None]] - at[:, None]
        return LocalPoints(density, density.facts(index, z), squares, points, support < z.shape[1])
    return WholeDensity(density, z, support)


@dataclass(frozen=True, eq=False)
class WholeDensity:
    """The whole density for every instance.

    Parameters
    ----------
    density : Density
    z : Tensor of shape (n, D)
        The points of the instances.
    support : LongTensor of shape (n, w)
        Their coordinates, padded with D.
    """

    density: Density
    z: torch.Tensor
    support: torch.Tensor

    def log_prob(self, offset: torch.Tensor, instances: torch.Tensor | None = None) -> torch.Tensor:
        z, support = (_some(part, instances)[:, None] for part in (self.z, self.support))
        points = embed(z.expand(-1, offset.shape[1], -1), support.expand_as(offset), offset)
        return self.density.log_prob(points.reshape(-1, z.shape[-1])).reshape(offset.shape[:2])

    def log_prob_and_grad(
        self, offset: torch.Tensor, instances: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        support = _some(self.support, instances)
        points = embed(_some(self.z, instances), support, offset)
        value, gradient = self.density.log_prob_and_grad(points)
        padded = torch.cat([gradient, torch.zeros_like(gradient[:, :1])], 1)
        return value, padded.gather(1, support)


@dataclass(frozen=True, eq=False)
class LocalPoints:
    """S training points near each of n instances, along its support of w coordinates.

    Parameters
    ----------
    density : PointDensity
    facts : tuple of Tensor of shape (n, S)
        `PointDensity.facts` of the points.
    squares : Tensor of shape (n, S)
        Their squared distances from the instance.
    points : Tensor of shape (n, S, w)
        Their differences from it along the support.
    real : BoolTensor of shape (n, w)
        Whether a place of the support is a coordinate.
    """

    density: PointDensity
    facts: tuple[torch.Tensor, ...]
    squares: torch.Tensor
    points: torch.Tensor
    real: torch.Tensor

    def log_prob(self, offset: torch.Tensor, instances: torch.Tensor | None = None) -> torch.Tensor:
        offset = offset * _some(self.real, instances)[:, None]
        squared = self._squared(offset, _some(self.points, instances), instances)
        return self.density.value_from_distances(squared, self._facts(instances))

    def log_prob_and_grad(
        self, offset: torch.Tensor, instances: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        offset = (offset * _some(self.real, instances))[:, None]
        points = _some(self.points, instances)
        squared = self._squared(offset, points, instances)
        value, pull = self.density.from_distances(squared, self._facts(instances))
        toward = torch.bmm(pull, points) - pull.sum(-1, keepdim=True) * offset
        return value[:, 0], toward[:, 0]

    def _facts(self, instances: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        return tuple(_some(part, instances) for part in self.facts)

    def _squared(
        self, offset: torch.Tensor, points: torch.Tensor, instances: torch.Tensor | None
    ) -> torch.Tensor:
        squares = _some(self.squares, instances)[:, None]
        squared = torch.baddbmm(squares, offset, points.transpose(1, 2), alpha=-2)
        squared += offset.square().sum(-1, keepdim=True)
        return squared.clamp_min_(0)


def _some(values: torch.Tensor, instances: torch.Tensor | None) -> torch.Tensor:
    return values if instances is None else values[instances]


def embed(z: torch.Tensor, support: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Add offsets (..., w) along supports (..., w), padded with D, to points (..., D)."""
    padded = torch.cat([z, torch.zeros_like(z[..., :1])], -1)
    return padded.scatter_add(-1, support, offset)[..., :-1]


def distances_to(samples: torch.Tensor) -> Distances:
    """Return a function from rows (n, D) to squared distances (n, m) minus an offset (n, 1).

    It takes one matrix product. The offset of a row does not change the order of its distances,
    so that it is added to the nearest only.
    """
    offset = samples.mean(0)
    centred = samples - offset
    squares, transposed = centred.square().sum(1), centred.T

    def squared(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = z - offset
        return torch.addmm(squares, z, transposed, alpha=-2), z.square().sum(1, keepdim=True)

    return squared
