r"""Shorten a sparse change of an image, touch no more windows, drop what is not worth it.

The windows that hold a change matter more than the pixels: a pixel all of whose windows
are touched already adds nothing to d_{2,0}. Refinement therefore starts from all such pixels
(the closure of the change), looks for the shortest change on them, and while doing so drops the
pixels whose part of the length is below their price,

.. math:: \|w\|_2 - \sqrt{\|w\|_2^2 - \|w_{ij}\|_2^2} \approx \|w_{ij}\|_2^2 / (2 \|w\|_2)
          < price .

Parts are averaged over neighbours first, so that regions lose their borders, not their middle.

The shortest change is found with decoupled direction and norm (Rony et al., "Decoupling direction
and norm for efficient gradient-based L2 adversarial attacks", CVPR 2019), with momentum. Steps
are taken in the metric of the model's own slopes at the image,

.. math:: d_i = |\partial_i hinge(x)|^{salience} \, \partial_i hinge(x + w) ,

so that values on which the model depends at the image move further than the others: the change is
a little longer, and more of it lies on salient values. 0 is the plain gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.group_sparse.neighbourhood import binomial_blur
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.metrics import lengths, n_pixels
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.proximal.operators import clip

GROWTH, FIRST_STEP, LAST_STEP, MEMORY = 0.05, 0.5, 0.01, 0.8
SETTLE, EVERY, UNTIL = 6, 3, 0.6
"""Pixels are dropped from the sixth iteration, every third, in the first 60 % of them."""


def closure(changed: Tensor, size: int = 8) -> Tensor:
    """Return the pixels all of whose windows hold a changed pixel.

    Parameters
    ----------
    changed : bool Tensor of shape (n, 1, H, W)
    size : int

    Returns
    -------
    bool Tensor of shape (n, 1, H, W)

    Examples
    --------
    >>> changed = torch.tensor([[[[True, False, True, False, False]]]])
    >>> closure(changed, 2)[0, 0, 0].tolist()
    [True, True, True, False, False]
    """
    window = (min(size, changed.shape[2]), min(size, changed.shape[3]))
    missed = 1 - functional.max_pool2d(changed.to(torch.float32), window, stride=1)
    down, across = window[0] - 1, window[1] - 1
    missed = functional.pad(missed, (across, across, down, down))
    return functional.max_pool2d(missed, window, stride=1) == 0


def shorten(
    model: ImageModel,
    x: Tensor,
    w: Tensor,
    goal: Goal,
    *,
    price: float = 0.005,
    n_iter: int = 50,
    patch: int = 8,
    salience: float = 0.0,
) -> Tensor:
    """Return changes that are no worse in length + price * pixels, at the goal, nor in windows.

    Parameters
    ----------
    model : ImageModel
    x, w : Tensor of shape (n, C, H, W)
        Images, and changes that reach the goal.
    goal : Goal
    price : float
        What a pixel may cost in length.
    n_iter : int
        Evaluations of the model, less one.
    patch : int
        Side of the windows.
    salience : float in [0, inf)
        Power of the slopes at the image in the steps. Takes one evaluation more if positive.

    Returns
    -------
    Tensor of shape (n, C, H, W)
    """
    lower, upper = model.perturbation_box(x, goal.region)
    emphasis = _emphasis(model, x, goal, salience)
    region = closure((w != 0).any(dim=1, keepdim=True), patch)
    best, worth = w, lengths(w) + price * n_pixels(w)
    radius, at, direction = lengths(w), w, torch.zeros_like(w)
    last = int(UNTIL * n_iter)
    for k in range(n_iter + 1):
        _, loss, gradient = model.with_gradient(x, at, goal.margin_loss, goal.region)
        reached, length = loss < 0, lengths(at)
        value = length + price * n_pixels(at)
        better = reached & (value < worth)
        best, worth = torch.where(per_image(better), at, best), torch.where(better, value, worth)
        shorter = (1 - GROWTH) * torch.minimum(radius, length)
        radius = torch.where(reached, shorter, (1 + GROWTH) * radius)
        if SETTLE <= k <= last and k % EVERY == 0:
            region = region & ~_not_worth(at, length, price * k / max(last, 1))
            at, direction = at * region, direction * region
        slope = gradient * region if emphasis is None else gradient * region * emphasis
        direction = MEMORY * direction + (1 - MEMORY) * _unit(slope)
        swing = (1 + math.cos(math.pi * k / n_iter)) / 2
        step = LAST_STEP + (FIRST_STEP - LAST_STEP) * swing
        at = _unit(at - step * _unit(direction)) * per_image(radius)
        at = clip(at, lower, upper)
    return best


def _not_worth(w: Tensor, length: Tensor, price: float) -> Tensor:
    part = w.square().sum(dim=1, keepdim=True) / per_image(2 * length).clamp(min=1e-30)
    part = binomial_blur(binomial_blur(part))
    return (part <= price) & (part < part.amax(dim=(2, 3), keepdim=True))


def _emphasis(model: ImageModel, x: Tensor, goal: Goal, salience: float) -> Tensor | None:
    """Return a power of the slopes at the images, 1 where they are largest."""
    if salience == 0:
        return None
    _, _, slope = model.with_gradient(x, torch.zeros_like(x), goal.margin_loss, goal.region)
    size = slope.abs()
    return (size / size.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)) ** salience


def _unit(w: Tensor) -> Tensor:
    return w / per_image(lengths(w)).clamp(min=1e-30)
