"""The order of the steps: screen, recall, refine, polish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from scfe_sklearn.solvers.planes import Planes, Rounds, descend_planes, fits, predict
from scfe_sklearn.solvers.problem import Moves, Pool, Predicted, Problem
from scfe_sklearn.solvers.refinement import (
    COARSE_STEP,
    Descent,
    Enrich,
    Pattern,
    Section,
    enrich,
    narrow,
    polish,
    refine,
    swap,
)
from scfe_sklearn.solvers.starts import (
    Continuation,
    Recall,
    Screen,
    climb,
    descend_wide,
    recall,
    screen,
    too_wide,
)


@dataclass(frozen=True)
class Effort:
    """How hard to look; the defaults answer a thousand rows in seconds.

    Parameters
    ----------
    screen : Screen
        Search over supports.
    thrifty : Screen
        The same where there is no gradient.
    sprint : Descent or None
        Short descents of the whole pool that decide which supports are worth more.
    descent : Descent
        Proximal gradient inside a support.
    continuation : Continuation
        Descent over all features, where there are too many for the screen.
    pattern : Pattern
        Steps on the lattice.
    enrich : Enrich
        Changes for the sake of plausibility where there is no gradient.
    section : Section
        Search along the changed numbers where there is no gradient.
    recall : Recall
        Starts from training rows.
    starts : int
        Supports per row that are refined.
    finalists : int
        Points per row that are polished.
    narrowed : int
        The same where there is no gradient: most of them are given up after a question or two.
    kept : int
        Points per row that are kept from step to step where there is no gradient.
    values : int
        Values of each number that the screen tries.
    swaps : int
        Supports one exchange away from the best that are refined in the end.
    exchanged : int
        Moves that are tried in an exchange, about.
    planes : Planes or None
        Search of all planes, where two numbers may change; None never takes this road.
    rounds : Rounds
        Newton steps in these planes.
    """

    screen: Screen = field(default_factory=Screen)
    thrifty: Screen = field(
        default_factory=lambda: Screen(shortlist=10, parents=48, evaluations=32, thrifty=True)
    )
    sprint: Descent | None = field(default_factory=lambda: Descent(max_iter=4))
    descent: Descent = field(default_factory=Descent)
    continuation: Continuation = field(default_factory=Continuation)
    pattern: Pattern = field(default_factory=Pattern)
    enrich: Enrich = field(default_factory=Enrich)
    section: Section = field(default_factory=Section)
    recall: Recall = field(default_factory=Recall)
    starts: int = 3
    finalists: int = 2
    narrowed: int = 2
    kept: int = 6
    values: int = 12
    swaps: int = 2
    exchanged: int = 200
    planes: Planes | None = field(default_factory=Planes)
    rounds: Rounds = field(default_factory=Rounds)

    def pool(self, smooth: bool) -> int:
        """Return how many points per row are kept, with or without a gradient."""
        return self.screen.pool if smooth else self.kept


def solve(problem: Problem, anchors: torch.Tensor, effort: Effort) -> Pool:
    """Answer every row of a problem with one target class.

    Parameters
    ----------
    problem : Problem
        n rows with the same target.
    anchors : Tensor of shape (T, D)
        Training rows that the model calls the target.
    effort : Effort
        Widths and lengths of the steps.

    Returns
    -------
    Pool
        Valid points, cheapest first; no point for a row which could not be answered.
    """
    return solve_kinds(problem, [(torch.arange(len(problem)), anchors, problem.moves)], effort)


Kind = tuple[torch.Tensor, torch.Tensor, Moves]
"""Rows (k,) that want one kind of answer, the training rows of that kind, and their moves."""


def solve_kinds(problem: Problem, kinds: Sequence[Kind], effort: Effort) -> Pool:
    """Answer every row of a problem with several target classes.

    Parameters
    ----------
    problem : Problem
        n rows.
    kinds : sequence of (rows, anchors, moves)
        What is different for the rows of each class.
    effort : Effort
        Widths and lengths of the steps.

    Returns
    -------
    Pool
        Valid points, cheapest first; no point for a row which could not be answered.
    """
    pool = in_planes(problem, kinds, effort)
    left = pool.best == torch.inf
    if not bool(left.any()):
        return pool
    rows = left.nonzero()[:, 0]
    place = left.cumsum(0) - 1
    part, found = problem.take(rows), Pool(pool.z[rows], pool.cost[rows])
    parts = []
    for own, anchors, moves in kinds:
        mine = own[left[own]]
        if len(mine):
            begun = begin(replace(problem.take(mine), moves=moves), anchors, effort)
            found = found.scattered(place[mine], begun)
            parts.append((place[mine], moves))
    return pool.scattered(rows, improve(part, found, effort, parts))


def in_planes(problem: Problem, kinds: Sequence[Kind], effort: Effort) -> Pool:
    """Search the planes of two numbers, where a row is about nothing else."""
    pool = Pool.empty(problem, effort.pool(problem.objective.has_gradient))
    if effort.planes is None or not fits(problem, effort.planes, COARSE_STEP):
        return pool
    starts = Predicted.none(problem, effort.planes.starts + effort.planes.singles)
    for rows, anchors, _ in kinds:
        found = predict(problem.take(rows), anchors, effort.planes)
        if found is None:
            return pool
        starts = starts.scattered(rows, found)
    pool = descend_planes(problem, starts, effort.rounds, effort.screen.pool)
    return polish(problem, pool, effort.pattern, effort.finalists, smooth=True)


def begin(problem: Problem, anchors: torch.Tensor, effort: Effort) -> Pool:
    """Find valid points to start from: supports first, and the other starts where that fails."""
    if problem.objective.has_gradient and too_wide(problem):
        return descend_wide(problem, anchors, effort.continuation, effort.screen.pool)
    smooth, size = problem.objective.has_gradient, effort.pool(problem.objective.has_gradient)
    pool = screen(problem, replace(effort.screen if smooth else effort.thrifty, pool=size))
    if not smooth:
        pool = enrich(problem, pool, anchors, effort.enrich)
    wide = not smooth and too_wide(problem)
    if wide:
        # To undo hundreds of changes of a training row is much more work than to make a few.
        missing = (pool.best == torch.inf).nonzero()[:, 0]
        if len(missing):
            pool = pool.scattered(missing, climb(problem.take(missing), size))
    # Where much has to change, whole training rows are better starts than sums of moves.
    beyond = effort.recall.beyond if smooth else effort.recall.beyond_asked
    many = problem.domain.changed(pool.z[:, :1])[:, 0].sum(1) > beyond
    if wide:
        many = (pool.best == torch.inf) & (problem.max_changes > effort.recall.undoable)
        again = many.nonzero()[:, 0]
    else:
        again = ((pool.best == torch.inf) | many).nonzero()[:, 0]
    if len(again):
        part, now = problem.take(again), Pool(pool.z[again], pool.cost[again])
        found = recall(part, anchors, effort.recall, size)
        pool = pool.scattered(again, now.merged(part, found.z, found.cost))
    missing = (pool.best == torch.inf).nonzero()[:, 0]
    if len(missing) and not wide:
        pool = pool.scattered(missing, climb(problem.take(missing), size))
    return pool


def improve(
    problem: Problem,
    pool: Pool,
    effort: Effort,
    kinds: Sequence[tuple[torch.Tensor, Moves]] | None = None,
) -> Pool:
    """Refine the starts, whatever the target of their row.

    ``kinds`` are the rows that have the same target, and the moves of each; by default all rows
    have the same.
    """
    if not problem.objective.has_gradient:
        return narrow(problem, pool, effort.section, effort.narrowed)
    pool = refine(problem, pool, effort.descent, effort.starts, effort.sprint)
    if effort.swaps:
        others = Pool.empty(problem, effort.swaps)
        everything = torch.arange(len(problem), device=pool.z.device)
        for index, moves in kinds or [(everything, problem.moves)]:
            part = replace(problem.take(index), moves=moves)
            if not too_wide(part):
                now = Pool(pool.z[index], pool.cost[index])
                others = others.scattered(index, swap(part, now, effort.swaps, effort.exchanged))
        others = refine(problem, others, effort.descent, effort.swaps)
        pool = pool.merged(problem, others.z, others.cost)
    return polish(problem, pool, effort.pattern, effort.finalists, smooth=True)
