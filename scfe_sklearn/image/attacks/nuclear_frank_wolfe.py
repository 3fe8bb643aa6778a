"""NuclearFrankWolfe: changes of low rank in few tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real
from scfe_sklearn.image.attacks.first_success import Unfinished
from scfe_sklearn.image.attacks.tiles import from_tiles, to_tiles
from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.explainer import ImageExplainer, Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.proximal.groups import lmo_group_nuclear

GOLDEN = (5**0.5 - 1) / 2


@dataclass(eq=False, repr=False, kw_only=True)
class NuclearFrankWolfe(ImageExplainer):
    r"""Structured changes of a ball of the nuclear group norm: the FWnucl attack [1]_.

    Lowers the cross-entropy of the goal over

    .. math:: \textstyle\sum_g \|w_g\|_* \le radius ,

    with one matrix of pixels per tile, its channels side by side, by Frank-Wolfe: each iteration
    moves towards one rank-one matrix in one tile, by a golden-section search. The
    loss is that of the image clipped to its range.

    Parameters
    ----------
    radius : float in (0, inf), default=5.0
        In units in which the range of the pixels is 2 wide; of the change before it is clipped.
    side : int in [1, inf) or None, default=None
        Of the tiles; None: 4 for images of at most 32 pixels, else 32.
    n_iter : int in [1, inf), default=200
    n_line : int in [1, inf), default=15
        Forward passes of a line search, less one.
    stop_early : bool, default=True
        Whether an image that reaches its goal is done. The published code goes on, which costs
        pixels.

    References
    ----------
    .. [1] Kazemi, Kerdreux, Wang, "Generating structured adversarial attacks using Frank-Wolfe
       method", 2021.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> NuclearFrankWolfe(net).explain(torch.rand(2, 1, 8, 8)).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "radius": [Interval(Real, 0, None, closed="neither")],
        "side": [Interval(Integral, 1, None, closed="left"), None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "n_line": [Interval(Integral, 1, None, closed="left")],
        "stop_early": ["boolean"],
    }

    radius: float = 5.0
    side: int | None = None
    n_iter: int = 200
    n_line: int = 15
    stop_early: bool = True

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        side = self.side or (4 if max(x.shape[2:]) <= 32 else 32)
        # Adversarial, with the least cross-entropy of the goal so far.
        found, forward = torch.zeros_like(x), torch.zeros_like(indices)
        backward = torch.zeros_like(indices)
        least = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        rows = torch.arange(len(x), device=x.device)
        active = _State(rows, x, goal, rows < 0, torch.zeros_like(x), torch.zeros_like(x))
        for turn in range(self.n_iter + 1):
            logits, value, active.gradient = model.with_gradient(
                active.x, active.w, active.goal.cross_entropy, active.goal.region
            )
            better = active.goal.reached(logits) & (value < least[active.rows]) & ~active.done
            found[active.rows] = torch.where(per_image(better), active.w, found[active.rows])
            least[active.rows] = torch.where(better, value, least[active.rows])
            forward[active.rows] += (~active.done).long()
            backward[active.rows] += (~active.done).long()
            if turn == self.n_iter:
                break
            if self.stop_early:
                active.done = active.done | better
                active = active.after(turn)
                if len(active.rows) == 0:
                    break
            forward[active.rows] += (~active.done).long() * (self.n_line + 1)
            corner = lmo_group_nuclear(to_tiles(-active.gradient, side), self.radius)
            corner = from_tiles(corner, active.x.shape)
            if active.goal.region is not None:
                corner = torch.where(active.goal.region, corner, 0.0)
            direction = corner - active.w
            active.w = active.w + per_image(self._line(model, active, direction)) * direction
        lower, upper = model.perturbation_box(x, goal.region)
        return Proposal(torch.minimum(torch.maximum(found, lower), upper), forward, backward)

    def _line(self, model: ImageModel, active: _State, direction: Tensor) -> Tensor:
        def value(step: Tensor) -> Tensor:
            image = model.perturbed(active.x, active.w + per_image(step) * direction)
            with torch.no_grad():
                return active.goal.cross_entropy(model.logits(image))

        return golden_section(value, torch.ones_like(active.w[:, 0, 0, 0]), self.n_line)


@dataclass(eq=False)
class _State(Unfinished):
    w: Tensor
    gradient: Tensor


def golden_section(value: Callable[[Tensor], Tensor], high: Tensor, n_iter: int) -> Tensor:
    """Minimise a function of one number per row over [0, high] by golden sections.

    Takes ``n_iter`` + 1 evaluations and finds the minimum of a unimodal function to within
    high * 0.618^n_iter.

    Examples
    --------
    >>> golden_section(lambda s: (s - 0.25) ** 2, torch.ones(1), 30)
    tensor([0.2500])
    """
    low = torch.zeros_like(high)
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(n_iter - 1):
        down = at_left <= at_right
        low, high = torch.where(down, low, left), torch.where(down, right, high)
        width = GOLDEN * (high - low)
        new = torch.where(down, high - width, low + width)
        at_new = value(new)
        left, right, at_left, at_right = (
            torch.where(down, new, right),
            torch.where(down, left, new),
            torch.where(down, at_new, at_right),
            torch.where(down, at_left, at_new),
        )
    return torch.where(at_left <= at_right, left, right)
