"""One call of ``explain``: from raw rows to an Explanation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scfe_sklearn.engine import Candidates, Engine
from scfe_sklearn.enumeration import search_exhaustively
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.features import Actionability
from scfe_sklearn.judge import Judge
from scfe_sklearn.presentation.containers import take_rows
from scfe_sklearn.status import Status
from scfe_sklearn.targets import wanted_classes
from scfe_sklearn.training_rows import training_rows


@dataclass(frozen=True, eq=False)
class Query:
    """Rows that were asked about, encoded, and what is known of them before any search.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n, d)
        The rows.
    Z : ndarray of shape (n, D)
        Their coordinates.
    bounds : Actionability
        Where each may go.
    predicted : ndarray of shape (n,), int
        Position of the predicted class, -1 where there is none.
    wanted : ndarray of shape (n, C), bool
        The classes that would do.
    status, reason : ndarray of shape (n,), object
        None and "" for rows that can be searched.
    """

    X: Any
    Z: np.ndarray
    bounds: Actionability
    predicted: np.ndarray
    wanted: np.ndarray
    status: np.ndarray
    reason: np.ndarray


@dataclass(frozen=True, eq=False)
class Answers:
    """One point per row that the judge accepted, and the class it was meant for (-1: none).

    ``proof`` tells why a row cannot have one, "" where that is not known.
    """

    Z: np.ndarray
    code: np.ndarray
    proof: np.ndarray


def ask(engine: Engine, judge: Judge, X: Any, target: Any) -> Query:
    """Encode the rows, bind the rules and sort out the rows which need no search or allow none."""
    Z = engine.space.encode(X)
    problems = engine.space.input_problems(X)
    with torch.no_grad():
        finite = torch.isfinite(engine.scores(torch.from_numpy(np.nan_to_num(Z)))).all(1).numpy()
    # Models may refuse a whole batch for a single row that they cannot read.
    predicted = np.full(len(Z), -1)
    sound = np.flatnonzero(unset(problems) & finite)
    predicted[sound] = judge.predict(take_rows(X, sound))
    wanted = wanted_classes(target, predicted, np.asarray(judge.estimator.classes_))
    bounds = judge.rules.bind(engine.space, X, Z)
    status = np.full(len(Z), None, dtype=object)
    reason = np.full(len(Z), "", dtype=object)

    def mark(rows: Any, word: str, why: Any = "") -> None:
        rows = rows & unset(status)
        status[rows] = word
        reason[rows] = why[rows] if isinstance(why, np.ndarray) else why

    mark(~unset(problems), Status.INVALID_INPUT, problems)
    mark(~finite | (predicted < 0), Status.MODEL_FAILED, "the model has no finite output here")
    has = np.take_along_axis(wanted, predicted.clip(0)[:, None], axis=1)[:, 0]
    mark(has, Status.ALREADY_TARGET)
    mark(~unset(bounds.conflict), Status.CONFLICTING_RULES, bounds.conflict)
    mark(~bounds.mutable.any(axis=1), Status.UNREACHABLE, "no feature may change")
    return Query(X, Z, bounds, predicted, wanted, status, reason)


def answer(engine: Engine, judge: Judge, query: Query) -> Answers:
    """Search for all rows, and again with a larger margin where the judge refuses.

    What is left without an answer is listed in full where the rules permit few points, and else
    tries training rows, of which the judge knows the class.
    """
    found = query.Z.copy()
    code = np.full(len(found), -1)
    rows = np.flatnonzero(unset(query.status))
    for floor in engine.floors:
        if len(rows) == 0:
            break
        candidates = engine.search(
            query.Z[rows], query.bounds.take(rows), query.wanted[rows], floor
        )
        _accept(judge, query, rows, candidates, found, code)
        # A row without a candidate will not have one at a larger margin either.
        again = (code[rows] < 0) & (candidates.cost[:, 0] < np.inf)
        rows = rows[again]
    left = np.flatnonzero(unset(query.status) & (code < 0))
    proof = np.full(len(found), "", dtype=object)
    if len(left):
        found[left], code[left], proof[left] = search_exhaustively(
            engine, judge, query.X, query.Z, query.bounds, query.wanted, left
        )
        left = left[(code[left] < 0) & (proof[left] == "")]
        nearest = training_rows(engine, query.Z[left], query.bounds.take(left), query.wanted[left])
        _accept(judge, query, left, nearest, found, code)
    return Answers(found, code, proof)


def _accept(
    judge: Judge,
    query: Query,
    rows: np.ndarray,
    candidates: Candidates,
    found: np.ndarray,
    code: np.ndarray,
) -> None:
    """Write down the first candidate of each row that the judge accepts."""
    left = np.arange(len(rows))
    for entry in range(candidates.cost.shape[1]):
        left = left[candidates.cost[left, entry] < np.inf]
        if len(left) == 0:
            return
        here, wish = rows[left], candidates.code[left, entry]
        z = candidates.z[left, entry]
        verdict = judge(z, query.Z[here], take_rows(query.X, here), here, wish)
        good = verdict.good
        found[here[good]], code[here[good]] = z[good], wish[good]
        left = left[~good]


def report(engine: Engine, judge: Judge, query: Query, answers: Answers) -> Explanation:
    """Put the result together; everything in it is computed from the decoded rows."""
    space, classes = engine.space, np.asarray(judge.estimator.classes_)
    success = answers.code >= 0
    points = np.where(success[:, None], answers.Z, np.nan)
    frame = space.decode(points, query.X, reference=query.Z)
    status, reason = query.status.copy(), query.reason.copy()
    status[success] = Status.FOUND
    proven = unset(status) & (answers.proof != "")
    status[proven] = Status.UNREACHABLE
    reason[proven] = answers.proof[proven]
    missing = unset(status)
    status[missing] = Status.NOT_FOUND
    reason[missing] = "no valid change was found within the rules and the budget"
    after = space.encode(take_rows(frame, np.flatnonzero(success)))
    changed = np.zeros((len(success), space.n_features_in_), dtype=bool)
    changed[success] = space.changed(after, query.Z[success])
    numbers = {name: np.full(len(success), np.nan) for name in _NUMBERS}
    numbers["n_changes"][success] = changed[success].sum(axis=1)
    numbers["distance"][success] = np.linalg.norm(after - query.Z[success], axis=1)
    codes = np.where(success, answers.code, query.wanted.argmax(axis=1))
    index = torch.from_numpy(answers.code[success])
    log_density = engine.density.log_prob(torch.from_numpy(after), index)
    numbers["log_density"][success] = log_density.numpy()
    numbers["density_quantile"][success] = engine.density.quantile(log_density, index)
    single = success | (query.wanted.sum(axis=1) == 1)
    for name, rows, container in (
        ("probability_before", single & (query.predicted >= 0), query.X),
        ("probability_after", success, frame),
    ):
        where = np.flatnonzero(rows)
        numbers[name][where] = judge.probability(take_rows(container, where), codes[where])
    labels = np.array([None, *classes.tolist()], dtype=object)
    explanation = Explanation(
        factual=query.X,
        counterfactuals=frame,
        target=_tidy(labels[np.where(single, codes + 1, 0)], classes),
        prediction=_tidy(labels[query.predicted + 1], classes),
        success=success,
        status=status,
        reason=reason,
        changed=changed,
        feature_names=list(space.names_),
        kinds=list(space.kinds_),
        levels=list(space.levels_),
        solver="apg",
        rules_text=judge.rules.describe(space),
        **numbers,
    )
    lost = int((~success & (status != Status.ALREADY_TARGET)).sum())
    if lost:
        warnings.warn(
            f"{lost} of {len(success)} rows have no counterfactual; see the 'status' and "
            "'reason' of the explanation.",
            UserWarning,
            stacklevel=3,
        )
    return explanation


_NUMBERS = (
    "probability_before",
    "probability_after",
    "n_changes",
    "distance",
    "log_density",
    "density_quantile",
)


def _tidy(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Give labels the dtype of the classes where none is missing."""
    return labels if unset(labels).any() else labels.astype(classes.dtype)


def unset(values: np.ndarray) -> np.ndarray:
    """Which objects are None, element by element."""
    return np.asarray(values == np.array(None))
