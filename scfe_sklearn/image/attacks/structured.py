"""StrAttack: changes of few tiles, by the alternating direction method of multipliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real
from scfe_sklearn.image.attacks.tiles import sliding_tilings
from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.explainer import ImageExplainer, Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.proximal.groups import group_norms, prox_group_radial
from scfe_sklearn.proximal.operators import clip


@dataclass(eq=False, repr=False, kw_only=True)
class StrAttack(ImageExplainer):
    r"""Structured changes by the group lasso over tiles: StrAttack [1]_.

    .. math:: \min_w \; c \cdot hinge(x + w) + \gamma \|w\|_2^2 + \tau \sum_g \|w_g\|_2,
              \quad low \le x + w \le high

    by ADMM with one copy of w per term and a linearised hinge; c is searched per image by
    bisection. The values that the best answer changes, but for the smallest of them, are then
    trained without the last term. In units in which the range of the pixels is 2 wide.

    Parameters
    ----------
    side : int in [1, inf) or None, default=None
        Of the tiles; None: 2 for images of at most 32 pixels, else 8.
    stride : int in [1, inf) or None, default=None
        Pixels by which tiles slide, a divisor of their side. None: ``side``, so that tiles lie
        side by side. With s = side / stride, every value is in s^2 tiles, whose norms all count,
        and each of the s^2 ways to lay tiles side by side has a copy of w of its own.
    gamma : float in [0, inf), default=1.0
    tau : float in [0, inf), default=2.0
    rho : float in (0, inf), default=1.0
        Penalty of copies that differ.
    alpha : float in (0, inf), default=5.0
        Steps on the hinge are 1 / (alpha sqrt(k) + 3 rho) in iteration k.
    first_weight : float in (0, inf), default=0.25
        First c; ten times more after a failure until the first success.
    n_searches : int in [1, inf), default=8
        Values of c per image.
    n_iter : int in [1, inf), default=200
        Iterations for each of them.
    quantile : float in [0, 1), default=0.03
        Share of an answer's values that training leaves out, of its smallest.
    n_retrain : int in [0, inf), default=200

    Notes
    -----
    Every image has its own quantile and its own steps, whatever its batch; the published code's
    depend on the batch. What is judged is the copy that is sparse, clipped to the range; with
    sliding tiles the mean of these copies, and 0 where one of them is 0.

    References
    ----------
    .. [1] Xu, Liu, Zhao, Chen, Zhang, Fan, Erdogmus, Wang, Lin, "Structured adversarial attack:
       towards general implementation and better interpretability", ICLR 2019.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> explainer = StrAttack(net, n_iter=50, n_retrain=50)
    >>> explainer.explain(torch.rand(2, 1, 8, 8)).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "side": [Interval(Integral, 1, None, closed="left"), None],
        "stride": [Interval(Integral, 1, None, closed="left"), None],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "tau": [Interval(Real, 0, None, closed="left")],
        "rho": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "first_weight": [Interval(Real, 0, None, closed="neither")],
        "n_searches": [Interval(Integral, 1, None, closed="left")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "quantile": [Interval(Real, 0, 1, closed="left")],
        "n_retrain": [Interval(Integral, 0, None, closed="left")],
    }

    side: int | None = None
    stride: int | None = None
    gamma: float = 1.0
    tau: float = 2.0
    rho: float = 1.0
    alpha: float = 5.0
    first_weight: float = 0.25
    n_searches: int = 8
    n_iter: int = 200
    quantile: float = 0.03
    n_retrain: int = 200

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        side = self.side or (2 if max(x.shape[2:]) <= 32 else 8)
        stride = self.stride or side
        if side % stride:
            raise ValueError(
                f"The 'stride' parameter of StrAttack must be a divisor of the side {side}. "
                f"Got {stride} instead."
            )
        _, channels, height, width = x.shape
        tilings = [
            (tiles.to(x.device), n_tiles)
            for tiles, n_tiles in sliding_tilings(channels, height, width, side, stride)
        ]
        run = _Run(self, model, x, goal, tilings)
        best = torch.zeros_like(x)
        score = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        weight, won = torch.full_like(score, self.first_weight), torch.zeros_like(score)
        below, above = torch.zeros_like(score), torch.full_like(score, torch.inf)
        for _ in range(self.n_searches):
            w, value = run.admm(weight, None, self.n_iter)
            success = value < torch.inf
            better = value < score
            best, score = torch.where(per_image(better), w, best), torch.where(better, value, score)
            won = torch.where(better, weight, won)
            above = torch.where(success, weight, above)
            below = torch.where(success, below, weight)
            weight = torch.where(above < torch.inf, (below + above) / 2, 10 * weight)
        if self.n_retrain:
            keep = best.abs() > run.smallest(best, self.quantile)
            w, value = run.admm(won, keep, self.n_retrain)
            best = torch.where(per_image(value < torch.inf), w, best)
        steps = self.n_searches * self.n_iter + self.n_retrain
        count = torch.full_like(indices, steps)
        return Proposal(best, 2 * count, count)


class _Run:
    """ADMM on one batch, at given weights of the hinge."""

    def __init__(
        self,
        settings: StrAttack,
        model: ImageModel,
        x: Tensor,
        goal: Goal,
        tilings: list[tuple[Tensor, int]],
    ) -> None:
        self.settings, self.model, self.x, self.goal = settings, model, x, goal
        self.tilings = tilings
        self.lower, self.upper = model.perturbation_box(x, goal.region)

    def admm(self, weight: Tensor, keep: Tensor | None, n_iter: int) -> tuple[Tensor, Tensor]:
        """Return each image's best answer and its value, infinite where there is none.

        With ``keep``, only those values change, and tiles cost nothing.
        """
        rho, gamma = self.settings.rho, self.settings.gamma
        best = torch.zeros_like(self.x)
        score = torch.full_like(weight, torch.inf)
        # Where tiles cost nothing, one copy is as good as many.
        tilings = self.tilings if keep is None else self.tilings[:1]
        z, duals = best, [best] * (2 + len(tilings))
        for k in range(n_iter):
            _, _, gradient = self.model.with_gradient(self.x, z, self._hinge, self.goal.region)
            u, s, *v = duals
            short = rho / (rho + 2 * gamma) * (z - u / rho)
            inside = clip(z - s / rho, self.lower, self.upper)
            sparse = [
                self._sparse(z - dual / rho, tiling, keep)
                for dual, tiling in zip(v, tilings, strict=True)
            ]
            copies = [short, inside, *sparse]
            eta = self.settings.alpha * (k + 1) ** 0.5
            total = sum(duals, eta * z + rho * sum(copies)) - per_image(weight) * gradient
            z = total / (eta + len(copies) * rho)
            duals = [dual + rho * (copy - z) for dual, copy in zip(duals, copies, strict=True)]
            w = clip(_common(sparse), self.lower, self.upper)
            value = self._value(w, keep)
            better = self._reached(w) & (value < score)
            best, score = torch.where(per_image(better), w, best), torch.where(better, value, score)
        return best, score

    def smallest(self, w: Tensor, quantile: float) -> Tensor:
        """Return, per image, the size below which a share of the changed values lies."""
        size = w.abs().flatten(1)
        count = (size > 0).sum(dim=1)
        ordered = size.sort(dim=1, descending=True).values
        ordered = torch.cat([ordered, torch.zeros_like(ordered[:, :1])], dim=1)
        first = count - (quantile * count).long()
        return per_image(ordered.gather(1, first[:, None])[:, 0])

    def _hinge(self, logits: Tensor) -> Tensor:
        return self.goal.margin_loss(logits).relu()

    def _reached(self, w: Tensor) -> Tensor:
        with torch.no_grad():
            logits = self.model.logits(self.model.perturbed(self.x, w))
        return self.goal.reached(logits)

    def _sparse(self, point: Tensor, tiling: tuple[Tensor, int], keep: Tensor | None) -> Tensor:
        if keep is not None:
            return point * keep
        step = self.settings.tau / self.settings.rho
        return prox_group_radial(point.flatten(1), step, *tiling, 1.0).reshape(point.shape)

    def _value(self, w: Tensor, keep: Tensor | None) -> Tensor:
        flat = w.flatten(1)
        value = self.settings.gamma * flat.square().sum(dim=1)
        if keep is None:
            for tiling in self.tilings:
                norms = group_norms(flat, *tiling)
                value = value + self.settings.tau * norms.sum(dim=1)
        return value


def _common(copies: list[Tensor]) -> Tensor:
    """Return the mean of sparse copies, 0 where one of them is 0."""
    stacked = torch.stack(copies)
    return torch.where((stacked != 0).all(dim=0), stacked.mean(dim=0), 0.0)
