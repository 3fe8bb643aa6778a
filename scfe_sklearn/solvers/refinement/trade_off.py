"""The trade-off between validity and the rest, found per row while it descends."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.gradients import (
    DescentResult,
    Evaluation,
    ProximalMap,
    Smooth,
    accelerated_proximal_gradient,
)
from scfe_sklearn.solvers.problem import Subspace

CLEARANCE = 1e-8
"""Margin above the floor that is aimed at: answers are judged again, with other rounding errors."""


@dataclass(frozen=True)
class Descent:
    """How long the descent runs.

    Parameters
    ----------
    max_iter : int
        Iterations of proximal gradient.
    tol : float
        A row rests when its relative step is below this.
    momentum : bool
        Whether to extrapolate: worth it for many coordinates.
    """

    max_iter: int = 15
    tol: float = 1e-4
    momentum: bool = False


def descend(
    space: Subspace,
    prox: ProximalMap,
    settings: Descent,
    clearance: float = CLEARANCE,
    warm: DescentResult | None = None,
) -> DescentResult:
    r"""Minimise distance minus plausibility plus the weighted hinge, from ``space.start``.

    .. math::
        \|z - z_0\|^2 - \tau \log q(z) + g(z) + \gamma \max(0, c - m(z))

    The hinge is an exact penalty: once gamma exceeds the multiplier of the constraint
    ``m(z) >= c``, the minimiser is valid. Each row starts with a gamma that its own gradients
    suggest and raises it while its margin is missing.

    Parameters
    ----------
    space : Subspace
        n instances and the coordinates along which they move.
    prox : callable
        Proximal map of the admissible set, with penalty or budget.
    settings : Descent
        Length of the run.
    clearance : float
        What is added to the margin that is asked for.

    Returns
    -------
    x : Tensor of shape (n, w)
        Nearly critical values; valid up to a small violation (see :func:`restore`).
    multiplier : Tensor of shape (n,)
        What the hinge pulled with in the last step: the least sufficient weight of validity.
    """
    floor, factual = space.problem.floor + clearance, space.factual
    weight = space.weight

    def smooth(x: torch.Tensor, rows: torch.Tensor) -> Evaluation:
        margin, slope = space.margin_and_grad(x, rows)
        plausibility, lift = space.plausibility_and_grad(x, rows)
        offset = x - factual[rows]
        pull = weight[rows] * offset
        value = (pull * offset).sum(1) - plausibility
        return Evaluation(value, 2 * pull - lift, margin - floor, slope)

    if warm is None:
        start, gamma = _first_weight(space, prox, smooth)
        step = torch.full_like(gamma, 0.25)
    else:
        start, gamma, step = warm.z, warm.gamma, warm.step
    return accelerated_proximal_gradient(
        smooth,
        prox,
        start,
        step=step,
        gamma=gamma,
        max_iter=settings.max_iter,
        tol=settings.tol,
        momentum=settings.momentum,
    )


def _first_weight(
    space: Subspace, prox: ProximalMap, smooth: Smooth
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the feasible start and twice the gamma that balances the gradients there."""
    everything = torch.arange(len(space.factual), device=space.factual.device)
    x, _ = prox(space.start, torch.ones_like(space.rest), everything)
    here = smooth(x, everything)
    slope = torch.zeros_like(x) if here.slope is None else here.slope
    steepness = (slope**2).sum(1).clamp_min(1e-12)
    balance = (here.gradient * slope).sum(1) / steepness
    # At least what the distance is worth there.
    reach = (2 * (space.weight * (x - space.factual)).norm(dim=1) + 1) / steepness.sqrt()
    return x, 2 * torch.maximum(balance.clamp_min(0), reach)


def restore(space: Subspace, x: torch.Tensor, bisections: int = 40) -> torch.Tensor:
    """Return the valid values nearest to ``x`` on the way back to the valid ``space.start``.

    Parameters
    ----------
    space : Subspace
        n instances that start at a valid point.
    x : Tensor of shape (n, w)
        Values that may violate the margin.
    bisections : int
        Halvings of the segment: so many that rounding, which decides whether ``x`` is valid, does
        not show in the result.

    Returns
    -------
    Tensor of shape (n, w)
        Valid values; ``x`` itself where it is valid.
    """
    floor = space.problem.floor + CLEARANCE / 2
    missing = (space.margin(x[:, None])[:, 0] < floor).nonzero()[:, 0]
    if len(missing) == 0:
        return x
    part, short = space.take(missing, local=False), x[missing]
    low = torch.zeros_like(part.rest)[:, None]
    high = torch.ones_like(low)
    for _ in range(bisections):
        middle = (low + high) / 2
        good = part.margin((short + middle * (part.start - short))[:, None]) >= floor
        low, high = torch.where(good, low, middle), torch.where(good, middle, high)
    back = torch.where(high < 1, short + high * (part.start - short), part.start)
    return x.index_copy(0, missing, back)
