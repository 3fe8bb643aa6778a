"""Gaussian mixture, with the number of components by the Bayesian information criterion."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as EMGaussianMixture
from sklearn.utils import check_random_state

from scfe_sklearn._utils import ignore_warnings
from scfe_sklearn.densities.base import (
    Density,
    chunks,
    is_int,
    is_positive,
    map_rows,
    parameter_error,
    training_rows,
)


class GaussianMixture(Density):
    r"""Gaussian mixture fitted by expectation maximisation.

    .. math:: \log q(z) = \log \sum_{k=1}^K \pi_k \, N(z; \mu_k, \Sigma_k)

    Parameters
    ----------
    n_components : "bic" or int, default="bic"
        K. "bic" takes the K of 1 to `max_components` with the smallest Bayesian information
        criterion, among those that leave at least D + 1 rows per component (full) or 5
        (diag). A number is lowered to the number of distinct rows.
    covariance_type : "full" or "diag", default="full"
        With fewer than D + 1 rows, "full" is fitted as "diag".
    reg_covar : float, default=1e-2
        Added to the variances, in squared solver units: no component is narrower than a tenth
        of a standard deviation, in no direction. One-hot blocks (whose levels add up to a
        constant), constant columns and duplicates make it necessary.
    max_components : int, default=6
        The largest K that "bic" tries.
    max_samples : int or None, default=10000
        At most this many training rows (a uniform subset) are used; None takes all.
    random_state : int, RandomState or None, default=0
        Draws the subset and the starts.

    Attributes
    ----------
    n_components_ : int
        K.
    covariance_type_ : str
        "full" or "diag", as fitted.
    weights_ : ndarray of shape (K,)
    means_ : ndarray of shape (K, D)
    precisions_cholesky_ : ndarray of shape (K, D, D) or (K, D)
        P with ``P P^T`` the inverse covariance (full), or inverse standard deviations (diag).
    bic_ : dict of int to float
        The criterion of each K that was tried.
    scale_ : float
        Twice the weighted mean of ``trace(Sigma_k) / D``.
    n_features_in_ : int
        D.

    Notes
    -----
    A single row has no spread: it becomes one component with unit variance.

    References
    ----------
    Artelt and Hammer, "Convex density constraints for computing plausible counterfactual
    explanations", ICANN 2020. Schwarz, "Estimating the dimension of a model", 1978.

    Examples
    --------
    >>> import numpy as np, torch
    >>> rng = np.random.default_rng(0)
    >>> Z = np.vstack([rng.normal(-4, 1, (200, 2)), rng.normal(4, 1, (200, 2))])
    >>> density = GaussianMixture().fit(Z)
    >>> density.n_components_
    2
    >>> value, gradient = density.log_prob_and_grad(torch.tensor([[4.0, 7.0]]))
    >>> bool(gradient[0, 1] < -2)
    True
    """

    def __init__(
        self,
        n_components: str | int = "bic",
        *,
        covariance_type: str = "full",
        reg_covar: float = 1e-2,
        max_components: int = 6,
        max_samples: int | None = 10_000,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.max_components = max_components
        self.max_samples = max_samples
        self.random_state = random_state

    def fit(self, Z: Any, y: Any = None) -> Self:
        """Fit the mixture, one run of expectation maximisation per candidate K.

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
        Z = training_rows(self, Z)
        full = self.covariance_type == "full" and len(Z) > Z.shape[1]
        self.covariance_type_ = "full" if full else "diag"
        self._offset = Z.mean(axis=0)
        if len(Z) == 1:
            self.bic_: dict[int, float] = {}
            self.weights_, self.means_ = np.ones(1), Z.copy()
            self.precisions_cholesky_ = np.ones((1, 1, 1)) if full else np.ones_like(Z)
            variances = np.ones(1)
        else:
            best = self._best_mixture(Z - self._offset)
            self.weights_, self.means_ = best.weights_, best.means_ + self._offset
            self.precisions_cholesky_ = best.precisions_cholesky_
            diagonal = np.diagonal(best.covariances_, axis1=1, axis2=2) if full else None
            variances = (best.covariances_ if diagonal is None else diagonal).mean(axis=1)
        self.n_components_ = len(self.weights_)
        self.scale_ = float(2 * self.weights_ @ variances)
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
        return map_rows(
            lambda part: torch.logsumexp(self._logits(self._whitened(part)), dim=1),
            z,
            self.means_.size,
        )

    @torch.no_grad()
    def log_prob_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density of each row and its gradient ``sum_k r_k Sigma_k^-1 (mu_k - z)``.

        r_k is the responsibility of component k (a softmax).

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
        factor = self._tensor("_factor", z)
        for rows in chunks(len(z), self.means_.size, z.device):
            white = self._whitened(z[rows])
            logits = self._logits(white)
            value[rows] = torch.logsumexp(logits, dim=1)
            weighted = white.mul_(torch.softmax(logits, dim=1).unsqueeze(2))
            if self.covariance_type_ == "full":
                gradient[rows] = -(weighted.flatten(1) @ factor.T)
            else:
                gradient[rows] = -(weighted * factor).sum(dim=1)
        return value, gradient

    def _candidates(self, Z: np.ndarray) -> list[int]:
        """Return the numbers of components to try on these rows."""
        distinct = len(np.unique(Z, axis=0))
        if self.n_components != "bic":
            return [min(int(self.n_components), distinct)]
        rows = Z.shape[1] + 1 if self.covariance_type_ == "full" else 5
        most = min(self.max_components, distinct, len(Z) // rows)
        return list(range(1, max(1, most) + 1))

    def _best_mixture(self, Z: np.ndarray) -> EMGaussianMixture:
        """Fit every candidate and return the one with the smallest criterion."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self.bic_, best = {}, None
        for k in self._candidates(Z):
            mixture = EMGaussianMixture(
                k,
                covariance_type=self.covariance_type_,
                reg_covar=self.reg_covar,
                random_state=seed,
            )
            # The rows are numpy, and scikit-learn's k-means has no array API to dispatch to.
            # A run that stops at its iteration limit is still judged by its criterion.
            quiet = ignore_warnings(ConvergenceWarning)
            with quiet, config_context(array_api_dispatch=False):
                mixture.fit(Z)
                self.bic_[k] = float(mixture.bic(Z))
            if self.bic_[k] <= min(self.bic_.values()):
                best = mixture
        return best

    def _prepare(self) -> None:
        """Arrange the components for one matrix product per batch."""
        K, D = self.means_.shape
        P = self.precisions_cholesky_
        centred = self.means_ - self._offset
        if self.covariance_type_ == "full":
            self._factor = P.transpose(1, 0, 2).reshape(D, K * D)
            self._shift = np.einsum("kd,kde->ke", centred, P).ravel()
            diagonals = np.diagonal(P, axis1=1, axis2=2)
        else:
            self._factor, self._shift, diagonals = P, centred * P, P
        with np.errstate(divide="ignore"):  # an empty component has weight zero
            self._bias = (
                np.log(self.weights_) + np.log(diagonals).sum(axis=1) - 0.5 * D * np.log(2 * np.pi)
            )

    def _whitened(self, z: torch.Tensor) -> torch.Tensor:
        """Coordinates (n, K, D) in which component k is a standard normal."""
        centred = z - self._tensor("_offset", z)
        factor, shift = self._tensor("_factor", z), self._tensor("_shift", z)
        if self.covariance_type_ == "full":
            white = torch.addmm(shift, centred, factor, beta=-1)
            return white.view(len(z), self.n_components_, self.n_features_in_)
        return centred.unsqueeze(1) * factor - shift

    def _logits(self, white: torch.Tensor) -> torch.Tensor:
        """Log of weight times density of each component (n, K)."""
        return self._tensor("_bias", white) - 0.5 * white.square().sum(dim=2)

    def _check_parameters(self) -> None:
        if self.n_components != "bic" and not is_int(self.n_components, 1):
            raise parameter_error(self, "n_components", "'bic' or an int in [1, inf)")
        if self.covariance_type not in ("full", "diag"):
            raise parameter_error(self, "covariance_type", "'full' or 'diag'")
        if not is_positive(self.reg_covar):
            raise parameter_error(self, "reg_covar", "a float in (0, inf)")
        if not is_int(self.max_components, 1):
            raise parameter_error(self, "max_components", "an int in [1, inf)")
