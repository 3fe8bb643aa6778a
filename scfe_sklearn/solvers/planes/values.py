"""Where the grid lines of the planes run: dense where training rows are, in reach of each row."""

from __future__ import annotations

import torch

from scfe_sklearn.solvers.problem import Problem


def grid_values(columns: torch.Tensor, count: int) -> torch.Tensor:
    """Return ``count`` values from the least to the largest of every column (D, T): (D, count).

    They are evenly spread over a mixture of ranks and values: dense where the rows are, but
    without gaps in between.

    Examples
    --------
    >>> import torch
    >>> grid_values(torch.tensor([[0.0, 1.0, 2.0, 10.0]]), 3)
    tensor([[ 0.0000,  2.9412, 10.0000]])
    """
    value = columns.contiguous().sort(dim=1).values
    # Equal values share the mean of their ranks.
    rank = torch.searchsorted(value, value) + torch.searchsorted(value, value, right=True)
    share = (_from_0_to_1(rank.to(value.dtype)) + _from_0_to_1(value)) / 2
    wanted = torch.linspace(0, 1, count, dtype=value.dtype, device=value.device)
    wanted = wanted.expand(len(value), count).contiguous()
    last = value.shape[1] - 1
    after = torch.searchsorted(share, wanted).clamp(min(1, last), last)
    before = (after - 1).clamp_min(0)
    low, high = share.gather(1, before), share.gather(1, after)
    part = ((wanted - low) / (high - low).clamp_min(torch.finfo(low.dtype).tiny)).clamp(0, 1)
    return torch.lerp(value.gather(1, before), value.gather(1, after), part)


def _from_0_to_1(rising: torch.Tensor) -> torch.Tensor:
    """Shift and scale each row of ``rising`` (D, T) to what its name says; constants become 0."""
    up = rising - rising[:, :1]
    return up / torch.where(up[:, -1:] > 0, up[:, -1:], 1.0)


def row_values(problem: Problem, anchors: torch.Tensor, count: int) -> torch.Tensor:
    """Grid values (n, D, V) of every row: those of the anchors, squeezed into its interval."""
    domain = problem.domain
    values = grid_values(anchors.T, count)
    first, last = values[:, 0], values[:, -1]
    low, high = torch.maximum(domain.lower, first), torch.minimum(domain.upper, last)
    # An interval beside all anchors is searched as a whole.
    beside = low >= high
    low = torch.where(beside & domain.lower.isfinite(), domain.lower, low)
    high = torch.where(beside & domain.upper.isfinite(), domain.upper, high)
    share = (values - first[:, None]) / (last - first).clamp_min(1e-12)[:, None]
    return low[..., None] + share * (high - low).clamp_min(0)[..., None]
