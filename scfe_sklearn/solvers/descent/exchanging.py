"""Exchange of one changed feature for another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from scfe_sklearn._utils import RowBatch, first_flagged, least, picked
from scfe_sklearn.solvers.descent.settings import GradientSettings
from scfe_sklearn.solvers.descent.state import Search
from scfe_sklearn.solvers.problem import Kind, Pool, Problem

EXCHANGED = 3
"""Exchanges per row and round that are improved."""

CLOSE, LESS = 2.0, 2.0
"""Cost above that of the base point up to which exchanges, and undone changes, go on."""

LISTED = 64
"""Moves per point that are combined with undone changes."""

MOST_LIFT = 2.0
"""Largest plausibility gain that a slope may predict for an exchange."""


def exchange(
    search: Search,
    kinds: Sequence[Kind],
    pool: Pool,
    settings: GradientSettings,
    fine: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points (n, K, D) one exchange from the best of each row, and which exist (n, K).

    An exchange undoes one change and makes another one. Margin and plausibility are extrapolated
    by their slopes, and the exchanges of least predicted cost are evaluated. Points with a
    change undone and none made follow, valid or not: the other numbers may make up for it.
    """
    problem, near, n = search.problem, search.near, len(pool.z)
    base, at = pool.z[:, : settings.bases], pool.cost[:, : settings.bases]
    bases = base.shape[1]
    index = torch.arange(n, device=at.device).repeat_interleave(bases)
    margin, slope = problem.objective.take(index).margin_and_grad(base.flatten(0, 1))
    density, lift = near.log_density_and_grad(base)
    here = _Linear(
        base.flatten(0, 1),
        margin,
        slope,
        (density * near.weight[:, None]).flatten(),
        (lift * near.weight[:, None, None]).flatten(0, 1),
    )
    new = base[:, :, None].repeat(1, 1, EXCHANGED, 1)
    fewer = base[:, :, None].repeat(1, 1, settings.undone, 1)
    cost = torch.full_like(new[..., 0], torch.inf)
    some = torch.zeros_like(fewer[..., 0], dtype=torch.bool)
    for rows, _, moves in kinds:
        own = rows[at[rows, 0] < torch.inf]
        if len(moves) == 0 or len(own) == 0:
            continue
        there, first = search.take(own), at[own]
        flat = (own[:, None] * bases + torch.arange(bases, device=own.device)).flatten()
        part = replace(problem.take(index[flat]), moves=moves)
        trial, promising, less, undone = _exchanges(part, here.take(flat), settings)
        promising &= (first < torch.inf).flatten()[:, None]
        trial, promising = _by_row(trial, bases), _by_row(promising, bases)
        below = (first + CLOSE).repeat_interleave(trial.shape[1] // bases, 1)
        price = there.cost(trial, promising, fine, below=below)
        trial, price = (x.unflatten(1, (bases, -1)).flatten(0, 1) for x in (trial, price))
        best = Pool.of(part, trial, price, EXCHANGED)
        new[own], cost[own] = (x.unflatten(0, (-1, bases)) for x in (best.z, best.cost))
        fewer[own], some[own] = (x.unflatten(0, (-1, bases)) for x in (less, undone))
    some &= (at < torch.inf)[..., None]
    fewer, some = fewer.flatten(1, 2), some.flatten(1)
    # What settling will hardly make up for need not be settled.
    some &= search.priced_where(fewer, some, fine) < at.repeat_interleave(settings.undone, 1) + LESS
    new, found = new.flatten(1, 2), (cost < at[..., None] + CLOSE).flatten(1)
    some, place = first_flagged(some, int(some.sum(1).max()))
    return torch.cat([new, picked(fewer, place)], 1), torch.cat([found, some], 1)


def _by_row(values: torch.Tensor, bases: int) -> torch.Tensor:
    """Return values (n B, K, ...) of B points of each row as (n, B K, ...)."""
    return values.unflatten(0, (-1, bases)).flatten(1, 2)


@dataclass(frozen=True, eq=False)
class _Linear(RowBatch):
    """Points (k, D), their margins and plausibilities (k,) and the slopes of both (k, D)."""

    z: torch.Tensor
    margin: torch.Tensor
    slope: torch.Tensor
    plausibility: torch.Tensor
    lift: torch.Tensor

    def after(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict margin and plausibility (k, K) at points ``z`` (k, K, D)."""
        change = z - self.z[:, None]
        margin = self.margin[:, None] + (change @ self.slope[..., None])[..., 0]
        return margin, self.plausibility[:, None] + (change @ self.lift[..., None])[..., 0]


def _exchanges(
    problem: Problem, here: _Linear, settings: GradientSettings
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return exchanges (k, K, D) at k points and which exist; the same with one change undone."""
    domain, moves = problem.domain, problem.moves
    changed = domain.changed(here.z[:, None])[:, 0]
    width = int(changed.sum(1).max())
    there, feature = first_flagged(changed, width)
    less = torch.where(
        domain.groups == feature[..., None], domain.factual[:, None], here.z[:, None]
    )
    # Nothing undone comes first: one more change.
    less = torch.cat([here.z[:, None], less], 1)
    there = torch.cat([torch.ones_like(there[:, :1]), there], 1)
    undone = torch.cat([torch.full_like(feature[:, :1], -1), feature], 1)
    margin, plausibility = here.after(less)
    price = problem.sparse_distance(less)
    # A slope is no more than a hint: what misses the margin by little is tried as well.
    lost = (
        2
        * problem.sparse_distance(here.z[:, None])
        / (problem.floor - problem.margin(domain.factual[:, None])).clamp_min(1e-6)
    )
    short = torch.where(there, problem.floor - margin, -torch.inf).clamp_min(0)
    listed, gain, rise = _promising(problem, here, lost, short.amax(1, keepdim=True))
    missing = (short[..., None] - gain[:, None]).clamp_min(0)
    score = (price - plausibility)[..., None] + rise[:, None] + lost[..., None] * missing
    group = moves.group[listed][:, None]
    anew = changed.gather(1, group[:, 0])[:, None]
    may = there[..., None] & (rise < torch.inf)[:, None] & (~anew | (undone[..., None] == group))
    count = changed.sum(1)[:, None] + (undone < 0).long()
    may &= (count <= problem.max_changes[:, None])[..., None]
    # To undo a change and set none.
    alone = price - plausibility + lost * short
    alone = torch.where(there & (undone >= 0), alone, torch.inf)
    # The last change is not undone.
    alone = torch.where(changed.sum(1, keepdim=True) > 1, alone, torch.inf)
    score = torch.where(may, score, torch.inf).flatten(1)
    best = score.topk(min(settings.exchanged, score.shape[1]), dim=1, largest=False)
    which = best.indices % listed.shape[1]
    trial = moves.apply(picked(less, best.indices // listed.shape[1]), listed.gather(1, which))
    undoing = min(settings.undone, alone.shape[1])
    rest = alone.topk(undoing, dim=1, largest=False)
    fewer = here.z[:, None].repeat(1, settings.undone, 1)
    fewer[:, :undoing] = picked(less, rest.indices)
    some = torch.zeros(fewer.shape[:2], dtype=torch.bool, device=fewer.device)
    some[:, :undoing] = rest.values < torch.inf
    return trial, best.values < torch.inf, fewer, some


def _promising(
    problem: Problem, here: _Linear, lost: torch.Tensor, short: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions (k, K) of the moves that promise most at points, what they gain and cost.

    Half of them where the whole margin ``short`` (k, 1) is missing, half where a quarter of it
    is. Infinite costs stand for moves that a row may not make.
    """
    moves, domain = problem.moves, problem.domain
    gain = moves.effect(here.slope, domain.factual)
    lift = moves.effect(here.lift, domain.factual).clamp_max(MOST_LIFT)
    cost = problem.move_price(moves) - lift
    cost = torch.where(moves.permitted(domain), cost, torch.inf)
    half = min(LISTED // 2, len(moves))
    first = least(cost + lost * (short - gain).clamp_min(0), half)
    rest = cost.scatter(1, first, torch.inf)
    listed = torch.cat([first, least(rest + lost * (short / 4 - gain).clamp_min(0), half)], 1)
    # The second half may have run out of moves, and repeat some of the first.
    again = torch.cat([first < 0, rest.gather(1, listed[:, half:]) == torch.inf], 1)
    cost = torch.where(again, torch.inf, cost.gather(1, listed))
    return listed, gain.gather(1, listed), cost
