"""Bandwidths of kernel density estimates: one by held-out likelihood, or one per kernel."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state

from scfe_sklearn.densities.base import floored

_GRID = np.geomspace(0.1, 10.0, 17)


def affine_rank(Y: np.ndarray) -> int:
    """Dimension of the smallest affine subspace that contains the rows.

    Parameters
    ----------
    Y : ndarray of shape (m, D)

    Returns
    -------
    int
        At most ``min(m - 1, D)``; constant columns lower it, and so do the levels of a
        one-hot block, which add up to a constant.

    Examples
    --------
    >>> import numpy as np
    >>> affine_rank(np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 5.0], [0.0, 1.0, 5.0]]))
    1
    """
    centred = Y - Y.mean(axis=0)
    gram = centred @ centred.T if len(Y) < Y.shape[1] else centred.T @ centred
    spectrum = np.linalg.eigvalsh(gram)
    # Rounding of the mean leaves about eps * |Y| in constant columns.
    floor = len(Y) * (16 * np.finfo(np.float64).eps * np.abs(Y).max(initial=0.0)) ** 2
    return int(np.sum(spectrum > max(1e-10 * spectrum[-1], floor)))


def neighbour_factors(Y: np.ndarray, n_neighbors: int | None = None) -> np.ndarray:
    """Sample-adaptive bandwidth factors, from the distance to the k-th neighbour.

    ``lambda_i = max(d_k(i) / G, 0.1)`` with d_k(i) the distance of row i to its k-th nearest
    other row and G the geometric mean of the positive ones (Breiman, Meisel and Purcell 1977).

    Parameters
    ----------
    Y : ndarray of shape (m, D)
    n_neighbors : int or None
        k, at most m - 1; None takes ``round(sqrt(m))``.

    Returns
    -------
    ndarray of shape (m,)
        Ones for a single row, and where all rows are equal.

    Examples
    --------
    >>> import numpy as np
    >>> neighbour_factors(np.array([[0.0], [1.0], [5.0]]), n_neighbors=1).round(3)
    array([0.63, 0.63, 2.52])
    """
    k = min(n_neighbors or round(np.sqrt(len(Y))), len(Y) - 1)
    if k < 1:
        return np.ones(len(Y))
    distances, _ = NearestNeighbors(n_neighbors=k).fit(Y).kneighbors()
    return floored(distances[:, -1])


def held_out_bandwidth(
    Y: np.ndarray,
    *,
    adaptive: bool = False,
    n_neighbors: int | None = None,
    n_folds: int = 5,
    max_held_out: int = 1000,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """Bandwidth that maximises the log-likelihood of held-out rows.

    The likelihood of rows that a fold leaves out is averaged over the folds, maximised over a
    log grid of 0.1 to 10 times Scott's bandwidth ``s m^(-1/(r+4))`` and refined between the
    neighbours of the best. Its normaliser is ``h^r``, with r the dimension of the affine hull
    of the rows (the number of columns D for ordinary data): constant directions
    would reward ever narrower kernels.

    Where nearly every row has exact copies (a few categories and nothing else), the likelihood
    grows without bound as h falls, and the lower end of the grid is returned.

    Parameters
    ----------
    Y : ndarray of shape (m, D)
        Kernel centres.
    adaptive : bool
        Whether kernel i has the bandwidth ``h * lambda_i`` of `neighbour_factors` (recomputed
        from the rows that a fold keeps).
    n_neighbors : int or None
        k of the factors.
    n_folds : int
        Number of folds, at most m.
    max_held_out : int
        At most about this many rows are scored, spread evenly over the folds.
    random_state : int, RandomState or None
        Assigns rows to folds.

    Returns
    -------
    float
        1.0 (one standard deviation of solver space) where the rows have no spread.

    Examples
    --------
    >>> import numpy as np
    >>> Y = np.random.default_rng(0).normal(size=(400, 1))
    >>> 0.2 < held_out_bandwidth(Y) < 0.6
    True
    """
    rank = affine_rank(Y)
    if rank == 0:
        return 1.0
    folds = np.array_split(
        check_random_state(random_state).permutation(len(Y)), min(n_folds, len(Y))
    )
    per_fold = max(1, max_held_out // len(folds))
    parts = []
    for fold in folds:
        kept = Y[np.setdiff1d(np.arange(len(Y)), fold)]
        factors = neighbour_factors(kept, n_neighbors) if adaptive else np.ones(len(kept))
        parts.append(_exponents(Y[fold[:per_fold]], kept, factors))

    def loss(log_h: float) -> float:
        weight = -0.5 * float(np.exp(-2 * log_h))
        values = [torch.logsumexp(torch.add(bias, d2, alpha=weight), 1) for d2, bias in parts]
        return rank * log_h - float(torch.cat(values).mean())

    spread = np.sqrt(Y.var(axis=0).sum() / rank)
    grid = np.log(spread * len(Y) ** (-1 / (rank + 4)) * _GRID)
    losses = [loss(log_h) for log_h in grid]
    best = int(np.argmin(losses))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    refined = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 2e-3})
    return float(np.exp(refined.x if refined.fun < losses[best] else grid[best]))


def _exponents(
    Q: np.ndarray, Y: np.ndarray, factors: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distances in units of the factors, and the log-weight of each kernel."""
    offset = Y.mean(axis=0)
    q, y = torch.from_numpy(Q - offset), torch.from_numpy(Y - offset)
    squares = torch.cdist(q, y, compute_mode="donot_use_mm_for_euclid_dist").square_()
    squares /= torch.from_numpy(factors**2)
    bias = -Y.shape[1] * torch.log(torch.from_numpy(factors)) - np.log(len(Y))
    return squares, bias
