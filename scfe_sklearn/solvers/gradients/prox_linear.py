"""The proximal step of a smooth part plus a hinge on a linearised margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Value and gradient of the smooth part, and of the margin if any, at k points.

    Parameters
    ----------
    value : Tensor of shape (k,)
        h.
    gradient : Tensor of shape (k, D)
        Its gradient.
    margin : Tensor of shape (k,) or None
        m - c: what the hinge wants to be at least 0.
    slope : Tensor of shape (k, D) or None
        Gradient of m.
    """

    value: torch.Tensor
    gradient: torch.Tensor
    margin: torch.Tensor | None = None
    slope: torch.Tensor | None = None

    def merit(self, gamma: torch.Tensor) -> torch.Tensor:
        """Return h plus the weighted hinge loss."""
        if self.margin is None:
            return self.value
        return self.value + gamma * (-self.margin).clamp_min(0)

    def take(self, index: torch.Tensor) -> Evaluation:
        """Return the evaluation of some of the points."""
        if self.margin is None or self.slope is None:
            return Evaluation(self.value[index], self.gradient[index])
        return Evaluation(
            self.value[index], self.gradient[index], self.margin[index], self.slope[index]
        )


NOISE = 2e-7
"""Relative error of a model in single precision."""

Smooth = Callable[[torch.Tensor, torch.Tensor], Evaluation]
"""``smooth(z (k, D), rows (k,))``: the evaluation of rows ``rows`` at ``z``."""

ProximalMap = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]
]
"""``prox(v (k, D), step (k,), rows (k,)) -> (point (k, D), value of g there (k,))``."""


def model_step(
    prox: ProximalMap,
    rows: torch.Tensor,
    y: torch.Tensor,
    there: Evaluation,
    step: torch.Tensor,
    gamma: torch.Tensor,
    max_evaluations: int = 12,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Minimise the model at y: the proximal point, g there and the multiplier of the hinge."""
    v = y - step[:, None] * there.gradient
    u, g = prox(v, step, rows)
    multiplier = torch.zeros_like(step)
    if there.margin is None or there.slope is None:
        return u, g, multiplier
    reached = there.margin + (there.slope * (u - y)).sum(1)
    steepness = step * (there.slope**2).sum(1)
    index = ((reached < 0) & (gamma > 0) & (steepness > 0)).nonzero()[:, 0]
    if len(index) == 0:
        return u, g, multiplier
    # reached(multiplier) increases: secants within a bracket.
    low, below = torch.zeros_like(step[index]), reached[index]
    high = gamma[index].clone()
    bracketed = torch.zeros_like(low, dtype=torch.bool)
    before, there_before = low, below
    trial = torch.minimum(-below / steepness[index], high)
    for _ in range(max_evaluations):
        pull = (step[index] * trial)[:, None] * there.slope[index]
        point, value = prox(v[index] + pull, step[index], rows[index])
        got = there.margin[index] + (there.slope[index] * (point - y[index])).sum(1)
        u[index], g[index], multiplier[index] = point, value, trial
        enough = got >= 0
        close = got.abs() <= NOISE * (1 + there.margin[index].abs())
        done = close | (~enough & (trial >= gamma[index]))
        if bool(done.all()):
            break
        secant = trial - got * (trial - before) / (got - there_before)
        bracketed |= enough
        high = torch.where(enough, torch.minimum(trial, high), high)
        low = torch.where(enough, low, torch.maximum(trial, low))
        inside = (secant > low) & (secant < high)
        other = torch.where(bracketed, (low + high) / 2, high)
        following = torch.where(inside, secant, other)
        keep = ~done
        index = index[keep]
        before, there_before, trial = trial[keep], got[keep], following[keep]
        low, high, bracketed = low[keep], high[keep], bracketed[keep]
    else:
        # For a nonconvex g reached(multiplier) jumps: the minimiser is at the jump.
        least = torch.full_like(low, torch.inf)
        for side in (low, high):
            pull = (step[index] * side)[:, None] * there.slope[index]
            point, value = prox(v[index] + pull, step[index], rows[index])
            change = point - y[index]
            got = there.margin[index] + (there.slope[index] * change).sum(1)
            model = (there.gradient[index] * change).sum(1) + value
            model += (change**2).sum(1) / (2 * step[index]) + gamma[index] * (-got).clamp_min(0)
            better = model < least
            chosen, least = index[better], torch.where(better, model, least)
            u[chosen], g[chosen] = point[better], value[better]
            # The multiplier is gamma if the margin is missed.
            multiplier[chosen] = torch.where(got < 0, gamma[index], side)[better]
    return u, g, multiplier
