"""The provably cheapest counterfactual of a tree ensemble, or the proof that there is none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from scfe_sklearn.exact.joint_rows import TangentPoints
from scfe_sklearn.exact.options import Options
from scfe_sklearn.exact.program import Limits
from scfe_sklearn.exact.requirements import Ensemble, Requirement
from scfe_sklearn.exact.search import SLACK, Clock, Found, Search, Status

Objective = Literal["changes", "distance", "cost"]

_OBJECTIVES = ("changes", "distance", "cost")


@dataclass(frozen=True, eq=False)
class ExactAnswer:
    """Result of one row.

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
        Conditions on the output.
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
    >>> from scfe_sklearn.data import Column
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
    clock = Clock(np.inf if time_limit is None else begin + time_limit, max_rounds)
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
    clock: Clock,
    confirm: bool,
) -> Found:
    """Solve, and solve again for anything cheaper, without presolve, until there is nothing.

    Versions of HiGHS are known to lose solutions in the presolve of mixed programs. The second
    program is small, as it may cost less than the answer of the first.
    """
    tangents = TangentPoints()

    def search(limits: Limits, presolve: bool) -> Found:
        program = Search.over(ensemble, options, requirement, limits, tangents)
        return program.run(refused, clock, presolve)

    found = search(limits, True)
    while confirm and found.status in ("optimal", "unreachable"):
        slack = SLACK * max(1.0, found.cost) if found.u is not None else 0.0
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


def _answer(
    options: Options, cost: np.ndarray, found: Found, seconds: float, counted: bool
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
