"""Search of one program: solutions are made exact and judged, and refused ones are cut off."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp

from scfe_sklearn.exact.joint_rows import (
    JointRows,
    TangentPoints,
    exact_point,
    infeasible,
    joint_rows,
)
from scfe_sklearn.exact.options import Options
from scfe_sklearn.exact.program import Limits, Program, Reach, build, reduce
from scfe_sklearn.exact.requirements import Ensemble, Requirement

Status = Literal["optimal", "feasible", "unreachable", "unknown"]

SLACK = 1e-5
"""Costs nearer than this are the same to the solver."""

_BAND = 1e-6  # sums this near to their bound are left to the ensemble's own arithmetic
_MAX_TOUCHES = 200  # rounds in which squared distances become more exact

INFEASIBLE = 2
GAVE_UP = 4
"""Status of a program that was ended by an error of the solver, not by its limits."""


@dataclass(frozen=True)
class Clock:
    """When to stop."""

    end: float
    max_rounds: int

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.end - time.perf_counter()


@dataclass(frozen=True, eq=False)
class Found:
    """A search's outcome."""

    status: Status
    u: np.ndarray | None
    cost: float
    bound: float
    rounds: int


def _ended(best: Found | None, bound: float, rounds: int) -> Found:
    """Return the result when something ended the search."""
    if best is None:
        return Found("unknown", None, np.inf, bound, rounds)
    return replace(best, bound=min(bound, best.cost), rounds=rounds)


@dataclass(eq=False)
class Cuts:
    """Cuts: leaves (T,) whose rows were refused, and choices (J,) of options.

    Doubtful are choices that no point was found for, without a proof that there is none.
    """

    leaves: list[np.ndarray]
    choices: list[np.ndarray] = field(default_factory=list)
    doubtful: bool = False

    @property
    def rounds(self) -> int:
        return len(self.leaves) + len(self.choices)

    def forbid(self, chosen: np.ndarray, proved: bool) -> None:
        self.choices.append(chosen)
        self.doubtful |= not proved


@dataclass(frozen=True, eq=False)
class Point:
    """A solution: options (J,), how far the program and the point go beyond them, and the rest."""

    u: np.ndarray
    chosen: np.ndarray
    planned: np.ndarray
    more: np.ndarray
    cost: float
    keeps_rules: bool


@dataclass(frozen=True, eq=False)
class Search:
    """One program, and the loop that cuts off what the ensemble itself refuses."""

    ensemble: Ensemble
    requirement: Requirement
    limits: Limits
    reach: Reach
    program: Program
    tangents: TangentPoints

    @classmethod
    def over(
        cls,
        ensemble: Ensemble,
        options: Options,
        requirement: Requirement,
        limits: Limits,
        tangents: TangentPoints,
    ) -> Search:
        reach, limits = reduce(ensemble, options, limits)
        return cls(ensemble, requirement, limits, reach, build(ensemble, reach), tangents)

    @property
    def _curved(self) -> bool:
        """Whether the costs of the program are lower bounds only."""
        return self.limits.further and bool((self.reach.options.span != 0).any())

    def run(self, refused: list[np.ndarray], clock: Clock, presolve: bool) -> Found:
        cuts, bound = Cuts([self._leaves(u) for u in refused]), 0.0
        best: Found | None = None
        done, given = 0, cuts.rounds
        while cuts.rounds - given < clock.max_rounds and done < clock.max_rounds + _MAX_TOUCHES:
            done += 1
            result = self._tried(cuts, clock, presolve)
            if result.status == INFEASIBLE:
                return self._nothing_else(best, cuts, done)
            bound = max(bound, self._bound(result))
            if result.x is None:
                return _ended(best, bound, done)
            point = self._point(result.x)
            if not point.keeps_rules:
                cuts.forbid(point.chosen, infeasible(self.reach.options, point.chosen))
            elif not self.requirement.accepts(point.u[None])[0]:
                cuts.leaves.append(self._leaves(point.u))
            else:
                if point.cost < min(self._most, np.inf if best is None else best.cost):
                    best = Found("feasible", point.u, point.cost, bound, done)
                exact = not self._curved and result.status == 0
                if best is not None and (exact or best.cost <= bound + self._near(best.cost)):
                    return self._nothing_else(best, cuts, done)
                new = self.tangents.add(self.reach.options, point.chosen, point.more)
                new |= self.tangents.add(self.reach.options, point.chosen, point.planned)
                if result.status != 0 or not new:
                    return _ended(best, bound, done)
            if clock.left <= 0:
                return _ended(best, bound, done)
        return self._with_margin(cuts, clock, bound, presolve) if best is None else best

    def _nothing_else(self, best: Found | None, cuts: Cuts, done: int) -> Found:
        """Return the result when nothing better is left, unless a cut was doubtful."""
        if best is None:
            status: Status = "unknown" if cuts.doubtful else "unreachable"
            bound = 0.0 if cuts.doubtful else np.inf
            return Found(status, None, np.inf, bound, done)
        if cuts.doubtful:
            return replace(best, rounds=done)
        return replace(best, status="optimal", bound=best.cost, rounds=done)

    @property
    def _most(self) -> float:
        """Most that an answer may cost; tangents resolve no less than the slack."""
        most = self.limits.most
        return most + self._near(most) / 2 if self._curved and np.isfinite(most) else np.inf

    def _near(self, cost: float) -> float:
        """Costs within this of their bound are as good as proved."""
        return 0.5 * SLACK * max(1.0, cost) if self._curved else 0.0

    def _tried(self, cuts: Cuts, clock: Clock, presolve: bool) -> OptimizeResult:
        # the same program with whole leaves is another one to the solver
        ways = ((presolve, False), (not presolve, False), (presolve, True), (not presolve, True))
        for way in ways:
            result = self._solve(cuts, clock, -1.0, *way)
            if result.status != GAVE_UP:
                break
        return result

    def _with_margin(self, cuts: Cuts, clock: Clock, bound: float, presolve: bool) -> Found:
        """Too many near ties: require a margin, and return what is known of cheaper answers."""
        rounds = clock.max_rounds + 1
        result = self._solve(cuts, clock, 1.0, presolve)
        if result.x is not None:
            point = self._point(result.x)
            cost = point.cost
            if (
                point.keeps_rules
                and cost < self._most
                and self.requirement.accepts(point.u[None])[0]
            ):
                same = result.status == 0 and cost <= bound * (1 + 1e-9) + 1e-9
                same &= not cuts.doubtful
                return Found("optimal" if same else "feasible", point.u, cost, bound, rounds)
        return Found("unknown", None, np.inf, bound, rounds)

    def _solve(
        self,
        cuts: Cuts,
        clock: Clock,
        margin: float,
        presolve: bool,
        whole_leaves: bool = False,
    ) -> OptimizeResult:
        program, limits, required = self.program, self.limits, self.requirement
        if not program.n_variables:
            return self._fixed(margin, cuts)
        joint = self._joint(margin)
        extra = len(joint.upper)
        n = program.n_variables + extra
        cost = np.concatenate(
            [limits.cost @ program.pick.toarray(), np.zeros(len(program.leaf)), joint.cost]
        )

        def wide(matrix: sparse.csr_array) -> sparse.csr_array:
            padding = sparse.csr_array((matrix.shape[0], n - matrix.shape[1]))
            return sparse.csr_array(sparse.hstack([matrix, padding], format="csr"))

        rows, low, high = [wide(program.matrix)], [program.low], [program.high]
        coupled = joint.over(program.pick, program.pick_constant, len(program.leaf))
        if len(coupled[1]):
            for listed, part in zip((rows, low, high), coupled, strict=True):
                listed.append(part)
        if len(required.bound):
            scale, bound = self._bounds(margin)
            rows.append(wide(sparse.diags_array(scale) @ program.over_leaves(required.coefficient)))
            low.append(scale * bound)
            high.append(np.full(len(bound), np.inf))
        if limits.max_changes < len(self.reach.options.stay):
            stay = program.pick[self.reach.options.stay].sum(axis=0)
            kept = len(self.reach.options.stay) - limits.max_changes
            kept -= program.pick_constant[self.reach.options.stay].sum()
            rows.append(wide(sparse.csr_array(np.asarray(stay).reshape(1, -1))))
            low.append(np.array([kept]))
            high.append(np.array([np.inf]))
        if np.isfinite(limits.most):
            rows.append(sparse.csr_array(cost[None]))
            low.append(np.array([-np.inf]))
            high.append(np.array([limits.most - limits.cost @ program.pick_constant + 1e-9]))
        for leaves in filter(self._binds, cuts.leaves):
            hit = np.isin(program.leaf, leaves).astype(np.float64)
            rows.append(wide(sparse.csr_array(np.append(np.zeros(program.n_binary), hit)[None])))
            low.append(np.array([-np.inf]))
            high.append(np.array([hit.sum() - 1.0]))
        for chosen in cuts.choices:
            named = chosen[sorted(self.reach.options.rules.columns)]
            rows.append(wide(sparse.csr_array(program.pick[named].sum(axis=0).reshape(1, -1))))
            low.append(np.array([-np.inf]))
            high.append(np.array([len(named) - 1.0 - program.pick_constant[named].sum()]))
        matrix = sparse.csc_array(sparse.vstack(rows, format="csc"))
        options: dict[str, float | bool] = {"mip_rel_gap": 0.0, "presolve": presolve}
        if np.isfinite(clock.end):
            options["time_limit"] = max(clock.left, 0.01)
        binary = np.arange(program.n_variables) < program.n_binary
        whole = np.append(binary | whole_leaves, joint.whole)
        return milp(
            cost,
            integrality=whole.astype(int),
            bounds=Bounds(0.0, np.append(np.ones(program.n_variables), joint.upper)),
            constraints=LinearConstraint(matrix, np.concatenate(low), np.concatenate(high)),
            options=options,
        )

    def _binds(self, leaves: np.ndarray) -> bool:
        """Whether the row can reach these leaves (T,) at all."""
        return bool(self.reach.reached[leaves].all())

    def _bounds(self, margin: float) -> tuple[np.ndarray, np.ndarray]:
        """Scale of each condition and what its reachable leaves must add up to."""
        required, program = self.requirement, self.program
        some = required.coefficient[program.leaf]
        certain = required.coefficient[program.certain]
        need = required.bound - certain.sum(axis=0)
        size = np.abs(some).max(axis=0, initial=0.0)
        size = np.where(size > 0, size, 1.0)
        # sums of whole numbers are exact: half of one separates equality from more
        whole = np.all(some == np.rint(some), axis=0) & np.all(certain == np.rint(certain), axis=0)
        whole &= required.bound == np.rint(required.bound)
        shift = np.where(whole, np.where(required.strict, 0.5, -0.5), margin * _BAND * size)
        return 1.0 / size, need + shift

    def _joint(self, margin: float) -> JointRows:
        return joint_rows(self.reach.options, self.limits.further, self.tangents, margin)

    def _fixed(self, margin: float, cuts: Cuts) -> OptimizeResult:
        """Nothing can move."""
        _, bound = self._bounds(margin)
        met = bool(np.all(bound <= 0)) and not any(map(self._binds, cuts.leaves))
        met &= not cuts.choices
        return OptimizeResult(
            status=0 if met else 2, x=np.empty(0) if met else None, mip_dual_bound=0.0
        )

    def _bound(self, result: OptimizeResult) -> float:
        bound = getattr(result, "mip_dual_bound", None)
        constant = float(self.limits.cost @ self.program.pick_constant)
        return 0.0 if bound is None or not np.isfinite(bound) else float(bound) + constant

    def _point(self, v: np.ndarray) -> Point:
        """The point that a solution means, where relations are kept exactly."""
        options, program = self.reach.options, self.program
        chosen = program.chosen(v[: program.n_binary], options.starts)
        planned = np.zeros(len(chosen))
        if options.rules and program.n_variables:
            planned = self._joint(-1.0).more(v[program.n_variables :], chosen)
        more = exact_point(options, chosen, planned)
        u = options.point(chosen[None], more[None])[0]
        _, more = options.located(u) if more.any() else (chosen, more)
        cost = float(self.limits.cost[chosen].sum())
        if self.limits.further:
            cost += float(options.further(chosen, more).sum())
        keeps_rules = not options.rules or options.rules.kept_by(_values(options, u), options.home)
        return Point(u, chosen, planned, more, cost, keeps_rules)

    def _leaves(self, u: np.ndarray) -> np.ndarray:
        return np.asarray(self.ensemble.leaves(u[None])[0])


def _values(options: Options, u: np.ndarray) -> np.ndarray:
    """Numbers and positions of levels (J,) of a point."""
    parts = [slice(int(a), int(b)) for a, b in pairwise(options.offsets)]
    return np.array(
        [
            u[part][0] if numeric else float(u[part].argmax())
            for part, numeric in zip(parts, options.numeric, strict=True)
        ]
    )
