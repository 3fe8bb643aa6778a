"""Search of all planes of two numbers, where an answer may change no more than these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from scfe_sklearn.solvers.planes.grid import Planes, fits, predict
from scfe_sklearn.solvers.planes.newton import Rounds, descend_planes
from scfe_sklearn.solvers.problem import Kind, Pool, Predicted, Problem
from scfe_sklearn.solvers.refinement import COARSE_STEP, Pattern, polish


@dataclass(frozen=True)
class PlaneSettings:
    """Fineness of the planes and lengths of the steps in them.

    Parameters
    ----------
    planes : Planes
        The grid of each plane.
    rounds : Rounds
        Newton steps from its best points.
    pattern : Pattern
        Steps on the lattice.
    polished : int
        Points per row that take these.
    """

    planes: Planes = field(default_factory=Planes)
    rounds: Rounds = field(default_factory=Rounds)
    pattern: Pattern = field(default_factory=Pattern)
    polished: int = 2

    def several(self, count: int) -> PlaneSettings:
        """Return the settings of a search for ``count`` answers per row."""
        return replace(
            self,
            planes=replace(self.planes, starts=max(self.planes.starts, 4 * count)),
            rounds=replace(self.rounds, kept=tuple(max(k, 2 * count) for k in self.rounds.kept)),
            polished=max(self.polished, count),
        )


def solve_in_planes(
    problem: Problem, kinds: Sequence[Kind], settings: PlaneSettings, size: int
) -> Pool:
    """Answer rows of few numbers with a budget of two: predict every plane, then Newton steps.

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    kinds : sequence of (rows, anchors, moves)
        What is different for the rows of each kind of answer.
    settings : PlaneSettings
        Fineness and lengths.
    size : int
        Points per row.

    Returns
    -------
    Pool
        Valid points, cheapest first; empty where the rows are about anything else.
    """
    pool = Pool.empty(problem, size)
    if not fits(problem, settings.planes, COARSE_STEP):
        return pool
    starts = Predicted.none(problem, settings.planes.starts + settings.planes.singles)
    for rows, anchors, _ in kinds:
        found = predict(problem.take(rows), anchors, settings.planes)
        if found is None:
            return pool
        starts = starts.scattered(rows, found)
    pool = descend_planes(problem, starts, settings.rounds, size)
    return polish(problem, pool, settings.pattern, settings.polished, smooth=True)
