"""Step from cell to cell of a tree ensemble, for objectives of price and margin only.

At a low price of a change the cheapest answer makes many small changes, each just across a
threshold of the trees. For a multiplier of the margin, such an answer is found by coordinate
descent of price plus multiplier times missing margin, one feature at a time. Where two features
only help together, that descent finds it from the other side: from training rows and answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.problem import Pool, Problem
from scfe_sklearn.solvers.refinement.cells import Changes, Grid, States

ENTRIES = 2**21
"""Values of all states of a block that are tried at once, about."""

LEAST = 1e-9
"""Least decrease of a price."""


@dataclass(frozen=True)
class StepSettings:
    """Settings of `step`.

    Parameters
    ----------
    first, outer, inner, again : tuple of float
        Multipliers of the margin of the descents: two sets from the row, one from answers, and
        one from the best answer. In units of the price of the best answer per missing margin.
    answers : int
        Points of the pool at which descents start.
    paired : int
        Single changes that are combined with every other change.
    exchanged : int
        Weakened changes of an answer that are combined with every other change.
    """

    first: tuple[float, ...] = (1.0, 4.0)
    outer: tuple[float, ...] = (0.6, 1.0, 1.8, 3.0)
    inner: tuple[float, ...] = (1.4, 3.0)
    again: tuple[float, ...] = (0.5, 1.0, 2.0)
    answers: int = 3
    paired: int = 1000
    exchanged: int = 48


def step(problem: Problem, pool: Pool, inside: torch.Tensor, settings: StepSettings) -> Pool:
    """Improve the best points of a pool if trees and prices alone decide.

    Parameters
    ----------
    problem : Problem
        n rows.
    pool : Pool
        Valid points.
    inside : Tensor of shape (n, K, D)
        More points to start from, such as training rows of the target.
    settings : StepSettings
        How many descents are made.

    Returns
    -------
    Pool
        The pool with the improved points.
    """
    cells = problem.objective.cells()
    if cells is None or len(problem) == 0 or len(cells.value) == 0:
        return pool
    readable = cells.places(problem.domain.factual)[1]
    rows = ((pool.best < torch.inf) & readable).nonzero()[:, 0]
    pool = _improved(problem, pool, rows, None, settings)
    # Two changes can be cheaper than one only if that costs more than two of length 0.
    rows = rows[pool.best[rows] > 2 * problem.least_change_price[rows] + LEAST]
    starts = torch.cat([pool.z[:, : settings.answers], inside], 1)
    return _improved(problem, pool, rows, starts, settings)


def _improved(
    problem: Problem,
    pool: Pool,
    rows: torch.Tensor,
    starts: torch.Tensor | None,
    settings: StepSettings,
) -> Pool:
    """Return the pool with better points of some rows, from the row or also from ``starts``."""
    if len(rows) == 0:
        return pool
    cells = problem.objective.cells()
    assert cells is not None
    count = 1 if starts is None else starts.shape[1]
    for some in rows.split(max(1, ENTRIES // (len(cells.value) * count))):
        part, now = problem.take(some), pool.take(some)
        search = _Search(part, now)
        factual = part.domain.factual[:, None]
        if starts is None:
            search.descend(factual, settings.first)
        else:
            search.descend(factual, settings.outer)
            search.descend(starts[some], settings.inner)
            search.pair(settings.paired)
            search.exchange(settings.exchanged)
            search.descend(search.points[:, None], settings.again)
            search.exchange(settings.exchanged)
        z = search.points[:, None]
        valid, plausibility = part.evaluate(z, part.domain.changed(z).any(-1))
        cost = torch.where(valid, part.sparse_distance(z) - plausibility, torch.inf)
        pool = pool.scattered(some, now.merged(part, z, cost))
    return pool


class _Search:
    """The best states of n rows so far, and steps to better ones."""

    def __init__(self, problem: Problem, pool: Pool) -> None:
        cells = problem.objective.cells()
        assert cells is not None
        self.problem = problem
        self.grid = Grid.of(problem, cells)
        everything = torch.arange(len(problem))
        self.found = self.grid.entered(pool.z[:, 0], everything)
        self.best = pool.best.clone()
        margin = problem.margin(problem.domain.factual[:, None])[:, 0]
        self.short = (problem.floor - margin).clamp_min(LEAST)

    @property
    def points(self) -> torch.Tensor:
        """The points (n, D) of the best states."""
        return self.grid.points(self.found)

    def descend(self, starts: torch.Tensor, multipliers: Sequence[float]) -> None:
        """Descend from every start (n, K, D) by every multiplier."""
        n, count, width = starts.shape[0], starts.shape[1], len(multipliers)
        rows = torch.arange(n).repeat_interleave(count * width)
        z = starts.repeat_interleave(width, 1).flatten(0, 1)
        factor = torch.tensor(multipliers, dtype=z.dtype).repeat(n * count)
        weight = factor * (self.best / self.short)[rows]
        states, listed = self.grid.entered(z, rows), self.grid.listed(self.best)
        while len(states.rows):
            changes = self.grid.changes(states, listed, self.best[states.rows])
            self._record(states, changes)
            missing = (self.problem.floor - changes.margin).clamp_min(0)
            score = torch.where(
                changes.price < torch.inf, changes.price + weight[:, None] * missing, torch.inf
            )
            least, column = score.min(1)
            go = (least < score[:, -1] - LEAST).nonzero()[:, 0]
            states = Grid.changed(states, changes, column).take(go)
            weight = weight[go]

    def exchange(self, size: int) -> None:
        """Weaken a change of the best state and add every other one, as long as that pays."""
        rows = torch.arange(len(self.best))
        while len(rows):
            before = self.best[rows]
            self._try_two(self.found.take(rows), size, weaker=True)
            rows = rows[self.best[rows] < before - LEAST]

    def pair(self, size: int) -> None:
        """Combine the most promising single changes with every other one."""
        rows = torch.arange(len(self.best))
        states = self.grid.entered(self.problem.domain.factual, rows)
        self._try_two(states, size, weaker=False)

    def _try_two(self, states: States, size: int, weaker: bool) -> None:
        """Combine the ``size`` most promising or weakened changes with every other one."""
        listed = self.grid.listed(self.best)
        changes = self.grid.changes(states, listed, self.best[states.rows])
        self._record(states, changes)
        weight = (self.best / self.short)[states.rows, None]
        there = changes.price < torch.inf
        if weaker:
            there &= changes.own < states.price.gather(1, changes.feature)
        missing = (self.problem.floor - changes.margin).clamp_min(0)
        score = torch.where(there, changes.price + weight * missing, torch.inf)
        score, order = score.sort(dim=1, stable=True)
        state, rank = (score[:, :size] < torch.inf).nonzero().T
        if len(state) == 0:
            return
        column = order[state, rank]
        together = max(1, ENTRIES // score.shape[1])
        for at, one in zip(state.split(together), column.split(together), strict=True):
            some = Grid.changed(states.take(at), changes.take(at), one)
            self._record(some, self.grid.changes(some, listed, self.best[some.rows]))

    def _record(self, states: States, changes: Changes) -> None:
        """Keep the cheapest valid state of each row."""
        valid = (changes.margin >= self.problem.floor) & changes.within
        price, column = torch.where(valid, changes.price, torch.inf).min(1)
        rows = states.rows
        least = torch.full_like(self.best, torch.inf).scatter_reduce(0, rows, price, "amin")
        hit = (price == least[rows]) & (price < self.best[rows] - LEAST)
        # Ties go to the first.
        place = torch.where(hit, torch.arange(len(rows)), len(rows))
        first = torch.full_like(self.best, len(rows), dtype=torch.long)
        first = first.scatter_reduce(0, rows, place, "amin")
        better = (first < len(rows)).nonzero()[:, 0]
        if len(better) == 0:
            return
        at = first[better]
        new = Grid.changed(states.take(at), changes.take(at), column[at])
        self.best[better] = price[at]
        for name in ("option", "place", "price"):
            getattr(self.found, name)[better] = getattr(new, name)
