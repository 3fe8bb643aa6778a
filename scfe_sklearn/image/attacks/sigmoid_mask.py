r"""Sparse changes by a sigmoid mask over a continuous perturbation, annealed and pruned.

.. math:: w = \sigma(m / T) \odot p, \qquad
          \min_{m, p} \; \text{margin loss}(x + w) + price \sum_{ij} \sigma(m_{ij} / T)

with one mask logit m per pixel and one colour p per value, within the range of the pixels, by Adam.
The temperature T falls, so that the sigmoid becomes a step. The network sees the mask rounded to
0 or 1 from the start, so every point is a sparse change; gradients are those of the sigmoid. The
loss is measured in units of the largest gain of a pixel of the image, to first order, and the
price of an image rises while it is at its goal and falls otherwise. The change of fewest pixels
that reaches the goal is kept, and pixels that it does not need go back, the smallest first.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.explainer import Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.metrics import n_pixels
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.proximal.operators import clip

FIRST_PRICE, PRICE_FACTOR = 0.1, 1.05
LAST_TEMPERATURE = 0.3
MASK_RATE, COLOUR_RATE, LAST_RATE = 0.3, 0.15, 0.1
"""Steps of Adam; they fall along a cosine to a tenth."""
BETAS, TINY = (0.9, 0.999), 1e-8
FLAT = 1e-30


def sigmoid_mask(model: ImageModel, x: Tensor, goal: Goal, n_iter: int) -> Proposal:
    """Search changes of few pixels of a batch of images.

    Parameters
    ----------
    model : ImageModel
    x : Tensor of shape (n, C, H, W)
    goal : Goal
    n_iter : int

    Returns
    -------
    Proposal
        Zeros where nothing was found.
    """
    lower, upper = model.perturbation_box(x, goal.region)
    _, _, gradient = model.with_gradient(x, torch.zeros_like(x), goal.margin_loss, goal.region)
    colour = torch.where(gradient < 0, upper, lower)
    logit = torch.zeros_like(x[:, :1])
    adam_mask, adam_colour = _Adam(logit), _Adam(colour)
    price = torch.full_like(x[:, 0, 0, 0], FIRST_PRICE)
    best, fewest = torch.zeros_like(x), torch.full_like(goal.label, x[0, 0].numel() + 1)
    for k in range(n_iter):
        temperature = LAST_TEMPERATURE ** (k / max(n_iter - 1, 1))
        soft = torch.sigmoid(logit / temperature)
        w = colour * (soft >= 0.5)
        _, loss, gradient = model.with_gradient(x, w, goal.margin_loss, goal.region)
        reached, count = loss < 0, n_pixels(w)
        better = reached & (count < fewest)
        best = torch.where(per_image(better), w, best)
        fewest = torch.where(better, count, fewest)
        # The hinge of the margin loss is flat at the goal.
        gradient = torch.where(per_image(reached), 0.0, gradient)
        gain = -(gradient * colour).sum(dim=1, keepdim=True)
        slope = per_image(price) - gain / _largest(gain)
        swing = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * k / n_iter)) / 2
        logit = logit - MASK_RATE * swing * adam_mask.step(slope * soft * (1 - soft) / temperature)
        slope = gradient * soft
        step = COLOUR_RATE * swing * adam_colour.step(slope / _largest(slope))
        colour = clip(colour - step, lower, upper)
        price = price * torch.where(reached, PRICE_FACTOR, 1 / PRICE_FACTOR)
    w, n_trials = pruned(model, x, goal, best)
    passes = torch.full_like(goal.label, n_iter + 1)
    return Proposal(w, passes + n_trials, passes)


def pruned(model: ImageModel, x: Tensor, goal: Goal, w: Tensor) -> tuple[Tensor, Tensor]:
    """Undo the changes of pixels that the goal does not need, one by one, the smallest first.

    Returns
    -------
    Tensor of shape (n, C, H, W), LongTensor of shape (n,)
        Changes, and how many were tried for each image: as many as it has pixels.
    """
    size, count = w.square().sum(dim=1), n_pixels(w)
    order = torch.where(size > 0, size, torch.inf).flatten(1).argsort(dim=1)
    rank = order.argsort(dim=1).reshape(len(x), 1, *x.shape[2:])
    w = w.clone()
    for turn in range(int(count.max()) if len(x) else 0):
        rows = (count > turn).nonzero()[:, 0]
        trial = torch.where(rank[rows] == turn, 0.0, w[rows])
        with torch.no_grad():
            holds = goal.take(rows).reached(model.logits(model.perturbed(x[rows], trial)))
        w[rows] = torch.where(per_image(holds), trial, w[rows])
    return w, count


class _Adam:
    """Directions of Adam."""

    def __init__(self, like: Tensor) -> None:
        self.mean, self.square, self.n_steps = torch.zeros_like(like), torch.zeros_like(like), 0

    def step(self, gradient: Tensor) -> Tensor:
        """Return the mean gradient over the root of its mean square, both bias-corrected."""
        self.n_steps += 1
        self.mean = BETAS[0] * self.mean + (1 - BETAS[0]) * gradient
        self.square = BETAS[1] * self.square + (1 - BETAS[1]) * gradient**2
        root = (self.square / (1 - BETAS[1] ** self.n_steps)).sqrt()
        return self.mean / (1 - BETAS[0] ** self.n_steps) / (root + TINY)


def _largest(value: Tensor) -> Tensor:
    return value.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=FLAT)
