"""Intervals and lattices {base + k * step} per coordinate; step 0 means continuous."""

from __future__ import annotations

import torch
from torch import Tensor


def inner_bounds(
    lower: Tensor, upper: Tensor, step: Tensor, base: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Move bounds inwards to lattice points.

    A lattice point which a bound misses by sqrt(eps) steps still counts as inside, and is the new
    bound, since bounds and lattices are often computed in different ways.

    Returns
    -------
    low, high : Tensor
    empty : bool Tensor
        Where nothing is left; low and high are 0 there.

    Examples
    --------
    >>> one = torch.ones(1)
    >>> inner_bounds(-2.5 * one, 3.2 * one, one, 0 * one)
    (tensor([-2.]), tensor([3.]), tensor([False]))
    """
    tolerance = torch.finfo(lower.dtype).eps ** 0.5
    gridded, safe = step > 0, torch.where(step > 0, step, torch.ones_like(step))
    first = torch.ceil((lower - base) / safe - tolerance)
    last = torch.floor((upper - base) / safe + tolerance)
    empty = torch.where(gridded, first > last, lower > upper)
    low = torch.where(gridded, zeroed(base + first * safe, safe), lower)
    high = torch.where(gridded, zeroed(base + last * safe, safe), upper)
    zero = torch.zeros_like(low)
    return torch.where(empty, zero, low), torch.where(empty, zero, high), empty


def snap(
    y: Tensor, low: Tensor, high: Tensor, step: Tensor, base: Tensor, direction: str = "round"
) -> Tensor:
    """Move ``y`` into [low, high] and onto the lattice, by "round", "floor" or "ceil".

    ``low`` and ``high`` come from :func:`inner_bounds`. With "round" this is the projection.

    Examples
    --------
    >>> low, high, step = torch.tensor([-2.0]), torch.tensor([3.0]), torch.ones(1)
    >>> snap(torch.tensor([1.7, 9.0]), low, high, step, torch.zeros(1))
    tensor([2., 3.])
    """
    y = torch.minimum(torch.maximum(y, low), high)
    safe = torch.where(step > 0, step, torch.ones_like(step))
    k = getattr(torch, direction)((y - base) / safe)
    point = torch.minimum(torch.maximum(zeroed(base + k * safe, safe), low), high)
    return torch.where(step > 0, point, y)


def zeroed(x: Tensor, step: Tensor) -> Tensor:
    """Replace lattice points that are 0 up to rounding by 0 itself: "unchanged" must be exact.

    Examples
    --------
    >>> zeroed(torch.tensor([1e-6, 0.5]), torch.ones(1))
    tensor([0.0000, 0.5000])
    """
    return torch.where(x.abs() <= torch.finfo(x.dtype).eps ** 0.5 * step, torch.zeros_like(x), x)
