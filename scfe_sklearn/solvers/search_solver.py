"""Search without a gradient: starts, enriching, plausibility floor, narrowing, tree cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from scfe_sklearn.solvers.problem import Kind, Pool, Problem, of_rows
from scfe_sklearn.solvers.refinement import (
    EnrichSettings,
    NarrowSettings,
    StepSettings,
    enrich,
    narrow,
    step,
)
from scfe_sklearn.solvers.starts import (
    Baselines,
    RecallSettings,
    ScreenSettings,
    climb,
    floors,
    hybrids,
    nearest_anchors,
    recall,
    screen,
    too_wide,
    with_floors,
)

GUESSED = 0.6
"""Spreads of log-density that later steps may take from a start."""

SET_BACK = 1e9
"""Added to the cost of points below the floor, so that they come last."""


THOROUGH = ScreenSettings(width=64, parents=200, evaluations=200, shortlist=60)
"""Search over supports of the effort "thorough"."""


@dataclass(frozen=True)
class SearchSettings:
    """Widths and lengths of the steps.

    Parameters
    ----------
    screen : ScreenSettings
        Search over supports.
    enrich : EnrichSettings
        Changes that raise the plausibility.
    recall : RecallSettings
        Starts from training rows.
    narrow : NarrowSettings
        Search along the changed numbers.
    stepping : StepSettings
        Steps from cell to cell of trees.
    narrowed : int
        Points per row that are narrowed down; most of them are dropped early.
    pool : int
        Points per row that are kept from step to step.
    inside : int
        Training rows per row at which steps begin.
    ladder : tuple of float
        Prices of a change, falling; rows with a lower price are solved at these first.
    """

    screen: ScreenSettings = field(default_factory=ScreenSettings)
    enrich: EnrichSettings = field(default_factory=EnrichSettings)
    recall: RecallSettings = field(default_factory=RecallSettings)
    narrow: NarrowSettings = field(default_factory=NarrowSettings)
    stepping: StepSettings = field(default_factory=StepSettings)
    narrowed: int = 2
    pool: int = 6
    inside: int = 6
    ladder: tuple[float, ...] = (4.0, 1.0)

    @classmethod
    def of(cls, effort: str) -> SearchSettings:
        """Return the settings of an effort, "default" or "thorough"."""
        return cls() if effort == "default" else cls(screen=THOROUGH, narrowed=8, pool=24)

    def several(self, count: int) -> SearchSettings:
        """Return the settings of a search for ``count`` answers per row."""
        if count == 1:
            return self
        pool = max(self.pool, 4 * count, 10)
        return replace(self, narrowed=max(self.narrowed, count + 1), pool=pool)


def solve_by_search(
    problem: Problem,
    kinds: Sequence[Kind],
    settings: SearchSettings,
    with_floor: bool = False,
    guesses: torch.Tensor | None = None,
) -> Pool:
    """Answer rows by evaluations of the model only, all rows at once.

    Parameters
    ----------
    problem : Problem
        n rows.
    kinds : sequence of (rows, anchors, moves)
        Training rows and moves for the rows of each kind of target.
    settings : SearchSettings
        Lengths and widths of the steps.
    with_floor : bool
        Whether answers must be as plausible as a greedy baseline.
    guesses : Tensor of shape (n, K, D) or None
        Points that may be answers, such as those of a surrogate.

    Returns
    -------
    Pool
        Valid points, cheapest first.
    """
    pool = _starts(problem, kinds, settings)
    rungs = [price for price in settings.ladder if bool((problem.beta < price).all())]
    if rungs:
        # A valid point stays valid at any price of a change; only its cost differs.
        priced = replace(problem, beta=torch.full_like(problem.beta, rungs[-1]))
        found = solve_by_search(priced, kinds, settings, with_floor, guesses)
        pool = _with_guesses(problem, pool, found.z)
    if guesses is not None:
        pool = _with_guesses(problem, pool, guesses)
    if not with_floor:
        pool = improve_by_search(problem, pool, settings)
        return step(problem, pool, _inside(problem, kinds, settings), settings.stepping)
    # Rows that may miss their floor are solved with and without it, in the same batch.
    guessed = _suspects(problem, kinds, pool, GUESSED)
    limit, begun = _floored(problem.take(guessed), of_rows(kinds, guessed), pool.take(guessed))
    limits = torch.cat([torch.full_like(pool.best, -torch.inf), limit])
    both = problem.take(torch.cat([torch.arange(len(problem)), guessed]))
    found = improve_by_search(with_floors(both, limits), pool.joined(begun), settings)
    found, within = found.take(slice(len(problem))), found.take(slice(len(problem), None))
    low = (_log_densities(problem, found)[guessed, 0] < limit).nonzero()[:, 0]
    found = found.scattered(guessed[low], within.take(low))
    # Other rows that miss their floor are solved again.
    rest = _suspects(problem, kinds, found, 0.0)
    rest = rest[~torch.isin(rest, guessed)]
    part, now = problem.take(rest), found.take(rest)
    limit, begun = _floored(part, of_rows(kinds, rest), now)
    missed = (begun.best > now.best).nonzero()[:, 0]
    if len(missed):
        limited = with_floors(part, limit).take(missed)
        again = improve_by_search(limited, begun.take(missed), settings)
        found = found.scattered(rest[missed], again)
    return found.merged(problem, pool.z, pool.cost + SET_BACK)


def _inside(problem: Problem, kinds: Sequence[Kind], settings: SearchSettings) -> torch.Tensor:
    """Permitted points (n, K, D) of rows nearest to training rows of their kinds."""
    inside = problem.domain.factual[:, None].repeat(1, settings.inside, 1)
    for rows, anchors, _ in kinds:
        domain = problem.domain.take(rows)
        found = hybrids(domain, nearest_anchors(domain, anchors, settings.inside))
        inside[rows, : found.shape[1]] = found
    return inside


def improve_by_search(problem: Problem, pool: Pool, settings: SearchSettings) -> Pool:
    """Improve the first points of a pool."""
    return narrow(problem, pool, settings.narrow, settings.narrowed)


def _starts(problem: Problem, kinds: Sequence[Kind], settings: SearchSettings) -> Pool:
    """Return valid points of each row from single moves, training rows and pushes."""
    pool = Pool.empty(problem, settings.pool)
    for rows, anchors, moves in kinds:
        part = replace(problem.take(rows), moves=moves)
        found = screen(part, replace(settings.screen, pool=settings.pool))
        found = enrich(part, found, anchors, settings.enrich)
        rest = _rest_of_wide_rows if too_wide(part) else _rest_of_rows
        pool = pool.scattered(rows, rest(part, found, anchors, settings))
    return pool


def _rest_of_rows(
    problem: Problem, pool: Pool, anchors: torch.Tensor, settings: SearchSettings
) -> Pool:
    """Try training rows for rows without an answer or with many changes, then pushes."""
    # For many changes training rows are better starts than sums of moves.
    many = problem.domain.changed(pool.z[:, :1])[:, 0].sum(1) > settings.recall.beyond
    pool = _recalled(problem, pool, anchors, settings, (pool.best == torch.inf) | many)
    return _climbed(problem, pool)


def _rest_of_wide_rows(
    problem: Problem, pool: Pool, anchors: torch.Tensor, settings: SearchSettings
) -> Pool:
    """Try pushes for rows without an answer, then training rows if the budget is large.

    To undo hundreds of changes of a training row is much more work than to make a few.
    """
    pool = _climbed(problem, pool)
    again = (pool.best == torch.inf) & (problem.max_changes > settings.recall.undoable)
    return _recalled(problem, pool, anchors, settings, again)


def _recalled(
    problem: Problem,
    pool: Pool,
    anchors: torch.Tensor,
    settings: SearchSettings,
    where: torch.Tensor,
) -> Pool:
    """Return the pool with answers from training rows for the rows ``where`` (n,)."""
    rows = where.nonzero()[:, 0]
    if len(rows) == 0:
        return pool
    part = problem.take(rows)
    found = recall(part, anchors, settings.recall, settings.pool)
    return pool.scattered(rows, pool.take(rows).merged(part, found.z, found.cost))


def _climbed(problem: Problem, pool: Pool) -> Pool:
    """Return the pool with answers from pushes for rows without one."""
    rows = (pool.best == torch.inf).nonzero()[:, 0]
    if len(rows) == 0:
        return pool
    return pool.scattered(rows, climb(problem.take(rows), pool.cost.shape[1]))


def _with_guesses(problem: Problem, pool: Pool, z: torch.Tensor) -> Pool:
    """Return the pool with the valid ones of the points ``z`` (n, K, D)."""
    changed = problem.domain.changed(z)
    there = changed.any(-1) & (changed.sum(-1) <= problem.max_changes[:, None])
    valid, plausibility = problem.evaluate(z, there)
    cost = problem.sparse_distance(z) - plausibility
    return pool.merged(problem, z, torch.where(valid, cost, torch.inf))


def _suspects(problem: Problem, kinds: Sequence[Kind], pool: Pool, spreads: float) -> torch.Tensor:
    """Rows (k,) whose answer may be less plausible than the lower quartile.

    Rows of very many features have no floor: their baseline costs too much.
    """
    objective = problem.objective
    low = (
        _log_densities(problem, pool)[:, 0]
        < objective.lower_quartile() + spreads * objective.spread()
    )
    low &= pool.best < torch.inf
    for rows, _, moves in kinds:
        low[rows] &= not too_wide(replace(problem, moves=moves))
    return low.nonzero()[:, 0]


def _floored(problem: Problem, kinds: Sequence[Kind], pool: Pool) -> tuple[torch.Tensor, Pool]:
    """Return the floors (n,) of rows and the points above them, with the baseline."""
    baselines = Baselines.of(problem, kinds)
    limit = floors(problem, baselines)
    kept = _log_densities(problem, pool) >= limit[:, None]
    pool = Pool.of(problem, pool.z, torch.where(kept, pool.cost, torch.inf), pool.cost.shape[1])
    z = baselines.ends[:, None]
    cost = problem.sparse_distance(z) - problem.plausibility(z, baselines.valid[:, None])
    return limit, pool.merged(problem, z, cost)


def _log_densities(problem: Problem, pool: Pool) -> torch.Tensor:
    """Log-densities (n, P) of the points of a pool, from their costs; infinite for none."""
    value = problem.sparse_distance(pool.z) - pool.cost
    return torch.where(
        pool.cost < torch.inf, value / problem.objective.weight()[:, None], torch.inf
    )
