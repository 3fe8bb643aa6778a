"""Screen supports by a beam, from single moves up to the budget.

The budget on changed features makes the problem combinatorial, and a descent keeps its support.
Supports are therefore searched first: all single moves are evaluated; the effect of several moves
is predicted as the sum of the single effects, and only the most promising combinations are
evaluated.
"""

from __future__ import annotations

from functools import partial

import torch

from scfe_sklearn._utils import least, picked
from scfe_sklearn.solvers.problem import (
    BUCKETS,
    Pool,
    Problem,
    feature_key,
    support_key,
)
from scfe_sklearn.solvers.starts import beams
from scfe_sklearn.solvers.starts.beams import Beam, ScreenSettings, Singles, collect, gather
from scfe_sklearn.solvers.starts.rising import rise
from scfe_sklearn.solvers.starts.wide import too_wide

PAIR = 2
"""Changes up to which predicted sums of single gains are worth trying there."""

CONTRAST = 0.1
"""Weight of the difference between the best points of two supports."""


def screen(problem: Problem, settings: ScreenSettings) -> Pool:
    """Search supports of growing size and return the best valid points of each row.

    Parameters
    ----------
    problem : Problem
        The rows to be answered.
    settings : ScreenSettings
        Widths of the search.

    Returns
    -------
    Pool
        Valid points, none where no combination that was tried is valid.
    """
    n = len(problem)
    if n == 0 or len(problem.moves) == 0:
        return Pool.empty(problem, settings.pool)
    pool, singles = _try_singles(problem, settings)
    # Two changes can be cheaper than one only if that costs more than two of length 0.
    costly = problem.sparse_distance(pool.z[:, :1])[:, 0] > 2 * problem.beta * problem.least_cost
    rows = (costly | (pool.best == torch.inf)).nonzero()[:, 0]
    if len(rows) == 0:
        return pool
    part, found, own = problem.take(rows), pool.take(rows), singles.take(rows)
    if not too_wide(problem):
        return pool.scattered(rows, _grow(part, settings, found, own))
    left = (found.best == torch.inf).nonzero()[:, 0]
    if len(left):
        risen = rise(part.take(left), settings, found.take(left), own.take(left))
        found = found.scattered(left, risen)
    # Sums of single gains predict many changes of very many features badly.
    changes = part.domain.changed(found.z[:, :1])[:, 0].sum(1)
    few = ((found.best < torch.inf) & (changes <= PAIR)).nonzero()[:, 0]
    if len(few):
        grown = _grow(part.take(few), settings, found.take(few), own.take(few))
        found = found.scattered(few, grown)
    return pool.scattered(rows, found)


def _grow(problem: Problem, settings: ScreenSettings, pool: Pool, singles: Singles) -> Pool:
    """Add moves to the most promising single ones."""
    beam = _first_beam(problem, settings, singles)
    active = torch.arange(len(problem), device=beam.z.device)
    best = problem.objective.best_plausibility(active)
    before = pool.best
    for size in range(2, int(problem.max_changes.max()) + 1):
        # Another change pays only without an answer, or if the possible gain exceeds its price.
        bound = size * problem.beta * problem.least_cost - best
        useful = (problem.max_changes >= size) & (pool.best > bound)
        if size > 3:
            # Continue without an answer, or if the last change paid.
            useful &= (pool.best == torch.inf) | (pool.best < before)
        before = pool.best
        keep = useful[active] & beam.live.any(1)
        active, beam = active[keep], beam.take(keep.nonzero()[:, 0])
        if len(active) == 0:
            break
        part, own = problem.take(active), singles.take(active)
        found, beam = _extend(part, settings, own, beam)
        now = pool.take(active).merged(part, found.z, found.cost)
        pool = pool.scattered(active, now)
    return pool


def _try_singles(problem: Problem, settings: ScreenSettings) -> tuple[Pool, Singles]:
    """Try every permitted single move on the model."""
    domain, moves = problem.domain, problem.moves
    root = domain.factual[:, None]
    margin0 = problem.margin(root)
    plausibility0 = problem.plausibility(root)
    permitted = moves.permitted(domain) & (problem.max_changes >= 1)[:, None]
    margin = _single_margins(problem, permitted)
    price = problem.move_price(moves)
    gain = torch.where(permitted, margin - margin0, torch.zeros_like(margin))
    pool, plausibility = collect(
        problem,
        settings,
        lambda listed: moves.apply(root, listed),
        margin,
        price,
        plausibility0.expand_as(margin),
        permitted,
    )
    lift = plausibility - plausibility0
    return pool, Singles(permitted, price, gain, lift, margin, plausibility)


def _single_margins(problem: Problem, permitted: torch.Tensor) -> torch.Tensor:
    """Margins (n, M) after every single move; minus infinity if it is not permitted."""
    domain, moves = problem.domain, problem.moves
    margin = problem.objective.margins_after(domain.factual, moves.target, moves.group)
    if margin is not None:
        return torch.where(permitted, margin, -torch.inf)
    # Only the permitted points are built, in chunks.
    margin = domain.factual.new_full(permitted.shape, -torch.inf)
    size = max(1, beams.AT_ONCE // domain.factual.shape[1])
    for some in permitted.nonzero().split(size):
        rows, move = some.T
        points = moves.apply(domain.factual[rows], move)
        margin[rows, move] = problem.objective.margin_at(points, rows)
    return margin


def _first_beam(problem: Problem, settings: ScreenSettings, singles: Singles) -> Beam:
    """Return the single moves that are extended."""
    moves, root = problem.moves, problem.domain.factual[:, None]
    margin, price, plausibility = singles.margin, singles.price, singles.plausibility
    merit = _merit(problem, margin, price, plausibility, singles.permitted, _rate(singles))
    # Every single move may be half of a pair: sums need no model.
    merit = _diversified(merit, moves.group.expand_as(merit))
    order = merit.argsort(dim=1, stable=True)[:, : max(settings.width, settings.parents)]
    z = moves.apply(root, order)
    return gather(z, margin, price, plausibility, singles.permitted, order)


def _extend(
    problem: Problem, settings: ScreenSettings, singles: Singles, beam: Beam
) -> tuple[Pool, Beam]:
    """Add one more move to the combinations of the beam."""
    moves = problem.moves
    n = len(beam.margin)
    changed = problem.domain.changed(beam.z)
    free = ~changed[:, :, moves.group]
    live = free & singles.permitted[:, None] & beam.live[:, :, None]
    margin = (beam.margin[:, :, None] + singles.gain[:, None]).reshape(n, -1)
    price = (beam.price[:, :, None] + singles.price[:, None]).reshape(n, -1)
    combined = problem.objective.combined_plausibility(
        beam.z, problem.domain.factual, moves.target, moves.keeps
    )
    if combined is None:
        combined = beam.plausibility[:, :, None] + singles.lift[:, None]
    plausibility = combined.reshape(n, -1)
    live = live.reshape(n, -1)
    rate = _rate(singles)
    half = settings.evaluations // 2
    key = support_key(changed)[:, :, None] + feature_key(moves.group + 1)
    key = (key % BUCKETS).reshape(n, -1)
    # One half are predicted to be valid, the other half may become so at a low price.
    # Effects are not additive, so every support is tried.
    sure = torch.where(
        live & (margin >= problem.floor), price - plausibility, torch.full_like(price, torch.inf)
    )
    first = least(_diversified(sure, key), half)
    merit = _diversified(_merit(problem, margin, price, plausibility, live, rate), key)
    merit = merit.scatter(1, first, torch.inf)
    order = torch.cat([first, least(merit, settings.evaluations - half)], 1)
    parent, move = order // len(moves), order % len(moves)
    z = moves.apply(beam.z.gather(1, parent[..., None].expand(-1, -1, beam.z.shape[2])), move)
    live, price = live.gather(1, order), price.gather(1, order)
    plausibility = plausibility.gather(1, order)
    margin = problem.margin(z, live)
    of_beam = partial(picked, z)
    pool, plausibility = collect(problem, settings, of_beam, margin, price, plausibility, live)
    merit = _merit(problem, margin, price, plausibility, live, rate)
    # Supports take turns in the beam, whatever their number of values.
    merit = _diversified(merit, support_key(problem.domain.changed(z)))
    order = merit.argsort(dim=1, stable=True)[:, : settings.width]
    return pool, gather(of_beam(order), margin, price, plausibility, live, order)


def _rate(singles: Singles) -> torch.Tensor:
    """Return the least price of a unit of margin among the single moves, (n, 1)."""
    infinite = torch.full_like(singles.price, torch.inf)
    rates = torch.where(
        singles.permitted & (singles.gain > 0), singles.price / singles.gain, infinite
    )
    least = rates.amin(1, keepdim=True)
    return torch.where(least < torch.inf, least, torch.ones_like(least))


def _merit(
    problem: Problem,
    margin: torch.Tensor,
    price: torch.Tensor,
    plausibility: torch.Tensor,
    live: torch.Tensor,
    rate: torch.Tensor,
) -> torch.Tensor:
    """Return cost so far plus the price of the margin that is missing; infinite if not live."""
    missing = (problem.floor - margin).clamp_min(0)
    merit = price - plausibility + rate * missing
    return torch.where(live, merit, torch.full_like(merit, torch.inf))


def _diversified(merit: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    """Shrink the differences of merit between supports, but not those within a support."""
    best = torch.full((len(merit), BUCKETS), torch.inf, dtype=merit.dtype, device=merit.device)
    own = best.scatter_reduce(1, support, merit, "amin").gather(1, support)
    least = merit.amin(1, keepdim=True)
    return torch.where(merit < torch.inf, merit - (1 - CONTRAST) * (own - least), merit)
