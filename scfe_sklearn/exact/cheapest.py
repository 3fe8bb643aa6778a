"""The provably cheapest counterfactual of a tree ensemble, or the proof that there is none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp

from scfe_sklearn.exact.joint_rows import JointRows, Touches, joint_rows
from scfe_sklearn.exact.options import Options
from scfe_sklearn.exact.program import Program, build
from scfe_sklearn.exact.protocols import Ensemble
from scfe_sklearn.exact.reduction import Limits, Reach, reduce
from scfe_sklearn.exact.requirements import Requirement
from scfe_sklearn.exact.settling import hopeless, settle

Objective = Literal["changes", "distance", "cost"]
Status = Literal["optimal", "feasible", "unreachable", "unknown"]

_BAND = 1e-6  # sums this near to their bound are left to the ensemble's own arithmetic
_SLACK = 1e-5  # costs nearer than this are the same to the solver
_MAX_TOUCHES = 200  # rounds in which squared distances become more exact
_OBJECTIVES = ("changes", "distance", "cost")


@dataclass(frozen=True, eq=False)
class ExactAnswer:
    """What is known of one row.

    Parameters
    ----------
    status : {"optimal", "feasible", "unreachable", "unknown"}
        "optimal": `u` is the cheapest answer. "feasible": an answer, perhaps not the cheapest.
        "unreachable": proved that no answer exists within the limits. "unknown": time ran out
        before either.
    u : ndarray of shape (U,) or None
        The answer in column space.
    cost : float
        Its objective value, infinite without an answer.
    bound : float
        No answer costs less than this.
    gap : float
        ``(cost - bound) / cost``; 0 if optimal, infinite without an answer.
    changes : int
        Changed columns of the answer.
    distance : float
        Its squared distance.
    seconds : float
        Wall time.
    rounds : int
        Programs that were solved.
    """

    status: Status
    u: np.ndarray | None
    cost: float
    bound: float
    gap: float
    changes: int
    distance: float
    seconds: float
    rounds: int


def cheapest(
    ensemble: Ensemble,
    options: Options,
    requirement: Requirement,
    *,
    objective: Objective = "distance",
    beta: float = 0.0,
    max_changes: int | None = None,
    at_most: float = np.inf,
    refused: Sequence[np.ndarray] = (),
    time_limit: float | None = None,
    max_rounds: int = 50,
    confirm: bool = True,
) -> ExactAnswer:
    r"""Find the cheapest admissible row that meets a requirement, by mixed-integer programming.

    .. math:: \min_u \ \lVert u - u_0\rVert^2 + \beta\, \#\{j : u_j \neq u_{0j}\}
              \quad \text{s.t. the requirement and at most } m \text{ changes}

    over the options of the row, which hold every cheapest answer. Solved by HiGHS with the
    program of `scfe_sklearn.exact.program`. A sum of leaves that is within rounding of its bound
    is judged by the ensemble's own arithmetic: a solution that it refuses is cut off, and the
    next best one sought, so that ties count as the estimator counts them.

    The joint rules of the options are rows of the program. Where a relation needs numbers deep
    within their cells, the squared distance is bounded by tangents, which are added until the
    best point is within ``1e-5`` of the bound.

    Parameters
    ----------
    ensemble : Ensemble
        The trees.
    options : Options
        What the row may become, from `row_options`.
    requirement : Requirement
        What is asked of the output.
    objective : {"distance", "cost", "changes"}, default="distance"
        "distance": the squared distance. "cost": that plus `beta` for every change. "changes":
        the fewest changes, and the nearest answer among those with so few.
    beta : float, default=0.0
        Price of a change.
    max_changes : int, default=None
        Budget of changed columns.
    at_most : float, default=inf
        Look only for answers that cost no more, such as the cost of one that is known. It
        prunes much. "unreachable" then means: none that costs no more than this.
    refused : sequence of ndarray of shape (U,), default=()
        Answers that somebody else refused; all rows that reach the same leaves are left out.
    time_limit : float, default=None
        Seconds for this row.
    max_rounds : int, default=50
        How many refused solutions are cut off one by one before a margin of ``1e-6`` is
        demanded, after which an answer may be called "feasible" only.
    confirm : bool, default=True
        Solve a second time, for anything cheaper and without the solver's presolve, before an
        answer is called optimal or unreachable: presolve is known to lose solutions at times.

    Returns
    -------
    ExactAnswer

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from scfe_sklearn.columns import Column
    >>> from scfe_sklearn.exact import cheapest, class_wins, row_options
    >>> from scfe_sklearn.models import read_trees
    >>> X = np.arange(20.0)[:, None]
    >>> forest = RandomForestClassifier(5, random_state=0).fit(X, X[:, 0] > 9)
    >>> ensemble = read_trees(forest, [Column(0, None)])
    >>> options = row_options(ensemble, np.array([3.0]), lower=np.array([0.0]),
    ...     upper=np.array([19.0]), allowed=np.array([True]), unit=np.array([1.0]))
    >>> answer = cheapest(ensemble, options, class_wins(ensemble, 1))
    >>> answer.status, bool(forest.predict(answer.u[None])[0])
    ('optimal', True)
    """
    _check(objective, beta, max_changes, at_most, time_limit)
    begin = time.perf_counter()
    price = {"distance": 0.0, "cost": float(beta), "changes": 1.0}[objective]
    distance = np.zeros_like(options.distance) if objective == "changes" else options.distance
    cost = distance + price * options.changed
    budget = len(options.stay) if max_changes is None else int(max_changes)
    limits = Limits(cost, at_most * (1 + 1e-9), budget, objective != "changes")
    left_out = [np.asarray(u, dtype=np.float64) for u in refused]
    clock = _Clock(np.inf if time_limit is None else begin + time_limit, max_rounds)
    found = _confirmed(ensemble, options, requirement, limits, left_out, clock, confirm)
    if objective == "changes" and found.u is not None:
        # among the answers with so few changes, the nearest
        few = Limits(options.distance, np.inf, round(found.cost), True)
        near = _confirmed(ensemble, options, requirement, few, left_out, clock, confirm)
        sure = found.status == near.status == "optimal"
        found = replace(
            found,
            u=found.u if near.u is None else near.u,
            status="optimal" if sure else "feasible",
            rounds=found.rounds + near.rounds,
        )
    return _answer(options, cost, found, time.perf_counter() - begin, objective != "changes")


def _confirmed(
    ensemble: Ensemble,
    options: Options,
    requirement: Requirement,
    limits: Limits,
    refused: list[np.ndarray],
    clock: _Clock,
    confirm: bool,
) -> _Found:
    """Solve, and solve again for anything cheaper, without presolve, until there is nothing.

    Versions of HiGHS are known to lose solutions in the presolve of mixed programs. The second
    program is small, as it may cost less than the answer of the first.
    """
    touches = Touches()

    def search(limits: Limits, presolve: bool) -> _Found:
        program = _Search.over(ensemble, options, requirement, limits, touches)
        return program.run(refused, clock, presolve)

    found = search(limits, True)
    while confirm and found.status in ("optimal", "unreachable"):
        slack = _SLACK * max(1.0, found.cost) if found.u is not None else 0.0
        if found.cost <= slack:
            break
        less = replace(limits, most=min(limits.most, found.cost - slack))
        again = search(less, False)
        rounds = found.rounds + again.rounds
        if again.status == "unreachable" or found.cost <= again.cost < np.inf:
            return replace(found, rounds=rounds)  # the same again, within its tolerance
        if again.u is None:  # time ran out
            status: Status = "unknown" if found.u is None else "feasible"
            return replace(found, status=status, bound=min(again.bound, found.cost), rounds=rounds)
        found = replace(again, rounds=rounds)
    return found


INFEASIBLE = 2
GAVE_UP = 4
"""Status of a program that was ended by an error of the solver, not by its limits."""


@dataclass(frozen=True)
class _Clock:
    """When to stop."""

    end: float
    max_rounds: int

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.end - time.perf_counter()


@dataclass(frozen=True, eq=False)
class _Found:
    """A search's outcome."""

    status: Status
    u: np.ndarray | None
    cost: float
    bound: float
    rounds: int


def _ended(best: _Found | None, bound: float, rounds: int) -> _Found:
    """What is known when something ended the search."""
    if best is None:
        return _Found("unknown", None, np.inf, bound, rounds)
    return replace(best, bound=min(bound, best.cost), rounds=rounds)


@dataclass(eq=False)
class _Cuts:
    """What is left out: leaves (T,) whose rows were refused, and choices (J,) of options.

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
class _Point:
    """A solution: options (J,), how far the program and the point go beyond them, and the rest."""

    u: np.ndarray
    chosen: np.ndarray
    told: np.ndarray
    more: np.ndarray
    cost: float
    lawful: bool


@dataclass(frozen=True, eq=False)
class _Search:
    """One program, and the loop that cuts off what the ensemble itself refuses."""

    ensemble: Ensemble
    requirement: Requirement
    limits: Limits
    reach: Reach
    program: Program
    touches: Touches

    @classmethod
    def over(
        cls,
        ensemble: Ensemble,
        options: Options,
        requirement: Requirement,
        limits: Limits,
        touches: Touches,
    ) -> _Search:
        reach, limits = reduce(ensemble, options, limits)
        return cls(ensemble, requirement, limits, reach, build(ensemble, reach), touches)

    @property
    def _curved(self) -> bool:
        """Whether the costs of the program are lower bounds only."""
        return self.limits.further and bool((self.reach.options.span != 0).any())

    def run(self, refused: list[np.ndarray], clock: _Clock, presolve: bool) -> _Found:
        cuts, bound = _Cuts([self._leaves(u) for u in refused]), 0.0
        best: _Found | None = None
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
            if not point.lawful:
                cuts.forbid(point.chosen, hopeless(self.reach.options, point.chosen))
            elif not self.requirement.accepts(point.u[None])[0]:
                cuts.leaves.append(self._leaves(point.u))
            else:
                if point.cost < min(self._most, np.inf if best is None else best.cost):
                    best = _Found("feasible", point.u, point.cost, bound, done)
                exact = not self._curved and result.status == 0
                if best is not None and (exact or best.cost <= bound + self._near(best.cost)):
                    return self._nothing_else(best, cuts, done)
                new = self.touches.add(self.reach.options, point.chosen, point.more)
                new |= self.touches.add(self.reach.options, point.chosen, point.told)
                if result.status != 0 or not new:
                    return _ended(best, bound, done)
            if clock.left <= 0:
                return _ended(best, bound, done)
        return self._with_margin(cuts, clock, bound, presolve) if best is None else best

    def _nothing_else(self, best: _Found | None, cuts: _Cuts, done: int) -> _Found:
        """What is known when nothing better is left, unless something was left out in doubt."""
        if best is None:
            status: Status = "unknown" if cuts.doubtful else "unreachable"
            bound = 0.0 if cuts.doubtful else np.inf
            return _Found(status, None, np.inf, bound, done)
        if cuts.doubtful:
            return replace(best, rounds=done)
        return replace(best, status="optimal", bound=best.cost, rounds=done)

    @property
    def _most(self) -> float:
        """What an answer may cost at most; tangents do not tell less than the slack apart."""
        most = self.limits.most
        return most + self._near(most) / 2 if self._curved and np.isfinite(most) else np.inf

    def _near(self, cost: float) -> float:
        """Costs within this of their bound are as good as proved."""
        return 0.5 * _SLACK * max(1.0, cost) if self._curved else 0.0

    def _tried(self, cuts: _Cuts, clock: _Clock, presolve: bool) -> OptimizeResult:
        # the same program with whole leaves is another one to the solver
        ways = ((presolve, False), (not presolve, False), (presolve, True), (not presolve, True))
        for way in ways:
            result = self._solve(cuts, clock, -1.0, *way)
            if result.status != GAVE_UP:
                break
        return result

    def _with_margin(self, cuts: _Cuts, clock: _Clock, bound: float, presolve: bool) -> _Found:
        """Too many near ties: ask for a margin, and say what is known of cheaper answers."""
        rounds = clock.max_rounds + 1
        result = self._solve(cuts, clock, 1.0, presolve)
        if result.x is not None:
            point = self._point(result.x)
            cost = point.cost
            if point.lawful and cost < self._most and self.requirement.accepts(point.u[None])[0]:
                same = result.status == 0 and cost <= bound * (1 + 1e-9) + 1e-9
                same &= not cuts.doubtful
                return _Found("optimal" if same else "feasible", point.u, cost, bound, rounds)
        return _Found("unknown", None, np.inf, bound, rounds)

    def _solve(
        self,
        cuts: _Cuts,
        clock: _Clock,
        margin: float,
        presolve: bool,
        whole_leaves: bool = False,
    ) -> OptimizeResult:
        program, limits, asked = self.program, self.limits, self.requirement
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
        told = joint.over(program.pick, program.pick_constant, len(program.leaf))
        if len(told[1]):
            for listed, part in zip((rows, low, high), told, strict=True):
                listed.append(part)
        if len(asked.bound):
            scale, bound = self._bounds(margin)
            rows.append(wide(sparse.diags_array(scale) @ program.over_leaves(asked.coefficient)))
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
        asked, program = self.requirement, self.program
        some = asked.coefficient[program.leaf]
        certain = asked.coefficient[program.certain]
        need = asked.bound - certain.sum(axis=0)
        size = np.abs(some).max(axis=0, initial=0.0)
        size = np.where(size > 0, size, 1.0)
        # sums of whole numbers are exact: half of one tells equality from more
        whole = np.all(some == np.rint(some), axis=0) & np.all(certain == np.rint(certain), axis=0)
        whole &= asked.bound == np.rint(asked.bound)
        shift = np.where(whole, np.where(asked.strict, 0.5, -0.5), margin * _BAND * size)
        return 1.0 / size, need + shift

    def _joint(self, margin: float) -> JointRows:
        return joint_rows(self.reach.options, self.limits.further, self.touches, margin)

    def _fixed(self, margin: float, cuts: _Cuts) -> OptimizeResult:
        """Nothing can move."""
        _, bound = self._bounds(margin)
        met = bool(np.all(bound <= 0)) and not any(map(self._binds, cuts.leaves))
        met &= not cuts.choices
        return OptimizeResult(
            status=0 if met else 2, x=np.empty(0) if met else None, mip_dual_bound=0.0
        )

    def _bound(self, result: OptimizeResult) -> float:
        told = getattr(result, "mip_dual_bound", None)
        constant = float(self.limits.cost @ self.program.pick_constant)
        return 0.0 if told is None or not np.isfinite(told) else float(told) + constant

    def _point(self, v: np.ndarray) -> _Point:
        """The point that a solution means, where relations are kept exactly."""
        options, program = self.reach.options, self.program
        chosen = program.chosen(v[: program.n_binary], options.starts)
        told = np.zeros(len(chosen))
        if options.rules and program.n_variables:
            told = self._joint(-1.0).more(v[program.n_variables :], chosen)
        more = settle(options, chosen, told)
        u = options.point(chosen[None], more[None])[0]
        _, more = options.located(u) if more.any() else (chosen, more)
        cost = float(self.limits.cost[chosen].sum())
        if self.limits.further:
            cost += float(options.further(chosen, more).sum())
        lawful = not options.rules or options.rules.kept_by(_values(options, u), options.home)
        return _Point(u, chosen, told, more, cost, lawful)

    def _leaves(self, u: np.ndarray) -> np.ndarray:
        return np.asarray(self.ensemble.leaves(u[None])[0])


def _answer(
    options: Options, cost: np.ndarray, found: _Found, seconds: float, counted: bool
) -> ExactAnswer:
    if found.u is None:
        return ExactAnswer(
            found.status, None, np.inf, found.bound, np.inf, 0, np.inf, seconds, found.rounds
        )
    u = found.u
    chosen, more = options.located(u)
    further = float(options.further(chosen, more).sum())
    total = float(cost[chosen].sum()) + (further if counted else 0.0)
    changes = int(options.changed[chosen].sum())
    distance = float(options.distance[chosen].sum()) + further
    bound = total if found.status == "optimal" else min(found.bound, total)
    gap = (total - bound) / total if total > 0 else 0.0
    return ExactAnswer(found.status, u, total, bound, gap, changes, distance, seconds, found.rounds)


def _values(options: Options, u: np.ndarray) -> np.ndarray:
    """Numbers and positions of levels (J,) of a point."""
    parts = [slice(int(a), int(b)) for a, b in pairwise(options.offsets)]
    return np.array(
        [
            u[part][0] if numeric else float(u[part].argmax())
            for part, numeric in zip(parts, options.numeric, strict=True)
        ]
    )


def _check(
    objective: str,
    beta: float,
    max_changes: int | None,
    at_most: float,
    time_limit: float | None,
) -> None:
    if objective not in _OBJECTIVES:
        raise ValueError(
            f"The 'objective' parameter of cheapest must be one of {list(_OBJECTIVES)}. "
            f"Got {objective!r} instead."
        )
    if not 0 <= beta < np.inf:
        raise ValueError(
            f"The 'beta' parameter of cheapest must be a float in [0, inf). Got {beta!r} instead."
        )
    if max_changes is not None and (max_changes < 0 or max_changes != int(max_changes)):
        raise ValueError(
            "The 'max_changes' parameter of cheapest must be None or an int in [0, inf). "
            f"Got {max_changes!r} instead."
        )
    for name, value in (("at_most", at_most), ("time_limit", time_limit)):
        if value is not None and not value >= 0:
            raise ValueError(
                f"The {name!r} parameter of cheapest must be a float in [0, inf]. "
                f"Got {value!r} instead."
            )
