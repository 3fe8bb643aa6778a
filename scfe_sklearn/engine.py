"""From encoded rows to candidate answers: builds the problem of each class and has it solved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from scfe_sklearn.densities import ClassConditionalDensity
from scfe_sklearn.features import Actionability, FeatureSpace
from scfe_sklearn.objective import MixedObjective, TargetObjective
from scfe_sklearn.solvers.domain import Domain
from scfe_sklearn.solvers.moves import Moves
from scfe_sklearn.solvers.pool import Pool
from scfe_sklearn.solvers.problem import Problem
from scfe_sklearn.solvers.recourse import Effort, begin, improve
from scfe_sklearn.solvers.trade_off import Descent

FLOORS = (1e-6, 1e-3, 3e-2, 0.3)
"""Margins that are asked for, one after the other, until the user's model agrees."""

SINGLE_FLOOR = 1e-4
"""First margin of a model that computes in single precision."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Up to P answers a row, cheapest first.

    Parameters
    ----------
    z : ndarray of shape (n, P, D)
        Points.
    cost : ndarray of shape (n, P)
        Objective values, infinite where there is no point.
    code : ndarray of shape (n, P), int
        The class that each point is meant for.
    """

    z: np.ndarray
    cost: np.ndarray
    code: np.ndarray


@dataclass(frozen=True, eq=False)
class Engine:
    """Everything about model, densities and features that a search needs.

    Parameters
    ----------
    space : FeatureSpace
        The fitted feature space.
    density : ClassConditionalDensity
        The fitted densities.
    scores : callable
        Points (k, D) to class scores (k, C), as tensors.
    has_gradient : bool
        Whether ``scores`` can be differentiated.
    anchors : list of ndarray of shape (T, D)
        Training rows that have, and get, each class.
    tau, beta : float
        Prices of plausibility and of a change.
    max_changes : int or None
        Budget of changed features.
    effort : Effort
        How hard to look.
    chunk_size : int
        Rows that are solved together.
    single_precision : bool
        Whether the model computes in float32, so that a margin near zero may be noise.
    """

    space: FeatureSpace
    density: ClassConditionalDensity
    scores: Callable[[torch.Tensor], torch.Tensor]
    has_gradient: bool
    anchors: list[np.ndarray]
    tau: float
    beta: float
    max_changes: int | None
    effort: Effort
    chunk_size: int
    single_precision: bool = False

    @property
    def floors(self) -> tuple[float, ...]:
        """Margins to ask for, one after the other, until the user's model agrees."""
        return (SINGLE_FLOOR, *FLOORS[1:]) if self.single_precision else FLOORS

    def search(
        self, Z: np.ndarray, bounds: Actionability, wanted: np.ndarray, floor: float
    ) -> Candidates:
        """Answer rows ``Z`` (n, D) for any of the classes that ``wanted`` (n, C) flags."""
        n, size = len(Z), self.effort.screen.pool
        rows, codes = np.nonzero(wanted)
        # One entry per row and class that would do; neighbours in a chunk share their class.
        order = np.argsort(codes, kind="stable")
        rows, codes = rows[order], codes[order]
        z = np.empty((len(rows), size, Z.shape[1]))
        cost = np.empty((len(rows), size))
        for start in range(0, len(rows), self.chunk_size):
            chunk = slice(start, start + self.chunk_size)
            pool = self._solve(Z[rows[chunk]], bounds.take(rows[chunk]), codes[chunk], floor)
            z[chunk], cost[chunk] = pool.z.numpy(), pool.cost.numpy()
        return _gathered(n, rows, Candidates(z, cost, np.repeat(codes[:, None], size, axis=1)))

    def _solve(self, Z: np.ndarray, bounds: Actionability, codes: np.ndarray, floor: float) -> Pool:
        """Begin class by class, improve all together."""
        space = self.space
        groups = torch.from_numpy(space.groups_)
        scalar = torch.tensor([space.kinds_[g] != "categorical" for g in space.groups_])
        domain = Domain(
            torch.from_numpy(Z),
            torch.from_numpy(bounds.lower),
            torch.from_numpy(bounds.upper),
            torch.from_numpy(bounds.allowed),
            groups,
            scalar,
            torch.from_numpy(space.z_step_),
            torch.from_numpy(space.z_offset_),
        )
        budget = space.n_features_in_ if self.max_changes is None else self.max_changes
        present, owner = np.unique(codes, return_inverse=True)
        parts = [self.objective(int(code)) for code in present]
        problem = Problem(
            MixedObjective(parts, torch.from_numpy(owner)),
            domain,
            self._moves(int(present[0]), groups, scalar),
            torch.full((len(Z),), float(self.beta), dtype=torch.float64),
            torch.full((len(Z),), budget),
            floor,
        )
        pool = Pool.empty(problem, self.effort.screen.pool)
        for position, code in enumerate(present):
            index = torch.from_numpy(np.flatnonzero(owner == position))
            part = replace(
                problem.take(index),
                objective=parts[position],
                moves=self._moves(int(code), groups, scalar),
            )
            anchors = torch.from_numpy(self.anchors[code])
            pool = pool.scattered(index, begin(part, anchors, self.effort))
        return improve(problem, pool, self.effort)

    def _moves(self, code: int, groups: torch.Tensor, scalar: torch.Tensor) -> Moves:
        anchors = torch.from_numpy(self.anchors[code])
        return Moves.from_samples(anchors, groups, scalar, self.effort.values)

    def objective(self, code: int) -> TargetObjective:
        """Return the objective of a class.

        One unit of tau buys the step from the lower quartile of the class's training rows, by
        log-density, to their median; so it means the same for every density and data set.
        """
        reference = self.density.reference_log_prob_[code]
        quartile, median, high = np.quantile(reference, [0.25, 0.5, 0.95])
        spread = float(median - quartile)
        return TargetObjective(
            self.scores,
            self.has_gradient,
            code,
            self.density.densities_[code],
            self.tau / spread if spread > 1e-9 else float(self.tau),
            float(high),
        )


def _gathered(n: int, rows: np.ndarray, found: Candidates) -> Candidates:
    """Put the candidates of all classes of a row side by side, cheapest first."""
    size, d = found.cost.shape[1], found.z.shape[2]
    rank = np.zeros(len(rows), dtype=np.intp)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered)
    rank[order] = np.arange(len(rows)) - first
    width = (int(rank.max()) + 1 if len(rows) else 1) * size
    z, cost = np.zeros((n, width, d)), np.full((n, width), np.inf)
    code = np.zeros((n, width), dtype=np.intp)
    columns = rank[:, None] * size + np.arange(size)
    z[rows[:, None], columns] = found.z
    cost[rows[:, None], columns] = found.cost
    code[rows[:, None], columns] = found.code
    best = np.argsort(cost, axis=1, kind="stable")
    return Candidates(
        np.take_along_axis(z, best[..., None], axis=1),
        np.take_along_axis(cost, best, axis=1),
        np.take_along_axis(code, best, axis=1),
    )


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
