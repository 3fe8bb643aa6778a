"""PGD and Auto-PGD: maximise over lp-ball and box by projected gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from scfe_sklearn.solvers.gradients.best_point import BestPoint
from scfe_sklearn.solvers.gradients.frank_wolfe import Ascent, StepControl, checkpoints

INERTIA = 0.75
FIRST_TOP, SPARSER, MUCH_SPARSER, SLOWER = 0.2, 1.5, 0.95, 1.5

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
Project = Callable[[Tensor], Tensor]


def auto_projected_gradient(
    evaluate: Evaluate, project: Project, start: Tensor, p: float, radius: float, n_iter: int = 75
) -> Ascent:
    """Maximise a smooth function over the intersection of an lp-ball and a box, p in {1, 2, inf}.

    For p = 2 and inf steps follow the normalised gradient (its sign for inf) with inertia, and
    are halved as in `auto_frank_wolfe` [1]_. For p = 1
    steps go along the signs of the largest entries of the gradient, as many of them as the best
    point has entries over 1.5, and lengths fall from radius to a tenth of it [2]_.

    Parameters
    ----------
    evaluate : callable
        Values (n,) and gradients (n, D) at points (n, D).
    project : callable
        The nearest points of the set.
    start : Tensor of shape (n, D)
    p : {1, 2, inf}
    radius : float
    n_iter : int

    Returns
    -------
    Ascent

    References
    ----------
    .. [1] Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of
       diverse parameter-free attacks", ICML 2020.
    .. [2] Croce, Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image
       classifiers", ICML 2021.

    Examples
    --------
    >>> def evaluate(u):
    ...     return u.sum(1), torch.ones_like(u)
    >>> def project(u):
    ...     return u.clamp(-1, 1)
    >>> auto_projected_gradient(evaluate, project, torch.zeros(1, 2), math.inf, 1.0).value
    tensor([2.])
    """
    if p == 1:
        return _sparse(evaluate, project, start, radius, n_iter)
    u = before = project(start)
    value, gradient = evaluate(u)
    best = BestPoint(u, value, gradient)
    step = torch.full_like(value, 2 * radius)
    control, stops = StepControl(value), checkpoints(n_iter)
    for k in range(1, n_iter + 1):
        ahead = project(u + step[:, None] * _direction(gradient, p))
        inertia = 1.0 if k == 1 else INERTIA
        u, before = project(u + inertia * (ahead - u) + (1 - inertia) * (u - before)), u
        new, gradient = evaluate(u)
        control.saw(value, new)
        value = new
        best = best.after(u, value, gradient)
        if k in stops:
            halve = control.halve(best.value)
            step = torch.where(halve, step / 2, step)
            before = torch.where(halve[:, None], best.u, before)
            here = best.instead(halve, u, value, gradient)
            u, value, gradient = here.u, here.value, here.gradient
    return Ascent(best.u, best.value, n_iter + 1)


def projected_gradient(
    evaluate: Evaluate, project: Project, start: Tensor, p: float, step: float, n_iter: int
) -> Ascent:
    """Maximise over a ball and a box by steps of one length, p in {2, inf}; keep the best point.

    Parameters and result as in :func:`auto_projected_gradient`, with the length ``step`` of a
    step in the norm of the ball.

    Examples
    --------
    >>> def evaluate(u):
    ...     return u.sum(1), torch.ones_like(u)
    >>> def project(u):
    ...     return u.clamp(-1, 1)
    >>> projected_gradient(evaluate, project, torch.zeros(1, 2), math.inf, 0.25, 3).value
    tensor([1.5000])
    """
    u = project(start)
    value, gradient = evaluate(u)
    best, best_value = u, value
    for _ in range(n_iter):
        u = project(u + step * _direction(gradient, p))
        value, gradient = evaluate(u)
        better = value > best_value
        best = torch.where(better[:, None], u, best)
        best_value = torch.where(better, value, best_value)
    return Ascent(best, best_value, n_iter + 1)


def _direction(gradient: Tensor, p: float) -> Tensor:
    if math.isinf(p):
        return torch.sign(gradient)
    top = gradient.abs().amax(dim=1, keepdim=True)
    scaled = gradient / torch.where(top == 0, torch.ones_like(top), top)
    length = scaled.norm(dim=1, keepdim=True)
    return scaled / torch.where(length == 0, torch.ones_like(length), length)


def _sparse(
    evaluate: Evaluate, project: Project, start: Tensor, radius: float, n_iter: int
) -> Ascent:
    n_coordinates = start.shape[1]
    u = project(start)
    value, gradient = evaluate(u)
    best = BestPoint(u, value, gradient)
    step = torch.full_like(value, radius)
    share = torch.full_like(value, FIRST_TOP)
    entries = torch.full_like(value, n_coordinates)
    window = max(int(0.04 * n_iter), 1)
    for k in range(1, n_iter + 1):
        u = project(u + step[:, None] * _largest_signs(gradient, share))
        value, gradient = evaluate(u)
        best = best.after(u, value, gradient)
        if k % window == 0:
            now = (best.u != 0).sum(dim=1).to(step.dtype)
            share = now / (SPARSER * n_coordinates)
            again = now < MUCH_SPARSER * entries
            shorter = (step / SLOWER).clamp(min=radius / 10)
            step = torch.where(again, torch.full_like(step, radius), shorter)
            here = best.instead(again, u, value, gradient)
            u, gradient = here.u, here.gradient
            entries = now
    return Ascent(best.u, best.value, n_iter + 1)


def _largest_signs(gradient: Tensor, share: Tensor) -> Tensor:
    """Return the signs of the largest entries of each row, a given share, over their number."""
    size = gradient.abs()
    count = (share * gradient.shape[1]).long().clamp(1, gradient.shape[1])
    ordered = torch.sort(size, dim=1, descending=True).values
    least = ordered.gather(1, count[:, None] - 1)
    signs = torch.sign(gradient) * (size >= least)
    return signs / signs.abs().sum(dim=1, keepdim=True).clamp(min=1)
