"""Random numbers of every image by itself: a function of seed, place, stream and entry.

A generator per image would mean a Python loop over images, one for all that an image's numbers
depend on its batch. Counters that go through a mixing function have neither fault, and give the
same numbers on every device. The mixing function is that of SplitMix64 (Steele, Lea, Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The constants of SplitMix64 as signed numbers; products wrap.
GOLDEN, FIRST, SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _right(z, 30)) * FIRST
    z = (z ^ _right(z, 27)) * SECOND
    return z ^ _right(z, 31)


def _right(z: Tensor, by: int) -> Tensor:
    """Shift to the right and fill with zeros; torch fills with the sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)


def uniform(seed: int, indices: Tensor, stream: int, size: int, dtype: torch.dtype) -> Tensor:
    """Return uniform numbers (n, size) in [0, 1), independent for every seed, place and stream.

    Parameters
    ----------
    seed : int
    indices : LongTensor of shape (n,)
    stream : int
        Which numbers of the image: those of different draws must differ.
    size : int
    dtype : torch.dtype

    Examples
    --------
    >>> both = uniform(0, torch.tensor([3, 8]), 0, 4, torch.float64)
    >>> alone = uniform(0, torch.tensor([8]), 0, 4, torch.float64)
    >>> torch.equal(both[1:], alone)
    True
    """
    key = indices * GOLDEN + (seed % 2**63)
    key = _mix(_mix(key) + GOLDEN * (stream + 1) % 2**63)
    entry = torch.arange(1, size + 1, device=indices.device) * GOLDEN
    bits = _mix(key[:, None] + entry)
    # As many bits as the type holds, so that one is never reached.
    kept = {torch.float64: 53, torch.float32: 24, torch.bfloat16: 8}.get(dtype, 11)
    return _right(bits, 64 - kept).to(dtype) * 2.0**-kept


def normal(seed: int, indices: Tensor, stream: int, size: int, dtype: torch.dtype) -> Tensor:
    """Return standard normal numbers (n, size); as :func:`uniform`, whose streams it shares.

    Examples
    --------
    >>> draws = normal(0, torch.arange(4), 0, 1000, torch.float32)
    >>> bool((draws.mean(1).abs() < 0.1).all() and ((draws.std(1) - 1).abs() < 0.1).all())
    True
    """
    both = uniform(seed, indices, stream, 2 * size, dtype)
    radius = torch.sqrt(-2 * torch.log1p(-both[:, :size]))
    return radius * torch.cos(2 * math.pi * both[:, size:])
