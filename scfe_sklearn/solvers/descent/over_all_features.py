"""Proximal gradient over all features, the step length falling from 1/2."""

from __future__ import annotations

from typing import Any

import torch

from scfe_sklearn.solvers.descent.prox_linear_step import Prox, prox_linear_step
from scfe_sklearn.solvers.descent.settings import GradientSettings
from scfe_sklearn.solvers.descent.state import Instances, Run, Search
from scfe_sklearn.solvers.starts import within

RESTING = 1e-4
"""Change of a coordinate below which two points are the same."""

LAST = 1e15
"""Order of the ways that met no answer."""


def descend(
    search: Search,
    z: torch.Tensor,
    settings: GradientSettings,
    fine: float,
    demand: float = 0.0,
    most: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cheapest valid points (n, S, D) on the ways from ``z`` (n, S, D), and costs.

    The starts are there once for each of the lengths of the steps. ``most`` (S,) limits the
    changes on each way, if given; a row's budget holds on all of them.

    Now and then the ways of a row that are the most expensive, or the same as others, end, and
    rows leave of which all ways rest.
    """
    part = Instances.of(search, z)
    if most is not None:
        part = part.within(most.repeat(len(z)))
    # The ways from all starts with the first lengths, then with the next.
    lengths = torch.tensor(settings.lengths, dtype=z.dtype, device=z.device)
    lengths = lengths.repeat_interleave(z.shape[1] // len(lengths), 0).repeat(len(z), 1)
    first, last = lengths.T
    run = Run.of(part.changes(z))
    run.demand = demand * part.unit
    found, least = z.flatten(0, 1).clone(), run.least.clone()
    place = torch.arange(len(found), device=z.device)
    for step in range(settings.steps + 1):
        at = run.extrapolated() if settings.momentum else run.change
        here = part.evaluate(at, fine)
        if step:  # a start may break the budget or a rule
            run.keep(at, here)
        if step == settings.steps:
            break
        if step in settings.thinned:
            found[place], least[place] = part.points(run.best).flatten(0, 1), run.least
            keep = _remaining(run, settings.thinned[step], part.ways)
            if len(keep) == 0:
                return found.reshape(z.shape), least.reshape(z.shape[:2])
            place, here = place[keep.flatten()], here.take(keep.flatten())
            part, run, at = part.take(keep), run.take(keep.flatten()), at[keep.flatten()]
            first, last = first[keep.flatten()], last[keep.flatten()]
        share = step / max(settings.steps - 1, 1)
        length = first * (last / first) ** share
        run.limit(part, here)
        ahead = at - length[:, None] * (here.pull - run.price(part)[:, None] * here.lift)
        aim = part.short * _between(settings.overshoot, share) - here.margin
        run.move(
            prox_linear_step(
                _prox(part, length),
                at,
                ahead,
                here.slope,
                length,
                aim,
                run.pull,
                settings.multipliers,
            )
        )
    found[place], least[place] = part.points(run.best).flatten(0, 1), run.least
    return found.reshape(z.shape), least.reshape(z.shape[:2])


def _remaining(run: Run, count: int, ways: int) -> torch.Tensor:
    """Return the instances (m, K) that go on: the cheapest that differ, of rows that move."""
    change, least = (part.reshape(-1, ways, *part.shape[1:]) for part in (run.change, run.least))
    rest = (run.change - run.before).abs().amax(1).reshape(-1, ways) < RESTING
    same = (change[:, :, None] - change[:, None]).abs().amax(-1) < RESTING
    again = same.tril(-1).any(-1)
    # Ways that met no answer yet follow those that did.
    order = torch.where(again, 2 * LAST, least.clamp(max=LAST))
    order = order.sort(dim=1, stable=True).indices[:, :count].sort(1).values
    moving = (~rest & ~again).gather(1, order).any(1).nonzero()[:, 0]
    return moving[:, None] * ways + order[moving]


def _prox(part: Instances, length: torch.Tensor) -> Prox:
    """Return the proximal map of the price and the budget of changes, over the rules."""
    budget, price, power = within(part.problem), part.problem.change_weight, part.problem.exponent

    known: list[Any] = [None, part.sets, length, price, budget]

    def prox(v: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        if rows is None:
            return part.sets.prox(v, length, price, power, budget)
        if known[0] is not rows:  # the same rows come many times
            own = None if budget is None else budget[rows]
            known[:] = rows, part.sets.take(rows), length[rows], price[rows], own
        return known[1].prox(v, known[2], known[3], power, known[4])

    return prox


def _between(ends: tuple[float, float], share: float) -> float:
    """Geometric interpolation."""
    return ends[0] * (ends[1] / ends[0]) ** share
