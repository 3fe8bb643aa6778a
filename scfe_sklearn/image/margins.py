"""Goals of images: margin loss and cross-entropy for batches of logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Goal:
    """Goal of each image: leave its class, or reach another one.

    Parameters
    ----------
    label : LongTensor of shape (n,)
        The class to leave, or to reach.
    targeted : bool
        Whether ``label`` is to be reached.
    reserve : Tensor of shape (n,) or None
        Least margin.
    region : bool Tensor of shape (n, 1, H, W) or None
        Pixels that may change; None: all.
    """

    label: Tensor
    targeted: bool
    reserve: Tensor | None = None
    region: Tensor | None = None

    def take(self, rows: Tensor) -> Goal:
        """Return the goals of some of the images."""
        reserve, region = (
            None if part is None else part[rows] for part in (self.reserve, self.region)
        )
        return Goal(self.label[rows], self.targeted, reserve, region)

    def margin_loss(self, logits: Tensor) -> Tensor:
        """Return minus the margin, (n,): negative where the goal is reached.

        Untargeted Z_y - max_{j != y} Z_j, targeted max_{j != t} Z_j - Z_t (Carlini & Wagner
        2017).

        Examples
        --------
        >>> goal = Goal(torch.tensor([0, 0]), targeted=True)
        >>> goal.margin_loss(torch.tensor([[3.0, 1.0], [1.0, 3.0]]))
        tensor([-2.,  2.])
        """
        own = logits.gather(1, self.label[:, None])[:, 0]
        others = logits.scatter(1, self.label[:, None], -torch.inf).amax(dim=1)
        loss = others - own if self.targeted else own - others
        return loss if self.reserve is None else loss + self.reserve

    def reached(self, logits: Tensor) -> Tensor:
        """Return whether the margin is positive, (n,)."""
        return self.margin_loss(logits) < 0

    def log_probability(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Return log p(label | image), (n,), of logits divided by a temperature."""
        return torch.log_softmax(logits / temperature, dim=1).gather(1, self.label[:, None])[:, 0]

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Return what gradient descent lowers to reach the goal, (n,)."""
        value = self.log_probability(logits)
        return -value if self.targeted else value
