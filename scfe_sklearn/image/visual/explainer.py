"""AutoFrankWolfe: the most convincing image of another class within an lp-ball."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real, StrOptions
from scfe_sklearn.image.explainer import ImageExplainer, Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.image.random import normal
from scfe_sklearn.proximal.balls import lmo_ball_box, project_ball_box
from scfe_sklearn.solvers.gradients import (
    Ascent,
    auto_frank_wolfe,
    auto_projected_gradient,
    best_of,
)


@dataclass(eq=False, repr=False, kw_only=True)
class AutoFrankWolfe(ImageExplainer):
    r"""Sparse visual counterfactuals: maximise log p(target) over an lp-ball and the box.

    .. math:: \max_{x'} \log p(t \mid x') \quad \text{with} \quad
              \|x' - x\|_p \le radius, \; low \le x' \le high

    by Auto-Frank-Wolfe [1]_ with the exact linear oracle of the intersection, for any p >= 1, or
    by Auto-PGD with exact projections for p in {1, 2, inf}. Such images explain models that are
    robust and calibrated; on others they are adversarial examples. p = 1.5 is sparse, yet
    without the colour noise of p = 1.

    Parameters
    ----------
    p : float in [1, inf], default=1.5
    radius : float in (0, inf), default=6.0
        In the unit of the pixels.
    solver : {"afw", "apgd"}, default="afw"
    n_iter : int in [1, inf), default=75
    n_restarts : int in [1, inf), default=5
        Random starts; the best answer of all counts.
    temperature : float in (0, inf), default=1.0
        Divides the logits, see :func:`scfe_sklearn.image.calibration.temperature`.
    random_state : int, default=0
        Seed of the starts. An image's starts depend on its place among the images.
    stop_at_target : bool, default=False
        Whether an image that has its target already comes back unchanged, as for an attack. By
        default it is searched for, too: the most convincing image of its own class.
    autocast : bool, default=False
        Whether the search runs the model in mixed precision (bfloat16). Answers are verified in
        its own precision, and searched for again where they do not hold there.
    batch_size : int in [1, inf), default=64
        Images at a time.

    Notes
    -----
    Without a target, the target is the second most likely class. Where the target is not
    predicted within the ball, the best image is kept, with the status "closest, but not valid".
    An image that has its target already keeps the status "already has the target" if no image
    within the ball is more convincing.

    References
    ----------
    .. [1] Boreiko, Augustin, Croce, Berens, Hein, "Sparse visual counterfactual explanations in
       image space", GCPR 2022.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> explanation = AutoFrankWolfe(net, radius=2.0).explain(torch.rand(2, 1, 4, 4))
    >>> explanation.status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "p": [Interval(Real, 1, math.inf, closed="both")],
        "radius": [Interval(Real, 0, None, closed="neither")],
        "solver": [StrOptions({"afw", "apgd"})],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
        "stop_at_target": ["boolean"],
        "autocast": ["boolean"],
    }
    _keeps_closest = True
    _unit = None

    p: float = 1.5
    radius: float = 6.0
    solver: str = "afw"
    n_iter: int = 75
    n_restarts: int = 5
    temperature: float = 1.0
    random_state: int = 0
    stop_at_target: bool = False
    autocast: bool = False
    batch_size: int = 64

    def _chooses_target(self) -> bool:
        return True

    def _stops_at_target(self) -> bool:
        return self.stop_at_target

    def _temperature(self) -> float:
        return float(self.temperature)

    def _image_model(self, bounds: tuple[float, float]) -> ImageModel:
        if self.solver == "apgd" and self.p not in (1, 2, math.inf):
            raise ValueError(
                "The 'p' parameter of AutoFrankWolfe must be 1, 2 or inf for solver='apgd'. "
                f"Got {self.p!r} instead."
            )
        return super()._image_model(bounds)

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        lower, upper = (bound.flatten(1) for bound in model.perturbation_box(x, goal.region))

        def lmo(c: Tensor) -> Tensor:
            return lmo_ball_box(c, self.p, self.radius, lower, upper)

        def project(v: Tensor) -> Tensor:
            return project_ball_box(v, self.p, self.radius, lower, upper)

        def loss(logits: Tensor) -> Tensor:
            return goal.log_probability(logits, self.temperature)

        def evaluate(u: Tensor) -> tuple[Tensor, Tensor]:
            _, value, gradient = model.with_gradient(x, u.reshape(x.shape), loss, goal.region)
            return value, gradient.flatten(1)

        def ascend(restart: int) -> Ascent:
            # An extreme point in a random direction.
            start = lmo(normal(self.random_state, indices, restart, x[0].numel(), x.dtype))
            if self.solver == "afw":
                return auto_frank_wolfe(evaluate, lmo, start, self.n_iter)
            return auto_projected_gradient(
                evaluate, project, start, self.p, self.radius, self.n_iter
            )

        best = best_of(ascend, self.n_restarts)
        count = torch.full((len(x),), best.n_evaluations, device=x.device)
        return Proposal(best.u.reshape(x.shape), count, count)
