"""From encoded rows to candidate answers: build the problem of each class and solve it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.densities import ClassConditionalDensity
from scfe_sklearn.objective import (
    ClassMargin,
    Constraints,
    IntervalMargin,
    Margin,
    PlausibilityTerm,
    ProbabilityLimits,
    RowObjective,
)
from scfe_sklearn.objective.rows import Scores
from scfe_sklearn.recourse.judge import Candidates, Rows, gathered, joined
from scfe_sklearn.recourse.model_calls import Deadline, TimeUp
from scfe_sklearn.recourse.recording import Record, RecordedObjective
from scfe_sklearn.solvers.descent import GradientSettings
from scfe_sklearn.solvers.fallback import Columns, FallbackSettings, fall_back, vary
from scfe_sklearn.solvers.gradient_solver import improve_by_gradient, solve_by_gradient
from scfe_sklearn.solvers.problem import Domain, Kind, Moves, Pool, Problem
from scfe_sklearn.solvers.search_solver import SearchSettings, improve_by_search, solve_by_search
from scfe_sklearn.solvers.starts import nearest_miss
from scfe_sklearn.targets import ClassTarget, IntervalTarget

FLOORS = (1e-6, 1e-3, 3e-2, 0.3)
"""Required margins; the next one is used if the user's model does not agree."""

ROUNDING = 1e-9
"""Largest difference of log-odds between batches."""

AT_ONCE = 2**26
"""Most numbers in the tables of extended moves: half a GiB."""

TABLES = 12
"""Number of such tables at the same time, about."""

GUIDED_FLOOR = 0.3
"""Margin of a surrogate; that of the model may be smaller."""

SINGLE_FLOOR = 1e-4
"""First margin of a model that computes in single precision."""

SLACK = 1e-6
"""A margin may be this much below 0 by rounding: the user's model decides on such points."""

BORDER = 1e12
"""Added to the cost of such points, so that they are judged last."""

VALUES = 12
"""Values of each number among the single moves."""

DECIMALS = 10
"""Decimals of the reported log-densities."""


@dataclass(frozen=True, eq=False)
class Engine:
    """Everything about model, densities and features that a search needs.

    Parameters
    ----------
    space : FeatureSpace
        The fitted feature space.
    density : ClassConditionalDensity
        The fitted densities, one for each kind of target.
    models : sequence of callable
        Points (k, D) to scores (k, C), as tensors. The least margin counts.
    has_gradient : bool
        Whether they can be differentiated.
    reference_rows : list of ndarray of shape (T, D)
        Training rows of each kind: those that have the class and are predicted to have it.
    extra_reference_rows : list of ndarray of shape (S, D) or None
        Rows that are predicted to have each class without having it.
    values : list of (ndarray of shape (T,) or None), or None
        Values that a regressor predicts for them, or the probabilities with limits; None if
        predictions decide.
    samples : ndarray of shape (N, D) or None
        All training rows; None if these are the reference rows and the extra ones.
    tau, beta : float
        Prices of plausibility and of a change.
    max_changes : int or None
        Budget of changed features.
    exponent : float
        p of the penalty of changes.
    settings : GradientSettings
        Settings of the solver with gradients.
    searching : SearchSettings
        Settings of the solver without gradients.
    chunk_size : int
        Rows that are solved together.
    single_precision : bool
        Whether the model computes in float32, so that a margin near zero may be noise.
    unit : float
        Spread of the values of a regressor.
    shortfall : float
        Share of every change that may be left undone.
    min_plausibility : float
        Share of the training rows of its kind that an answer must be more plausible than.
    compared : bool
        Whether an answer must be as plausible as a greedy baseline of its row.
    systematic : bool
        Whether rows that get no answer are searched systematically.
    shortens : bool
        Whether answers move to short numbers nearby.
    guide : Engine or None
        Engine of a surrogate of the models, whose answers are starts.
    whole : Engine or None
        Engine of models that take whole rows of the data, for rows with unseen levels.
    alphabets : dict
        Single moves of each kind of answers that have been listed already: they depend on the
        anchors only.
    deadline : Deadline or None
        End of a call with a time limit.
    record : Record or None
        Valid points of the rows of a search under a time limit.
    """

    space: FeatureSpace
    density: ClassConditionalDensity
    models: Sequence[Scores]
    has_gradient: bool
    reference_rows: list[np.ndarray]
    extra_reference_rows: list[np.ndarray] | None
    values: list[np.ndarray | None] | None
    samples: np.ndarray | None
    tau: float
    beta: float
    max_changes: int | None
    exponent: float
    settings: GradientSettings
    searching: SearchSettings
    chunk_size: int
    single_precision: bool = False
    unit: float = 1.0
    shortfall: float = 0.0
    min_plausibility: float = 0.0
    compared: bool = False
    systematic: bool = True
    shortens: bool = True
    guide: Engine | None = None
    whole: Engine | None = None
    alphabets: dict[int, Moves] = field(default_factory=dict)
    deadline: Deadline | None = None
    record: Record | None = None

    @property
    def floors(self) -> tuple[float, ...]:
        """Required margins, one after the other, until the user's model agrees."""
        return (SINGLE_FLOOR, *FLOORS[1:]) if self.single_precision else FLOORS

    def search(self, rows: Rows, floor: float) -> Candidates:
        """Search the candidates of rows, for all of their targets."""
        parts = self._by_reader(rows)
        if len(parts) > 1 or parts[0][1] is not self:
            found = [(at, engine.search(rows.take(at), floor)) for at, engine in parts]
            return joined(len(rows), found)
        # Without gradients, torch records nothing.
        with torch.inference_mode(not self.has_gradient and self.guide is None):
            return self._search(rows, floor)

    def _by_reader(self, rows: Rows) -> list[tuple[np.ndarray, Engine]]:
        """Split rows by the engine that answers them."""
        if self.whole is None or not rows.strange.any():
            return [(np.arange(len(rows)), self)]
        parts = [(np.flatnonzero(~rows.strange), self), (np.flatnonzero(rows.strange), self.whole)]
        return [(at, engine) for at, engine in parts if len(at)]

    def _search(self, rows: Rows, floor: float) -> Candidates:
        n, size = len(rows.Z), self._pool_size
        where, codes = np.nonzero(rows.targets.wanted)
        # One entry per row and target class; entries are sorted by class.
        order = np.argsort(codes, kind="stable")
        where, codes = where[order], codes[order]
        found = Candidates.empty(codes, size, rows.Z.shape[1])
        together = self._rows_together(codes)
        for start in range(0, len(where), together):
            chunk = slice(start, start + together)
            part = rows.take(where[chunk])
            if self.deadline is not None:
                found.z[chunk, :1], found.cost[chunk, :1], pool = self._in_time(
                    part, codes[chunk], floor
                )
                if pool is None:
                    break
            else:
                pool = self._solve(part, codes[chunk], floor)
            have = pool.cost.shape[1]
            found.z[chunk, :have], found.cost[chunk, :have] = pool.z.numpy(), pool.cost.numpy()
        return gathered(n, where, found)

    def _in_time(
        self, rows: Rows, codes: np.ndarray, floor: float
    ) -> tuple[np.ndarray, np.ndarray, Pool | None]:
        """Answer rows until the deadline.

        Returns the best points so far (n, 1, D), their costs (n, 1) and the pool of the search;
        None in its place if it was cut short.
        """
        record = Record(torch.from_numpy(rows.Z), self.beta)
        pool = None
        with contextlib.suppress(TimeUp):
            pool = replace(self, record=record)._solve(rows, codes, floor)
        return record.z[:, None], record.cost[:, None], pool

    def _rows_together(self, codes: np.ndarray) -> int:
        """Return the number of rows of a chunk: fewer if many single moves are extended."""
        moves = max((len(self._moves(int(code))) for code in np.unique(codes)), default=1)
        screen = self.searching.screen
        extended = TABLES * max(screen.parents, screen.width) * moves
        return int(min(self.chunk_size, max(1, AT_ONCE // max(extended, 1))))

    def fall_back(self, rows: Rows, floor: float) -> tuple[Candidates, Candidates]:
        """Search rows without an answer systematically, for each of their targets.

        Returns
        -------
        found : Candidates
            Answers by their cost, then borderline points.
        near : Candidates
            The points of the largest margins; minus the margin is their cost.
        """
        with torch.inference_mode(not self.has_gradient):
            return self._fall_back(rows, floor)

    def _fall_back(self, rows: Rows, floor: float) -> tuple[Candidates, Candidates]:
        size, width = self._pool_size, rows.Z.shape[1]
        where, codes = np.nonzero(rows.targets.wanted)
        found = Candidates.empty(codes, 2 * size, width)
        near = Candidates.empty(codes, size, width)
        for code in np.unique(codes):
            own = np.flatnonzero(codes == code)
            anchors = self.reference_rows[code]
            if self.extra_reference_rows is not None:
                anchors = np.concatenate([anchors, self.extra_reference_rows[code]])
            for start in range(0, len(own), self.chunk_size):
                at = own[start : start + self.chunk_size]
                problem = self.problem(rows.take(where[at]), codes[at], floor)
                met = fall_back(
                    problem, torch.from_numpy(anchors), self._columns, FallbackSettings(), size
                )
                pool, hit = met.valid, (met.valid.best < torch.inf).nonzero()[:, 0]
                if len(hit):
                    better = self._improved(problem.take(hit), pool.take(hit))
                    pool = pool.scattered(hit, better)
                border = torch.where(met.near.cost <= 2 * SLACK, met.near.cost + BORDER, torch.inf)
                found.z[at] = torch.cat([pool.z, met.near.z], 1).numpy()
                found.cost[at] = torch.cat([pool.cost, border], 1).numpy()
                near.z[at], near.cost[at] = met.near.z.numpy(), met.near.cost.numpy()
        return gathered(len(rows.Z), where, found), gathered(len(rows.Z), where, near)

    def vary(self, rows: Rows, codes: np.ndarray, base: np.ndarray | None) -> Candidates:
        """Return answers that differ from points ``base`` (n, D) in one feature that they change.

        None stands for the factual rows, of which any feature may change.
        """
        with torch.inference_mode(not self.has_gradient):
            size = self._pool_size
            found = Candidates.empty(codes, size, rows.Z.shape[1])
            for code in np.unique(codes):
                own = np.flatnonzero(codes == code)
                for start in range(0, len(own), self.chunk_size):
                    at = own[start : start + self.chunk_size]
                    problem = self.problem(rows.take(at), codes[at], self.floors[0])
                    points = torch.from_numpy(rows.Z[at] if base is None else base[at])
                    pool = vary(problem, self._columns, points, FallbackSettings(), size)
                    if base is None:
                        pool = self._improved(problem, pool)
                    found.z[at], found.cost[at] = pool.z.numpy(), pool.cost.numpy()
            return found

    def nearest_misses(self, rows: Rows) -> Candidates:
        """Return the point of each row with the largest margin for any of its targets."""
        parts = self._by_reader(rows)
        if len(parts) > 1 or parts[0][1] is not self:
            near = [(at, engine.nearest_misses(rows.take(at))) for at, engine in parts]
            return joined(len(rows), near)
        where, codes = np.nonzero(rows.targets.wanted)
        z, margin = nearest_miss(self.problem(rows.take(where), codes, 0.0))
        found = Candidates(z.numpy()[:, None], -margin.numpy()[:, None], codes[:, None])
        return gathered(len(rows.Z), where, found)

    def _solve(self, rows: Rows, codes: np.ndarray, floor: float) -> Pool:
        """Answer rows with the kinds of targets ``codes`` (n,)."""
        problem = self.problem(rows, codes, floor)
        kinds: list[Kind] = [
            (
                torch.from_numpy(np.flatnonzero(codes == code)),
                torch.from_numpy(self.reference_rows[code]),
                problem.moves if code == codes[0] else self._moves(int(code)),
            )
            for code in np.unique(codes)
        ]
        if self.has_gradient:
            return solve_by_gradient(problem, kinds, self.settings, self.compared)
        guesses = None if self.guide is None else self.guide._solve(rows, codes, GUIDED_FLOOR).z
        return solve_by_search(problem, kinds, self.searching, self.compared, guesses)

    @property
    def _pool_size(self) -> int:
        """Points per row that a solver returns."""
        return self.settings.pool if self.has_gradient else self.searching.pool

    def _improved(self, problem: Problem, pool: Pool) -> Pool:
        """Return a pool whose first points are improved."""
        if self.has_gradient:
            return improve_by_gradient(problem, pool, self.settings)
        return improve_by_search(problem, pool, self.searching)

    def problem(self, rows: Rows, codes: np.ndarray, floor: float) -> Problem:
        """Build the problem of rows with the kinds of targets ``codes`` (n,)."""
        bounds, n = rows.bounds, len(codes)
        present, owner = np.unique(codes, return_inverse=True)
        objective = RowObjective(
            self.models,
            self.has_gradient,
            [self.plausible(int(code)) for code in present],
            torch.from_numpy(owner),
            self._criterion(rows.targets, codes),
            self._constraints(rows, codes, floor),
        )
        if self.record is not None:
            objective = RecordedObjective.of(objective, self.record, torch.arange(n))
        budget = self.space.n_features_in_ if self.max_changes is None else self.max_changes
        return Problem(
            objective,
            self._domain(rows),
            self._moves(int(codes[0])),
            torch.full((n,), float(self.beta), dtype=torch.float64),
            torch.full((n,), budget),
            floor,
            torch.from_numpy(bounds.cost) if (bounds.cost != 1).any() else None,
            self.exponent,
        )

    def _domain(self, rows: Rows) -> Domain:
        """Return the permitted points of rows."""
        space, bounds = self.space, rows.bounds
        groups, scalar = self._layout
        return Domain(
            torch.from_numpy(rows.Z),
            torch.from_numpy(bounds.lower),
            torch.from_numpy(bounds.upper),
            torch.from_numpy(bounds.allowed),
            groups,
            scalar,
            torch.from_numpy(space.z_step_),
            torch.from_numpy(space.z_offset_),
        )

    def _constraints(self, rows: Rows, codes: np.ndarray, floor: float) -> Constraints:
        """Return the constraints on answers, apart from the models."""
        limit = None
        if self.min_plausibility:
            present, owner = np.unique(codes, return_inverse=True)
            limits = np.array([self._limit(int(code)) for code in present])
            limit = torch.from_numpy(limits[owner])
        return Constraints(
            torch.from_numpy(rows.Z),
            torch.from_numpy(rows.missing) if rows.missing.any() else None,
            rows.bounds.requirements,
            torch.arange(len(codes)),
            self.shortfall,
            self._layout[1],
            floor,
            limit,
            torch.from_numpy(rows.origin),
        )

    def _criterion(self, targets: ClassTarget | IntervalTarget, codes: np.ndarray) -> Margin:
        """Return the margins of rows that each have one target."""
        if isinstance(targets, IntervalTarget):
            return IntervalMargin(
                torch.from_numpy(targets.low.copy()),
                torch.from_numpy(targets.high.copy()),
                self.unit,
            )
        target = torch.from_numpy(targets.labels(codes))
        if not targets.uses_probability:
            return ClassMargin(target)
        at = np.arange(len(codes)), codes
        ends = torch.from_numpy(targets.low[at]), torch.from_numpy(targets.high[at])
        decide = torch.from_numpy(codes >= targets.n_classes)
        # A model without a gradient often has a probability that equals its limit.
        slack = 0.0 if self.has_gradient else FLOORS[0] + ROUNDING
        limits = ProbabilityLimits.of(*ends, decide, targets.n_classes, slack)
        return ClassMargin(target, limits)

    def _moves(self, code: int) -> Moves:
        """Return the single moves of a kind of target; cached."""
        if code not in self.alphabets:
            groups, scalar = self._layout
            anchors = torch.from_numpy(self.reference_rows[code])
            with torch.inference_mode(False):  # a search with gradients may use them later
                found = Moves.from_samples(anchors, groups, scalar, VALUES)
            self.alphabets[code] = found
        return self.alphabets[code]

    @cached_property
    def _columns(self) -> Columns:
        """The training values of every number."""
        samples = self.samples
        if samples is None:
            samples = np.concatenate([*self.reference_rows, *(self.extra_reference_rows or [])])
        return Columns(torch.from_numpy(samples), self._layout[1])

    @cached_property
    def _layout(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Raw feature of each coordinate, and whether it is the only one of its feature."""
        space = self.space
        scalar = [space.kinds_[g] != "categorical" for g in space.groups_]
        return torch.from_numpy(space.groups_), torch.tensor(scalar)

    def plausible(self, code: int) -> PlausibilityTerm:
        """Return the plausibility term of a kind of target."""
        if code not in self._plausible:
            self._plausible[code] = PlausibilityTerm.of_class(self.density, code, self.tau)
        return self._plausible[code]

    @cached_property
    def _plausible(self) -> dict[int, PlausibilityTerm]:
        """Cache of plausibility terms."""
        return {}

    def _limit(self, code: int) -> float:
        """Return the least log-density of the answers of a kind."""
        reference = self.density.reference_log_prob_[code]
        # The share of the training rows that are no denser, as the report computes it.
        needed = int(np.ceil(self.min_plausibility * len(reference) - 1e-9))
        return float(reference[max(needed, 1) - 1])

    def plausibility(self, Z: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-densities (m,) of points (m, D) and their quantiles, for the target of each."""
        index = torch.from_numpy(code)
        value = self.density.log_prob(torch.from_numpy(self.space.filled(Z)), index)
        # Matrix products of other batches differ in the last bits.
        return value.numpy().round(DECIMALS), self.density.quantile(value, index)

    def plausible_enough(self, Z: np.ndarray, code: np.ndarray) -> np.ndarray:
        """Whether points (m, D) reach the least log-density of their kind."""
        if not self.min_plausibility or len(code) == 0:
            return np.ones(len(code), dtype=bool)
        return np.asarray(self.plausibility(Z, code)[1] >= self.min_plausibility)

    def price(self, Z: np.ndarray, Z0: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Weighted squared distance and price of the changes (m,) of points (m, D).

        ``weight`` (m, d) are the costs of the features. A value that was missing and is known
        now is as far as another category.
        """
        starts = [part.start for part in self.space.slices_]
        both = np.isfinite(Z) & np.isfinite(Z0)
        squared = np.where(both, np.where(both, Z, 0.0) - np.where(both, Z0, 0.0), 0.0) ** 2
        by_feature = np.add.reduceat(squared, starts, axis=1)
        by_feature += self.space.any_coordinate(~np.isfinite(Z0) & np.isfinite(Z))
        penalty = self.penalty(by_feature, self.space.changed(Z, Z0))
        return np.asarray((weight * (by_feature + penalty)).sum(axis=1))

    def penalty(self, squared: np.ndarray, changed: np.ndarray) -> np.ndarray:
        """Penalties of features that change by ``squared`` distances, or do not change."""
        if self.exponent == 0:
            return self.beta * changed
        return np.asarray(self.beta * changed * squared ** (self.exponent / 2))

    def cost(
        self, Z: np.ndarray, Z0: np.ndarray, code: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Objective (m,) of points: distance, price of the changes, minus plausibility."""
        cost = self.price(Z, Z0, weight)
        Z = self.space.filled(Z)
        for kind in np.unique(code):
            own = code == kind
            cost[own] -= self.plausible(int(kind)).value(torch.from_numpy(Z[own])).numpy()
        return np.asarray(cost)
