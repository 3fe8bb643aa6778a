"""From encoded rows to candidate answers: builds the problem of each class and has it solved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from scfe_sklearn.densities import ClassConditionalDensity
from scfe_sklearn.features import Actionability, FeatureSpace
from scfe_sklearn.objective import TargetObjective
from scfe_sklearn.solvers.domain import Domain
from scfe_sklearn.solvers.moves import Moves
from scfe_sklearn.solvers.problem import Problem
from scfe_sklearn.solvers.recourse import Effort, solve
from scfe_sklearn.solvers.trade_off import Descent

FLOORS = (1e-6, 1e-3, 3e-2, 0.3)
"""Margins that are asked for, one after the other, until the user's model agrees."""


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

    def search(
        self, Z: np.ndarray, bounds: Actionability, wanted: np.ndarray, floor: float
    ) -> Candidates:
        """Answer rows ``Z`` (n, D) for any of the classes that ``wanted`` (n, C) flags."""
        n, d = Z.shape
        size = self.effort.screen.pool
        parts: list[Candidates] = []
        for code in np.flatnonzero(wanted.any(axis=0)):
            rows = np.flatnonzero(wanted[:, code])
            part = Candidates(
                np.repeat(Z[:, None], size, axis=1),
                np.full((n, size), np.inf),
                np.full((n, size), code),
            )
            # Rows are independent; their order within a chunk does not matter.
            for start in range(0, len(rows), self.chunk_size):
                chunk = rows[start : start + self.chunk_size]
                part.z[chunk], part.cost[chunk] = self._solve(
                    Z[chunk], bounds.take(chunk), int(code), floor
                )
            parts.append(part)
        z = np.concatenate([part.z for part in parts], axis=1)
        cost = np.concatenate([part.cost for part in parts], axis=1)
        codes = np.concatenate([part.code for part in parts], axis=1)
        order = np.argsort(cost, axis=1, kind="stable")
        return Candidates(
            np.take_along_axis(z, order[..., None], axis=1),
            np.take_along_axis(cost, order, axis=1),
            np.take_along_axis(codes, order, axis=1),
        )

    def _solve(
        self, Z: np.ndarray, bounds: Actionability, code: int, floor: float
    ) -> tuple[np.ndarray, np.ndarray]:
        space, anchors = self.space, torch.from_numpy(self.anchors[code])
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
        moves = Moves.from_samples(anchors, groups, scalar, self.effort.values)
        budget = space.n_features_in_ if self.max_changes is None else self.max_changes
        problem = Problem(
            self.objective(code),
            domain,
            moves,
            torch.full((len(Z),), float(self.beta), dtype=torch.float64),
            torch.full((len(Z),), budget),
            floor,
        )
        pool = solve(problem, anchors, self.effort)
        return pool.z.numpy(), pool.cost.numpy()

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


def thorough(effort: Effort) -> Effort:
    """Return an effort for a tight budget, where every pair of features deserves a try."""
    screen = replace(effort.screen, pairs=4096, pool=16)
    return replace(effort, screen=screen, sprint=Descent(max_iter=5), starts=4, values=12)
