"""Points of each row by their positions."""

from __future__ import annotations

import torch


def picked(z: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return the points (n, K, D) at positions ``order`` (n, K) of ``z`` (n, P, D)."""
    return z.gather(1, order[..., None].expand(-1, -1, z.shape[2]))


def cheapest(z: torch.Tensor, cost: torch.Tensor, count: int) -> torch.Tensor:
    """Return the ``count`` cheapest points of each row."""
    return picked(z, cost.topk(min(count, cost.shape[1]), dim=1, largest=False).indices)


def least(values: torch.Tensor, count: int) -> torch.Tensor:
    """Positions (n, K) of the least values of each row."""
    return values.topk(min(count, values.shape[1]), dim=1, largest=False).indices
