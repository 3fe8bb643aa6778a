"""S-CFE by the textbook schedule: an outer search for the validity weight, FISTA inside.

Written from the mathematics of the paper, as the yardstick of speed. On the change w of a row x,

    h(w) = gamma * max(0, c - m(x + w)) + ||w||^2 - lambda * log q(x + w | t)
    g(w) = indicator of the box and of at most k changes

one weight step is 200 iterations of FISTA on h + g from w = 0, and gamma is multiplied by ten
until the row is valid and bisected afterwards, ten weight steps in all. All rows run in one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

Logits = Callable[[torch.Tensor], torch.Tensor]
"""Points (k, D) to logits (k,) of class 1 against class 0."""

Gradient = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Points (n, D) to weighted log-densities (n,) and their gradients (n, D)."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """Lengths of the loops; the defaults are the published ones."""

    weight_steps: int = 10
    iterations: int = 200
    first_weight: float = 1.0
    look_every: int = 1
    """Iterations between two looks at validity; the best valid point may come from any of them."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to explain, the sign of their target's logit, their boxes and the budget."""

    factual: torch.Tensor
    sign: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    max_changes: int


def solve(
    rows: Rows,
    logits: Logits,
    plausibility: Gradient,
    curvature: torch.Tensor,
    floor: float = 1e-6,
    schedule: Schedule | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best valid points (n, D) and their objective (n,), infinite where there is none.

    ``curvature`` (n,) bounds the second derivatives of minus the plausibility, so that
    ``1 / (2 + curvature)`` is a safe step; it falls to zero with the root of the iterations
    left, since the hinge has a kink.
    """
    schedule = schedule or Schedule()
    best = rows.factual.clone()
    best_value = torch.full_like(rows.sign, torch.inf)
    gamma = torch.full_like(rows.sign, schedule.first_weight)
    low, high = torch.zeros_like(gamma), torch.full_like(gamma, torch.inf)
    for _ in range(schedule.weight_steps):
        reached = torch.zeros_like(gamma, dtype=torch.bool)
        point = previous = look = rows.factual
        momentum = 1.0
        for k in range(schedule.iterations):
            step = (1 - k / schedule.iterations) ** 0.5 / (2 + curvature)
            slope = _slope(rows, logits, plausibility, look, gamma, floor)
            point = project(rows, look - step[:, None] * slope)
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            look = point + (momentum - 1) / following * (point - previous)
            previous, momentum = point, following
            if (k + 1) % schedule.look_every == 0:
                with torch.no_grad():
                    valid = rows.sign * logits(point) >= floor
                value = ((point - rows.factual) ** 2).sum(1) - plausibility(point)[0]
                better = valid & (value < best_value)
                best[better], best_value[better] = point[better], value[better]
                reached |= valid
        high = torch.where(reached, torch.minimum(high, gamma), high)
        low = torch.where(reached, low, torch.maximum(low, gamma))
        gamma = torch.where(high < torch.inf, (low + high) / 2, 10 * gamma)
    return best, best_value


def project(rows: Rows, v: torch.Tensor) -> torch.Tensor:
    """Project onto the box and the budget together, exactly.

    Changing coordinate i to its clipped value p_i saves ``(v_i - x_i)^2 - (v_i - p_i)^2``; the
    projection changes the coordinates that save most.
    """
    clipped = torch.minimum(torch.maximum(v, rows.lower), rows.upper)
    saved = (v - rows.factual) ** 2 - (v - clipped) ** 2
    kept = saved.topk(rows.max_changes, dim=1).indices
    return rows.factual.scatter(1, kept, clipped.gather(1, kept))


def _slope(
    rows: Rows,
    logits: Logits,
    plausibility: Gradient,
    z: torch.Tensor,
    gamma: torch.Tensor,
    floor: float,
) -> torch.Tensor:
    """Gradient of h."""
    leaf = z.detach().requires_grad_(True)
    with torch.enable_grad():
        hinge = gamma * (floor - rows.sign * logits(leaf)).clamp_min(0)
        (slope,) = torch.autograd.grad(hinge.sum(), leaf)
    return slope + 2 * (z - rows.factual) - plausibility(z)[1]
