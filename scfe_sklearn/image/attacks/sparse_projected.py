"""SparsePGD: at most k pixels, chosen by a mask that is trained with the colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real, StrOptions
from scfe_sklearn.image.active_batch import top_pixels
from scfe_sklearn.image.attacks.few_pixels import FewPixels
from scfe_sklearn.image.attacks.first_success import FirstSuccess, Unfinished
from scfe_sklearn.image.explainer import Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.image.random import normal, uniform
from scfe_sklearn.proximal.operators import clip

OUTSIDE = -1e3
"""Mask logit of a pixel that may not change."""
FLAT = 2e-10
"""A gradient of the mask that is shorter moves nothing."""


@dataclass(eq=False, repr=False, kw_only=True)
class SparsePGD(FewPixels):
    r"""Changes of at most k pixels by gradients: the Sparse-PGD attack [1]_.

    A change is a colour p times a mask, one for the k largest of one number m per pixel and zero
    elsewhere. Both follow the gradient g of the cross-entropy,

    .. math:: p \leftarrow p + step \cdot \operatorname{sign}(g \, s), \qquad
              m \leftarrow m + mask\_step \sqrt{HW} \,
              \frac{\textstyle\sum_c g \, p \, \sigma'(m)}{\|\cdot\|_2},

    with s the mask ("projected") or the sigmoid of m ("unprojected", whose colours are ready
    when a pixel enters). An image whose mask has stayed the same for ``patience`` iterations
    gets a new random one. An image that reaches its goal is done.

    Parameters
    ----------
    n_iter : int in [1, inf), default=300
        The paper takes 10000 to judge robust models.
    backward : {"unprojected", "projected"}, default="unprojected"
    step, mask_step : float in (0, inf), default=0.25
        Of the colours, in units of the range of the pixels, and of the mask.
    patience : int in [1, inf), default=3

    References
    ----------
    .. [1] Zhong, Huang, Liu, "Towards efficient training and evaluation of robust models against
       l0 bounded adversarial perturbations", ICML 2024.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> SparsePGD(net, n_pixels=6).explain(torch.rand(2, 1, 4, 4)).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **FewPixels._parameter_constraints,
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "backward": [StrOptions({"unprojected", "projected"})],
        "step": [Interval(Real, 0, None, closed="neither")],
        "mask_step": [Interval(Real, 0, None, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left")],
    }

    n_iter: int = 300
    backward: str = "unprojected"
    step: float = 0.25
    mask_step: float = 0.25
    patience: int = 3

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        settings = SparsePGDSettings(
            n_pixels=self.n_pixels,
            n_iter=self.n_iter,
            projected=self.backward == "projected",
            step=self.step,
            mask_step=self.mask_step,
            patience=self.patience,
            seed=self.random_state,
        )
        return sparse_pgd(model, x, goal, indices, settings)


@dataclass(frozen=True)
class SparsePGDSettings:
    """The parameters of :class:`SparsePGD`, for pixels whose range is one unit wide."""

    n_pixels: int
    n_iter: int
    projected: bool
    step: float = 0.25
    mask_step: float = 0.25
    patience: int = 3
    seed: int = 0


def sparse_pgd(
    model: ImageModel, x: Tensor, goal: Goal, indices: Tensor, settings: SparsePGDSettings
) -> Proposal:
    """Search changes of at most k pixels of a batch of images.

    Parameters
    ----------
    model : ImageModel
    x : Tensor of shape (n, C, H, W)
    goal : Goal
    indices : LongTensor of shape (n,)
        Names of the images, for what is drawn.
    settings : SparsePGDSettings

    Returns
    -------
    Proposal
        Zeros where nothing was found.
    """
    size, seed = x.shape[2] * x.shape[3], settings.seed
    k = min(settings.n_pixels, size)
    found = FirstSuccess(x)
    lower, upper = (bound.flatten(2) for bound in model.perturbation_box(x, goal.region))
    colour = 2 * uniform(seed, indices, 0, x[0].numel(), x.dtype).reshape(lower.shape) - 1
    logit = _drawn_logits(seed, indices, 1, goal, size, x.dtype)
    active = _State(
        rows=torch.arange(len(x), device=x.device),
        x=x,
        goal=goal,
        done=torch.zeros_like(indices, dtype=torch.bool),
        indices=indices,
        lower=lower,
        upper=upper,
        colour=clip(colour, lower, upper),
        logit=logit,
        mask=top_pixels(logit, k),
        same=torch.zeros_like(indices),
        gradient=torch.zeros_like(lower),
    )
    for turn in range(settings.n_iter):
        w = (active.colour * active.mask[:, None]).reshape(-1, *x.shape[1:])
        # Downhill: the cross-entropy of a goal falls as it comes closer.
        aim = active.goal
        logits, _, gradient = model.with_gradient(active.x, w, aim.cross_entropy, aim.region)
        active.gradient = -gradient.flatten(2)
        found.look(active, w, logits)
        active = active.after(turn)
        if len(active.rows) == 0:
            break
        _step(active, k, 2 + turn, settings)
    return Proposal(found.w, found.count, found.count)


@dataclass(eq=False)
class _State(Unfinished):
    indices: Tensor
    lower: Tensor
    upper: Tensor
    colour: Tensor
    logit: Tensor
    mask: Tensor
    same: Tensor
    gradient: Tensor


def _step(active: _State, k: int, stream: int, settings: SparsePGDSettings) -> None:
    """Move colours and masks along the gradient, and draw masks anew that no longer move."""
    size = active.logit.shape[1]
    soft = torch.sigmoid(active.logit)
    slope = (active.gradient * active.colour).sum(dim=1) * soft * (1 - soft)
    length = slope.norm(dim=1, keepdim=True)
    slope = torch.where(length < FLAT, 0.0, slope / length.clamp(min=FLAT))
    weight = active.mask if settings.projected else soft
    direction = torch.sign(active.gradient * weight[:, None])
    active.colour = clip(active.colour + settings.step * direction, active.lower, active.upper)
    logit = active.logit + settings.mask_step * size**0.5 * slope
    mask = top_pixels(logit, k)
    same = torch.where((mask == active.mask).all(dim=1), active.same + 1, 0)
    stale = same >= settings.patience
    fresh = _drawn_logits(settings.seed, active.indices, stream, active.goal, size, logit.dtype)
    active.logit = torch.where(stale[:, None], fresh, logit)
    active.mask = torch.where(stale[:, None], top_pixels(fresh, k), mask)
    active.same = torch.where(stale, 0, same)


def _drawn_logits(
    seed: int, indices: Tensor, stream: int, goal: Goal, size: int, dtype: torch.dtype
) -> Tensor:
    """Return random mask logits (n, size); those of pixels that may not change are last."""
    logit = normal(seed, indices, stream, size, dtype)
    return logit if goal.region is None else torch.where(goal.region.flatten(1), logit, OUTSIDE)
