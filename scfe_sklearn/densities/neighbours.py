"""Density gravity: distance of a point to the centre of its nearest training rows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors as NeighbourSearch
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn.densities.base import (
    Density,
    chunks,
    floored,
    is_int,
    map_rows,
    parameter_error,
    training_rows,
)


class NearestNeighbours(Density):
    r"""Minus the squared distance to a density-weighted anchor among the nearest rows.

    .. math:: \log q(z) = -\|z - g(z)\|^2, \qquad
              g(z) = \frac{\sum_{i \in N_k(z)} \rho_i y_i}{\sum_{i \in N_k(z)} \rho_i}, \qquad
              \rho_i = \frac{k}{\sum_{j \in N_k(y_i)} \|y_i - y_j\|}

    It is not normalised: a plausibility score on the scale of a squared distance.

    Parameters
    ----------
    n_neighbors : int, default=5
        k, lowered to the number of rows (and to the number of other rows for rho).
    max_samples : int or None, default=5000
        At most this many training rows (a uniform subset) are kept: with m of n rows the
        distance to the k-th neighbour grows by about ``(n/m)^(1/D)``. None keeps all.
    random_state : int, RandomState or None, default=0
        Draws the subset.

    Attributes
    ----------
    samples_ : ndarray of shape (m, D)
        The rows that are kept.
    local_density_ : ndarray of shape (m,)
        rho_i, up to a constant factor, which cancels in the anchor. The sum of distances is
        taken as at least a tenth of its geometric mean, so that duplicates do not weigh
        infinitely.
    scale_ : float
        1.0: the score is in squared solver units.
    n_features_in_ : int
        D.

    Notes
    -----
    Rows that are equally far away, up to rounding, share the places that are left for them in
    equal parts. The anchor depends neither on the order of the rows nor on the batch.

    References
    ----------
    Zhang et al., "Density-based reliable and robust explainer for counterfactual
    explanation", Expert Systems with Applications 2023.

    Examples
    --------
    >>> import numpy as np, torch
    >>> density = NearestNeighbours(n_neighbors=2).fit(np.array([[-8.0], [0.0], [1.0], [9.0]]))
    >>> density.anchor(torch.tensor([[2.0]])).item()
    0.5
    >>> value, gradient = density.log_prob_and_grad(torch.tensor([[2.0]]))
    >>> value.item(), gradient.item()
    (-2.25, -3.0)
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        max_samples: int | None = 5000,
        random_state: Any = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.max_samples = max_samples
        self.random_state = random_state

    def fit(self, Z: Any, y: Any = None) -> Self:
        """Keep the rows and compute their local densities.

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
        own = min(self.n_neighbors, len(self.samples_) - 1)
        if own:
            search = NeighbourSearch(n_neighbors=own).fit(self.samples_)
            self.local_density_ = 1 / floored(search.kneighbors()[0].sum(axis=1))
        else:
            self.local_density_ = np.ones(len(self.samples_))
        self.scale_ = 1.0
        self._offset = self.samples_.mean(axis=0)
        self._centred = self.samples_ - self._offset
        self._squares = np.einsum("ij,ij->i", self._centred, self._centred)
        return self

    def anchor(self, z: torch.Tensor) -> torch.Tensor:
        """Anchor g(z) of each row.

        Parameters
        ----------
        z : Tensor of shape (n, D)

        Returns
        -------
        Tensor of shape (n, D)
            A weighted mean of training rows; it carries no gradient.
        """
        z = self._input(z)
        with torch.no_grad():
            return map_rows(self._anchor, z, len(self.samples_))

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Minus the squared distance of each row to its anchor.

        Parameters
        ----------
        z : Tensor of shape (n, D)

        Returns
        -------
        Tensor of shape (n,)
        """
        z = self._input(z)
        return -(z - self.anchor(z)).square().sum(dim=1)

    @torch.no_grad()
    def log_prob_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Score of each row and its gradient ``2 (g - z)``.

        The anchor is held fixed: where the set of nearest rows does not change, it is constant
        and the gradient exact; the score jumps where that set changes.

        Parameters
        ----------
        z : Tensor of shape (n, D)

        Returns
        -------
        value : Tensor of shape (n,)
        gradient : Tensor of shape (n, D)
        """
        z = self._input(z)
        pull = self.anchor(z) - z
        return -pull.square().sum(dim=1), 2 * pull

    @torch.no_grad()
    def training_log_prob(self, Z: Any = None) -> np.ndarray:
        """Leave-one-out scores of the kept rows.

        Parameters
        ----------
        Z : None
            Ignored: the rows are kept.

        Returns
        -------
        ndarray of shape (m,)
            Each row against the anchor of the others; zero where there is one row only.
        """
        check_is_fitted(self)
        m = len(self.samples_)
        if m == 1:
            return np.zeros(1)
        z = self._tensor("samples_", torch.empty(0, dtype=torch.float64))
        values = torch.empty(m, dtype=torch.float64)
        for rows in chunks(m, m, z.device):
            pull = self._anchor(z[rows], own=torch.arange(rows.start, rows.stop)) - z[rows]
            values[rows] = -pull.square().sum(dim=1)
        return values.numpy()

    def _anchor(self, z: torch.Tensor, own: torch.Tensor | None = None) -> torch.Tensor:
        """Anchors of one chunk; `own` is the training row that each query leaves out."""
        offset, centred = self._tensor("_offset", z), self._tensor("_centred", z)
        query = z - offset
        square = query.square().sum(dim=1, keepdim=True)
        distance = torch.addmm(self._tensor("_squares", z), query, centred.T, alpha=-2)
        distance += square
        others = len(centred)
        if own is not None:
            distance[torch.arange(len(z)), own] = torch.inf
            others -= 1
        k = min(self.n_neighbors, others)
        last = distance.topk(k, dim=1, largest=False).values[:, -1:].clamp_(min=0)
        slack = 64 * torch.finfo(z.dtype).eps * (square + last)  # rounding of the distances
        inside = distance < last - slack
        tied = (distance <= last + slack) & ~inside
        share = (k - inside.sum(dim=1, keepdim=True)) / tied.sum(dim=1, keepdim=True)
        weights = (inside + tied * share) * self._tensor("local_density_", z)
        return offset + (weights @ centred) / weights.sum(dim=1, keepdim=True)
