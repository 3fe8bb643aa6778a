"""Images as tiles: squares of pixels, side by side, with all their channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def tile_of_values(
    channels: int, height: int, width: int, side: int, offset: tuple[int, int] = (0, 0)
) -> tuple[Tensor, int]:
    """Return the tile (C * H * W,) of each value of a flat image, and how many there are.

    Tiles at the right and the lower edge may be smaller. With an ``offset`` (down, right), each
    less than ``side``, tiles end there first, and those at the upper and left edge are smaller.

    Examples
    --------
    >>> groups, n_groups = tile_of_values(1, 2, 3, 2)
    >>> groups.tolist(), n_groups
    ([0, 0, 1, 0, 0, 1], 2)
    >>> tile_of_values(1, 1, 4, 2, (0, 1))[0].tolist()
    [0, 1, 1, 2]
    """
    # With an offset of d, the first tile holds d rows: rows are counted from side - d.
    first_row, first_column = (-shift % side for shift in offset)
    rows = (torch.arange(height) + first_row) // side
    columns = (torch.arange(width) + first_column) // side
    across = int(columns[-1]) + 1
    tiles = (rows[:, None] * across + columns).flatten().repeat(channels)
    return tiles, across * (int(rows[-1]) + 1)


def sliding_tilings(
    channels: int, height: int, width: int, side: int, stride: int
) -> list[tuple[Tensor, int]]:
    """Return tilings, each as :func:`tile_of_values`, whose tiles together slide by ``stride``.

    ``stride`` divides ``side``; a tiling for each of the (side / stride)^2 offsets.

    Examples
    --------
    >>> [tiles.tolist() for tiles, _ in sliding_tilings(1, 1, 4, 2, 1)[:2]]
    [[0, 0, 1, 1], [0, 1, 1, 2]]
    """
    offsets = range(0, side, stride)
    return [
        tile_of_values(channels, height, width, side, (down, right))
        for down in offsets
        for right in offsets
    ]


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
