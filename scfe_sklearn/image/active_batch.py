"""The images of a batch that are still searched for, and the k largest pixels of each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from scfe_sklearn.image.margins import Goal


@dataclass(eq=False)
class ActiveBatch:
    """Base of what a search knows of its images: every field has one entry per image.

    Parameters
    ----------
    rows : LongTensor of shape (n,)
        Where the images are in the batch that the search began with.
    x : Tensor of shape (n, C, H, W)
    goal : Goal
    """

    rows: Tensor
    x: Tensor
    goal: Goal

    def take(self, keep: Tensor) -> Self:
        """Return the entries of some of the images.

        Examples
        --------
        >>> goal = Goal(torch.tensor([5, 6]), targeted=True)
        >>> active = ActiveBatch(torch.arange(2), torch.zeros(2, 1, 3, 3), goal)
        >>> active.take(torch.tensor([1])).goal.label
        tensor([6])
        """
        taken: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            taken[part.name] = value.take(keep) if isinstance(value, Goal) else value[keep]
        return type(self)(**taken)


def every_few(device: torch.device) -> int:
    """Return after how many iterations finished images should leave the batch.

    A host that waits for its device in every iteration idles it.
    """
    return 1 if device.type == "cpu" else 8


def top_pixels(value: Tensor, k: int) -> Tensor:
    """Return the mask (n, size) of the k largest entries of each row: k of them, whatever ties.

    Examples
    --------
    >>> top_pixels(torch.tensor([[3.0, 1.0, 3.0, 3.0]]), 2).sum().item()
    2
    """
    indices = torch.topk(value, k, dim=1).indices
    return torch.zeros_like(value, dtype=torch.bool).scatter(1, indices, True)
