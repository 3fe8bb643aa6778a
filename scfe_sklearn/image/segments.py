"""Superpixels of images (SLIC), and regions made of those that matter most."""

from __future__ import annotations

import torch
from torch import Tensor


def superpixels(
    images: Tensor, n_segments: int = 100, compactness: float = 0.1, n_iter: int = 10
) -> Tensor:
    r"""Return the superpixel of every pixel, (n, H, W), by simple linear iterative clustering [1]_.

    k-means over colours and places, from the cells of a regular grid, with the squared distance

    .. math:: \|colour - colour'\|^2 + (compactness / S)^2 \, \|place - place'\|^2,
              \qquad S = \sqrt{H W / n\_segments}

    where a pixel may only join its own cell or one of the eight around it, so that the work does
    not grow with ``n_segments``. Colours are those of the images, not converted to CIELAB, so
    that any number of channels will do. Segments need not be connected.

    Parameters
    ----------
    images : Tensor of shape (n, C, H, W)
        Pixels whose range is 1 wide.
    n_segments : int, default=100
        About as many; the grid has cells that are nearly square.
    compactness : float, default=0.1
        Difference in colour that counts like the side of a cell.
    n_iter : int, default=10

    Returns
    -------
    LongTensor of shape (n, H, W)
        Numbers of cells of the grid, from 0; a cell that no pixel joins is missing.

    References
    ----------
    .. [1] Achanta, Shaji, Smith, Lucchi, Fua, Susstrunk, "SLIC superpixels compared to
       state-of-the-art superpixel methods", IEEE TPAMI 2012.

    Examples
    --------
    >>> image = torch.tensor([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    >>> superpixels(image[None, None], n_segments=2)[0].tolist()
    [[0, 0, 0, 1], [0, 0, 0, 1]]
    """
    images = images.detach()
    n, _, height, width = images.shape
    if n_segments < 1 or not compactness > 0 or n_iter < 1:
        raise ValueError(
            "The 'n_segments', 'compactness' and 'n_iter' of superpixels must be positive. "
            f"Got {n_segments!r}, {compactness!r} and {n_iter!r} instead."
        )
    side = (height * width / n_segments) ** 0.5
    down, across = max(1, round(height / side)), max(1, round(width / side))
    rows = torch.arange(height, device=images.device)[:, None].expand(height, width)
    columns = torch.arange(width, device=images.device).expand(height, width)
    place = torch.stack([rows, columns]).to(images) * (compactness / side)
    features = torch.cat([images, place.expand(n, -1, -1, -1)], dim=1).flatten(2)
    cell = (rows * down // height).flatten(), (columns * across // width).flatten()
    # A cell at the edge is its own neighbour.
    near = [
        (cell[0] + i).clamp(0, down - 1) * across + (cell[1] + j).clamp(0, across - 1)
        for i in (0, -1, 1)
        for j in (0, -1, 1)
    ]
    label = near[0].expand(n, -1)
    for _ in range(n_iter):
        centre = _means(features, label, down * across)
        distance = torch.stack(
            [(features - centre[:, :, index]).square().sum(dim=1) for index in near]
        )
        best = distance.argmin(dim=0)
        label = torch.stack(near)[best, torch.arange(best.shape[1], device=best.device)]
    return label.reshape(n, height, width)


def salient_region(segments: Tensor, maps: Tensor, share: float = 0.1) -> Tensor:
    """Return the superpixels of the largest mean score as a region, (n, H, W).

    They are taken one after the other, as long as they hold at most ``share`` of the pixels; the
    first one always. The result is a ``region`` for ``explain``.

    Parameters
    ----------
    segments : LongTensor of shape (n, H, W)
    maps : Tensor of shape (n, H, W)
        Scores, such as those of :func:`scfe_sklearn.image.saliency.grad_cam`.
    share : float in (0, 1], default=0.1

    Returns
    -------
    bool Tensor of shape (n, H, W)

    Examples
    --------
    >>> segments = torch.tensor([[[0, 0, 1, 2]]])
    >>> salient_region(segments, torch.tensor([[[0.0, 0.4, 0.1, 0.9]]]), 0.75).tolist()
    [[[True, True, False, True]]]
    """
    if maps.shape != segments.shape or not 0 < share <= 1:
        raise ValueError(
            f"The 'maps' of salient_region must have shape {tuple(segments.shape)}, and 'share' "
            f"must be a float in (0, 1]. Got {tuple(maps.shape)} and {share!r} instead."
        )
    label, scores = segments.flatten(1), maps.detach().flatten(1)
    size = int(label.max()) + 1
    mean = _means(scores[:, None], label, size)[:, 0]
    count = torch.zeros_like(mean).scatter_add(1, label, torch.ones_like(scores))
    # Superpixels without a pixel come last.
    order = torch.where(count > 0, mean, -torch.inf).argsort(dim=1, descending=True, stable=True)
    held = count.gather(1, order).cumsum(dim=1)
    taken = held <= share * label.shape[1]
    taken[:, 0] = True
    chosen = torch.zeros_like(taken).scatter(1, order, taken)
    return chosen.gather(1, label).reshape(segments.shape)


def _means(features: Tensor, label: Tensor, size: int) -> Tensor:
    """Return the means (n, F, size) of features (n, F, D) by label (n, D); infinite if empty."""
    index = label[:, None].expand_as(features)
    total = features.new_zeros(*features.shape[:2], size).scatter_add(2, index, features)
    ones = torch.ones_like(features[:, :1])
    count = ones.new_zeros(len(label), 1, size).scatter_add(2, label[:, None], ones)
    return torch.where(count > 0, total / count.clamp(min=1), torch.inf)
