"""Settling: proximal gradient inside of supports, the return to the lattice, and small steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from scfe_sklearn._utils import first_flagged, rank_within
from scfe_sklearn.solvers.descent.proximal_gradient import step_in_box
from scfe_sklearn.solvers.descent.settings import GradientSettings
from scfe_sklearn.solvers.descent.state import Run, Search
from scfe_sklearn.solvers.descent.supports import Supports
from scfe_sklearn.solvers.problem import TOLERANCE, Pool, Problem

CLEARANCE = 1e-7
"""Margin above the floor that is aimed at in the end: answers are judged again, with rounding."""

CORRECTIONS = 2
"""Last steps inside a support, which only meet the margin."""

FIRST_LENGTH = 0.1
"""First step length inside a support."""

LENGTHS = (1e-4, 2.0)
"""Least and largest step length inside a support."""

CALMER = 0.3
"""Factor of the length of all further steps after one that turned back."""

RESTING = 1e-5
"""Change of a number in one step below which a row is at rest."""

SHARES = ((0.05, 0.1, 0.2, 0.35, 0.5), (0.01, 0.025))
"""Shares of a change by which it is lengthened and shortened: in the first round, and later."""


def settle(
    search: Search,
    pool: Pool,
    z: torch.Tensor,
    there: torch.Tensor,
    settings: GradientSettings,
    fine: float,
) -> Pool:
    """Return the pool after proximal gradient inside the supports of points ``z`` (n, S, D).

    ``there`` (n, S) marks those that exist; they need not be valid.

    Numbers that change are free in their intervals and leave their lattices for the time being;
    the step length follows the curvature that the last step met (Barzilai and Borwein). The
    last steps only meet the margin. Then the numbers return to their lattices, to the nearest
    point and to those on either side that the margin favours.
    """
    domain = search.problem.domain
    row, slot = there.nonzero().T
    if len(row) == 0:
        return pool
    points = z[row, slot]
    free = ((points - domain.factual[row]).abs() > TOLERANCE) & domain.scalar
    moving = free.any(1).nonzero()[:, 0]
    if len(moving):
        part = Supports.of(search, points[moving], row[moving], free[moving])
        points[moving] = _descended(part, settings, fine)
    # A row's points side by side: as many places as the row with most of them needs.
    place = rank_within(row)
    grid = domain.factual[:, None].repeat(1, int(place.max()) + 1, 1)
    exists = torch.zeros(grid.shape[:2], dtype=torch.bool, device=grid.device)
    grid[row, place], exists[row, place] = points, True
    return pool.merged(search.problem, grid, search.cost(grid, exists, fine))


def _descended(part: Supports, settings: GradientSettings, fine: float) -> torch.Tensor:
    """Return the points (N, D) on the lattice that proximal gradient leads to."""
    box = part.domain.lower, part.domain.upper
    run = Run.of(part.start)
    length = torch.full_like(part.short, FIRST_LENGTH)
    # What the length of a row is multiplied by after its steps have turned back.
    calm, last, slope = torch.ones_like(length), torch.zeros_like(run.change), None
    # A penalty with p > 0 bends where numbers change little.
    free = settings.settling * (1 if part.problem.exponent == 0 else 2)
    total = free + CORRECTIONS
    for turn in range(total + 1):
        here = part.evaluate(run.change, fine)
        run.keep(run.change, here)
        if turn == total:
            break
        ahead = run.change
        if turn < free:
            run.limit(part, here)
            gradient = here.pull - run.price(part)[:, None] * here.lift
            gradient = gradient + part.penalty_slope(run.change)
            step = run.change - run.before
            if slope is not None:
                length = _curvature_length(length, step, gradient - slope)
            # A step that turns back has crossed a kink of the margin.
            calm = torch.where((step * last).sum(1) < -(RESTING**2), CALMER * calm, calm)
            last, slope = step, gradient
            ahead = run.change - (calm * length)[:, None] * gradient
        # In the end the nearest change that meets the margin, and the limit where that is
        # missed more. Beyond the floor by more than rounding, which must not decide what is
        # valid.
        aim = CLEARANCE * (1 + part.short) - here.margin
        run.move(step_in_box(run.change, ahead, here.slope, calm * length, aim, *box))
    found = torch.where(run.least[:, None] < torch.inf, run.best, part.start)
    return part.settled(found, here.slope, fine)


def _curvature_length(
    length: torch.Tensor, change: torch.Tensor, bend: torch.Tensor
) -> torch.Tensor:
    """Return the shorter step length of Barzilai and Borwein; the last one where h is concave."""
    found = (change * bend).sum(1) / bend.square().sum(1)
    # The bend of a step that short is rounding.
    known = torch.isfinite(found) & (found > 0) & (change.abs().amax(1) > RESTING)
    return torch.where(known, torch.minimum(found, 4 * length).clamp(*LENGTHS), length)


def polish(search: Search, pool: Pool, settings: GradientSettings) -> Pool:
    """Return the pool after small changes of the numbers of its best points, and undone changes.

    Plausibility has kinks and peaks along a number that no slope shows: shares of the change
    and steps on the lattice are tried, as long as they help.
    """
    active = (pool.best < torch.inf).nonzero()[:, 0]
    for turn in range(settings.polishing):
        if len(active) == 0:
            break
        part, now = search.take(active), pool.take(active)
        z, there = _undone(part.problem, now.z[:, 0])
        shares = SHARES[min(turn, len(SHARES) - 1)]
        points, better = _stepped(part, now.z[:, 0], shares)
        z, there = torch.cat([points[:, None], z], 1), torch.cat([better[:, None], there], 1)
        found = now.merged(part.problem, z, part.cost(z, there, below=now.best[:, None]))
        pool = pool.scattered(active, found)
        if turn + 1 >= len(SHARES):
            active = active[found.best < now.best - 1e-4 * now.best.abs()]
    return pool


def _stepped(
    search: Search, z: torch.Tensor, shares: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (n, D) with one number of ``z`` (n, D) moved, and where that is better."""
    domain = search.problem.domain
    free = (z - domain.factual).abs() > TOLERANCE
    # Where changes are free of charge, the numbers that did not change so far may do so.
    free |= (search.problem.least_change_price == 0)[:, None] & domain.allowed
    free &= domain.scalar
    own, better = free.any(1).nonzero()[:, 0], torch.zeros_like(free[:, 0])
    if len(own):
        z = z.clone()
        z[own], better[own] = Supports.of(search, z[own], own, free[own]).stepped(shares)
    return z, better


def _undone(problem: Problem, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (n, K, D) with one change of ``z`` (n, D) undone, and which are some."""
    changed = problem.domain.changed(z[:, None])[:, 0]
    there, feature = first_flagged(changed, max(int(changed.sum(1).max()), 1))
    owns = problem.domain.groups == feature[..., None]
    return torch.where(owns, problem.domain.factual[:, None], z[:, None]), there
