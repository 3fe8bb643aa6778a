"""Gaussian kernel density estimate."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn.densities.bandwidth import held_out_bandwidth, neighbour_factors
from scfe_sklearn.densities.base import (
    chunks,
    is_int,
    is_positive,
    map_rows,
    parameter_error,
    training_rows,
)
from scfe_sklearn.densities.local import PointDensity


class GaussianKDE(PointDensity):
    r"""Gaussian kernel density estimate.

    .. math:: \log q(z) = \log \frac1m \sum_{i=1}^m
              (2 \pi h_i^2)^{-D/2} \exp\Bigl(-\frac{\|z - y_i\|^2}{2 h_i^2}\Bigr)

    with one bandwidth h for all kernels, or ``h_i = h * lambda_i`` wider where training rows
    are sparse.

    Parameters
    ----------
    bandwidth : "cv", "adaptive" or float, default="cv"
        - "cv": h maximises the log-likelihood of held-out rows (five folds).
        - "adaptive": kernel i has ``h_i = h * max(d_k(i) / G, 0.1)``, where d_k(i) is the
          distance of row i to its k-th nearest other row and G the geometric mean of the
          positive ones; h by held-out likelihood. Duplicates, whose d_k may be zero, so keep
          a tenth of the typical bandwidth.
        - a float: h, in solver units.
    n_neighbors : int or None, default=None
        k of the adaptive bandwidths; None takes ``round(sqrt(m))``. Ignored otherwise.
    max_samples : int or None, default=5000
        At most this many training rows carry a kernel: a uniform subset of the n rows. Where
        m < n, the standard error of the log-density is about
        ``sqrt((1 - m/n) * (sum_i w_i**2 - 1/m))``, with w_i the share of kernel i in the
        value at z: near ``1/sqrt(number of kernels that matter at z)``. None keeps all rows.
    random_state : int, RandomState or None, default=0
        Draws the subset and the folds. The default makes `fit` deterministic.

    Attributes
    ----------
    samples_ : ndarray of shape (m, D)
        Kernel centres.
    bandwidth_ : float
        h.
    bandwidths_ : ndarray of shape (m,)
        h_i, all equal to `bandwidth_` unless adaptive.
    scale_ : float
        ``2 h^2``; adaptive: twice the geometric mean of the h_i^2, which outliers with very
        wide kernels do not govern.
    n_features_in_ : int
        D.

    Notes
    -----
    Directions in which the rows do not vary (constant columns, the sum of a one-hot block) do
    not count when h is chosen; rows without any spread, or a single row, get h = 1.

    A batch costs one matrix product and one exponential per row and kernel. The exponent
    ``(z . y_i - |y_i|^2 / 2) / h_i^2`` is taken about the mean of the rows, so its absolute
    error is about ``eps * |z - mean|^2 / h^2`` (eps of the tensor's dtype).

    References
    ----------
    Silverman, *Density Estimation*, 1986. Breiman, Meisel, Purcell, "Variable kernel estimates
    of multivariate densities", Technometrics 1977. Abramson, "On bandwidth variation in kernel
    estimates", Annals of Statistics 1982.

    Examples
    --------
    >>> import numpy as np, torch
    >>> Z = np.random.default_rng(0).normal(size=(300, 2))
    >>> density = GaussianKDE().fit(Z)
    >>> value, gradient = density.log_prob_and_grad(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
    >>> bool(value[0] > value[1]), bool(gradient[1, 0] < 0)
    (True, True)
    """

    def __init__(
        self,
        bandwidth: str | float = "cv",
        *,
        n_neighbors: int | None = None,
        max_samples: int | None = 5000,
        random_state: Any = 0,
    ) -> None:
        self.bandwidth = bandwidth
        self.n_neighbors = n_neighbors
        self.max_samples = max_samples
        self.random_state = random_state

    def fit(self, Z: Any, y: Any = None) -> Self:
        """Choose the bandwidth and keep the kernel centres.

        Parameters
        ----------
        Z : array-like of shape (n, D)
        y : None
            Ignored.

        Returns
        -------
        self
        """
        self._check_parameters()
        Y = training_rows(self, Z)
        adaptive = self.bandwidth == "adaptive"
        if isinstance(self.bandwidth, str):
            h = held_out_bandwidth(
                Y,
                adaptive=adaptive,
                n_neighbors=self.n_neighbors,
                random_state=self.random_state,
            )
        else:
            h = float(self.bandwidth)
        factors = neighbour_factors(Y, self.n_neighbors) if adaptive else np.ones(len(Y))
        self.samples_ = Y
        self.bandwidth_ = h
        self.bandwidths_ = h * factors
        self.scale_ = float(2 * np.exp(2 * np.mean(np.log(self.bandwidths_))))
        self._prepare()
        return self

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Log-density of each row.

        Parameters
        ----------
        z : Tensor of shape (n, D)

        Returns
        -------
        Tensor of shape (n,)
        """
        z = self._input(z)

        def piece(part: torch.Tensor) -> torch.Tensor:
            logits, shift = self._logits(part)
            return torch.logsumexp(logits, dim=1) - shift

        return map_rows(piece, z, len(self.samples_))

    @torch.no_grad()
    def log_prob_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density of each row and its gradient ``sum_i w_i (y_i - z) / h_i^2``.

        w_i is the share of kernel i in the value (a softmax).

        Parameters
        ----------
        z : Tensor of shape (n, D)

        Returns
        -------
        value : Tensor of shape (n,)
        gradient : Tensor of shape (n, D)
        """
        z = self._input(z)
        value, gradient = torch.empty_like(z[:, 0]), torch.empty_like(z)
        pulls, offset = self._tensor("_pulls", z), self._tensor("_offset", z)
        for rows in chunks(len(z), len(self.samples_), z.device):
            logits, shift = self._logits(z[rows])
            top = logits.amax(dim=1, keepdim=True)
            weights = logits.sub_(top).exp_()  # in place: the chunk is the largest temporary
            total = weights.sum(dim=1, keepdim=True)
            value[rows] = (top + total.log()).squeeze(1) - shift
            pull = (weights @ pulls) / total
            gradient[rows] = pull[:, :-1] - (z[rows] - offset) * pull[:, -1:]
        return value, gradient

    def facts(self, index: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Precision and log-height of the kernels ``index``."""
        return self._tensor("_precision", like)[index], self._tensor("_log_height", like)[index]

    def from_distances(
        self, squared: torch.Tensor, facts: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density and weights of the gradient from squared distances (n, K, S)."""
        logits = self._from_squares(squared, facts)
        value = torch.logsumexp(logits, dim=-1)
        weights = logits.sub_(value[..., None]).exp_()
        return value, weights.mul_(facts[0][:, None])

    def value_from_distances(
        self, squared: torch.Tensor, facts: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """Log-density from squared distances (n, K, S)."""
        return torch.logsumexp(self._from_squares(squared, facts), dim=-1)

    @staticmethod
    def _from_squares(squared: torch.Tensor, facts: tuple[torch.Tensor, ...]) -> torch.Tensor:
        precision, height = facts
        return torch.addcmul(height[:, None], squared, precision[:, None], value=-0.5)

    def from_sums(self, squared: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Log-densities of all combinations of points and moves by one matrix product.

        A kernel is a product over coordinates: a move along coordinates that the point has not
        changed multiplies kernel s by ``exp(-change_s / 2 h_s^2)``.

        Parameters
        ----------
        squared : Tensor of shape (n, B, m)
            Squared distances of points to all samples.
        change : Tensor of shape (n, M, m)
            What moves add to them.

        Returns
        -------
        Tensor of shape (n, B, M)
            Minus infinity where the product underflows, far from all samples.
        """
        precision = self._tensor("_precision", squared)
        points = torch.addcmul(self._tensor("_log_height", squared), squared, precision, value=-0.5)
        moves = change * (precision / -2)
        top, best = points.amax(-1, keepdim=True), moves.amax(-1, keepdim=True)
        points = _exp_(points.sub_(top))
        product = torch.bmm(points, _exp_(moves.sub_(best)).transpose(1, 2))
        return product.log_() + top + best.transpose(1, 2)

    def from_pairs(
        self, squared: torch.Tensor, change: torch.Tensor, index: torch.Tensor
    ) -> torch.Tensor:
        """Log-densities of one point after any two of its moves, from some of the kernels.

        Parameters
        ----------
        squared : Tensor of shape (n, S)
            Squared distances of the points to the samples ``index``.
        change : Tensor of shape (n, M, S)
            What moves add to them; overwritten.
        index : LongTensor of shape (n, S)
            Which samples.

        Returns
        -------
        Tensor of shape (n, M, M)
            Of use where the two moves are along different coordinates.
        """
        precision = self._tensor("_precision", squared)[index]
        point = torch.addcmul(
            self._tensor("_log_height", squared)[index], squared, precision, value=-0.5
        )
        moves = change.mul_((precision / -2)[:, None])
        # Of a distant point the first move decides which kernels count.
        moved = moves + point[:, None]
        top, best = moved.amax(-1, keepdim=True), moves.amax(-1, keepdim=True)
        product = torch.bmm(_exp_(moved.sub_(top)), _exp_(moves.sub_(best)).transpose(1, 2))
        return product.log_().add_(top).add_(best.transpose(1, 2))

    def training_log_prob(self, Z: Any = None) -> np.ndarray:
        """Leave-one-out log-densities of the kernel centres.

        Parameters
        ----------
        Z : None
            Ignored: the centres are kept.

        Returns
        -------
        ndarray of shape (m,)
            Each centre under the other m - 1 kernels (with the bandwidths of the fit); the
            ordinary value where there is one centre only.
        """
        check_is_fitted(self)
        m = len(self.samples_)
        if m == 1:
            return self.score_samples(self.samples_)
        z = self._tensor("samples_", torch.empty(0, dtype=torch.float64))
        values = torch.empty(m, dtype=torch.float64)
        for rows in chunks(m, m, z.device):
            logits, shift = self._logits(z[rows])
            positions = torch.arange(rows.start, rows.stop)
            logits[positions - rows.start, positions] = -torch.inf
            values[rows] = torch.logsumexp(logits, dim=1) - shift
        return values.numpy() + np.log(m / (m - 1))

    def _prepare(self) -> None:
        """Arrange the kernels for one matrix product per batch.

        About the mean, kernel i has the exponent ``z.y_i/h_i^2 - |z|^2/(2 h_i^2) - ...``. The
        part of |z|^2 that the widest kernel has is common to all and taken out of the sum, so
        that with equal bandwidths no large numbers cancel between kernels.
        """
        precision = 1 / self.bandwidths_**2
        self._precision = precision
        self._log_height = -0.5 * self.samples_.shape[1] * np.log(
            2 * np.pi * self.bandwidths_**2
        ) - np.log(len(self.samples_))
        self._offset = self.samples_.mean(axis=0)
        centred = self.samples_ - self._offset
        scaled = centred * precision[:, None]
        self._shared = float(precision.min() / 2)
        self._keys = np.column_stack([scaled, self._shared - precision / 2])
        self._pulls = np.column_stack([scaled, precision])
        self._bias = -0.5 * np.einsum("ij,ij->i", centred, scaled) + self._log_height

    def _logits(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-weight of each kernel (n, m) and the offset of their log-sum (n,)."""
        centred = z - self._tensor("_offset", z)
        square = centred.square().sum(dim=1, keepdim=True)
        query = torch.cat([centred, square], dim=1)
        logits = torch.addmm(self._tensor("_bias", z), query, self._tensor("_keys", z).T)
        return logits, self._shared * square.squeeze(1)

    def _check_parameters(self) -> None:
        if self.bandwidth not in ("cv", "adaptive") and not is_positive(self.bandwidth):
            raise parameter_error(self, "bandwidth", "'cv', 'adaptive' or a float in (0, inf)")
        if self.n_neighbors is not None and not is_int(self.n_neighbors, 1):
            raise parameter_error(self, "n_neighbors", "an int in [1, inf) or None")


def _exp_(x: torch.Tensor) -> torch.Tensor:
    """Exponential in place; 0 instead of subnormal numbers, which are ten times slower."""
    tiny = torch.finfo(x.dtype).tiny
    low = math.log(tiny) + 0.1
    return torch.threshold_(x.clamp_min_(low).exp_(), math.exp(low) * 1.01, 0.0)
