"""Descent with a weight of the hinge that is found per row."""

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
"""Aim above the least margin, since later evaluations round differently."""


@dataclass(frozen=True)
class Descent:
    """Settings of the descent.

    Parameters
    ----------
    max_iter : int
        Iterations of proximal gradient.
    tol : float
        Relative step below which a row stops.
    momentum : bool
        Whether to extrapolate, which helps for many coordinates.
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
    ``m(z) >= c``, the minimiser is valid. The first gamma of a row comes from its gradients;
    it is raised while the margin is missed.

    Parameters
    ----------
    space : Subspace
        n instances and the coordinates along which they move.
    prox : callable
        Proximal map of the admissible set, with penalty or budget.
    settings : Descent
        Length of the run.
    clearance : float
        Addition to the least margin.

    Returns
    -------
    x : Tensor of shape (n, w)
        Nearly critical values; valid up to a small violation (see :func:`restore`).
    multiplier : Tensor of shape (n,)
        Multiplier of the hinge in the last step: the least sufficient weight.
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
    """Return the valid values nearest to ``x`` on the segment to the valid ``space.start``.

    Parameters
    ----------
    space : Subspace
        n instances that start at a valid point.
    x : Tensor of shape (n, w)
        Values that may violate the margin.
    bisections : int
        Halvings of the segment; enough that rounding does not affect the result.

    Returns
    -------
    Tensor of shape (n, w)
        Valid values; ``x`` itself if it is valid.
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
