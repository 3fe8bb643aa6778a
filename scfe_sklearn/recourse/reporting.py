"""The result of ``explain``, computed from the decoded rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scfe_sklearn.data import FeatureSpace, InputAdapter
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.containers import columns_in_order, take_rows
from scfe_sklearn.explanation.marginals import Marginals
from scfe_sklearn.recourse.answers import Answers
from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.judge import Judge, in_order
from scfe_sklearn.recourse.query import Query, unset
from scfe_sklearn.status import Status
from scfe_sklearn.targets import ClassTarget, IntervalTarget
from scfe_sklearn.targets.types import interval_text


@dataclass(frozen=True, eq=False)
class Entries:
    """m = n k entries: k for each of n rows.

    Parameters
    ----------
    row, option : ndarray of shape (m,), int
        The row of the query that an entry is about, and which of its answers it holds.
    X : DataFrame or ndarray of shape (m, d)
        The factual rows.
    Z : ndarray of shape (m, D)
        Their coordinates.
    success : ndarray of shape (m,), bool
        Whether the entry holds an answer.
    closest : ndarray of shape (m,), bool
        Whether it holds the change that came closest instead of an answer.
    code : ndarray of shape (m,), int
        The kind of answer that it holds or comes closest to, else -1.
    frame : DataFrame or ndarray of shape (m, d)
        What it holds, decoded; missing values where that is nothing.
    """

    row: np.ndarray
    option: np.ndarray
    X: Any
    Z: np.ndarray
    success: np.ndarray
    closest: np.ndarray
    code: np.ndarray
    frame: Any

    @classmethod
    def of(cls, space: FeatureSpace, query: Query, answers: Answers) -> Entries:
        """Lay out the answers of a query."""
        n, k = answers.code.shape
        row, option = np.repeat(np.arange(n), k), np.tile(np.arange(k), n)
        X, Z = query.X if k == 1 else take_rows(query.X, row), query.Z[row]
        code = answers.code.reshape(-1)
        success = code >= 0
        code = np.where(success, code, np.where(option == 0, answers.closest[row], -1))
        frame = answers.frame
        if frame is None or k > 1:
            points = np.where((code >= 0)[:, None], answers.Z.reshape(Z.shape), np.nan)
            frame = space.decode(points, X, reference=Z)
        return cls(row, option, X, Z, success, (code >= 0) & ~success, code, frame)

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def shown(self) -> np.ndarray:
        """Whether an entry holds anything, (m,)."""
        return self.success | self.closest

    @cached_property
    def given(self) -> np.ndarray:
        """Positions of the entries that hold something."""
        return np.flatnonzero(self.shown)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """One number for every entry (m,): those of what is given, else NaN."""
        every = np.full(len(self), np.nan)
        every[self.given] = values
        return every

    def rows_of(self, queried: Any) -> Any:
        """Return one row of a table of the query for every entry."""
        return queried if len(self) == queried.shape[0] else take_rows(queried, self.row)


def report(
    engine: Engine,
    judge: Judge,
    query: Query,
    answers: Answers,
    queried: Any,
    inputs: InputAdapter,
    solver: str,
    background: Marginals,
) -> Explanation:
    """Build the result: k entries per row of ``queried``, the user's rows."""
    space = engine.space
    entries = Entries.of(space, query, answers)
    status, reason = _status(query, answers, entries)
    after = _decoded_points(space, answers, entries)
    before = entries.Z[entries.given]
    moved = space.changed(after, before)
    changed = np.zeros((len(entries), space.n_features_in_), dtype=bool)
    changed[entries.given] = moved
    log_density, quantile = engine.plausibility(after, entries.code[entries.given])
    target, prediction, prediction_after = _labels(judge, query, entries)
    _explain_predictions(query, judge, entries, prediction_after, reason)
    probability_before, probability_after = _probabilities(judge, query, answers, entries)
    factual, whole = entries.rows_of(queried), inputs.to_user(entries.frame)
    return Explanation(
        factual=factual,
        counterfactuals=columns_in_order(whole, getattr(factual, "columns", ())),
        seen=_seen(space, entries, inputs),
        target=target,
        prediction=prediction,
        prediction_after=prediction_after,
        success=entries.success,
        status=status,
        reason=reason,
        probability_before=probability_before,
        probability_after=probability_after,
        n_changes=entries.spread(moved.sum(axis=1)),
        distance=entries.spread(distance(space, after, before)),
        log_density=entries.spread(log_density),
        density_quantile=entries.spread(quantile),
        changed=changed,
        feature_names=list(space.names_),
        kinds=list(space.kinds_),
        levels=list(space.levels_),
        solver=solver,
        rules_text=judge.rules.describe(space),
        option=entries.option,
        gap=answers.gap.reshape(-1),
        outside_rules=_outside(judge, entries),
        background=background,
    )


def _seen(space: FeatureSpace, entries: Entries, inputs: InputAdapter) -> Any:
    """Rows by feature, if the user's columns do not match the features."""
    misleading = columns_in_order(entries.X, space.names_) is not entries.X
    if inputs.plain and (space.labelled_ or not misleading):
        return None
    return in_order(entries.X, space), in_order(entries.frame, space)


def _outside(judge: Judge, entries: Entries) -> np.ndarray:
    """Whether what an entry holds breaks a rule about values, (m,)."""
    outside = np.zeros(len(entries), dtype=bool)
    parsed = judge.parsed
    if parsed.about_values and len(entries.given):
        parsed = parsed.take(entries.row[entries.given])
        frame = take_rows(entries.frame, entries.given)
        outside[entries.given] = parsed.outside(judge.space, frame).any(axis=1)
    return outside


def distance(space: FeatureSpace, after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Distances (m,) of points (m, D); filling in a missing value costs 1."""
    known = np.isfinite(before)
    gap = np.where(known & np.isfinite(after), after, 0.0) - np.where(known, before, 0.0)
    gap = np.where(known & np.isfinite(after), gap, 0.0)
    filled = space.any_coordinate(~known & np.isfinite(after))
    return np.asarray(np.sqrt((gap**2).sum(axis=1) + filled.sum(axis=1)))


def _decoded_points(space: FeatureSpace, answers: Answers, entries: Entries) -> np.ndarray:
    """Coordinates of the decoded rows, encoded again unless the judge did so."""
    after = answers.after.reshape(entries.Z.shape)[entries.given]
    unread = np.flatnonzero(~answers.judged.reshape(-1)[entries.given])
    if len(unread):
        after[unread] = space.encode(take_rows(entries.frame, entries.given[unread]))
    return after


def _status(query: Query, answers: Answers, entries: Entries) -> tuple[np.ndarray, np.ndarray]:
    """Status and reason of every entry."""
    row = entries.row
    status, reason = query.status[row].copy(), query.reason[row].copy()
    status[entries.success] = Status.FOUND
    proof = answers.proof[row]
    proven = unset(status) & (proof != "")
    status[proven], reason[proven] = Status.UNREACHABLE, proof[proven]
    missing = unset(status)
    status[missing] = Status.NOT_FOUND
    reason[missing] = "no valid change was found within the rules and the budget"
    further = missing & answers.found[row]
    status[further] = Status.NO_FURTHER
    reason[further] = "no further distinct answer was found"
    status[entries.closest] = Status.CLOSEST
    return status, reason


def _labels(judge: Judge, query: Query, entries: Entries) -> tuple[Any, Any, Any]:
    """Targets, predictions before and predictions after, as the user's labels."""
    targets, row = query.targets, entries.row
    if isinstance(targets, IntervalTarget):
        ends = zip(targets.low[row], targets.high[row], strict=True)
        target = np.array([interval_text(low, high) for low, high in ends], dtype=object)
        output = judge.isolated_outcome(take_rows(entries.frame, entries.given))[0].value
        return target, query.outcome.value[row], entries.spread(output)
    # The target is the prediction of answers that are valid by it.
    shown = np.where(entries.success, entries.code, -1)
    queried = np.flatnonzero(entries.closest | _by_probability(targets, entries))
    if len(queried):
        shown[queried] = judge.predict(take_rows(entries.frame, queried))
    classes = np.asarray(judge.estimator.classes_)
    labels = np.array([None, *classes.tolist()], dtype=object)
    code, single = _wanted(targets, entries)
    # A class with an upper limit only is no target.
    single &= ~(targets.low[row, code] == 0)
    target = np.where(single, targets.labels(code), -1)
    codes = (target, query.outcome.code[row], shown)
    target, before, after = (_tidy(labels[code + 1], classes) for code in codes)
    return target, before, after


def _by_probability(targets: ClassTarget, entries: Entries) -> np.ndarray:
    """Whether an answer is valid by its probability, (m,)."""
    return np.asarray(entries.success & (entries.code >= targets.n_classes))


def _wanted(targets: ClassTarget, entries: Entries) -> tuple[np.ndarray, np.ndarray]:
    """First target of each entry, and whether it is the only one."""
    wanted = targets.wanted[entries.row]
    code = np.where(entries.shown, entries.code, wanted.argmax(axis=1))
    return code, entries.shown | (wanted.sum(axis=1) == 1)


def _explain_predictions(
    query: Query, judge: Judge, entries: Entries, predicted: np.ndarray, reason: np.ndarray
) -> None:
    """Store the prediction of answers that reach the probability, but not the class."""
    targets = query.targets
    if not isinstance(targets, ClassTarget) or not targets.uses_probability:
        return
    classes, shown = np.asarray(judge.estimator.classes_).tolist(), predicted.tolist()
    for k in np.flatnonzero(_by_probability(targets, entries)):
        same = shown[k] == classes[targets.about[entries.code[k]]]
        if same == (targets.low[entries.row[k], entries.code[k]] == 0):
            reason[k] = f"has the target probability; predict gives {shown[k]!r}"


def _tidy(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Give labels the dtype of the classes where none is missing."""
    return labels if unset(labels).any() else labels.astype(classes.dtype)


def _probabilities(
    judge: Judge, query: Query, answers: Answers, entries: Entries
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the target before and after; NaN where the model has none."""
    before = np.full(len(entries), np.nan)
    if isinstance(query.targets, IntervalTarget):
        return before, before.copy()
    code, single = _wanted(query.targets, entries)
    code = query.targets.labels(code)
    if query.outcome.probability is not None:
        known = np.flatnonzero(single & (query.outcome.code[entries.row] >= 0))
        before[known] = query.outcome.probability[entries.row[known], code[known]]
    after = answers.probability.reshape(-1).copy()
    # Entries for which the judge has no probability.
    rest = entries.given[np.isnan(after[entries.given])]
    if len(rest):
        after[rest] = judge.probability(take_rows(entries.frame, rest), code[rest])
    return before, after


def warn_unanswered(explanation: Explanation) -> None:
    """Warn of rows that need an answer and have none."""
    first = explanation.option == 0
    lost = first & ~explanation.success & (explanation.status != Status.ALREADY_TARGET)
    if lost.any():
        warnings.warn(
            f"{int(lost.sum())} of {int(first.sum())} rows have no counterfactual; see the "
            "'status' and 'reason' of the explanation.",
            UserWarning,
            stacklevel=3,
        )
