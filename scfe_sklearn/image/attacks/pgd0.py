"""PGD0: at most k pixels, by projected gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real
from scfe_sklearn.image.attacks.few_pixels import FewPixels
from scfe_sklearn.image.attacks.first_success import FirstSuccess, Unfinished
from scfe_sklearn.image.attacks.tiles import tile_of_values
from scfe_sklearn.image.explainer import Proposal, one_after_another
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.image.random import uniform
from scfe_sklearn.proximal.feature_sets import FeatureSets


@dataclass(eq=False, repr=False, kw_only=True)
class PGD0(FewPixels):
    r"""Changes of at most k pixels by projected gradients: PGD0 [1]_.

    .. math:: w \leftarrow P(w - step \cdot D \, g / \|g\|_1)

    with g the gradient of the cross-entropy of the goal in the D values of an image, and P the
    exact projection on {at most k pixels change, within the range}: of the values clipped to
    their range, the k pixels whose clipping gains most. An image that reaches its goal is done.

    Parameters
    ----------
    step : float in (0, inf), default=0.15
        By how much a step moves a value on average, in units of the range of the pixels.
    n_iter : int in [1, inf), default=200
    n_restarts : int in [1, inf), default=1
        Random starts; the paper takes 5.

    References
    ----------
    .. [1] Croce, Hein, "Sparse and imperceivable adversarial attacks", ICCV 2019.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> PGD0(net, n_pixels=6, step=1.0).explain(torch.rand(2, 1, 4, 4)).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **FewPixels._parameter_constraints,
        "step": [Interval(Real, 0, None, closed="neither")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
    }

    step: float = 0.15
    n_iter: int = 200
    n_restarts: int = 1

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        _, channels, height, width = x.shape
        pixel, _ = tile_of_values(channels, height, width, 1)
        lower, upper = (bound.flatten(1) for bound in model.perturbation_box(x, goal.region))
        sets = FeatureSets(pixel, lower=lower, upper=upper, dtype=x.dtype, device=x.device)

        def search(restart: int, rows: Tensor) -> Proposal:
            start = uniform(self.random_state, indices[rows], restart, x[0].numel(), x.dtype)
            start = lower[rows] + start * (upper - lower)[rows]
            return self._descend(model, x[rows], goal.take(rows), start, sets.take(rows))

        return one_after_another(search, x, self.n_restarts)

    def _descend(
        self, model: ImageModel, x: Tensor, goal: Goal, start: Tensor, every: FeatureSets
    ) -> Proposal:
        k = min(self.n_pixels, x.shape[2] * x.shape[3])
        rows = torch.arange(len(x), device=x.device)
        found, active = FirstSuccess(x), _State(rows, x, goal, rows < 0, start)
        sets = every
        for turn in range(self.n_iter + 1):
            active.w = sets.project(active.w, k)
            w = active.w.reshape(active.x.shape)
            aim = active.goal
            logits, _, gradient = model.with_gradient(active.x, w, aim.cross_entropy, aim.region)
            found.look(active, w, logits)
            flat = gradient.flatten(1)
            length = flat.abs().mean(dim=1, keepdim=True)
            active.w = active.w - self.step * flat / torch.where(length == 0, 1.0, length)
            before, active = len(active.rows), active.after(turn)
            if len(active.rows) == 0:
                break
            if len(active.rows) < before:
                sets = every.take(active.rows)
        return Proposal(found.w, found.count, found.count)


@dataclass(eq=False)
class _State(Unfinished):
    w: Tensor
