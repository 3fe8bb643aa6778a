"""Effect of each changed pixel: hide the class that was there, or lead to the new one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scfe_sklearn.image.batches import chunk_size, per_image
from scfe_sklearn.image.metrics import changed_pixels

Logits = Callable[[Tensor], Tensor]
CHUNK = 512
"""Images that the model is shown at once, at most."""


@dataclass(frozen=True, eq=False)
class NoiseScores:
    """Scores of the changed pixels of images; 0 at all others.

    Parameters
    ----------
    obscuring : Tensor of shape (n, H, W)
        By how much the logit of the old class would rise if the pixel were restored.
    leading : Tensor of shape (n, H, W)
        By how much the logit of the new class would fall.
    """

    obscuring: Tensor
    leading: Tensor

    @property
    def hides(self) -> Tensor:
        """Pixels (n, H, W) that hide the old class at least as much as they lead."""
        return (self.obscuring > 0) & (self.obscuring >= self.leading)

    @property
    def leads(self) -> Tensor:
        """Pixels (n, H, W) that lead to the new class more than they hide the old one."""
        return (self.leading > 0) & (self.leading > self.obscuring)

    def summary(self) -> dict[str, Tensor]:
        """Return, per image, how many pixels hide and lead, their scores' sums, and the ratio.

        "ratio" is the sum of all positive obscuring scores over that of all positive leading
        ones.
        """
        hides, leads = self.hides, self.leads
        whole = self.obscuring.clamp(min=0).sum(dim=(1, 2))
        return {
            "n_obscuring": hides.sum(dim=(1, 2)),
            "n_leading": leads.sum(dim=(1, 2)),
            "obscuring": (self.obscuring * hides).sum(dim=(1, 2)),
            "leading": (self.leading * leads).sum(dim=(1, 2)),
            "ratio": whole / self.leading.clamp(min=0).sum(dim=(1, 2)),
        }


def noise_scores(
    logits: Logits,
    x: Tensor,
    changed: Tensor,
    before: Tensor,
    after: Tensor,
    first_order: bool = False,
) -> NoiseScores:
    r"""Score how each changed pixel hides the old class and leads to the new one.

    With x' the changed image and x'_{-i} the same with pixel i restored,

    .. math:: obscuring_i = Z_{before}(x'_{-i}) - Z_{before}(x'), \qquad
              leading_i = Z_{after}(x') - Z_{after}(x'_{-i}).

    Lin et al. (arXiv 2506.17250, 2025) separate obscuring from leading noise by activation
    maps; these scores are our definition of the two.

    Parameters
    ----------
    logits : callable
        Images (n, C, H, W) to logits (n, K).
    x, changed : Tensor of shape (n, C, H, W)
        Where there is no changed image (NaN), scores are NaN.
    before, after : LongTensor of shape (n,)
        The classes.
    first_order : bool, default=False
        Whether gradients at x' stand in for restored pixels: two passes in place of one per
        changed pixel, exact for linear models.

    Examples
    --------
    >>> def net(x):
    ...     return torch.stack([x[:, 0, 0, 0], x[:, 0, 0, 1]], dim=1)
    >>> x, changed = torch.tensor([[[[2.0, 1.0]]]]), torch.tensor([[[[1.5, 3.0]]]])
    >>> scores = noise_scores(net, x, changed, torch.tensor([0]), torch.tensor([1]))
    >>> scores.obscuring.tolist(), scores.leading.tolist()
    ([[[0.5, 0.0]]], [[[0.0, 2.0]]])
    """
    given = torch.isfinite(changed).flatten(1).all(dim=1)
    changed = torch.where(per_image(given), changed, x)
    after = torch.where(given, after, before)
    score = _by_gradients if first_order else _by_restoring
    parts = score(logits, x, changed, before, after)
    hidden, led = (torch.where(given[:, None, None], part, torch.nan) for part in parts)
    return NoiseScores(hidden, led)


def _by_restoring(
    logits: Logits, x: Tensor, changed: Tensor, before: Tensor, after: Tensor
) -> tuple[Tensor, Tensor]:
    hidden, led = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0])
    image, row, column = changed_pixels(changed - x).nonzero(as_tuple=True)
    if len(image) == 0:
        return hidden, led
    size = chunk_size(x, CHUNK, x.device)
    with torch.no_grad():
        now = torch.cat([logits(part) for part in changed.split(size)])
        for i, down, across in zip(
            *(part.split(size) for part in (image, row, column)), strict=True
        ):
            each = torch.arange(len(i), device=x.device)
            restored = changed[i]
            restored[each, :, down, across] = x[i, :, down, across]
            there = logits(restored)
            hidden[i, down, across] = (there - now[i]).gather(1, before[i, None])[:, 0]
            led[i, down, across] = (now[i] - there).gather(1, after[i, None])[:, 0]
    return hidden, led


def _by_gradients(
    logits: Logits, x: Tensor, changed: Tensor, before: Tensor, after: Tensor
) -> tuple[Tensor, Tensor]:
    size = chunk_size(x, CHUNK, x.device)
    hidden, led = [], []
    for part, w, old, new in zip(
        *(whole.split(size) for whole in (changed, changed - x, before, after)), strict=True
    ):
        image = part.detach().requires_grad_(True)
        with torch.enable_grad():
            out = logits(image)
            lost, won = (out.gather(1, label[:, None]).sum() for label in (old, new))
            (down,) = torch.autograd.grad(lost, image, retain_graph=True)
            (up,) = torch.autograd.grad(won, image)
        hidden.append(-(down * w).sum(dim=1))
        led.append((up * w).sum(dim=1))
    return torch.cat(hidden), torch.cat(led)
