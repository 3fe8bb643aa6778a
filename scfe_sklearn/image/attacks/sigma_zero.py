"""SigmaZero: as few changed values as possible, wherever they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real
from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.explainer import ImageExplainer, Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel

FIRST_THRESHOLD, ADAPTS = 0.3, 0.01
BETAS, TINY = (0.9, 0.999), 1e-8
LAST_RATE = 0.1


@dataclass(eq=False, repr=False, kw_only=True)
class SigmaZero(ImageExplainer):
    r"""Changes of very few values of an image: the sigma-zero attack [1]_.

    Minimises the hinge of the margin plus a smooth count of changed values,

    .. math:: \tfrac1d \sum_i \delta_i^2 / (\delta_i^2 + \sigma),

    by Adam on gradients scaled to largest entry 1, clips to the range of the pixels, and sets
    values below a threshold to zero. The threshold of an image rises while it reaches its goal
    and falls otherwise. The sparsest change that reaches the goal is kept. Values are in units
    of the range of the pixels.

    Parameters
    ----------
    n_iter : int in [1, inf), default=300
    rate : float in (0, inf), default=1.0
        First step of Adam; falls along a cosine to a tenth.
    sigma : float in (0, inf), default=1e-3
    dynamic_threshold : bool, default=True
        Whether the threshold adapts; otherwise it stays at 0.3.

    References
    ----------
    .. [1] Cinà, Villani, Pintor, Schönherr, Biggio, Pelillo, "sigma-zero: gradient-based
       optimization of l0-norm adversarial examples", ICLR 2025.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> SigmaZero(net, n_iter=50).explain(torch.rand(2, 1, 4, 4)).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "rate": [Interval(Real, 0, None, closed="neither")],
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "dynamic_threshold": ["boolean"],
    }
    _unit = 1.0

    n_iter: int = 300
    rate: float = 1.0
    sigma: float = 1e-3
    dynamic_threshold: bool = True

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        lower, upper = model.perturbation_box(x, goal.region)
        w, n_values = torch.zeros_like(x), x[0].numel()
        mean, square = torch.zeros_like(x), torch.zeros_like(x)
        threshold = torch.full((len(x), 1, 1, 1), FIRST_THRESHOLD, dtype=x.dtype, device=x.device)
        best = torch.zeros_like(x)
        fewest = torch.full((len(x),), n_values + 1, device=x.device)

        def hinge(logits: Tensor) -> Tensor:
            return goal.margin_loss(logits).relu()

        for k in range(self.n_iter + 1):
            logits, _, gradient = model.with_gradient(x, w, hinge, goal.region)
            reached, count = goal.reached(logits), (w != 0).flatten(1).sum(dim=1)
            better = reached & (count < fewest)
            best = torch.where(per_image(better), w, best)
            fewest = torch.where(better, count, fewest)
            if k == self.n_iter:
                break
            swing = (1 + math.cos(math.pi * k / self.n_iter)) / 2
            rate = self.rate * (LAST_RATE + (1 - LAST_RATE) * swing)
            gradient = gradient + 2 * w * self.sigma / (w * w + self.sigma) ** 2 / n_values
            top = gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
            gradient = gradient / top.clamp(min=1e-12)
            mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
            square = BETAS[1] * square + (1 - BETAS[1]) * gradient**2
            flat = (square / (1 - BETAS[1] ** (k + 1))).sqrt() + TINY
            w = w - rate * mean / (1 - BETAS[0] ** (k + 1)) / flat
            w = torch.minimum(torch.maximum(w, lower), upper)
            if self.dynamic_threshold:
                move = torch.where(reached, ADAPTS, -ADAPTS).to(x.dtype) * rate / self.rate
                threshold = (threshold + per_image(move)).clamp(0, 1)
            w = torch.where(w.abs() < threshold, torch.zeros_like(w), w)
        passes = torch.full((len(x),), self.n_iter + 1, device=x.device)
        return Proposal(best, passes, passes)
