"""Projections and linear oracles of simplices, one per group of coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from scfe_sklearn.proximal.groups import segment_argmax, segment_sum
from scfe_sklearn.proximal.operators import Scalar


def project_simplices(
    y: Tensor,
    radius: Tensor,
    groups: Tensor,
    allowed: Tensor | None = None,
) -> Tensor:
    """Project each group of each row on {u >= 0, sum u = radius_g, u = 0 where not allowed}.

    Michelot's finite algorithm: with A the active coordinates, theta = (sum_A y - radius)/|A|,
    drop those with y <= theta, and repeat until nothing is dropped; then u = max(y - theta, 0)
    on A. All groups of all rows advance together, and a finished one no longer changes.

    Parameters
    ----------
    y : Tensor of shape (n, D)
    radius : Tensor which broadcasts to (n, n_groups), its last axis of length n_groups
    groups : LongTensor of shape (D,)
    allowed : bool Tensor of shape (n, D) or None
        A group with nothing allowed has no point, and is returned as zeros.

    Returns
    -------
    Tensor of shape (n, D)

    References
    ----------
    Michelot, "A finite algorithm for finding the projection of a point onto the canonical
    simplex of R^n", JOTA 1986.

    Examples
    --------
    >>> project_simplices(torch.tensor([[0.5, 2.0, 1.5]]), torch.ones(1), torch.tensor([0, 0, 0]))
    tensor([[0.0000, 0.7500, 0.2500]])
    """
    n_groups = radius.shape[-1]
    active = torch.ones_like(y, dtype=torch.bool) if allowed is None else allowed.expand_as(y)
    while True:
        count = segment_sum(active.to(y.dtype), groups, n_groups).clamp(min=1)
        total = segment_sum(torch.where(active, y, torch.zeros_like(y)), groups, n_groups)
        theta = ((total - radius) / count)[:, groups]
        kept = active & (y > theta)
        # Rounding may drop every coordinate of a group of equals: that group is done.
        kept = kept | (active & (segment_sum(kept.to(y.dtype), groups, n_groups) == 0)[:, groups])
        if torch.equal(kept, active):
            return torch.where(active, (y - theta).clamp(min=0), torch.zeros_like(y))
        active = kept


def lmo_simplices(
    c: Tensor,
    radius: Tensor,
    groups: Tensor,
    allowed: Tensor | None = None,
) -> Tensor:
    """Return the vertex of every group's simplex with the largest <c, u>.

    Parameters and result as in :func:`project_simplices`; ties go to the first coordinate.

    Examples
    --------
    >>> lmo_simplices(torch.tensor([[0.5, 2.0, 1.5]]), torch.ones(1), torch.tensor([0, 0, 0]))
    tensor([[0., 1., 0.]])
    """
    n_groups = radius.shape[-1]
    score = c if allowed is None else c.masked_fill(~allowed.expand_as(c), -torch.inf)
    top = segment_argmax(score, groups, n_groups)
    vertex = top.to(c.dtype) * radius.expand(c.shape[0], n_groups)[:, groups]
    return torch.where(torch.isnan(score), score, vertex)


def project_simplex(v: Tensor, radius: Scalar = 1.0) -> Tensor:
    """Project every row on the simplex {u >= 0, sum u = radius}.

    Parameters
    ----------
    v : Tensor of shape (n, D)
    radius : float or Tensor of shape (n,)

    Returns
    -------
    Tensor of shape (n, D)

    Examples
    --------
    >>> project_simplex(torch.tensor([[0.5, 2.0, 1.5]]))
    tensor([[0.0000, 0.7500, 0.2500]])
    """
    return project_simplices(v, _column(radius, v), _one_group(v))


def lmo_simplex(c: Tensor, radius: Scalar = 1.0) -> Tensor:
    """Return radius * e_i with i the (first) largest entry of every row of ``c``.

    Examples
    --------
    >>> lmo_simplex(torch.tensor([[0.5, 2.0, 1.5]]), 3.0)
    tensor([[0., 3., 0.]])
    """
    return lmo_simplices(c, _column(radius, c), _one_group(c))


def _column(radius: Scalar, like: Tensor) -> Tensor:
    return torch.as_tensor(radius, dtype=like.dtype, device=like.device).reshape(-1, 1)


def _one_group(like: Tensor) -> Tensor:
    return torch.zeros(like.shape[1], dtype=torch.long, device=like.device)
