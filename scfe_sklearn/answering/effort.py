"""How hard to look: more for a tight budget, and for several answers per row."""

from __future__ import annotations

from dataclasses import replace

from scfe_sklearn.solvers.recourse import Effort
from scfe_sklearn.solvers.refinement import Descent
from scfe_sklearn.solvers.search_solver import SearchSettings


def thorough(effort: Effort) -> Effort:
    """Return an effort for a tight budget, where every pair of features deserves a try."""
    screen = replace(effort.screen, pairs=2000, pool=12)
    return replace(
        effort,
        screen=screen,
        sprint=Descent(max_iter=4),
        descent=Descent(max_iter=25),
        starts=2,
        swaps=3,
    )


def several(effort: Effort, count: int) -> Effort:
    """Return an effort that looks for ``count`` answers per row."""
    if count == 1:
        return effort
    screen = replace(effort.screen, pool=max(effort.screen.pool, 4 * count))
    more = count + 1
    planes = effort.planes
    if planes is not None:
        planes = replace(planes, starts=max(planes.starts, 4 * more))
    rounds = replace(effort.rounds, kept=tuple(max(k, 2 * more) for k in effort.rounds.kept))
    return replace(
        effort,
        planes=planes,
        rounds=rounds,
        screen=screen,
        starts=max(effort.starts, more),
        finalists=max(effort.finalists, more),
    )


def several_by_search(settings: SearchSettings, count: int) -> SearchSettings:
    """Return the settings of a search for ``count`` answers per row."""
    if count == 1:
        return settings
    return replace(
        settings, narrowed=max(settings.narrowed, count + 1), pool=max(settings.pool, 4 * count, 10)
    )
