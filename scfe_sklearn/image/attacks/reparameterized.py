"""ReparameterizedAttack: a dense change, and the few of its values that are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.explainer import ImageExplainer, Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.validation import Integral, Interval, Real, StrOptions


@dataclass(eq=False, repr=False, kw_only=True)
class ReparameterizedAttack(ImageExplainer):
    r"""Changes of few values by a factor on each value of a dense change [1]_.

    A dense change d, the radius times the sign of summed gradients, is made first; then its
    factors W in w = W d are trained to keep the class that d leads to,

    .. math:: W \leftarrow W - rate \; \partial_W \, CE(x + W d), \qquad
              W \leftarrow \Omega \tanh(\max(W - threshold / radius, 0)),

    so that factors below the threshold vanish. The change with the fewest values that reaches
    the goal is kept.

    Parameters
    ----------
    room : {"ahead", "nearer"}, default="ahead"
        Whether Omega is the room of a value in the direction of d, over the radius, or the room
        on its nearer side, with which values at an end of the range never change.
    radius : float in (0, inf), default=6/255
        Of the dense change, in units of the range of the pixels.
    threshold : float in (0, 1), default=0.8
        In units of the range of the pixels: a value that moved by less goes back unless the
        gradient holds it.
    rate : float in (0, inf), default=50.0
        First step of the factors.
    growth : float in [1, inf), default=1.04
        The rate of an image grows by it in every iteration until its goal is first reached.
    n_rounds : int in [1, inf), default=10
        Gradients that are summed for the dense change.
    n_iter : int in [1, inf), default=200

    Notes
    -----
    The published code is ``room="nearer", threshold=0.45, rate=1000, growth=1``, but for what it
    gets wrong: its steps depend on the size of the batch, and an image that it finds nothing for
    gets the dense change. An image that d does not mislead is led to its next likely class here.

    See Also
    --------
    scfe_sklearn.image.noise_scores : Which changes hide the class, and which lead away from it.

    References
    ----------
    .. [1] Lin et al., arXiv 2506.17250, 2025.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> ReparameterizedAttack(net, threshold=0.5).explain(torch.rand(2, 1, 8, 8)).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "room": [StrOptions({"ahead", "nearer"})],
        "radius": [Interval(Real, 0, None, closed="neither")],
        "threshold": [Interval(Real, 0, 1, closed="neither")],
        "rate": [Interval(Real, 0, None, closed="neither")],
        "growth": [Interval(Real, 1, None, closed="left")],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
    }
    _unit = 1.0

    room: str = "ahead"
    radius: float = 6 / 255
    threshold: float = 0.8
    rate: float = 50.0
    growth: float = 1.04
    n_rounds: int = 10
    n_iter: int = 200

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        direction, label = self._dense(model, x, goal)
        towards = goal if goal.targeted else Goal(label, True)
        lower, upper = model.perturbation_box(x)
        ahead = torch.where(direction > 0, upper, -lower)
        room = torch.minimum(upper, -lower) if self.room == "nearer" else ahead
        best = torch.zeros_like(x)
        fewest = torch.full_like(indices, x[0].numel() + 1)
        rate = torch.full((len(x),), self.rate, dtype=x.dtype, device=x.device)
        # Factors times the radius: by how much a value moves.
        size = torch.zeros_like(x)
        for k in range(self.n_iter + 1):
            w = size * direction
            logits, _, gradient = model.with_gradient(x, w, towards.cross_entropy)
            count = (w != 0).flatten(1).sum(dim=1)
            better = goal.reached(logits) & (count < fewest)
            best = torch.where(per_image(better), w, best)
            fewest = torch.where(better, count, fewest)
            if k == self.n_iter:
                break
            rate = torch.where(fewest > x[0].numel(), rate * self.growth, rate)
            factor = size / self.radius - per_image(rate) * self.radius * gradient * direction
            size = room * torch.tanh((factor - self.threshold / self.radius).relu())
        passes = torch.full_like(indices, self.n_rounds + self.n_iter + 2)
        return Proposal(best, passes, passes - 1)

    def _dense(self, model: ImageModel, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return the signs of the dense change, and the likeliest class there but the goal's."""
        lower, upper = model.perturbation_box(x)
        total, w = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(self.n_rounds):
            _, _, gradient = model.with_gradient(x, w, goal.cross_entropy)
            total = total - gradient
            w = torch.minimum(torch.maximum(self.radius * total.sign(), lower), upper)
        with torch.no_grad():
            logits = model.logits(model.perturbed(x, w))
        others = logits.scatter(1, goal.label[:, None], -torch.inf)
        return total.sign(), others.argmax(dim=1)
