"""First half of ``explain``: encode rows, read targets, sort out rows without a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from scfe_sklearn.data import FeatureSpace, Table, cached
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.recourse.judge import Judge, Rows
from scfe_sklearn.recourse.model_calls import Deadline, ModelError
from scfe_sklearn.rules import Actionability, BoundRule
from scfe_sklearn.status import Status
from scfe_sklearn.targets import ClassTarget, IntervalTarget, Outcome

Scores = Callable[[torch.Tensor], torch.Tensor]
STAND_IN = 0.0
"""Coordinate of a number that is missing in a training row: the mean."""

NOT_FINITE = "the model has no finite output here"
"""Reason of a row for which the model returns NaN or infinity."""

NO_PROBABILITIES = "the probabilities of the model are not in [0, 1] or do not sum to 1 here"
"""Reason of a row for which ``predict_proba`` does not return probabilities."""


TOO_MANY_OUTSIDE = "more features are outside of the rules than may change"
"""Reason of a row that strict rules and a budget exclude."""


@dataclass(frozen=True, eq=False)
class Query:
    """Encoded rows of a query, with their status before the search.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n, d)
        The rows.
    Z : ndarray of shape (n, D)
        Their coordinates, NaN where a value is missing.
    rows : Rows
        The same for the solvers, with a stand-in for what is missing.
    outcome : Outcome
        Output of the model for the rows, with the probabilities that it has.
    status, reason : ndarray of shape (n,), object
        None and "" for rows that can be searched.
    table : Table
        The rows as they were read.
    """

    X: Any
    Z: np.ndarray
    rows: Rows
    outcome: Outcome
    status: np.ndarray
    reason: np.ndarray
    table: Table

    @property
    def targets(self) -> ClassTarget | IntervalTarget:
        """Targets of the rows."""
        return self.rows.targets

    def take(self, rows: np.ndarray) -> Query:
        """Return some of the rows."""
        if np.array_equal(rows, np.arange(len(self.Z))):
            return self
        return Query(
            take_rows(self.X, rows),
            self.Z[rows],
            self.rows.take(rows),
            self.outcome.take(rows),
            self.status[rows],
            self.reason[rows],
            self.table.take(rows),
        )

    def bound_rules(self, judge: Judge) -> tuple[BoundRule, ...]:
        """Rules between columns, bound to the rows."""
        return judge.parsed.bind_joint(judge.space, self.table, self.Z)

    def restore_missing(self, z: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return points ``z`` (m, ..., D) of some rows with unchanged missing values restored."""
        shape = (len(rows), *[1] * (z.ndim - 2), z.shape[-1])
        missing = self.rows.missing[rows].reshape(shape)
        still = missing & (z == self.rows.Z[rows].reshape(shape))
        return np.where(still, self.Z[rows].reshape(shape), z)


def build_query(
    judge: Judge,
    models: Sequence[Scores],
    X: Any,
    Z: np.ndarray,
    read_target: Callable[[np.ndarray], ClassTarget | IntervalTarget],
    blocks: np.ndarray | None,
    stale: np.ndarray | None,
    deadline: Deadline | None = None,
    unreached: str = "",
) -> Query:
    """Encode the rows, bind the rules and sort out the rows which need no search or allow none.

    Parameters
    ----------
    judge : Judge
        Feature space, model and rules.
    models : sequence of callable
        Points to scores.
    X : DataFrame or ndarray of shape (n, d)
        The rows.
    Z : ndarray of shape (n, D)
        Their coordinates.
    read_target : callable
        Predicted positions (n,) to targets.
    blocks : ndarray of shape (n,), object, or None
        None, or what is wrong with the one-hot blocks of a row.
    stale : ndarray of shape (n,), object, or None
        None, or why a row is invalid for reasons that its features do not show.
    deadline : Deadline or None
        Checked before every call of the model.
    unreached : str
        Why the rows are left out; then the model is not called. "" if they are answered.
    """
    space, table = judge.space, cached(X)
    problems = _infinite(judge, table, Z)
    if blocks is not None:
        problems = np.where(unset(blocks), problems, blocks)
    if stale is not None:
        problems = np.where(unset(problems), stale, problems)
    missing = ~np.isfinite(Z) & unset(problems)[:, None]
    strange = _strange(space, Z, missing)
    if not unreached:
        _mark_unreadable(judge, X, missing, strange, problems)
    sound = np.flatnonzero(unset(problems) & (not unreached))
    # Models may refuse a batch for a single row.
    finite = np.zeros(len(Z), dtype=bool)
    finite[sound] = strange[sound]
    scored = sound[~strange[sound]]
    finite[scored] = _finite(models, Z[scored], scored)
    failed = {} if unreached else _messages(judge, X, np.flatnonzero(unset(problems) & ~finite))
    sound = np.flatnonzero(finite)
    code, value = np.full(len(Z), -1), np.full(len(Z), np.nan)
    known_rows = X if finite.all() else take_rows(X, sound)
    output, refused = judge.isolated_outcome(known_rows, with_proba=True, deadline=deadline)
    failed |= {int(sound[k]): message for k, message in refused.items()}
    code[sound], value[sound] = output.code, output.value
    probability = None
    if output.probability is not None:
        probability = np.full((len(Z), output.probability.shape[1]), np.nan)
        probability[sound] = output.probability
    known = Outcome(code, value, probability)
    targets = read_target(code)
    bounds = judge.parsed.bind(space, table, Z)
    status = np.full(len(Z), None, dtype=object)
    reason = np.full(len(Z), "", dtype=object)

    def mark(rows: Any, word: str, why: Any = "") -> None:
        rows = rows & unset(status)
        status[rows] = word
        reason[rows] = why[rows] if isinstance(why, np.ndarray) else why

    mark(np.full(len(Z), bool(unreached)), Status.NOT_FOUND, unreached)
    mark(~unset(problems), Status.INVALID_INPUT, problems)
    mark(np.isin(np.arange(len(Z)), list(failed)), Status.MODEL_FAILED, _raised(failed, len(Z)))
    mark(~finite, Status.MODEL_FAILED, NOT_FINITE)
    mark(code < 0, Status.MODEL_FAILED, _why_failed(probability, code))
    has = _has_already(judge, X, targets, known, unset(status))
    why = _why_already(judge, targets, known, has)
    if judge.strict:
        why = np.where(why == "", _words_outside(judge, table), why)
    mark(has, Status.ALREADY_TARGET, why)
    mark(~unset(bounds.conflict), Status.CONFLICTING_RULES, bounds.conflict)
    if bounds.infeasible is not None:
        mark(~unset(bounds.infeasible), Status.UNREACHABLE, bounds.infeasible)
        mark(_too_many_outside(judge, table), Status.UNREACHABLE, TOO_MANY_OUTSIDE)
    stuck = np.asarray(~bounds.mutable.any(axis=1))
    mark(stuck, Status.UNREACHABLE, _why_stuck(judge, missing, stuck))
    placed = np.where(missing, space.stand_in_, Z)
    rows = Rows(placed, missing, _whole(bounds, placed), targets, np.arange(len(Z)), strange)
    return Query(X, Z, rows, known, status, reason, table)


def _infinite(judge: Judge, table: Table, Z: np.ndarray) -> np.ndarray:
    """Return for each row (n,) None or the first infinite number that might change."""
    problems = np.full(len(Z), None, dtype=object)
    infinite = judge.space.any_coordinate(np.isinf(Z))
    if not infinite.any():
        return problems
    infinite &= ~judge.parsed.immutable(judge.space, len(Z))
    for j in reversed(np.flatnonzero(infinite.any(axis=0)).tolist()):
        problems[infinite[:, j]] = f"infinite value in {judge.space.names_[j]!r}"
    return problems


def _strange(space: FeatureSpace, Z: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Rows (n,) with an unseen level or infinity, which only the model itself accepts."""
    leveled = np.array([levels is not None for levels in space.levels_])[space.groups_]
    return np.asarray((missing & (leveled | np.isinf(Z))).any(axis=1))


def _mark_unreadable(
    judge: Judge, X: Any, missing: np.ndarray, strange: np.ndarray, problems: np.ndarray
) -> None:
    """Store the reason if the model refuses rows with missing or unseen values."""
    names, groups = judge.space.names_, judge.space.groups_
    missing = missing & ~strange[:, None]
    if missing.any():
        patterns, owner = np.unique(missing, axis=0, return_inverse=True)
        owner = owner.reshape(-1)
        for k in np.flatnonzero(patterns.any(axis=1)):
            rows = np.flatnonzero(owner == k)
            if _refusal(judge, X, rows) is not None:
                name = names[groups[np.flatnonzero(patterns[k])[0]]]
                problems[rows] = f"missing value in {name!r}"
    unsure = strange | (unset(problems) & judge.space.holds_)
    _mark_refused(judge, X, np.flatnonzero(unsure), problems)


def _mark_refused(judge: Judge, X: Any, rows: np.ndarray, problems: np.ndarray) -> None:
    """Store the model's message for each row that it refuses, found by bisection."""
    message = _refusal(judge, X, rows) if len(rows) else None
    if message is None:
        return
    if len(rows) == 1:
        problems[rows] = f"the model refuses the row: {message}"
        return
    for half in np.array_split(rows, 2):
        _mark_refused(judge, X, half, problems)


def _refusal(judge: Judge, X: Any, rows: np.ndarray) -> str | None:
    """Return the first line of what the model raises for some rows; None if it raises nothing."""
    try:
        judge.outcome(take_rows(X, rows))
    except Exception as error:  # a user's model may raise anything
        text = str(error).strip().partition("\n")[0]
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    return None


def _why_already(
    judge: Judge, targets: ClassTarget | IntervalTarget, known: Outcome, has: np.ndarray
) -> np.ndarray:
    """Return the probability of rows (n,) that reach the target by it alone."""
    why = np.full(len(has), "", dtype=object)
    if not isinstance(targets, ClassTarget) or not targets.uses_probability:
        return why
    rows = np.flatnonzero(has)
    group = targets.answered_by(rows, known.take(rows))
    labels, about = np.asarray(judge.estimator.classes_).tolist(), targets.labels(group)
    shown = (group >= targets.n_classes) & (known.code[rows] != about)
    shown |= targets.low[rows, group] == 0
    for k in np.flatnonzero(shown):
        assert known.probability is not None
        p = known.probability[rows[k], about[k]]
        why[rows[k]] = f"the probability of {labels[about[k]]!r} is already {p:.3g}"
    return why


def _messages(judge: Judge, X: Any, rows: np.ndarray) -> dict[int, str]:
    """Return the model's message for those of the rows for which it raises."""
    if len(rows) == 0:
        return {}
    failed = judge.isolated_outcome(take_rows(X, rows), with_proba=True)[1]
    return {int(rows[k]): message for k, message in failed.items()}


def _raised(failed: dict[int, str], n: int) -> np.ndarray:
    """Return the reasons (n,) of rows for which the model raises."""
    why = np.full(n, "", dtype=object)
    for row, message in failed.items():
        why[row] = f"the model raises {message}"
    return why


def _why_failed(probability: np.ndarray | None, code: np.ndarray) -> np.ndarray:
    """Return for each row (n,) why the model's output is invalid."""
    why = np.full(len(code), NOT_FINITE, dtype=object)
    if probability is not None:
        why[np.isfinite(probability).all(axis=1)] = NO_PROBABILITIES
    return why


def _why_stuck(judge: Judge, missing: np.ndarray, stuck: np.ndarray) -> np.ndarray:
    """Return the reason of rows (n,) in which no feature may change."""
    why = np.full(len(stuck), "no feature may change", dtype=object)
    if not (stuck & missing.any(axis=1)).any():
        return why
    space = judge.space
    gone = space.any_coordinate(missing) & ~space.constant_
    gone &= ~judge.parsed.immutable(space, len(stuck))
    for i in np.flatnonzero(stuck & gone.any(axis=1)):
        names = [space.names_[j] for j in np.flatnonzero(gone[i])]
        why[i] = (
            f"no feature may change: missing values in {', '.join(map(repr, names[:8]))} stay "
            "missing unless the 'fillable' parameter names these columns"
        )
    return why


def _finite(models: Sequence[Scores], Z: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Whether all scores of points (n, D) of some rows are finite, for every model."""
    if len(Z) == 0:
        return np.ones(0, dtype=bool)
    try:
        with torch.no_grad():
            points, at = torch.from_numpy(Z), torch.from_numpy(rows)
            scores = [
                model.of_rows(points, at) if hasattr(model, "of_rows") else model(points)
                for model in models
            ]
    except (ValueError, ModelError):
        if len(Z) == 1:
            return np.zeros(1, dtype=bool)
        # Bisection finds the rows that a model refuses.
        halves = zip(np.array_split(Z, 2), np.array_split(rows, 2), strict=True)
        return np.concatenate([_finite(models, part, at) for part, at in halves])
    return torch.stack([torch.isfinite(one).all(1) for one in scores]).all(0).numpy()


def _has_already(
    judge: Judge,
    X: Any,
    targets: ClassTarget | IntervalTarget,
    known: Outcome,
    open_: np.ndarray,
) -> np.ndarray:
    """Whether all models' outputs reach the targets of unchanged rows."""
    out = np.zeros(len(open_), dtype=bool)
    rows = np.flatnonzero(open_)
    output = (
        known.take(rows) if targets.uses_probability else known.take(rows).without_probability()
    )
    has = targets.answered_by(rows, output) >= 0
    for estimator in judge.others:
        output, _ = judge.isolated_outcome(take_rows(X, rows), targets, estimator)
        has &= targets.answered_by(rows, output) >= 0
    out[rows] = has
    return out


def _too_many_outside(judge: Judge, table: Table) -> np.ndarray:
    """Return the rows (n,) of which more features must change than the budget permits."""
    alone = replace(judge.parsed, joint=())
    count = alone.outside(judge.space, table).sum(axis=1)
    return np.asarray(count > (judge.max_changes or np.inf))


def _words_outside(judge: Judge, table: Table) -> np.ndarray:
    """Return which features of rows (n,) are outside of the rules, "" for none."""
    outside = judge.parsed.outside(judge.space, table)
    words = np.full(len(outside), "", dtype=object)
    for i in np.flatnonzero(outside.any(axis=1)):
        names = ", ".join(repr(judge.space.names_[j]) for j in np.flatnonzero(outside[i]))
        words[i] = f"the row itself is outside of the rules of {names}"
    return words


def _whole(bounds: Actionability, placed: np.ndarray) -> Actionability:
    """Return finite bounds: a stand-in stays unless its value may be filled in."""
    return replace(
        bounds,
        lower=np.where(np.isfinite(bounds.lower), bounds.lower, placed),
        upper=np.where(np.isfinite(bounds.upper), bounds.upper, placed),
    )


def unset(values: np.ndarray) -> np.ndarray:
    """Return which objects are None, element by element."""
    return np.asarray(values == np.array(None))
