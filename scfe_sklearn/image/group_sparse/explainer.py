"""GroupSparseExplainer: few pixels, close together, change the class."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from scfe_sklearn._utils import Integral, Interval, Real, StrOptions
from scfe_sklearn.image.explainer import ImageExplainer, Proposal
from scfe_sklearn.image.group_sparse.refine import shorten
from scfe_sklearn.image.group_sparse.search import GroupSparseSettings, group_sparse
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel

CIFAR: dict[str, Any] = {"mu": 1.0, "step": 0.005, "n_gather": 30, "price_growth": 0.25}
IMAGENET: dict[str, Any] = {"mu": 0.1, "step": 0.05, "n_gather": 50, "price_growth": 0.9}
IMAGENET_ROBUST: dict[str, Any] = {"mu": 0.0005, "step": 0.75, "n_gather": 150, "price_growth": 0.9}
LENGTH_WEIGHT = {False: 100.0, True: 200.0}
SALIENCE = {False: 0.25, True: 0.0}
"""Power of the slopes at the image in refinement, without and with a target."""
PUBLISHED_SEARCH: dict[str, Any] = {
    "momentum": "averaged",
    "max_iter": 200,
    "n_searches": 10,
    "first_price": 0.01,
    "bounded_search": False,
    "exact_box": False,
    "length_weight": 0.0,
    "give_up": None,
    "refine_iter": 0,
}


@dataclass(eq=False, repr=False, kw_only=True)
class GroupSparseExplainer(ImageExplainer):
    """Sparse changes of images whose pixels stay together.

    Group-wise sparse explanations (GSE) [1]_ for a batch of images: proximal gradient steps with
    the exact prox of a weighted l1/2 penalty and the range of the pixels, prices that fall around
    changed pixels, and a search over the first price of every image. The change is then made
    shorter without touching more windows. Constants are for a range of the pixels that is 2 wide
    and are converted to ``bounds``.

    Parameters
    ----------
    mu : float in [0, inf) or "auto", default="auto"
        Weight of the magnitude term. "auto" starts at 1 and makes it ten times smaller, and the
        step ten times larger, for an image without any success, as models with small gradients
        need (adversarially trained ones).
    magnitude : {"squared", "norm"}, default="squared"
        The term that keeps changes small: mu times the squared 2-norm in every iteration, as in
        the published code, or mu times the 2-norm once the pixels are fixed, as in the paper.
    step : float in (0, inf), default=0.005
        Step of the proximal gradient method.
    n_gather : int in [1, inf), default=30
        Iterations of a run in which prices adapt; then the pixels that may change are fixed.
    price_growth : float in (0, 1], default=0.25
        In each of them the price of pixels away from changes is divided by it: the smaller, the
        faster these prices grow.
    max_iter : int in [1, inf), default=60
        Iterations of a run.
    n_searches : int in [1, inf), default=6
        Runs per image, each with its own first price.
    momentum : {"nesterov", "averaged"}, default="nesterov"
        "averaged" is what the published code does.
    first_price : float in (0, 1], default=0.16
        First price of the search, relative to the largest one at which anything moves.
    bounded_search : bool, default=True
        Whether the search never tries more than that largest price.
    exact_box : bool, default=True
        Whether the prox knows the range of the pixels. False is what the published code does:
        images are clipped afterwards, and may then change for less than the change costs.
    length_weight : float in [0, inf) or "auto", default="auto"
        An image keeps the run with the least windows + length_weight * 2-norm. "auto": 100, and
        200 with a target.
    give_up : float in (0, inf) or None, default=0.3
        A run ends as a failure if, ten iterations after ``n_gather``, the margin is still above
        this share of the image's own. None: never.
    refine_iter : int in [0, inf), default=50
        Evaluations for making the change shorter; 0 leaves it as found. Without a target, values
        with large slopes at the image move further, which keeps the change on salient ones.
    pixel_price : float in [0, inf), default=0.005
        Refinement gives up pixels that shorten the change by less.
    patch : int in [1, inf), default=8
        Side of the windows.
    autocast : bool, default=False
        Whether the search runs the model in mixed precision (bfloat16). Answers are verified in
        its own precision, and searched for again where they do not hold there.

    See Also
    --------
    scfe_sklearn.image.gse_parameters : The published settings, by name.

    References
    ----------
    .. [1] Sadiku, Wagner, Pokutta, "GSE: group-wise sparse and explainable adversarial attacks",
       ICLR 2025.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    >>> images = torch.rand(2, 1, 12, 12)
    >>> _ = net(images)
    >>> explanation = GroupSparseExplainer(net).explain(images)
    >>> explanation.status.tolist()
    ['found', 'found']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "mu": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "magnitude": [StrOptions({"squared", "norm"})],
        "step": [Interval(Real, 0, None, closed="neither")],
        "n_gather": [Interval(Integral, 1, None, closed="left")],
        "price_growth": [Interval(Real, 0, 1, closed="right")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_searches": [Interval(Integral, 1, None, closed="left")],
        "momentum": [StrOptions({"nesterov", "averaged"})],
        "first_price": [Interval(Real, 0, 1, closed="right")],
        "bounded_search": ["boolean"],
        "exact_box": ["boolean"],
        "length_weight": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "give_up": [Interval(Real, 0, None, closed="neither"), None],
        "refine_iter": [Interval(Integral, 0, None, closed="left")],
        "pixel_price": [Interval(Real, 0, None, closed="left")],
        "patch": [Interval(Integral, 1, None, closed="left")],
        "autocast": ["boolean"],
    }

    mu: Any = "auto"
    magnitude: str = "squared"
    step: float = 0.005
    n_gather: int = 30
    price_growth: float = 0.25
    max_iter: int = 60
    n_searches: int = 6
    momentum: str = "nesterov"
    first_price: float = 0.16
    bounded_search: bool = True
    exact_box: bool = True
    length_weight: Any = "auto"
    give_up: float | None = 0.3
    refine_iter: int = 50
    pixel_price: float = 0.005
    patch: int = 8
    autocast: bool = False

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        if min(x.shape[2:]) < 3:
            raise ValueError(
                "The images of GroupSparseExplainer must be at least 3 pixels high and wide. "
                f"Got {tuple(x.shape[2:])} instead."
            )
        auto = self.mu == "auto"
        weight = (
            LENGTH_WEIGHT[goal.targeted] if self.length_weight == "auto" else self.length_weight
        )
        settings = GroupSparseSettings(
            mu=1.0 if auto else float(self.mu),
            magnitude=self.magnitude,
            step=self.step,
            n_gather=self.n_gather,
            price_growth=self.price_growth,
            max_iter=self.max_iter,
            n_searches=self.n_searches,
            momentum=self.momentum,
            adapt_mu=auto,
            patch=self.patch,
            start=self.first_price,
            bounded=self.bounded_search,
            boxed=self.exact_box,
            length_weight=float(weight),
            give_up=math.inf if self.give_up is None else float(self.give_up),
        )
        changes = group_sparse(model, x, goal, settings)
        w, count = changes.w, changes.n_evaluations
        found = (changes.found & ~changes.already).nonzero()[:, 0]
        if self.refine_iter and len(found):
            w, salience = w.clone(), SALIENCE[goal.targeted]
            # The shortest change is at the boundary, where precision decides.
            w[found] = shorten(
                replace(model, autocast=False),
                x[found],
                w[found],
                replace(goal, reserve=None).take(found),
                price=self.pixel_price,
                n_iter=self.refine_iter,
                patch=self.patch,
                salience=salience,
            )
            passes = self.refine_iter + 1 + int(salience > 0)
            count = count.index_add(0, found, torch.full_like(found, passes))
        return Proposal(w, count, count)


def gse_parameters(name: str, targeted: bool = False) -> dict[str, Any]:
    """Return the parameters of the published GSE code, for ``GroupSparseExplainer(**...)``.

    Parameters
    ----------
    name : {"cifar", "imagenet", "imagenet_robust"}
    targeted : bool, default=False

    Examples
    --------
    >>> gse_parameters("cifar", targeted=True)["n_gather"]
    50
    """
    known = {"cifar": CIFAR, "imagenet": IMAGENET, "imagenet_robust": IMAGENET_ROBUST}
    if name not in known:
        raise ValueError(
            f"The 'name' parameter of gse_parameters must be a str among {set(known)}. "
            f"Got {name!r} instead."
        )
    constants = dict(known[name])
    if targeted and name == "cifar":
        constants["n_gather"] = 50
    return {**constants, **PUBLISHED_SEARCH}
