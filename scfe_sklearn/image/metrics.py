"""Sparsity and grouping of a change of images: one number per image, no method called."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def changed_pixels(w: Tensor) -> Tensor:
    """Return the mask (n, H, W) of the pixels of ``w`` (n, C, H, W) with a changed channel."""
    return (w != 0).any(dim=1)


def n_pixels(w: Tensor) -> Tensor:
    """Return the number of changed pixels, (n,): its mean is the ACP of the GSE paper."""
    return changed_pixels(w).sum(dim=(1, 2))


def n_patches(w: Tensor, size: int = 8) -> Tensor:
    """Return d_{2,0} (n,): how many ``size`` x ``size`` windows, stride 1, hold a change.

    Images smaller than the window are one window.

    Examples
    --------
    >>> w = torch.zeros(1, 3, 32, 32)
    >>> w[0, 1, 0, 0] = 1
    >>> n_patches(w), n_patches(torch.ones(1, 3, 32, 32))
    (tensor([1]), tensor([625]))
    """
    mask = (w != 0).any(dim=1, keepdim=True).to(torch.float32)
    window = (min(size, w.shape[2]), min(size, w.shape[3]))
    return functional.max_pool2d(mask, window, stride=1).sum(dim=(1, 2, 3)).round().long()


def n_clusters(w: Tensor, diagonal: bool = False) -> Tensor:
    """Return the number of connected components of the changed pixels, (n,): ANC.

    Every pixel starts with a name of its own and takes the largest of its neighbours' until
    nothing changes; the pixels that kept their name count the components.

    Parameters
    ----------
    w : Tensor of shape (n, C, H, W)
    diagonal : bool, default=False
        Whether pixels that touch at a corner are neighbours.

    Examples
    --------
    >>> w = torch.eye(3)[None, None]
    >>> n_clusters(w), n_clusters(w, diagonal=True)
    (tensor([3]), tensor([1]))
    """
    mask = changed_pixels(w)
    height, width = mask.shape[1:]
    own = torch.arange(1, height * width + 1, device=w.device, dtype=torch.float64)
    own = own.reshape(1, height, width) * mask
    name = own
    while True:
        if diagonal:
            new = functional.max_pool2d(name[:, None], 3, stride=1, padding=1)[:, 0]
        else:
            across = functional.max_pool2d(name[:, None], (1, 3), stride=1, padding=(0, 1))
            down = functional.max_pool2d(name[:, None], (3, 1), stride=1, padding=(1, 0))
            new = torch.maximum(across, down)[:, 0]
        new = new * mask
        if torch.equal(new, name):
            return ((name == own) & mask).sum(dim=(1, 2))
        name = new


def lengths(w: Tensor, p: float = 2.0) -> Tensor:
    """Return the lp norms of the changes, (n,)."""
    return torch.linalg.vector_norm(w.flatten(1), ord=p, dim=1)
