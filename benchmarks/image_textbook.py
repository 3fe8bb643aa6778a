"""Group-wise sparse changes as the published code finds them, one plain loop after the other.

Written from the mathematics (Sadiku, Wagner, Pokutta, ICLR 2025) with the choices of the published
code: averaged momentum, one first price for all images' runs at a time, the windows decide. Shares
no code with the package, so that the two may check one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

CRITICAL = 4 / math.sqrt(54)


@dataclass(frozen=True)
class Constants:
    """For pixels from -1 to 1. The prox is without the box, as published, or with it.

    The magnitude term is mu times the squared 2-norm, as in the published code, or mu times the
    2-norm from ``n_gather`` on, as in the paper.
    """

    mu: float = 1.0
    step: float = 0.005
    n_gather: int = 30
    price_growth: float = 0.25
    max_iter: int = 200
    n_searches: int = 10
    exact_box: bool = False
    squared: bool = True


def plain_group_sparse(
    logits: Callable[[Tensor], Tensor],
    x: Tensor,
    label: Tensor,
    targeted: bool,
    constants: Constants,
    patch: int = 8,
) -> tuple[Tensor, Tensor]:
    """Return changes (n, C, H, W) of images from -1 to 1, and which of them reach their goal."""

    def margin(w: Tensor, rows: Tensor) -> Tensor:
        out = logits(x[rows] + w)
        own = out.gather(1, label[rows, None])[:, 0]
        other = out.scatter(1, label[rows, None], -torch.inf).amax(1)
        return other - own if targeted else own - other

    def gradient(w: Tensor, rows: Tensor) -> Tensor:
        w = w.detach().requires_grad_(True)
        return torch.autograd.grad(functional.relu(margin(w, rows)).sum(), w)[0]

    everyone = torch.arange(len(x))
    first = gradient(torch.zeros_like(x), everyone).abs().amax((1, 2, 3))
    price = 0.01 * CRITICAL * math.sqrt(constants.step) * first**1.5
    below, above = torch.zeros_like(price), torch.full_like(price, torch.inf)
    best, windows = torch.zeros_like(x), torch.full_like(price, torch.inf)
    for search in range(constants.n_searches):
        bold = (windows == torch.inf) & (search >= constants.n_searches - 2)
        step = torch.where(bold, 10 * constants.step, constants.step).to(x.dtype)
        w = _run(margin, gradient, x, price, step, constants)
        reached = (w != 0).flatten(1).any(1)
        count = _windows(w, patch)
        better = reached & (count < windows)
        best[better], windows[better] = w[better], count[better]
        below, above = torch.where(reached, price, below), torch.where(reached, above, price)
        up = torch.where(above == torch.inf, 2 * price, (above + price) / 2)
        price = torch.where(reached, up, 0.9 * below + 0.1 * price)
    return best, windows < torch.inf


def _run(margin, gradient, x, price, step, constants):
    """One first price per image; zero where the goal is not reached."""
    answer, rows = torch.zeros_like(x), torch.arange(len(x))
    w, last = torch.zeros_like(x), torch.zeros_like(x)
    prices = price.reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:]).clone()
    kept = torch.ones_like(prices, dtype=torch.bool)
    root = 1.0
    for k in range(constants.max_iter):
        slope = gradient(w[rows], rows) + _magnitude(w[rows], k, constants)
        after = (1 + math.sqrt(1 + 4 * root * root)) / 2
        if k == constants.n_gather:
            kept = prices < price.reshape(-1, 1, 1, 1)
            w = w * kept
            last = w.clone()
        size = step[rows].reshape(-1, 1, 1, 1)
        v = w[rows] - size * slope
        if k < constants.n_gather:
            u = _prox(v, size * prices[rows], x[rows], constants.exact_box)
        else:
            u = v * kept[rows]
        moved = root / after * u + (1 - root / after) * last[rows]
        last[rows], root = u, after
        if k < constants.n_gather:
            mean = _blur((moved != 0).any(1, keepdim=True).to(x.dtype))
            prices[rows] /= torch.where(mean > 0, 1 + mean, constants.price_growth)
        moved = (x[rows] + moved).clamp(-1, 1) - x[rows]
        w[rows] = moved
        with torch.no_grad():
            reached = margin(moved, rows) < 0
        answer[rows[reached]] = moved[reached]
        rows = rows[~reached]
        if len(rows) == 0:
            break
    return answer


def _magnitude(w, k, constants):
    if constants.squared:
        return 2 * constants.mu * w
    if k < constants.n_gather:
        return torch.zeros_like(w)
    size = w.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    return torch.where(size > 0, constants.mu * w / torch.where(size > 0, size, 1.0), 0.0)


def _prox(v, weight, x, exact_box):
    """Half thresholding in closed form; zero instead, where the box makes zero better."""
    size, weight = v.abs(), weight.expand_as(v)
    moves = size > 1.5 * weight ** (2 / 3)
    safe = torch.where(moves, size, 1.0)
    angle = torch.arccos((weight / 4 * (safe / 3) ** -1.5).clamp(max=1))
    u = v * (2 / 3) * (1 + torch.cos(2 * math.pi / 3 - 2 * angle / 3))
    u = torch.where(moves, u, 0.0)
    if not exact_box:
        return u
    u = u.clamp(-1 - x, 1 - x)
    return torch.where((u - v) ** 2 / 2 + weight * u.abs().sqrt() < v**2 / 2, u, 0.0)


def _blur(mask):
    weights = torch.exp(-(torch.arange(-2, 3, dtype=mask.dtype) ** 2) / 4.5)
    weights = weights / weights.sum()
    kernel = torch.outer(weights, weights)[None, None]
    return functional.conv2d(functional.pad(mask, (2, 2, 2, 2), mode="reflect"), kernel)


def _windows(w, patch):
    mask = (w != 0).any(1, keepdim=True).to(w.dtype)
    window = (min(patch, w.shape[2]), min(patch, w.shape[3]))
    return functional.max_pool2d(mask, window, stride=1).sum((1, 2, 3))
