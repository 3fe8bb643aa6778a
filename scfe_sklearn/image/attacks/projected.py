"""FastGradientSign and ProjectedGradient: the dense attacks that everything is compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real, StrOptions
from scfe_sklearn.image.explainer import ImageExplainer, Proposal, one_after_another
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.image.random import normal, uniform
from scfe_sklearn.proximal.balls import lmo_ball_box, project_ball_box
from scfe_sklearn.solvers.gradients import auto_projected_gradient, projected_gradient


@dataclass(eq=False, repr=False, kw_only=True)
class FastGradientSign(ImageExplainer):
    r"""The best change within an lp-ball for a model that is taken to be linear: FGSM [1]_.

    One gradient g of the cross-entropy, one linear oracle:

    .. math:: \operatorname{argmax}_w \langle g, w \rangle \quad \text{with} \quad
              \|w\|_p \le radius, \; low \le x + w \le high,

    which is the sign of the gradient times the radius for p = inf, and exact within the range of
    the pixels for every p.

    Parameters
    ----------
    p : float in [1, inf], default=inf
    radius : float in (0, inf), default=8/255
        In the unit of the pixels.

    References
    ----------
    .. [1] Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", ICLR
       2015.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> images = torch.rand(2, 1, 4, 4)
    >>> FastGradientSign(net, radius=0.5).explain(images).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "p": [Interval(Real, 1, math.inf, closed="both")],
        "radius": [Interval(Real, 0, None, closed="neither")],
    }
    _unit = None

    p: float = math.inf
    radius: float = 8 / 255

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        _, _, gradient = model.with_gradient(
            x, torch.zeros_like(x), goal.cross_entropy, goal.region
        )
        lower, upper = (bound.flatten(1) for bound in model.perturbation_box(x, goal.region))
        w = lmo_ball_box(-gradient.flatten(1), self.p, self.radius, lower, upper)
        return Proposal(w.reshape(x.shape), torch.ones_like(indices), torch.ones_like(indices))


@dataclass(eq=False, repr=False, kw_only=True)
class ProjectedGradient(ImageExplainer):
    """Changes within an lp-ball by projected gradients: PGD [1]_, Auto-PGD [2]_ and I-FGSM [3]_.

    Maximises the loss over ball and box from random starts, with exact projections on their
    intersection. Of all points that reach the goal, the one with the largest loss is kept; an
    image that has one needs no further start.

    Parameters
    ----------
    p : {1, 2, inf}, default=inf
    radius : float in (0, inf), default=8/255
        In the unit of the pixels.
    step : float in (0, inf) or "auto", default="auto"
        Length of a step in the norm of the ball, in the unit of the pixels, for p = 2 and inf;
        "auto" is Auto-PGD.
    loss : {"cross_entropy", "margin"}, default="cross_entropy"
        What steps raise.
    n_iter : int in [1, inf), default=40
    n_restarts : int in [1, inf), default=1
        Random starts.
    random_start : bool, default=True
        False: start at the image itself, once. With ``step`` a number and p = inf that is I-FGSM.
    random_state : int, default=0
        Seed of the starts. An image's starts depend on its place among the images.

    References
    ----------
    .. [1] Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep learning models resistant to
       adversarial attacks", ICLR 2018.
    .. [2] Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
       parameter-free attacks", ICML 2020.
    .. [3] Kurakin, Goodfellow, Bengio, "Adversarial machine learning at scale", ICLR 2017.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> images = torch.rand(2, 1, 4, 4)
    >>> ProjectedGradient(net, p=2, radius=2.0, step=0.5).explain(images).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "p": [Interval(Real, 1, math.inf, closed="both")],
        "radius": [Interval(Real, 0, None, closed="neither")],
        "step": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "loss": [StrOptions({"cross_entropy", "margin"})],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "random_start": ["boolean"],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }
    _unit = None

    p: float = math.inf
    radius: float = 8 / 255
    step: Any = "auto"
    loss: str = "cross_entropy"
    n_iter: int = 40
    n_restarts: int = 1
    random_start: bool = True
    random_state: int = 0

    def _image_model(self, bounds: tuple[float, float]) -> ImageModel:
        if self.p not in (1, 2, math.inf):
            raise ValueError(
                "The 'p' parameter of ProjectedGradient must be 1, 2 or inf. "
                f"Got {self.p!r} instead."
            )
        if self.p == 1 and self.step != "auto":
            raise ValueError(
                "The 'step' parameter of ProjectedGradient must be 'auto' for p=1. "
                f"Got {self.step!r} instead."
            )
        return super()._image_model(bounds)

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        def search(restart: int, rows: Tensor) -> Proposal:
            return self._ascend(model, x[rows], goal.take(rows), indices[rows], restart)

        return one_after_another(search, x, self.n_restarts if self.random_start else 1)

    def _ascend(
        self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor, restart: int
    ) -> Proposal:
        """Return the best point of one start that reaches the goal: zeros where there is none."""
        lower, upper = (bound.flatten(1) for bound in model.perturbation_box(x, goal.region))
        best = torch.zeros_like(x).flatten(1)
        most = torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)

        def loss(logits: Tensor) -> Tensor:
            lowered = goal.margin_loss if self.loss == "margin" else goal.cross_entropy
            return -lowered(logits)

        def evaluate(u: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal best, most
            logits, value, gradient = model.with_gradient(x, u.reshape(x.shape), loss, goal.region)
            better = goal.reached(logits) & (value > most)
            best, most = torch.where(better[:, None], u, best), torch.where(better, value, most)
            return value, gradient.flatten(1)

        def project(v: Tensor) -> Tensor:
            return project_ball_box(v, self.p, self.radius, lower, upper)

        start = torch.zeros_like(best)
        if self.random_start:
            # Between the image and an extreme point in a random direction.
            seed, size = self.random_state, best.shape[1]
            direction = normal(seed, indices, 2 * restart, size, x.dtype)
            start = lmo_ball_box(direction, self.p, self.radius, lower, upper)
            start = start * uniform(seed, indices, 2 * restart + 1, 1, x.dtype)
        if self.step == "auto":
            auto_projected_gradient(evaluate, project, start, self.p, self.radius, self.n_iter)
        else:
            projected_gradient(evaluate, project, start, self.p, self.step, self.n_iter)
        count = torch.full_like(indices, self.n_iter + 1)
        return Proposal(best.reshape(x.shape), count, count)
