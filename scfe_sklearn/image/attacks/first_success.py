"""Searches whose images are done with their first success, and leave the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from scfe_sklearn.image.active_batch import ActiveBatch, every_few
from scfe_sklearn.image.batches import per_image


@dataclass(eq=False)
class Unfinished(ActiveBatch):
    """Images that are searched for, some of which may be done already.

    Parameters
    ----------
    done : bool Tensor of shape (n,)
        What happens to these images no longer counts.
    """

    done: Tensor

    def after(self, turn: int) -> Self:
        """Let the images that are done leave, though not after every turn on every device."""
        if (turn + 1) % every_few(self.x.device) or not bool(self.done.any()):
            return self
        return self.take((~self.done).nonzero()[:, 0])


class FirstSuccess:
    """The first change of each image that reaches its goal, and the passes until then.

    Attributes
    ----------
    w : Tensor of shape (n, C, H, W)
        Zeros where there is none.
    count : LongTensor of shape (n,)
    """

    def __init__(self, x: Tensor) -> None:
        self.w = torch.zeros_like(x)
        self.count = torch.zeros(len(x), dtype=torch.long, device=x.device)

    def look(self, active: Unfinished, w: Tensor, logits: Tensor) -> None:
        """Record the logits of changes ``w``; successful images are done."""
        reached = active.goal.reached(logits) & ~active.done
        self.w[active.rows] = torch.where(per_image(reached), w, self.w[active.rows])
        self.count[active.rows] += (~active.done).long()
        active.done = active.done | reached
