"""Settling: proximal gradient inside of supports, the return to the lattice, and small steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from scfe_sklearn.solvers.descent.prox_linear_step import step_in_box
from scfe_sklearn.solvers.descent.settings import GradientSettings
from scfe_sklearn.solvers.descent.state import Run, Search
from scfe_sklearn.solvers.descent.supports import Supports
from scfe_sklearn.solvers.problem import TOLERANCE, Pool, Problem, first_flagged

CLEARANCE = 1e-7
"""Margin above the floor that is aimed at in the end: answers are judged again, with rounding."""

CORRECTIONS = 2
"""Last steps inside a support, which only meet the margin."""

FIRST_LENGTH = 0.25
"""First step length inside a support."""

LENGTHS = (1e-4, 2.0)
"""Least and largest step length inside a support."""

RESTING = 1e-5
"""Change of a number in one step below which a row is at rest."""

SHARES = ((0.05, 0.1, 0.2, 0.35, 0.5), (0.01, 0.025))
"""Shares of a change by which it is lengthened and shortened, round by round."""


def settle(
    search: Search,
    pool: Pool,
    z: torch.Tensor,
    there: torch.Tensor,
    settings: GradientSettings,
    fine: float,
) -> Pool:
    """Return the pool after proximal gradient inside the supports of points ``z`` (n, S, D).

    ``there`` (n, S) says which of them are some; they need not be valid.

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
    place = torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
    grid = domain.factual[:, None].repeat(1, int(place.max()) + 1, 1)
    asked = torch.zeros(grid.shape[:2], dtype=torch.bool, device=grid.device)
    grid[row, place], asked[row, place] = points, True
    return pool.merged(search.problem, grid, search.cost(grid, asked, fine))


def _descended(part: Supports, settings: GradientSettings, fine: float) -> torch.Tensor:
    """Return the points (N, D) on the lattice that proximal gradient leads to."""
    box = part.domain.lower, part.domain.upper
    run = Run.of(part.start)
    length = torch.full_like(part.short, FIRST_LENGTH)
    before = None
    total = settings.settling + CORRECTIONS
    for step in range(total + 1):
        here = part.evaluate(run.change, fine)
        run.keep(run.change, here)
        if step == total:
            break
        ahead = run.change
        if step < settings.settling:
            run.limit(part, here)
            gradient = here.pull - run.price(part)[:, None] * here.lift
            gradient = gradient + part.penalty_slope(run.change)
            if before is not None:
                length = _curvature_length(length, run.change - before[0], gradient - before[1])
            before = (run.change, gradient)
            ahead = run.change - length[:, None] * gradient
        # In the end the nearest change that meets the margin, and the limit where that is
        # missed more. Beyond the floor by more than rounding, which must not decide what is
        # valid.
        aim = CLEARANCE * (1 + part.short) - here.margin
        run.move(step_in_box(run.change, ahead, here.slope, length, aim, *box))
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

    Plausibility has kinks and peaks along a number that no slope tells of: shares of the change
    are tried first, then single steps on the lattice as long as they help.
    """
    active = (pool.best < torch.inf).nonzero()[:, 0]
    for turn in range(settings.polishing):
        if len(active) == 0:
            break
        part, now = search.take(active), pool.take(active)
        shares = SHARES[turn] if turn < len(SHARES) else ()
        trial, there = _neighbours(part.problem, now.z[:, 0], shares)
        found = now.merged(part.problem, trial, part.cost(trial, there, below=now.best))
        pool = pool.scattered(active, found)
        if turn >= len(SHARES):
            active = active[found.best < now.best - 1e-9]
    return pool


def _neighbours(
    problem: Problem, z: torch.Tensor, shares: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (k, K, D) with one number of ``z`` (k, D) set anew, or one change undone.

    A number moves by shares of its change, and by a step of its lattice.
    """
    domain = problem.domain
    moved = ((z - domain.factual).abs() > TOLERANCE) & domain.scalar
    width = max(int(moved.sum(1).max()), 1)
    there, number = first_flagged(moved, width)
    offset, step = (z - domain.factual).gather(1, number), domain.step[number]
    shifts = [sign * share * offset for share in shares for sign in (1, -1)]
    shifts += [sign * step * torch.sign(offset) for sign in (1, -1)]
    numbers = domain.along(number)
    value = numbers.snap(z.gather(1, number) + torch.stack(shifts)).transpose(0, 1)
    own = number[:, None, :, None].expand(*value.shape, 1)
    one = z[:, None, None].expand(-1, len(shifts), width, -1).scatter(3, own, value[..., None])
    flags = there[:, None] & (value - z.gather(1, number)[:, None]).abs().gt(TOLERANCE)
    changed = domain.changed(z[:, None])[:, 0]
    there, feature = first_flagged(changed, max(int(changed.sum(1).max()), 1))
    less = torch.where(domain.groups == feature[..., None], domain.factual[:, None], z[:, None])
    trial = torch.cat([one.flatten(1, 2), less], 1)
    return trial, torch.cat([flags.flatten(1), there], 1)
