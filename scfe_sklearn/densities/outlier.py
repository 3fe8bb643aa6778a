"""Local outlier factor: reachability density relative to that of the neighbours."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors as NeighbourSearch
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn.densities.base import (
    chunks,
    is_int,
    parameter_error,
    training_rows,
)
from scfe_sklearn.densities.local import PointDensity
from scfe_sklearn.densities.topk import FEW

_SMALLEST_REACH = 1e-3
"""Least reachability distance, as a share of the geometric mean: duplicates stay finite."""

TIE = 1e-9
"""Squared distances closer than this, relative to the spread of the rows, are equal."""

PASSES = 4
"""Tables of distances that are held at once if all distances are used."""

SPARE = 12
"""Points after the k nearest that are used, for ties with the k-th."""


class LocalOutlierDensity(PointDensity):
    r"""Density of a point relative to that of its neighbourhood, minus the log of the LOF.

    .. math::
        \log q(z) = \log \mathrm{lrd}(z) - \log \frac1k \sum_{i \in N_k(z)} \mathrm{lrd}(y_i),
        \qquad
        \mathrm{lrd}(z) = \Big( \frac1k \sum_{i \in N_k(z)} \max(d_k(y_i), \|z - y_i\|)
        \Big)^{-1}

    with the k nearest training rows N_k(z) and the distance d_k(y) of a training row to its own
    k-th neighbour [1]_. It is 0 inside a cluster of any density and negative for an outlier.
    Because it compares a point with its own surroundings, it needs no bandwidth and copes with
    heavy tails, whole numbers, levels and repeated rows, where one bandwidth for all is either
    too wide for the dense part or too narrow for the rest.

    Parameters
    ----------
    n_neighbors : int, default=20
        k, lowered to the number of other rows.
    max_samples : int or None, default=5000
        At most this many training rows (a uniform subset) are kept. All distances then grow
        alike, by about ``(n/m)^(1/D)``, which cancels in the ratio. None keeps all.
    random_state : int, RandomState or None, default=0
        Draws the subset.

    Attributes
    ----------
    samples_ : ndarray of shape (m, D)
        The rows that are kept.
    reach_ : ndarray of shape (m,)
        Distance d_k of each to its k-th neighbour.
    local_density_ : ndarray of shape (m,)
        lrd of each.
    spread_ : float
        Mean squared distance of the rows from their mean: the scale of equal distances.
    scale_ : float
        Twice the mean squared ``reach_``, in squared solver units.
    n_features_in_ : int
        D.

    Notes
    -----
    Values equal ``-log(-score_samples)`` of scikit-learn's LocalOutlierFactor with
    ``novelty=True`` as long as no reachability distance is below a thousandth of the geometric
    mean of ``reach_``, where it is cut off (scikit-learn's values explode at repeated rows).

    On whole numbers and levels many rows are equally far away. Those that tie with the k-th
    neighbour share the places that nearer ones leave (scikit-learn takes those that its search
    finds first): a value depends neither on the order of the rows nor on rounding.

    The gradient is exact where the set of neighbours does not change and no distance is equal
    to a reachability distance.

    References
    ----------
    .. [1] Breunig, Kriegel, Ng, Sander. LOF: identifying density-based local outliers. SIGMOD
       2000.

    Examples
    --------
    >>> import numpy as np, torch
    >>> Z = np.random.default_rng(0).normal(size=(300, 2))
    >>> density = LocalOutlierDensity().fit(Z)
    >>> value = density.log_prob(torch.tensor([[0.0, 0.0], [6.0, 0.0]]))
    >>> bool(value[0] > -0.1), bool(value[1] < -1)
    (True, True)
    """

    def __init__(
        self,
        n_neighbors: int = 20,
        *,
        max_samples: int | None = 5000,
        random_state: Any = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.max_samples = max_samples
        self.random_state = random_state

    def fit(self, Z: Any, y: Any = None) -> Self:
        """Keep the rows and compute their reachability and local density.

        Parameters
        ----------
        Z : array-like of shape (n, D)
        y : None
            Ignored.

        Returns
        -------
        self
        """
        if not is_int(self.n_neighbors, 1):
            raise parameter_error(self, "n_neighbors", "an int in [1, inf)")
        self.samples_ = training_rows(self, Z)
        m = len(self.samples_)
        self.spread_ = float(self.samples_.var(axis=0).sum())
        if m == 1:
            self.reach_, self.local_density_ = np.ones(1), np.ones(1)
            self.training_log_prob_ = np.zeros(1)
            self.floor_ = _SMALLEST_REACH
        else:
            k = min(self.n_neighbors, m - 1)
            distance, index = NeighbourSearch(n_neighbors=k).fit(self.samples_).kneighbors()
            positive = distance[:, -1][distance[:, -1] > 0]
            typical = float(np.exp(np.log(positive).mean())) if len(positive) else 1.0
            self.floor_ = _SMALLEST_REACH * typical
            self.reach_ = np.maximum(distance[:, -1], self.floor_)
            reach = np.maximum(distance, self.reach_[index])
            self.local_density_ = 1 / reach.mean(axis=1)
            around = self.local_density_[index].mean(axis=1)
            self.training_log_prob_ = np.log(self.local_density_) - np.log(around)
        self.scale_ = float(2 * np.mean(self.reach_**2))
        return self

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Minus the log of the local outlier factor of each row.

        Parameters
        ----------
        z : Tensor of shape (n, D)

        Returns
        -------
        Tensor of shape (n,)
        """
        return self._evaluate(self._input(z), gradient=False)[0]

    @torch.no_grad()
    def log_prob_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density of each row and its gradient with the neighbours held fixed.

        Parameters
        ----------
        z : Tensor of shape (n, D)

        Returns
        -------
        value : Tensor of shape (n,)
        gradient : Tensor of shape (n, D)
        """
        return self._evaluate(self._input(z), gradient=True)

    def training_log_prob(self, Z: Any = None) -> np.ndarray:
        """Log-densities of the kept rows, each as if it were new to the others.

        Parameters
        ----------
        Z : None
            Ignored: the values are kept.

        Returns
        -------
        ndarray of shape (m,)
        """
        check_is_fitted(self)
        return self.training_log_prob_

    def facts(self, index: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Squared reachability and local density of the points ``index``."""
        reach, local = self._tensor("reach_", like), self._tensor("local_density_", like)
        return reach[index].square_(), local[index]

    def from_distances(
        self, squared: torch.Tensor, facts: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density and weights of the gradient from squared distances (n, K, S)."""
        share, reach, total, value = self._means(squared, facts)
        beyond = squared > facts[0][:, None] + self._slack(squared)
        return value, share.mul_(beyond).div_(reach.mul_(total[..., None]))

    def value_from_distances(
        self, squared: torch.Tensor, facts: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """Log-density from squared distances (n, K, S)."""
        return self._means(squared, facts)[-1]

    def _means(
        self, squared: torch.Tensor, facts: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Shares and reachability distances (n, K, S), the sum of these and the value (n, K)."""
        k = min(self._n_neighbors, squared.shape[-1])
        border = _kth(squared, k)
        slack = self._slack(squared) + TIE * border
        share = (squared <= border + slack).to(squared.dtype)
        number = share.sum(-1, keepdim=True)
        if bool((number > k).any()):  # ties share the places left
            inside = (squared < border - slack).to(squared.dtype)
            inner = inside.sum(-1, keepdim=True)
            share = torch.where(inside > 0, inside, share * ((k - inner) / (number - inner)))
        reach = torch.maximum(squared, facts[0][:, None]).sqrt_()
        total = (share * reach).sum(-1)
        # Minus the logs of the means; the number of neighbours cancels.
        around = torch.bmm(share, facts[1][..., None])[..., 0]
        value = 2 * math.log(k) - total.log() - around.log()
        return share, reach, total, value

    def _ratio(
        self, near: torch.Tensor, rows: torch.Tensor, size: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Value and gradient weights from the nearest of ``size``, and rows with too few of them.

        A few more than k points are used, which nearly always include all ties for the last
        place. Other rows are flagged, for `_ratio_of_all`.
        """
        k = min(self._n_neighbors, size)
        share, last = self._shares(near, near[..., k - 1 : k], k)
        crowded = (near[..., -1] <= last) & (near.shape[-1] < size)
        return *self._from_shares(near, rows, share), crowded

    def _ratio_of_all(self, squared: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Value (n,) and gradient weights (n, S) from all distances."""
        k = min(self._n_neighbors, squared.shape[-1])
        rows = torch.arange(squared.shape[-1], device=squared.device)
        share, _ = self._shares(squared, _kth(squared, k), k)
        return self._from_shares(squared, rows.expand_as(squared), share)

    @property
    def _n_neighbors(self) -> int:
        return min(self.n_neighbors, max(len(self.samples_) - 1, 1))

    def _slack(self, squared: torch.Tensor) -> float:
        """Upper bound of the difference of equal squared distances by rounding."""
        return float(max(TIE, 64 * torch.finfo(squared.dtype).eps) * self.spread_)

    def _shares(
        self, squared: torch.Tensor, border: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares of the points among the k nearest, and the largest tie with ``border`` (..., 1).

        Points nearer than the k-th count in full; those as far as it share the places left.
        """
        slack = self._slack(squared) + TIE * border
        nearer, last = squared < border - slack, border + slack
        tied = (squared <= last) & ~nearer
        place = (k - nearer.sum(-1, keepdim=True)) / tied.sum(-1, keepdim=True)
        return torch.where(tied, place.to(squared.dtype), nearer.to(squared.dtype)), last[..., 0]

    def _from_shares(
        self, near: torch.Tensor, rows: torch.Tensor, share: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Value and gradient weights from squared distances and shares that add up to k."""
        # The square root has no derivative at 0, where automatic differentiation yields NaN.
        distance = near.clamp_min(torch.finfo(near.dtype).tiny).sqrt()
        reach = self._tensor("reach_", near)[rows]
        density = self._tensor("local_density_", near)[rows]
        total = (share * torch.maximum(distance, reach)).sum(-1)
        # Minus the logs of the means; the number of neighbours cancels.
        value = 2 * share.sum(-1).log() - total.log() - (share * density).sum(-1).log()
        beyond = share * (near > reach.square() + self._slack(near))
        weight = beyond / (distance.clamp_min(self.floor_) * total[..., None])
        return value, weight.to(near.dtype)

    @np.errstate(divide="ignore", invalid="ignore")  # NaN rows have no value
    def _value_of_all(self, squared: torch.Tensor) -> torch.Tensor:
        """Value (n,) from the distances to all of a few points (n, S).

        The same as `_ratio_of_all` without sorting: only the points up to the k-th distance of
        each row are used.
        """
        table = squared.numpy()
        n, size = table.shape
        k = min(self._n_neighbors, size)
        border = np.partition(table, k - 1, axis=1)[:, k - 1]
        slack = self._slack(squared) + TIE * border
        nearer, last = border - slack, border + slack
        found = np.flatnonzero(table <= last[:, None])
        row = found // size
        near = table.reshape(-1)[found]
        place = found - row * size
        inner = near < nearer[row]
        count, inside = (np.bincount(row, some, n) for some in (None, inner))
        # Points that tie for the last places share them, rounded as in `_shares`.
        place_of = ((k - inside) / np.maximum(count - inside, 1)).astype(np.float32)
        share = np.where(inner, 1.0, place_of[row].astype(np.float64))
        reach = np.maximum(np.sqrt(near), self.reach_[place])
        total = np.bincount(row, share * reach, n)
        density = np.bincount(row, share * self.local_density_[place], n)
        value = 2 * np.log(np.bincount(row, share, n)) - np.log(total) - np.log(density)
        return torch.from_numpy(value.astype(table.dtype, copy=False))

    def _evaluate(self, z: torch.Tensor, gradient: bool) -> tuple[torch.Tensor, torch.Tensor]:
        samples = self._tensor("samples_", z)
        value = torch.empty_like(z[:, 0])
        slope = torch.empty_like(z) if gradient else z
        width = min(self._n_neighbors + SPARE, len(samples))
        few = len(samples) < FEW and z.device.type == "cpu" and not z.requires_grad
        if few and not gradient:
            for rows in chunks(len(z), PASSES * len(samples), z.device):
                relative, own = self._distances(z)(z[rows])
                value[rows] = self._value_of_all(relative.add_(own).clamp_min_(0))
            return value, slope
        for rows in chunks(len(z), len(samples), z.device):
            near, position = self._nearest_of(z[rows], width)
            value[rows], weight, crowded = self._ratio(near, position, len(samples))
            if gradient:
                toward = samples[position] - z[rows][:, None]
                slope[rows] = (weight[..., None] * toward).sum(1)
            if bool(crowded.any()):
                again = crowded.nonzero()[:, 0] + rows.start
                relative, own = self._distances(z)(z[again])
                squared = (relative + own).clamp_min(0)
                value[again], weight = self._ratio_of_all(squared)
                if gradient:
                    slope[again] = weight @ samples - weight.sum(1, keepdim=True) * z[again]
        return value, slope


def _kth(values: torch.Tensor, k: int) -> torch.Tensor:
    """The k-th smallest numbers (..., 1) of (..., S)."""
    if values.device.type != "cpu":
        return values.kthvalue(k, dim=-1, keepdim=True).values
    table = np.partition(values.detach().numpy(), k - 1, axis=-1)
    return torch.from_numpy(table[..., k - 1 : k].copy())
