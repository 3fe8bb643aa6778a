"""The order of the steps: screen, recall, refine, polish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from scfe_sklearn.solvers.planes import Planes, Rounds, descend_planes, fits, predict
from scfe_sklearn.solvers.problem import Kind, Moves, Pool, Predicted, Problem
from scfe_sklearn.solvers.refinement import (
    COARSE_STEP,
    Descent,
    Pattern,
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
    sprint : Descent or None
        Short descents of the whole pool that decide which supports are worth more.
    descent : Descent
        Proximal gradient inside a support.
    continuation : Continuation
        Descent over all features, where there are too many for the screen.
    pattern : Pattern
        Steps on the lattice.
    recall : Recall
        Starts from training rows.
    starts : int
        Supports per row that are refined.
    finalists : int
        Points per row that are polished.
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
    sprint: Descent | None = field(default_factory=lambda: Descent(max_iter=4))
    descent: Descent = field(default_factory=Descent)
    continuation: Continuation = field(default_factory=Continuation)
    pattern: Pattern = field(default_factory=Pattern)
    recall: Recall = field(default_factory=Recall)
    starts: int = 3
    finalists: int = 2
    swaps: int = 2
    exchanged: int = 200
    planes: Planes | None = field(default_factory=Planes)
    rounds: Rounds = field(default_factory=Rounds)


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
    pool = Pool.empty(problem, effort.screen.pool)
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
    size = effort.screen.pool
    if too_wide(problem):
        return descend_wide(problem, anchors, effort.continuation, size)
    pool = screen(problem, effort.screen)
    # Where much has to change, whole training rows are better starts than sums of moves.
    many = problem.domain.changed(pool.z[:, :1])[:, 0].sum(1) > effort.recall.beyond
    again = ((pool.best == torch.inf) | many).nonzero()[:, 0]
    if len(again):
        part = problem.take(again)
        found = recall(part, anchors, effort.recall, size)
        pool = pool.scattered(again, pool.take(again).merged(part, found.z, found.cost))
    missing = (pool.best == torch.inf).nonzero()[:, 0]
    if len(missing):
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
