r"""The ball of a nuclear norm over groups of matrices, and its linear oracle.

.. math:: \|u\| = \sum_g \|u_g\|_*

Its dual norm is the largest spectral norm of a group, so the oracle puts all into one rank-one
matrix of one group. Rows first, any scale of the direction, nothing is changed in place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scfe_sklearn.proximal.operators import Scalar, per_row
from scfe_sklearn.proximal.precision import has_double, on_processor


def lmo_group_nuclear(c: Tensor, radius: Scalar = 1.0) -> Tensor:
    """Return argmax <c, u> over the matrices with sum_g ||u_g||_* <= radius.

    With sigma, p, q the leading singular value and vectors of the (first) group of largest
    spectral norm, it is radius p q^T there and 0 elsewhere; the maximum is radius sigma. Where
    that singular value is not simple, some maximiser is returned.

    Parameters
    ----------
    c : Tensor of shape (n, G, a, b)
        Directions: G matrices per row.
    radius : float or Tensor of shape (n,)

    Returns
    -------
    Tensor of shape (n, G, a, b)

    Examples
    --------
    >>> c = torch.zeros(1, 2, 2, 2)
    >>> c[0, 0, 0, 0], c[0, 1, 1, 0] = 1e-30, -2e-30
    >>> lmo_group_nuclear(c, 3.0)[0, 1] + 0
    tensor([[ 0.,  0.],
            [-3.,  0.]])
    """
    if not has_double(c.device):
        return on_processor(lmo_group_nuclear, c, radius)
    c64, r = c.double(), per_row(radius, c.flatten(1)).double().reshape(-1, 1, 1)
    top = c64.abs().amax(dim=(1, 2, 3), keepdim=True)
    # Decompositions of all rows fail with one that is not finite.
    good = torch.isfinite(top) & (top > 0)
    scaled = torch.where(good, c64 / torch.where(good, top, 1.0), 0.0)
    group = torch.linalg.matrix_norm(scaled, ord=2).argmax(dim=1)
    rows = torch.arange(len(c), device=c.device)
    p, _, q = torch.linalg.svd(scaled[rows, group], full_matrices=False)
    best = torch.where(good[:, 0], p[:, :, :1] * q[:, :1, :] * r, 0.0)
    best = torch.where(torch.isfinite(top[:, 0]), best, torch.nan)
    return torch.zeros_like(c).index_put((rows, group), best.to(c.dtype))
