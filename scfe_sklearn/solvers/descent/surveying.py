"""Survey of a row: its best single and double changes, and the points to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from scfe_sklearn._utils import cheapest, least, picked
from scfe_sklearn.solvers.descent.settings import FINE, GradientSettings
from scfe_sklearn.solvers.descent.state import Search
from scfe_sklearn.solvers.problem import Kind, Pool, Problem
from scfe_sklearn.solvers.starts import Baselines, feature_sets

BEYOND = 0.05
"""Share of the rest of the way by which a number goes beyond where the margin should be met."""

PAIRED = 32
"""Single changes per row of which any two are combined."""


def survey(
    problem: Problem,
    limited: Problem,
    kinds: Sequence[Kind],
    baselines: Baselines,
    settings: GradientSettings,
) -> tuple[Search, Pool, torch.Tensor]:
    """Return the search, the valid ones of the starts and single changes, and the starts."""
    factual, baseline = problem.domain.factual, baselines.ends
    margin = problem.margin(factual[:, None])[:, 0]
    listed = 6 * settings.singles + settings.pairs
    single = factual[:, None].repeat(1, listed, 1)
    valid = torch.zeros(single.shape[:2], dtype=torch.bool, device=factual.device)
    rows = baselines.near[:, : settings.training_rows]
    for own, _, moves in kinds:
        part = replace(problem.take(own), moves=moves)
        z, good = _best_singles(part, margin[own], settings)
        single[own, : z.shape[1]], valid[own, : z.shape[1]] = z, good
    points = torch.cat([baseline[:, None], single, rows], 1)
    there = torch.cat([problem.domain.changed(points[:, :1]).any(-1), valid], 1)
    there = torch.cat([there, problem.domain.changed(rows).any(-1)], 1)
    there &= problem.domain.changed(points).sum(-1) <= problem.max_changes[:, None]
    ours = torch.ones_like(there)
    ours[:, 1 : 1 + listed] = False
    there &= ~ours | problem.valid(points, there & ours)
    near = limited.objective.neighbourhood(baseline[:, None], settings.points)
    sets = feature_sets(problem.domain)
    search = Search(problem, sets, near, (problem.floor - margin).clamp_min(0))
    # The likely ones first; of the others those that could cost less than the best of these.
    likely = ours.clone()
    likely[:, 1 : 1 + settings.singles] = True
    cost = torch.where(there & likely, _priced(search, limited, points, there & likely), torch.inf)
    lowest = problem.objective.best_plausibility(torch.arange(len(factual), device=factual.device))
    could = problem.sparse_distance(points) - lowest[:, None] < cost.amin(1, keepdim=True)
    rest = there & ~likely & could
    cost = torch.where(rest, _priced(search, limited, points, rest), cost)
    pool = Pool.of(problem, points, cost, settings.pool)
    best = cheapest(single, cost[:, 1 : 1 + listed], 2)
    found = cost[:, 1 : 1 + listed].topk(2, dim=1, largest=False).values < torch.inf
    best = torch.where(found[..., None], best, factual[:, None])
    starts = torch.cat([factual[:, None], baseline[:, None], best, rows], 1)
    first = torch.where(pool.cost[:, :1, None] < torch.inf, pool.z[:, :1], rows[:, :1])
    centres = torch.cat([first, baseline[:, None]], 1)
    return (
        replace(search, near=limited.objective.neighbourhood(centres, settings.points)),
        pool,
        starts,
    )


def _priced(search: Search, limited: Problem, z: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Objective (n, K) by the densities themselves, a missed limit at the price `FINE`."""
    return search.price_of(z, limited.objective.log_densities(z, where), FINE)


def _best_singles(
    problem: Problem, margin: torch.Tensor, settings: GradientSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Single changes (n, K, D), those of the most promising features first, and which are valid.

    A number is set to where the margin is met, by interpolation between the values tried.
    """
    moves, factual = problem.moves, problem.domain.factual
    if len(moves) == 0:
        return factual[:, None].repeat(1, 0, 1), torch.zeros(len(factual), 0, dtype=torch.bool)
    permitted = moves.permitted(problem.domain)
    price = problem.move_price(moves)
    listed = _promising(problem, permitted, price, margin, settings.moves)
    permitted, price = permitted.gather(1, listed), price.gather(1, listed)
    z = moves.apply(factual[:, None], listed)
    reached = problem.margin(z, permitted)
    valid = permitted & (reached >= problem.floor)
    nearer, saved = _crossings(problem, listed, valid, reached, margin)
    merit = torch.where(valid, price - saved, torch.inf)
    # Those that are no answers by what a unit of margin costs, after all that are.
    rate = price / (reached - margin[:, None]).clamp_min(1e-12)
    merit = torch.where(permitted & ~valid, 1e12 + rate.clamp_max(1e12), merit)
    feature = moves.group[listed]
    lowest = merit.new_full((len(z), problem.domain.n_features), torch.inf)
    lowest = lowest.scatter_reduce(1, feature, merit, "amin")
    first = merit <= lowest.gather(1, feature)
    order = least(torch.where(first, merit, torch.inf), settings.singles)
    rest = least(torch.where(valid, price, torch.inf), 5 * settings.singles)
    moved = picked(z, order).scatter(
        2,
        moves.coordinate[listed.gather(1, order)][..., None],
        nearer.gather(1, order)[..., None],
    )
    index = torch.arange(len(z), device=z.device).repeat_interleave(order.shape[1])
    moved = problem.domain.take(index).snap(moved.flatten(0, 1)).reshape(moved.shape)
    met = problem.valid(moved, valid.gather(1, order))
    moved = torch.where(met[..., None], moved, picked(z, order))
    gain = torch.where(permitted, reached - margin[:, None], 0.0)
    pairs, good = _best_pairs(problem, listed, gain, price, margin, settings)
    return torch.cat([moved, picked(z, rest), pairs], 1), torch.cat(
        [valid.gather(1, order), valid.gather(1, rest), good], 1
    )


def _best_pairs(
    problem: Problem,
    listed: torch.Tensor,
    gain: torch.Tensor,
    price: torch.Tensor,
    margin: torch.Tensor,
    settings: GradientSettings,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two changes at once (n, K, D), the cheapest of every two features, and which are valid.

    The margin of two changes is predicted as the sum of what each gains; the cheapest that
    should be valid are tried.
    """
    moves, domain = problem.moves, problem.domain
    count = settings.pairs if bool((problem.max_changes > 1).any()) else 0
    if count == 0:
        return domain.factual[:, None].repeat(1, 0, 1), gain[:, :0] > 0
    best = least(torch.where(gain > 0, price / gain.clamp_min(1e-12), torch.inf), PAIRED)
    listed, gain, price = (part.gather(1, best) for part in (listed, gain, price))
    first, second = torch.triu_indices(best.shape[1], best.shape[1], 1, device=best.device)
    feature = moves.group[listed]
    one, other = feature[:, first], feature[:, second]
    reached = margin[:, None] + gain[:, first] + gain[:, second]
    cost = price[:, first] + price[:, second]
    fits = (one != other) & (gain[:, first] > 0) & (gain[:, second] > 0)
    cost = torch.where(fits & (reached >= problem.floor), cost, torch.inf)
    both = torch.minimum(one, other) * domain.n_features + torch.maximum(one, other)
    lowest = cost.new_full((len(cost), domain.n_features**2), torch.inf)
    lowest = lowest.scatter_reduce(1, both, cost, "amin")
    cost = torch.where(cost <= lowest.gather(1, both), cost, torch.inf)
    order = least(cost, count)
    z = moves.apply(domain.factual[:, None], listed.gather(1, first[order]))
    z = moves.apply(z, listed.gather(1, second[order]))
    there = (cost.gather(1, order) < torch.inf) & (problem.max_changes > 1)[:, None]
    return z, problem.valid(z, there)


def _crossings(
    problem: Problem,
    listed: torch.Tensor,
    valid: torch.Tensor,
    reached: torch.Tensor,
    margin: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (n, K) on the way to valid moves where the margin is met, and what they save.

    The way begins at the factual value, or at the move before, if that is on it.
    """
    moves, domain = problem.moves, problem.domain
    coordinate, value = moves.coordinate[listed], moves.value[listed]
    origin = domain.factual.gather(1, coordinate)
    start, before = origin, margin[:, None].expand_as(reached)
    for shift in (1, -1):
        other, got = value.roll(shift, 1), reached.roll(shift, 1)
        between = (other - origin) * (other - value) < 0
        between &= (coordinate.roll(shift, 1) == coordinate) & (got < problem.floor)
        start, before = torch.where(between, other, start), torch.where(between, got, before)
    share = (problem.floor - before) / (reached - before).clamp_min(1e-12)
    share = (share + BEYOND * (1 - share)).clamp(0, 1)
    nearer = torch.where(domain.scalar[coordinate] & valid, start + share * (value - start), value)
    saved = (value - origin).square() - (nearer - origin).square()
    saved = saved * domain.scalar[coordinate]
    if problem.cost is not None:
        saved = saved * problem.cost.gather(1, moves.group[listed])
    return nearer, torch.where(valid, saved, torch.zeros_like(saved))


def _promising(
    problem: Problem,
    permitted: torch.Tensor,
    price: torch.Tensor,
    margin: torch.Tensor,
    count: int,
) -> torch.Tensor:
    """Positions (n, K) of the moves that are tried: all, or the best by the margin's slope."""
    moves, factual = problem.moves, problem.domain.factual
    if len(moves) <= count:
        return torch.arange(len(moves), device=factual.device).expand(len(factual), -1)
    _, slope = problem.objective.margin_and_grad(factual)
    gain = moves.effect(slope, factual).clamp_min(1e-12)
    missing = (problem.floor - margin).clamp_min(0)[:, None]
    merit = price * torch.maximum(missing / gain, torch.ones_like(gain))
    return torch.where(permitted, merit, torch.inf).topk(count, dim=1, largest=False).indices
