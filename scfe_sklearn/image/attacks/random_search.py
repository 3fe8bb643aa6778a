"""SparseRandomSearch: at most k pixels, found without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real
from scfe_sklearn.image.active_batch import every_few, top_pixels
from scfe_sklearn.image.attacks.few_pixels import FewPixels
from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.explainer import Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.image.random import uniform

BREAKS = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
DIVISORS = (2, 4, 5, 6, 8, 10, 12, 15, 20)
FULL = 10_000
"""After BREAKS queries, of FULL, the share of pixels that moves is divided by DIVISORS."""


@dataclass(eq=False, repr=False, kw_only=True)
class SparseRandomSearch(FewPixels):
    """Changes of at most k pixels of a black box: the Sparse-RS attack [1]_.

    Starts with k random pixels in random corners of the colour cube. Each query restores some of
    them and paints as many others; it is kept where the margin does not rise. No gradients are
    used. An image that reaches its goal is done.

    Parameters
    ----------
    n_queries : int in [1, inf), default=1000
    share : float in (0, 1], default=0.3
        Share of the pixels that moves in the first query; falls in steps.

    References
    ----------
    .. [1] Croce, Andriushchenko, Singh, Flammarion, Hein, "Sparse-RS: a versatile framework for
       query-efficient sparse black-box adversarial attacks", AAAI 2022.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> SparseRandomSearch(net, n_pixels=6).explain(torch.rand(2, 1, 4, 4)).status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **FewPixels._parameter_constraints,
        "n_queries": [Interval(Integral, 1, None, closed="left")],
        "share": [Interval(Real, 0, 1, closed="right")],
    }

    n_queries: int = 1000
    share: float = 0.3

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        return random_search(
            model, x, goal, indices, self.n_pixels, self.n_queries, self.share, self.random_state
        )


def random_search(
    model: ImageModel,
    x: Tensor,
    goal: Goal,
    indices: Tensor,
    n_pixels: int,
    n_queries: int,
    share: float,
    seed: int,
) -> Proposal:
    """Search changes of at most ``n_pixels`` pixels of a batch of images by queries alone."""
    n, channels, height, width = x.shape
    size = height * width
    k = min(n_pixels, size)
    low, high = model.bounds

    def draw(rows: Tensor, query: int) -> tuple[Tensor, Tensor]:
        """Return an order of the pixels, and corners of the colour cube."""
        numbers = uniform(seed, indices[rows], query, (1 + channels) * size, x.dtype)
        order = numbers[:, :size]
        corner = torch.where(numbers[:, size:] < 0.5, low, high).to(x.dtype)
        corner = corner.reshape(-1, channels, size)
        if goal.region is not None:
            # Pixels outside are chosen last, and keep their colours.
            inside = goal.region[rows].flatten(1)
            order = torch.where(inside, order, 1.5)
            corner = torch.where(inside[:, None], corner, x[rows].flatten(2))
        return order, corner

    def margin(rows: Tensor, chosen: Tensor, colour: Tensor) -> Tensor:
        image = torch.where(chosen[:, None], colour, x[rows].flatten(2))
        with torch.no_grad():
            return goal.take(rows).margin_loss(model.logits(image.reshape(-1, *x.shape[1:])))

    active = torch.arange(n, device=x.device)
    order, colour = draw(active, 0)
    chosen = top_pixels(-order, k)
    value = margin(active, chosen, colour)
    asked = torch.ones(n, dtype=torch.long, device=x.device)
    rest = every_few(x.device)
    for query in range(1, n_queries):
        if (query - 1) % rest == 0:
            active = (value >= 0).nonzero()[:, 0]
            if len(active) == 0:
                break
        moving = min(max(int(moving_share(query, n_queries, share) * k), 1), size - k)
        order, corner = draw(active, query)
        now = chosen[active]
        trial, enter = _moved(now, order, moving)
        paint = torch.where(enter[:, None], corner, colour[active])
        new = margin(active, trial, paint)
        # Not of images that are done, and have not left yet.
        needed = value[active] >= 0
        asked[active] += needed.long()
        better = needed & (new <= value[active])
        value[active] = torch.where(better, new, value[active])
        chosen[active] = torch.where(better[:, None], trial, now)
        colour[active] = torch.where(better[:, None, None], paint, colour[active])
    image = torch.where(chosen[:, None], colour, x.flatten(2)).reshape(x.shape)
    w = torch.where(per_image(value < 0), (image - x) / model.scale, torch.zeros_like(x))
    return Proposal(w, asked, torch.zeros_like(asked))


def _moved(chosen: Tensor, order: Tensor, moving: int) -> tuple[Tensor, Tensor]:
    """Replace the first ``moving`` chosen pixels by others; also returns those that enter."""
    # Where no pixel is left to move to, only colours change.
    leave = top_pixels(-torch.where(chosen, order, 2.0), max(moving, 1))
    enter = top_pixels(-torch.where(chosen, 2.0, order), moving) if moving else leave
    return (chosen & ~leave) | enter, enter


def moving_share(query: int, n_queries: int, first: float) -> float:
    """Return the share of the pixels that a query moves.

    Examples
    --------
    >>> [round(moving_share(query, 10_000, 0.3), 3) for query in (0, 1, 50, 51, 8000, 8001)]
    [0.3, 0.15, 0.15, 0.075, 0.02, 0.015]
    """
    done = query * FULL / n_queries
    passed = [by for at, by in zip(BREAKS, DIVISORS, strict=True) if done > at]
    return first / (passed[-1] if passed else 1)
