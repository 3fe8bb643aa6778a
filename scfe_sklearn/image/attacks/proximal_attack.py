"""ProximalAttack: proximal gradient steps with one price for all pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real, StrOptions
from scfe_sklearn.image.attacks.first_success import FirstSuccess, Unfinished
from scfe_sklearn.image.explainer import ImageExplainer, Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.proximal.operators import SCALAR_PROX

EXPONENTS = {"l0": 0.0, "l1/2": 0.5, "l2/3": 2 / 3, "l1": 1.0}


@dataclass(eq=False, repr=False, kw_only=True)
class ProximalAttack(ImageExplainer):
    r"""Sparse changes by the proximal gradient method with a fixed weight of the penalty [1]_.

    .. math:: w \leftarrow \operatorname{prox}_{step \, weight \, \|\cdot\|_p^p}
              (w - step \, \nabla hinge(x + w)), \qquad low \le x + w \le high

    with the exact proximal operator of penalty and range. This is GSE without its adjusted
    prices: every value of every pixel costs the same. An image that reaches its goal is done.
    In units in which the range of the pixels is 2 wide.

    Parameters
    ----------
    penalty : {"l0", "l1/2", "l2/3", "l1"}, default="l1/2"
        The number of changed values, or the sum of their sizes to the power p.
    weight : float in [0, inf), default=0.05
        Of the penalty. An image whose gradient is too small for it never changes: its largest
        size must be above weight for "l1", and above sqrt(2 weight / step) for "l0".
    step : float in (0, inf), default=0.005
    n_iter : int in [1, inf), default=200

    See Also
    --------
    GroupSparseExplainer : Weights that adapt, so that changes gather.

    References
    ----------
    .. [1] Sadiku, Wagner, Pokutta, "GSE: group-wise sparse and explainable adversarial attacks",
       ICLR 2025, section 2 (before the weights adapt).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> explainer = ProximalAttack(net, step=0.5, weight=0.01)
    >>> explainer.explain(torch.rand(2, 1, 4, 4)).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "penalty": [StrOptions(set(EXPONENTS))],
        "weight": [Interval(Real, 0, None, closed="left")],
        "step": [Interval(Real, 0, None, closed="neither")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
    }

    penalty: str = "l1/2"
    weight: float = 0.05
    step: float = 0.005
    n_iter: int = 200

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        prox = SCALAR_PROX[EXPONENTS[self.penalty]]
        if self.penalty in ("l1/2", "l2/3"):
            # Without a wait for the device.
            prox = partial(prox, holds_zero=True)
        lower, upper = model.perturbation_box(x, goal.region)
        rows = torch.arange(len(x), device=x.device)
        zero = torch.zeros_like(x)
        found, active = FirstSuccess(x), _State(rows, x, goal, rows < 0, zero, lower, upper)
        for turn in range(self.n_iter + 1):
            aim = active.goal
            logits, _, gradient = model.with_gradient(
                active.x, active.w, aim.margin_loss, aim.region
            )
            found.look(active, active.w, logits)
            active.w = prox(
                (active.w - self.step * gradient).flatten(1),
                self.step,
                self.weight,
                active.lower.flatten(1),
                active.upper.flatten(1),
            ).reshape(active.x.shape)
            active = active.after(turn)
            if len(active.rows) == 0:
                break
        return Proposal(found.w, found.count, found.count)


@dataclass(eq=False)
class _State(Unfinished):
    w: Tensor
    lower: Tensor
    upper: Tensor
