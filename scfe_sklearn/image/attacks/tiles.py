"""Images as tiles: squares of pixels, side by side, with all their channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def tile_of_values(channels: int, height: int, width: int, side: int) -> tuple[Tensor, int]:
    """Return the tile (C * H * W,) of each value of a flat image, and how many there are.

    Tiles at the right and the lower edge may be smaller.

    Examples
    --------
    >>> groups, n_groups = tile_of_values(1, 2, 3, 2)
    >>> groups.tolist(), n_groups
    ([0, 0, 1, 0, 0, 1], 2)
    """
    across = -(-width // side)
    rows, columns = torch.arange(height) // side, torch.arange(width) // side
    tiles = (rows[:, None] * across + columns).flatten().repeat(channels)
    return tiles, across * -(-height // side)


def to_tiles(x: Tensor, side: int) -> Tensor:
    """Return the tiles of images (n, C, H, W) as matrices (n, G, side, C * side).

    The channels of a tile stand side by side; what is missing at an edge is 0.

    Examples
    --------
    >>> to_tiles(torch.arange(6.0).reshape(1, 1, 2, 3), 2).tolist()
    [[[[0.0, 1.0], [3.0, 4.0]], [[2.0, 0.0], [5.0, 0.0]]]]
    """
    n, channels, height, width = x.shape
    down, across = -(-height // side), -(-width // side)
    x = functional.pad(x, (0, across * side - width, 0, down * side - height))
    x = x.reshape(n, channels, down, side, across, side).permute(0, 2, 4, 3, 1, 5)
    return x.reshape(n, down * across, side, channels * side)


def from_tiles(tiles: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the images (n, C, H, W) of :func:`to_tiles`.

    Examples
    --------
    >>> x = torch.rand(2, 3, 5, 7)
    >>> torch.equal(from_tiles(to_tiles(x, 4), x.shape), x)
    True
    """
    n, channels, height, width = shape
    side = tiles.shape[2]
    down, across = -(-height // side), -(-width // side)
    x = tiles.reshape(n, down, across, side, channels, side).permute(0, 4, 1, 3, 2, 5)
    return x.reshape(n, channels, down * side, across * side)[:, :, :height, :width]
