"""The result of ``explain``: everything in it is computed from the decoded rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from scfe_sklearn.answering.answers import Answers
from scfe_sklearn.answering.engine import Engine
from scfe_sklearn.answering.judge import Judge
from scfe_sklearn.answering.query import Query, unset
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.presentation.containers import take_rows
from scfe_sklearn.status import Status
from scfe_sklearn.targets import ValueWishes
from scfe_sklearn.targets.asked import interval_text
from scfe_sklearn.view import View

_NUMBERS = (
    "probability_before",
    "probability_after",
    "n_changes",
    "distance",
    "log_density",
    "density_quantile",
)


def report(
    engine: Engine,
    judge: Judge,
    query: Query,
    answers: Answers,
    solver: str,
    view: View,
    asked: Any,
) -> Explanation:
    """Put the result together: k entries per row ``asked`` by the user, one after the other."""
    space = engine.space
    n, k = answers.code.shape
    rows = np.repeat(np.arange(n), k)
    option = np.tile(np.arange(k), n)
    X = query.X if k == 1 else take_rows(query.X, rows)
    Z, code = query.Z[rows], answers.code.reshape(-1)
    success = code >= 0
    closest = np.where(option == 0, answers.closest[rows], -1)
    shown = success | (closest >= 0)
    code = np.where(success, code, closest)
    points = np.where(shown[:, None], answers.Z.reshape(n * k, Z.shape[1]), np.nan)
    frame = answers.frame
    if frame is None or k > 1:
        frame = space.decode(points, X, reference=Z)
    status, reason = _status(query, answers, rows, option)
    status[shown & ~success] = Status.CLOSEST
    good = np.flatnonzero(shown)
    after = answers.after.reshape(points.shape)[good]
    unread = np.flatnonzero(~answers.judged.reshape(-1)[good])
    if len(unread):
        after[unread] = space.encode(take_rows(frame, good[unread]))
    changed = np.zeros((len(success), space.n_features_in_), dtype=bool)
    changed[good] = space.changed(after, Z[good])
    numbers = {name: np.full(len(success), np.nan) for name in _NUMBERS}
    numbers["n_changes"][good] = changed[good].sum(axis=1)
    numbers["distance"][good] = distance(after, Z[good])
    log_density, quantile = engine.plausibility(after, code[good])
    numbers["log_density"][good], numbers["density_quantile"][good] = log_density, quantile
    values = isinstance(query.wishes, ValueWishes)
    # Of a classifier the judge has seen already that it gives the target.
    unseen = good if values else np.flatnonzero(closest >= 0)
    said = judge.outcome(take_rows(frame, unseen))
    told = np.full(len(success), np.nan) if values else np.where(success, code, -1)
    told[unseen] = said.value if values else said.code
    target, prediction, now = _labels(judge, query, rows, code, told)
    if hasattr(judge.estimator, "classes_"):
        wanted = query.wishes.wanted[rows]
        codes = np.where(shown, code, wanted.argmax(axis=1))
        single = shown | (wanted.sum(axis=1) == 1)
        before = np.flatnonzero(single & (query.outcome.code[rows] >= 0))
        if query.outcome.probability is not None:
            said_before = query.outcome.probability[rows[before], codes[before]]
            numbers["probability_before"][before] = said_before
        numbers["probability_after"] = answers.probability.reshape(-1).copy()
        # Those that the judge did not ask about.
        rest = good[np.isnan(numbers["probability_after"][good])]
        probability = judge.probability(take_rows(frame, rest), codes[rest])
        numbers["probability_after"][rest] = probability
    explanation = Explanation(
        factual=asked if k == 1 else take_rows(asked, rows),
        counterfactuals=view.whole(frame),
        seen=None if view.plain else (X, frame),
        target=target,
        prediction=prediction,
        prediction_after=now,
        success=success,
        status=status,
        reason=reason,
        changed=changed,
        feature_names=list(space.names_),
        kinds=list(space.kinds_),
        levels=list(space.levels_),
        solver=solver,
        rules_text=judge.rules.describe(space),
        option=option,
        gap=answers.gap.reshape(-1),
        **numbers,
    )
    _warn(explanation)
    return explanation


def distance(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Distances (m,) of points (m, D); a value that was missing and is known now counts 1."""
    gap = after - before
    filled = np.isnan(before) & ~np.isnan(after)
    return np.asarray(np.sqrt(np.where(filled, 1.0, np.nan_to_num(gap) ** 2).sum(axis=1)))


def _status(
    query: Query, answers: Answers, rows: np.ndarray, option: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Status and reason of every entry."""
    status, reason = query.status[rows].copy(), query.reason[rows].copy()
    success = answers.code.reshape(-1) >= 0
    status[success] = Status.FOUND
    proof = answers.proof[rows]
    proven = unset(status) & (proof != "")
    status[proven], reason[proven] = Status.UNREACHABLE, proof[proven]
    missing = unset(status)
    status[missing] = Status.NOT_FOUND
    reason[missing] = "no valid change was found within the rules and the budget"
    further = missing & answers.found[rows] & (option > 0)
    reason[further] = "no further distinct answer was found"
    return status, reason


def _labels(
    judge: Judge, query: Query, rows: np.ndarray, code: np.ndarray, said: np.ndarray
) -> tuple[Any, Any, Any]:
    """Targets, predictions before and predictions after, in the user's words."""
    wishes, known = query.wishes, code >= 0
    if isinstance(wishes, ValueWishes):
        ends = zip(wishes.low[rows], wishes.high[rows], strict=True)
        target = np.array([interval_text(low, high) for low, high in ends], dtype=object)
        return target, query.outcome.value[rows], said
    classes = np.asarray(judge.estimator.classes_)
    labels = np.array([None, *classes.tolist()], dtype=object)
    wanted = wishes.wanted[rows]
    single = known | (wanted.sum(axis=1) == 1)
    target = labels[np.where(single, np.where(known, code, wanted.argmax(axis=1)) + 1, 0)]
    return (
        _tidy(target, classes),
        _tidy(labels[query.outcome.code[rows] + 1], classes),
        _tidy(labels[said + 1], classes),
    )


def _tidy(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Give labels the dtype of the classes where none is missing."""
    return labels if unset(labels).any() else labels.astype(classes.dtype)


def _warn(explanation: Explanation) -> None:
    first = explanation.option == 0
    lost = first & ~explanation.success & (explanation.status != Status.ALREADY_TARGET)
    if lost.any():
        warnings.warn(
            f"{int(lost.sum())} of {int(first.sum())} rows have no counterfactual; see the "
            "'status' and 'reason' of the explanation.",
            UserWarning,
            stacklevel=4,
        )
