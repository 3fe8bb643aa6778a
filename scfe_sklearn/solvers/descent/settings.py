"""Lengths and widths of the gradient solver, and the prices of a missed limit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from scfe_sklearn.solvers.planes import PlaneSettings

FINE = 3.0
"""Price of a unit of log-density below the limit, in units of `Search.unit`."""

STRICT = 30.0
"""The same in the search for answers within the limit."""

DEMANDED = 4.0
"""First multiplier of the limit in that search, in the same units."""


SECOND_LENGTHS = ((0.25, 0.02), (0.1, 0.02))
"""Step lengths of the second thorough run. Other lengths end at other supports."""

THOROUGH: dict[str, Any] = {
    "singles": 8,
    "pairs": 48,
    "training_rows": 6,
    "points": 160,
    "sparse": (1, 2, 3, 4, 6),
    "steps": 40,
    "thinned": {},
    "multipliers": 10,
    "settled": 6,
    "settling": 12,
    "exchanges": 16,
    "exchanged": 64,
    "undone": 16,
    "polishing": 8,
}
"""Settings of the effort "thorough": wider and longer."""


@dataclass(frozen=True)
class GradientSettings:
    """Lengths and widths of the steps.

    Parameters
    ----------
    moves : int
        Single changes per row that are tried on the model.
    singles : int
        Features per row whose best single change is looked at; the best two are starts.
    pairs : int
        Pairs of single changes per row that are looked at.
    training_rows : int
        Nearest training rows of the target that are starts.
    points : int
        Training points around each centre that the density is computed from.
    sparse : tuple of int
        Budgets of further runs from the factual.
    steps : int
        Steps of proximal gradient over all features.
    lengths : tuple of (float, float)
        First and last length of these steps; every start is taken once with each. At 1/2 the
        squared distance is minimised at once, so that the support is chosen anew; short steps
        keep it.
    overshoot : tuple of (float, float)
        Margin aimed at beyond the floor, as a share of what the factual is short of.
    multipliers : int
        Proximal points per step that the multiplier of the margin may cost.
    thinned : dict of int to int
        Ways per row that go on after a step.
    momentum : bool
        Whether to extrapolate, with restart where the objective grows.
    settled : int
        Points per row that are improved inside of their supports.
    settling : int
        Steps of that.
    exchanges : int
        Rounds of exchanging features at most; a row leaves that a round does not help.
    bases : int
        Points per row and round that features are exchanged at: the best ones.
    exchanged : int
        Exchanges per row and round that are tried on the model.
    undone : int
        Points per row and round with a change undone.
    polishing : int
        Rounds of small steps of the numbers.
    pool : int
        Points per row that are kept.
    planes : PlaneSettings
        Grids of all pairs, where two numbers out of few may change.
    further : tuple of GradientSettings
        Settings of further runs, of which the best answer counts.
    """

    moves: int = 200
    singles: int = 4
    pairs: int = 8
    training_rows: int = 2
    points: int = 40
    sparse: tuple[int, ...] = (2, 4)
    steps: int = 6
    lengths: tuple[tuple[float, float], ...] = ((0.5, 0.03), (0.15, 0.02))
    overshoot: tuple[float, float] = (0.05, 0.005)
    multipliers: int = 4
    thinned: dict[int, int] = field(default_factory=lambda: {3: 4, 5: 2})
    momentum: bool = False
    settled: int = 3
    settling: int = 5
    exchanges: int = 6
    bases: int = 4
    exchanged: int = 12
    undone: int = 10
    polishing: int = 4
    pool: int = 16
    planes: PlaneSettings = field(default_factory=PlaneSettings)
    further: tuple[GradientSettings, ...] = ()

    @classmethod
    def of(cls, effort: str) -> GradientSettings:
        """Return the settings of an effort, "default" or "thorough"."""
        if effort == "default":
            return cls()
        wide = cls(**THOROUGH)
        return cls(further=(wide, replace(wide, lengths=SECOND_LENGTHS)))

    def several(self, count: int) -> GradientSettings:
        """Return the settings of a search for ``count`` answers per row."""
        if count == 1:
            return self
        pool, settled = max(self.pool, 4 * count), max(self.settled, count + 1)
        planes = replace(self.planes, starts=max(self.planes.starts, 4 * count + 4))
        return replace(self, pool=pool, settled=settled, planes=planes)
