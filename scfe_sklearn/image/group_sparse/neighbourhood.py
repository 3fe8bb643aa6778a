"""Prices of pixels by their neighbours: the AdjustLambda step of GSE."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RADIUS, WIDTH = 2, 1.5
"""Half the side of the window, and the standard deviation of its Gaussian, in pixels."""


def adjust_prices(price: Tensor, w: Tensor, price_growth: float) -> Tensor:
    """Lower the price of pixels around those that change, and raise it elsewhere.

    With m the mask of changed pixels and M its average under a 5 x 5 Gaussian (borders
    reflected), the price is divided by 1 + M where M > 0 and by ``price_growth`` < 1 elsewhere.

    Parameters
    ----------
    price : Tensor of shape (n, 1, H, W)
    w : Tensor of shape (n, C, H, W)
    price_growth : float in (0, 1]

    Returns
    -------
    Tensor of shape (n, 1, H, W)

    References
    ----------
    Sadiku, Wagner, Pokutta, "GSE: group-wise sparse and explainable adversarial attacks",
    ICLR 2025.

    Examples
    --------
    >>> w = torch.zeros(1, 1, 9, 9)
    >>> w[0, 0, 4, 4] = 1
    >>> new = adjust_prices(torch.ones(1, 1, 9, 9), w, 0.25)
    >>> new[0, 0, 4, 4].item(), new[0, 0, 0, 0].item()
    (0.92..., 4.0)
    """
    changed = (w != 0).any(dim=1, keepdim=True).to(price.dtype)
    average = blur(changed)
    return price / torch.where(average > 0, 1 + average, torch.full_like(average, price_growth))


def blur(mask: Tensor) -> Tensor:
    """Average (n, 1, H, W) under a 5 x 5 Gaussian with reflected borders.

    Adds shifted images up, so that the average of zeros is exactly zero on every device.
    """
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-(offsets**2) / (2 * WIDTH**2))
    padded = functional.pad(mask, (RADIUS,) * 4, mode="reflect")
    return _separable(padded, (weights / weights.sum()).tolist())


def binomial_blur(x: Tensor) -> Tensor:
    """Average (n, 1, H, W) with the weights 1/4, 1/2, 1/4 both ways; zeros outside.

    Examples
    --------
    >>> binomial_blur(torch.ones(1, 1, 3, 3))[0, 0].tolist()
    [[0.5625, 0.75, 0.5625], [0.75, 1.0, 0.75], [0.5625, 0.75, 0.5625]]
    """
    return _separable(functional.pad(x, (1, 1, 1, 1)), [0.25, 0.5, 0.25])


def _separable(padded: Tensor, weights: list[float]) -> Tensor:
    """Average an image that is len(weights) - 1 too large both ways."""
    height, width = (side - len(weights) + 1 for side in padded.shape[-2:])
    rows = padded.new_zeros(())
    for k, weight in enumerate(weights):
        rows = rows + weight * padded[..., k : k + height, :]
    total = padded.new_zeros(())
    for k, weight in enumerate(weights):
        total = total + weight * rows[..., :, k : k + width]
    return total
