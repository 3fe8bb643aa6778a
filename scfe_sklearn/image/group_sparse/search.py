r"""Group-wise sparse changes of images (GSE), for a batch whose images advance on their own.

.. math:: \min_w \; hinge(x + w) + \mu \|w\|_2^2
          + \sum_{ij} \lambda_{ij} \sum_c |w_{ijc}|^{1/2}, \quad x + w \text{ in the box}

In the first iterations of a run the prices :math:`\lambda_{ij}` fall around the pixels that
change and rise elsewhere, so that changes gather; then the pixels whose price fell are kept, and
the rest of the run is accelerated gradient descent on them. A run ends at the first image that
reaches its goal. Around the runs, a search raises each image's first price after a success and
lowers it after a failure, and keeps the change that touches the fewest windows.

Sadiku, Wagner, Pokutta, "GSE: group-wise sparse and explainable adversarial attacks", ICLR 2025.
Lambda is that of the 1/2-convention of :mod:`scfe_sklearn.proximal`, half the published code's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from scfe_sklearn.image.active_batch import ActiveBatch, every_few
from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.group_sparse.neighbourhood import adjust_prices
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.metrics import lengths, n_patches
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.proximal.operators import prox_l_half

CRITICAL = 4 / 54**0.5
"""The largest lambda whose first step is not zero, over sqrt(step) |gradient|_max^(3/2): there
3/2 (step lambda)^(2/3) = step |gradient|_max."""

PATIENCE = 10

BOLDER = 10.0
"""Factor on the step of images without any success in the last two runs."""


@dataclass(frozen=True)
class GroupSparseSettings:
    """Constants of GSE, for a range of the pixels that is 2 wide.

    Parameters
    ----------
    mu : float
        Weight of the magnitude term.
    magnitude : {"squared", "norm"}
        The squared length in both parts of a run, or the length in the second part alone.
    step : float
        Step of the proximal gradient method.
    n_gather : int
        Iterations in which prices adapt.
    price_growth : float
        Prices away from changes are divided by it in each of them.
    max_iter : int
        Iterations of a run.
    n_searches : int
        Runs per image, one lambda each.
    momentum : {"nesterov", "averaged"}
        Extrapolation, or the average with the last point that the published code takes.
    adapt_mu : bool
        Whether an image without any success divides ``mu`` by 10 and gets a ten times larger
        step, for models whose gradients are small.
    patch : int
        Side of the windows that are counted.
    start : float
        First lambda of an image, as a share of the critical one.
    bounded : bool
        Whether the search knows that nothing moves from the critical lambda on.
    boxed : bool
        Whether the prox knows the range of the pixels; if not, images are clipped after it.
    length_weight : float
        What length counts beside windows where two changes of an image are compared.
    give_up : float
        A run fails early if, ``PATIENCE`` iterations after prices were settled, the margin is
        still above this share of the image's own.
    """

    mu: float = 1.0
    magnitude: str = "squared"
    step: float = 0.005
    n_gather: int = 30
    price_growth: float = 0.25
    max_iter: int = 200
    n_searches: int = 10
    momentum: str = "nesterov"
    adapt_mu: bool = False
    patch: int = 8
    start: float = 0.16
    bounded: bool = True
    boxed: bool = True
    length_weight: float = 100.0
    give_up: float = 0.3


@dataclass(frozen=True, eq=False)
class Changes:
    """Changes of n images: rows of zeros where ``found`` is False.

    Parameters
    ----------
    w : Tensor of shape (n, C, H, W)
    found : bool Tensor of shape (n,)
    already : bool Tensor of shape (n,)
        Whether the image is at its goal without a change.
    n_evaluations : LongTensor of shape (n,)
        Forward passes with a backward pass.
    """

    w: Tensor
    found: Tensor
    already: Tensor
    n_evaluations: Tensor


@dataclass(eq=False)
class _State(ActiveBatch):
    lower: Tensor
    upper: Tensor
    # The image without a change: every run starts there.
    first: Tensor
    missing: Tensor
    # The search over lambda.
    price: Tensor
    critical: Tensor
    below: Tensor
    above: Tensor
    n_runs: Tensor
    mu: Tensor
    step: Tensor
    best: Tensor
    score: Tensor
    # The present run.
    w: Tensor
    last: Tensor
    prices: Tensor
    support: Tensor
    iteration: Tensor
    count: Tensor


def group_sparse(
    model: ImageModel, x: Tensor, goal: Goal, settings: GroupSparseSettings
) -> Changes:
    """Search group-wise sparse changes of a batch of images.

    One evaluation of the model per iteration serves the test for success and the next step. An
    image whose run ends starts its next one in the same iteration, with the gradient that it has
    kept, so images do not wait for one another; those with all their runs leave the batch.

    Parameters
    ----------
    model : ImageModel
    x : Tensor of shape (n, C, H, W)
    goal : Goal
    settings : GroupSparseSettings

    Returns
    -------
    Changes
    """
    n = len(x)
    zero = torch.zeros_like(x)
    _, loss, first = model.with_gradient(x, zero, goal.margin_loss, goal.region)
    already = loss < 0
    best, n_evaluations = torch.zeros_like(x), torch.ones(n, dtype=torch.long, device=x.device)
    score = torch.full((n,), torch.inf, dtype=x.dtype, device=x.device)
    if settings.n_searches < 1:
        return Changes(best, already, already, n_evaluations)
    state = _begin(model, x, goal, first, loss, settings)
    rest = every_few(x.device)
    # Images that are done go on until they leave.
    momentum = _momentum(settings.momentum, settings.max_iter + rest, x)
    pending = state.take((~already).nonzero()[:, 0])
    gradient = pending.first
    turn = 0
    while len(pending.rows) > 0:
        _advance(pending, model, gradient, settings, momentum)
        aim = pending.goal
        _, loss, gradient = model.with_gradient(pending.x, pending.w, aim.margin_loss, aim.region)
        pending.count += (pending.n_runs < settings.n_searches).long()
        _judge(pending, loss, settings)
        # The hinge is flat where the goal is reached, and a new run starts at the image itself.
        fresh = pending.iteration == 0
        gradient = torch.where(per_image(fresh), pending.first, gradient)
        turn += 1
        if turn % rest == 0:
            done = pending.n_runs >= settings.n_searches
            if bool(done.any()):
                out = pending.rows[done]
                best[out], score[out] = pending.best[done], pending.score[done]
                n_evaluations[out] += pending.count[done]
                keep = (~done).nonzero()[:, 0]
                pending, gradient = pending.take(keep), gradient[keep]
    return Changes(best, score < torch.inf, already, n_evaluations)


def _begin(
    model: ImageModel,
    x: Tensor,
    goal: Goal,
    first: Tensor,
    loss: Tensor,
    settings: GroupSparseSettings,
) -> _State:
    n, height, width = len(x), x.shape[2], x.shape[3]
    lower, upper = model.perturbation_box(x, goal.region)
    zero = torch.zeros_like(x)

    def each(value: float) -> Tensor:
        return torch.full((n,), value, dtype=x.dtype, device=x.device)

    step = each(settings.step)
    critical = critical_price(first, step)
    price = settings.start * critical
    return _State(
        rows=torch.arange(n, device=x.device),
        x=x,
        goal=goal,
        lower=lower,
        upper=upper,
        first=first,
        missing=loss,
        price=price,
        critical=critical,
        below=each(0.0),
        above=critical if settings.bounded else each(torch.inf),
        n_runs=torch.zeros(n, dtype=torch.long, device=x.device),
        mu=each(settings.mu),
        step=step,
        best=zero,
        score=each(torch.inf),
        w=zero,
        last=zero,
        prices=per_image(price).expand(n, 1, height, width).clone(),
        support=torch.ones(n, 1, height, width, dtype=torch.bool, device=x.device),
        iteration=torch.zeros(n, dtype=torch.long, device=x.device),
        count=torch.zeros(n, dtype=torch.long, device=x.device),
    )


def critical_price(gradient: Tensor, step: Tensor) -> Tensor:
    """Return the largest lambda (n,) whose first proximal step from zero is not zero.

    Examples
    --------
    >>> critical_price(torch.full((1, 1, 1, 1), 3.0), torch.tensor([0.5]))
    tensor([2.0000])
    """
    return CRITICAL * step.sqrt() * gradient.abs().amax(dim=(1, 2, 3)) ** 1.5


Momentum = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From the iteration (n,) of each image, its new and its last prox point to the next point."""


def _momentum(kind: str, n: int, like: Tensor) -> Momentum:
    """Return the first n steps of Nesterov's method, or the published average."""
    roots = [1.0]
    for _ in range(n + 1):
        roots.append((1 + (1 + 4 * roots[-1] ** 2) ** 0.5) / 2)

    def there(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device)

    if kind == "averaged":
        # Rounded once, from double precision.
        shares = [now / after for now, after in pairwise(roots)]
        new, old = there(shares), there([1 - share for share in shares])
        return lambda k, u, last: per_image(new[k]) * u + per_image(old[k]) * last
    root = there(roots)
    ahead = (root[:-1] - 1) / root[1:]
    return lambda k, u, last: u + per_image(ahead[k]) * (u - last)


def _advance(
    state: _State,
    model: ImageModel,
    gradient: Tensor,
    settings: GroupSparseSettings,
    momentum: Momentum,
) -> None:
    """One proximal gradient step of every image, from the gradient of its hinge."""
    gathers = state.iteration < settings.n_gather
    if settings.n_gather < settings.max_iter:
        # The prices decide which pixels the rest of the run may change.
        turns = per_image(state.iteration == settings.n_gather)
        state.support = torch.where(turns, state.prices < per_image(state.price), state.support)
        state.w = torch.where(turns & ~state.support, torch.zeros_like(state.w), state.w)
        state.last = torch.where(turns, state.w, state.last)
    slope = gradient + _magnitude_slope(state, gathers, settings)
    v = state.w - per_image(state.step) * slope
    # In the second part nothing is charged on the support, and all else is left alone.
    charged = torch.where(per_image(gathers), state.prices * per_image(state.step), 0.0)
    u = prox_l_half(
        v.flatten(1),
        1.0,
        charged.expand_as(v).flatten(1),
        state.lower.flatten(1) if settings.boxed else None,
        state.upper.flatten(1) if settings.boxed else None,
        holds_zero=True,
    ).reshape(v.shape)
    u = torch.where(per_image(gathers), u, v * state.support)
    w = momentum(state.iteration, u, state.last)
    state.last = u
    adjusted = adjust_prices(state.prices, w, settings.price_growth)
    state.prices = torch.where(per_image(gathers), adjusted, state.prices)
    if settings.boxed:
        state.w = torch.minimum(torch.maximum(w, state.lower), state.upper)
    else:
        # As published: what is left of the change once the image is rounded, too.
        state.w = (model.perturbed(state.x, w) - state.x) / model.scale
    state.iteration = state.iteration + 1


def _magnitude_slope(state: _State, gathers: Tensor, settings: GroupSparseSettings) -> Tensor:
    """Return the gradient of the magnitude term; that of a norm at zero is zero."""
    if settings.magnitude == "squared":
        return 2 * per_image(state.mu) * state.w
    weight = torch.where(gathers, 0.0, state.mu / lengths(state.w).clamp(min=1e-30))
    return per_image(weight) * state.w


def _judge(state: _State, loss: Tensor, settings: GroupSparseSettings) -> None:
    """End the runs that reached their goal or their limit, and set up the next ones."""
    success = loss < 0
    # Zero stays zero where every price is too high for a first step (from there on, all of them
    # rise) and where no pixel was kept.
    kept = state.iteration > settings.n_gather
    price_growth = kept | (state.prices.amin(dim=(1, 2, 3)) > state.critical)
    dead = price_growth & ~(state.w != 0).flatten(1).any(dim=1)
    late = state.iteration == settings.n_gather + PATIENCE
    hopeless = late & (loss > settings.give_up * state.missing)
    failure = ~success & ((state.iteration >= settings.max_iter) | dead | hopeless)
    running = state.n_runs < settings.n_searches
    success, failure = success & running, failure & running
    score = n_patches(state.w, settings.patch) + settings.length_weight * lengths(state.w)
    better = success & (score < state.score)
    state.best = torch.where(per_image(better), state.w, state.best)
    state.score = torch.where(better, score, state.score)
    # Twice the price after a success, or half way to the last failure; then down.
    middle = (state.above + state.price) / 2
    up = torch.where(state.above == torch.inf, 2 * state.price, middle)
    state.below = torch.where(success, state.price, state.below)
    state.above = torch.where(failure, state.price, state.above)
    down = 0.9 * state.below + 0.1 * state.price
    price = torch.where(success, up, torch.where(failure, down, state.price))
    ended = success | failure
    state.n_runs = state.n_runs + ended.long()
    never = state.score == torch.inf
    if settings.adapt_mu:
        again = failure & never
        state.mu = torch.where(again, state.mu / 10, state.mu)
        _embolden(state, again)
        # The prices so far do not apply to the new step.
        limit = state.critical if settings.bounded else torch.full_like(price, torch.inf)
        state.above = torch.where(again, limit, state.above)
        price = torch.where(again, settings.start * state.critical, price)
    else:
        last = ended & never & (state.n_runs == max(settings.n_searches - 2, 1))
        _embolden(state, last)
    state.price = price
    restart = per_image(ended)
    state.w = torch.where(restart, torch.zeros_like(state.w), state.w)
    state.last = torch.where(restart, torch.zeros_like(state.last), state.last)
    state.prices = torch.where(restart, per_image(price).expand_as(state.prices), state.prices)
    state.support = state.support | restart
    state.iteration = torch.where(ended, torch.zeros_like(state.iteration), state.iteration)


def _embolden(state: _State, which: Tensor) -> None:
    """Lengthen the steps of some images, and with them their critical price."""
    state.step = torch.where(which, state.step * BOLDER, state.step)
    state.critical = torch.where(which, state.critical * BOLDER**0.5, state.critical)
