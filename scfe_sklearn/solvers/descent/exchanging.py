"""Exchange of one changed feature for another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from scfe_sklearn.solvers.descent.picking import picked
from scfe_sklearn.solvers.descent.settings import STRICT, GradientSettings
from scfe_sklearn.solvers.descent.state import Search
from scfe_sklearn.solvers.problem import Kind, Pool, Problem, first_flagged

EXCHANGED = 3
"""Exchanges per row and round that are improved."""

CLOSE, LESS = 2.0, 2.0
"""How much more than their base points may cost: with an exchange, with a change undone."""

MOST_LIFT = 2.0
"""Plausibility that the slope may promise of an exchange at most."""


def exchange(
    search: Search,
    limited: Problem,
    kinds: Sequence[Kind],
    pool: Pool,
    base: int,
    settings: GradientSettings,
    fine: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points (n, K, D) one exchange away from point ``base`` of the rows, which are some.

    One change is undone, one set anew. What that does to margin and plausibility is predicted by
    their slopes at that point; those that promise most are tried on the model. Points with
    a change undone and none set follow, valid or not: the other numbers may make up for it.
    """
    problem = search.problem
    out = Pool.empty(problem, EXCHANGED)
    fewer = out.z[:, :1].repeat(1, settings.undone, 1)
    some = torch.zeros(fewer.shape[:2], dtype=torch.bool, device=fewer.device)
    best, at = pool.z[:, base], pool.cost[:, base]
    margin, slope = problem.objective.margin_and_grad(best)
    density, lift = search.near.log_density_and_grad(best[:, None])
    value, rise = density * search.near.weight[:, None], lift[:, 0] * search.near.weight[:, None]
    for rows, _, moves in kinds:
        own = rows[at[rows] < torch.inf]
        if len(moves) == 0 or len(own) == 0:
            continue
        part = replace(problem.take(own), moves=moves)
        here = _Linear(best[own], margin[own], slope[own], value[own, 0], rise[own])
        trial, promising, fewer[own], some[own] = _exchanges(part, here, settings)
        there = search.take(own)
        if fine == STRICT:
            could = there.problem.sparse_distance(trial) - there.ceiling[:, None]
            promising &= could < at[own, None]
            promising &= there.problem.valid(trial, promising)
            density = limited.take(own).objective.log_densities(trial, promising)
            cost = torch.where(promising, there.price_of(trial, density, fine), torch.inf)
        else:
            cost = there.cost(trial, promising, fine, below=at[own] + CLOSE)
        out = out.scattered(own, Pool.of(part, trial, cost, EXCHANGED))
    # What settling will hardly make up for need not be settled.
    some &= search.priced_where(fewer, some, fine) < at[:, None] + LESS
    out = Pool(out.z, torch.where(out.cost < at[:, None] + CLOSE, out.cost, torch.inf))
    some, place = first_flagged(some, int(some.sum(1).max()))
    fewer = picked(fewer, place)
    return torch.cat([out.z, fewer], 1), torch.cat([out.cost < torch.inf, some], 1)


@dataclass(frozen=True, eq=False)
class _Linear:
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
    """The most promising exchanges (k, K, D) at points of k rows, and which of them are some.

    The same for points with one change undone.
    """
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
    gain = moves.effect(here.slope, domain.factual)
    lift = moves.effect(here.lift, domain.factual).clamp_max(MOST_LIFT)
    cost = (price - plausibility)[..., None] + (problem.move_price(moves) - lift)[:, None]
    missing = problem.floor - (margin[..., None] + gain[:, None])
    # A slope is no more than a hint: what misses the margin by little is tried as well.
    lost = problem.sparse_distance(here.z[:, None])[..., None] / (
        problem.floor - problem.margin(domain.factual[:, None])[..., None]
    ).clamp_min(1e-6)
    score = cost + 2 * lost * missing.clamp_min(0)
    fits = ~changed[:, None, :] | (undone[..., None] == torch.arange(changed.shape[1]))
    may = there[..., None] & moves.permitted(domain)[:, None] & fits[..., moves.group]
    count = changed.sum(1)[:, None] + (undone < 0).long()
    may &= (count <= problem.max_changes[:, None])[..., None]
    # To undo a change and set none.
    alone = price - plausibility + 2 * lost[..., 0] * (problem.floor - margin).clamp_min(0)
    alone = torch.where(there & (undone >= 0), alone, torch.inf)
    # The last change is not undone.
    alone = torch.where(changed.sum(1, keepdim=True) > 1, alone, torch.inf)
    score = torch.where(may, score, torch.inf).flatten(1)
    best = score.topk(min(settings.exchanged, score.shape[1]), dim=1, largest=False)
    trial = moves.apply(picked(less, best.indices // len(moves)), best.indices % len(moves))
    undoing = min(settings.undone, alone.shape[1])
    rest = alone.topk(undoing, dim=1, largest=False)
    fewer = here.z[:, None].repeat(1, settings.undone, 1)
    fewer[:, :undoing] = picked(less, rest.indices)
    some = torch.zeros(fewer.shape[:2], dtype=torch.bool, device=fewer.device)
    some[:, :undoing] = rest.values < torch.inf
    return trial, best.values < torch.inf, fewer, some
