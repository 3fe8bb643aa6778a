"""Proximal gradient over all features, the step length falling from 1/2."""

from __future__ import annotations

import torch

from scfe_sklearn.solvers.descent.prox_linear_step import prox_linear_step
from scfe_sklearn.solvers.descent.settings import GradientSettings
from scfe_sklearn.solvers.descent.state import Instances, Run, Search
from scfe_sklearn.solvers.starts import within


def descend(
    search: Search,
    z: torch.Tensor,
    settings: GradientSettings,
    fine: float,
    demand: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cheapest valid points (n, S, D) on the ways from ``z`` (n, S, D), and costs."""
    part = Instances.of(search, z)
    budget, price = within(part.problem), part.problem.change_weight
    run = Run.of(part.changes(z))
    run.demand = demand * part.unit
    for step in range(settings.steps + 1):
        at = run.extrapolated() if settings.momentum else run.change
        here = part.evaluate(at, fine)
        run.keep(at, here)
        if step == settings.steps:
            break
        share = step / max(settings.steps - 1, 1)
        length = _between(settings.length, share)
        run.limit(part, here)
        ahead = at - length * (here.pull - run.price(part)[:, None] * here.lift)
        aim = part.short * _between(settings.overshoot, share) - here.margin

        def prox(v: torch.Tensor, length: float = length) -> torch.Tensor:
            return part.sets.prox(v, length, price, 0.0, budget)

        run.move(
            prox_linear_step(
                prox, at, ahead, here.slope, length, aim, run.pull, settings.multipliers
            )
        )
    return part.points(run.best), run.least.reshape(z.shape[:2])


def _between(ends: tuple[float, float], share: float) -> float:
    """Geometric interpolation."""
    return ends[0] * (ends[1] / ends[0]) ** share
