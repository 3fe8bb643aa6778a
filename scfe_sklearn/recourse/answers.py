"""Second half of ``explain``: search, judge, and proofs for rows without an answer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from scfe_sklearn.recourse.engine import BORDER, Engine
from scfe_sklearn.recourse.enumeration import search_exhaustively
from scfe_sklearn.recourse.judge import Candidates, Judge, Verdict
from scfe_sklearn.recourse.model_calls import TimeUp
from scfe_sklearn.recourse.options import (
    EACH,
    ROUNDS,
    Judged,
    distinct,
    other_sets,
    side_by_side,
    without_features,
)
from scfe_sklearn.recourse.query import STAND_IN, Query, unset
from scfe_sklearn.recourse.reference_data import training_rows
from scfe_sklearn.recourse.short_points import shorten_points
from scfe_sklearn.solvers.descent import GradientSettings
from scfe_sklearn.solvers.search_solver import SearchSettings


@dataclass(eq=False)
class Answers:
    """Up to k accepted points per row.

    Parameters
    ----------
    Z : ndarray of shape (n, k, D)
        The points, NaN where a value stays missing.
    code : ndarray of shape (n, k), int
        The kind of answer that each was meant for, -1 where there is none.
    proof : ndarray of shape (n,), object
        Why a row cannot have one, "" where that is not known.
    closest : ndarray of shape (n,), int
        The kind of answer that the first point comes closest to without being one, else -1.
    gap : ndarray of shape (n, k)
        Share by which an answer may cost more than the cheapest one; NaN where that is unknown.
    probability : ndarray of shape (n, k)
        Probability of the kind of answer when it was judged; NaN where it was not computed.
    after : ndarray of shape (n, k, D)
        Coordinates of the decoded rows that were judged.
    judged : ndarray of shape (n, k), bool
        Where these are written down.
    short : ndarray of shape (n, k), bool
        Answers that shorter numbers nearby have been looked for.
    frame : DataFrame, ndarray or None
        The decoded rows themselves, where all of them were judged together.
    near : list of (rows, Candidates)
        The points that came closest to an answer, of rows that have none.
    spare : list of Judged
        Points that were judged where several answers are looked for.
    """

    Z: np.ndarray
    code: np.ndarray
    proof: np.ndarray
    closest: np.ndarray
    gap: np.ndarray
    probability: np.ndarray = field(init=False)
    after: np.ndarray = field(init=False)
    judged: np.ndarray = field(init=False)
    short: np.ndarray = field(init=False)
    frame: Any = field(init=False, default=None)
    near: list[tuple[np.ndarray, Candidates]] = field(init=False, default_factory=list)
    spare: list[Judged] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Create arrays without verdicts."""
        self.probability = np.full(self.code.shape, np.nan)
        self.after = np.full(self.Z.shape, np.nan)
        self.judged, self.short = (np.zeros(self.code.shape, dtype=bool) for _ in range(2))

    @classmethod
    def none(cls, query: Query, k: int) -> Answers:
        """Return answers of a query in which no row has one."""
        n = len(query.Z)
        return cls(
            np.repeat(query.Z[:, None], k, axis=1),
            np.full((n, k), -1),
            np.full(n, "", dtype=object),
            np.full(n, -1),
            np.full((n, k), np.nan),
        )

    def write(self, rows: np.ndarray, found: Answers) -> None:
        """Store the answers of some of the rows."""
        self.Z[rows], self.code[rows] = found.Z, found.code
        self.proof[rows], self.closest[rows] = found.proof, found.closest
        self.gap[rows] = found.gap
        self.copy_verdicts(rows, found, np.arange(len(rows)))
        if len(rows) == len(self.code):
            self.frame = found.frame

    def copy_verdicts(self, rows: np.ndarray, found: Answers, where: np.ndarray) -> None:
        """Copy verdicts of other answers to ``rows``."""
        for name in ("probability", "after", "judged", "short"):
            getattr(self, name)[rows] = getattr(found, name)[where]
        self.frame = None

    def drop_verdicts(self, rows: np.ndarray) -> None:
        """Drop the verdicts of ``rows`` before their answers are replaced."""
        self.probability[rows], self.after[rows] = np.nan, np.nan
        self.judged[rows] = self.short[rows] = False
        self.frame = None

    @property
    def found(self) -> np.ndarray:
        """Whether a row has an answer, (n,)."""
        return np.asarray(self.code[:, 0] >= 0)


class Prover(Protocol):
    """Proves that rows have no answer."""

    def prove_apart(self, judge: Judge, query: Query, answers: Answers) -> np.ndarray:
        """Store proofs for rows without an answer; return the rows that are left."""


def answer(
    engine: Engine, judge: Judge, query: Query, k: int = 1, prover: Prover | None = None
) -> Answers:
    """Search for all rows, and again with a larger margin if the judge refuses.

    Rows that are proved to have no answer are not searched.
    For rows without an answer all permitted points are listed if these are few, else training
    rows are tried.
    """
    answers = Answers.none(query, k)
    with contextlib.suppress(TimeUp):
        _answer(engine, judge, query, k, prover, answers)
    return answers


def _answer(
    engine: Engine, judge: Judge, query: Query, k: int, prover: Prover | None, answers: Answers
) -> None:
    """Store answers as they are found."""
    if prover is not None:
        prover.prove_apart(judge, query, answers)
    rows = np.flatnonzero(unset(query.status) & (answers.proof == ""))
    for floor in engine.floors:
        if len(rows) == 0:
            break
        candidates = engine.search(query.rows.take(rows), floor)
        _accept(engine, judge, query, rows, candidates, answers)
        if engine.deadline is not None and engine.deadline.passed:
            return
        # A larger margin yields no candidate for a row without one.
        again = ~answers.found[rows] & (candidates.cost[:, 0] < np.inf)
        rows = rows[again]
    left = np.flatnonzero(unset(query.status) & ~answers.found)
    if len(left):
        point, code, proof = search_exhaustively(engine, judge, query, left)
        answers.Z[left, 0], answers.code[left, 0] = point, code
        answers.proof[left] = np.where(proof == "", answers.proof[left], proof)
        left = left[(code < 0) & (answers.proof[left] == "")]
        nearest = training_rows(engine, query.rows.take(left))
        _accept(engine, judge, query, left, nearest, answers)
        if engine.systematic:
            _fall_back(engine, judge, query, left[~answers.found[left]], answers)
    if k > 1:
        _add_options(engine, judge, query, answers)


def _fall_back(
    engine: Engine, judge: Judge, query: Query, rows: np.ndarray, answers: Answers
) -> None:
    """Search rows systematically, and again with a larger margin if the judge refuses."""
    for floor in engine.floors:
        if len(rows) == 0:
            return
        candidates, near = engine.fall_back(query.rows.take(rows), floor)
        _accept(engine, judge, query, rows, candidates, answers)
        refused = ~answers.found[rows]
        answers.near.append((rows[refused], near.take(refused)))
        rows = rows[refused & (candidates.cost[:, 0] < BORDER)]


def add_closest(engine: Engine, judge: Judge, query: Query, answers: Answers) -> None:
    """Store the closest point within the rules for rows without an answer.

    What is written down has been judged: a point that turns out to be valid is an answer.
    """
    left = np.flatnonzero(unset(query.status) & ~answers.found)
    for rows, near in answers.near:
        _add_near(engine, judge, query, rows, near, answers)
    left = left[~answers.found[left] & (answers.closest[left] < 0)]
    if len(left):
        near = engine.nearest_misses(query.rows.take(left))
        _add_near(engine, judge, query, left, near, answers)


def _add_near(
    engine: Engine,
    judge: Judge,
    query: Query,
    rows: np.ndarray,
    near: Candidates,
    answers: Answers,
) -> None:
    """Store the first candidate of each row that keeps the rules."""
    for entry in range(near.cost.shape[1]):
        open_ = ~answers.found[rows] & (answers.closest[rows] < 0)
        at = np.flatnonzero(open_ & (near.cost[:, entry] < np.inf))
        if len(at) == 0:
            continue
        here, code = rows[at], near.code[at, entry]
        z = query.restore_missing(near.z[at, entry], here)
        good, verdict = _accepted(engine, judge, query, here, z, code, with_proba=True)
        _write(query, answers, here, z, code, good, verdict)
        miss = verdict.keeps_rules & ~good
        answers.Z[here[miss], 0], answers.closest[here[miss]] = z[miss], code[miss]


def answer_fewest(
    engine: Engine, judge: Judge, query: Query, k: int = 1, prover: Prover | None = None
) -> Answers:
    """Answer every row with the least number of changes for which one is found."""
    free = replace(engine, max_changes=None), replace(judge, max_changes=None)
    answers = answer(*free, query, k, prover)
    best = _changes(engine, query, answers)
    for budget in range(1, int(best.max(initial=0))):
        rows = np.flatnonzero(best > budget)
        status = np.full(len(query.status), "left out", dtype=object)
        status[rows] = None
        tighter = answer(
            replace(engine, max_changes=budget),
            replace(judge, max_changes=budget),
            replace(query, status=status),
            k,
            prover,
        )
        better = tighter.found
        answers.Z[better], answers.code[better] = tighter.Z[better], tighter.code[better]
        answers.copy_verdicts(better, tighter, better)
        best[better] = 0
    return answers


def _changes(engine: Engine, query: Query, answers: Answers) -> np.ndarray:
    """Number of changed features (n,) of the first answers; 0 without an answer."""
    return np.asarray(engine.space.changed(answers.Z[:, 0], query.Z).sum(axis=1))


def _accept(
    engine: Engine,
    judge: Judge,
    query: Query,
    rows: np.ndarray,
    candidates: Candidates,
    answers: Answers,
) -> None:
    """Store the first candidate of each row that the judge accepts, in short numbers.

    Short numbers near a candidate are judged first. If they are refused, the candidate itself is
    judged, and `shorten` looks for others.
    """
    if answers.code.shape[1] > 1:
        _accept_several(engine, judge, query, rows, candidates, answers)
        return
    left = np.arange(len(rows))
    for entry in range(candidates.cost.shape[1]):
        left = left[candidates.cost[left, entry] < np.inf]
        if len(left) == 0:
            return
        here, code = rows[left], candidates.code[left, entry]
        z = query.restore_missing(candidates.z[left, entry], here)
        near, moved = z, np.zeros(len(here), dtype=bool)
        if engine.shortens and not (engine.deadline is not None and engine.deadline.passed):
            near, moved = shorten_points(engine, query, here, code, z)
        good, verdict = _accepted(engine, judge, query, here, near, code, with_proba=True)
        _write(query, answers, here, near, code, good, verdict)
        answers.short[here[good], 0] = engine.shortens
        again = np.flatnonzero(moved & ~good)
        if len(again):
            here, z, code = here[again], z[again], code[again]
            good[again], verdict = _accepted(engine, judge, query, here, z, code, with_proba=True)
            _write(query, answers, here, z, code, good[again], verdict)
        left = left[~good]


def _write(
    query: Query,
    answers: Answers,
    rows: np.ndarray,
    z: np.ndarray,
    code: np.ndarray,
    good: np.ndarray,
    verdict: Verdict,
) -> None:
    """Store the accepted points (m, D) with their verdicts."""
    here = rows[good]
    answers.Z[here, 0], answers.code[here, 0] = z[good], code[good]
    answers.after[here, 0], answers.judged[here, 0] = verdict.after[good], True
    if good.all() and len(good) == len(answers.code):
        answers.frame = verdict.frame
    if verdict.probability is not None:
        label = query.targets.labels(code[good])
        answers.probability[here, 0] = verdict.probability[good, label]


def _accepted(
    engine: Engine,
    judge: Judge,
    query: Query,
    rows: np.ndarray,
    z: np.ndarray,
    code: np.ndarray,
    with_proba: bool = False,
) -> tuple[np.ndarray, Verdict]:
    """Return whether points (m, D) of some rows are answers, and their verdicts."""
    table = query.table.take(rows)
    verdict = judge(z, query.Z[rows], table, rows, code, query.targets, with_proba)
    return verdict.good & engine.plausible_enough(verdict.after, code), verdict


def _accept_several(
    engine: Engine,
    judge: Judge,
    query: Query,
    rows: np.ndarray,
    candidates: Candidates,
    answers: Answers,
    fresh: bool = True,
) -> None:
    """Store accepted candidates of each row that differ from its answers, as `distinct` does.

    If ``fresh``, the others are kept, for rows with too few sets of features.
    """
    where, entry = np.nonzero(candidates.cost < np.inf)
    if len(where) == 0:
        return
    z = query.restore_missing(candidates.z[where, entry], rows[where])
    code = candidates.code[where, entry]
    accepted, verdict = _accepted(engine, judge, query, rows[where], z, code)
    good = np.zeros(candidates.cost.shape, dtype=bool)
    points, after = np.zeros(candidates.z.shape), np.zeros(candidates.z.shape)
    good[where, entry], points[where, entry], after[where, entry] = accepted, z, verdict.after
    found = Candidates(points, candidates.cost, candidates.code)
    judged = Judged(rows, found, after, good)
    _choose(engine, query, judged, answers, fresh)
    if fresh:
        answers.spare.append(judged)


def _choose(engine: Engine, query: Query, judged: Judged, answers: Answers, fresh: bool) -> None:
    """Store the judged points that differ from the answers so far."""
    rows = judged.rows
    known = np.where(answers.judged[rows][..., None], answers.after[rows], answers.Z[rows])
    row, slot, entry = distinct(engine, query, judged, known, answers.code[rows] >= 0, fresh)
    at = rows[row]
    answers.Z[at, slot] = judged.found.z[row, entry]
    answers.code[at, slot] = judged.found.code[row, entry]
    answers.after[at, slot], answers.judged[at, slot] = judged.after[row, entry], True


def _add_options(engine: Engine, judge: Judge, query: Query, answers: Answers) -> None:
    """Search for more answers of rows with one to ``k - 1`` of them.

    Other sets of features first: every feature that an answer changes is kept from changing
    once, then together with all features that answer a row alone, and every feature is changed
    alone. Then clearly different values of the same sets.
    """
    space = engine.space
    groups = np.asarray(space.groups_)
    single = replace(engine, settings=GradientSettings(), searching=SearchSettings())

    def short() -> np.ndarray:
        return np.flatnonzero(answers.found & (answers.code[:, -1] < 0))

    def search(rows: np.ndarray, own: np.ndarray, stays: np.ndarray) -> None:
        """Search the rows ``own`` of ``rows`` while flagged features (m, d) stay."""
        if len(own) == 0:
            return
        part = without_features(query, rows[own], stays, groups)
        found = single.search(part, engine.floors[0])
        joined = side_by_side(len(rows), own, found, EACH)
        _accept_several(engine, judge, query, rows, joined, answers)

    added = short()
    barred = np.zeros((len(query.Z), space.n_features_in_), dtype=bool)
    for _ in range(ROUNDS):
        rows = short()
        row, slot = np.nonzero(answers.code[rows] >= 0)
        changed = space.changed(answers.Z[rows[row], slot], query.Z[rows[row]])
        used = np.zeros((len(rows), changed.shape[1]), dtype=bool)
        np.logical_or.at(used, row, changed)
        own, feature = np.nonzero(used & ~barred[rows])
        if len(own) == 0:
            break
        barred[rows[own], feature] = True
        search(rows, own, np.eye(barred.shape[1], dtype=bool)[feature])
    for _ in range(ROUNDS):
        rows = short()
        number = answers.code.copy()
        row, slot = np.nonzero(answers.code[rows] >= 0)
        changed = space.changed(answers.Z[rows[row], slot], query.Z[rows[row]])
        search(rows, *other_sets(len(rows), row, changed))
        if np.array_equal(number, answers.code):
            break
    rows = short()
    if len(rows):
        own, code = np.nonzero(query.targets.wanted[rows])
        found = engine.vary(query.rows.take(rows[own]), code, None)
        joined = side_by_side(len(rows), own, found, found.cost.shape[1])
        _accept_several(engine, judge, query, rows, joined, answers)
        for judged in answers.spare:
            _choose(engine, query, judged, answers, fresh=False)
        _add_values(engine, judge, query, short(), answers)
    if len(added):
        _sort_options(engine, query, added, answers)


def _add_values(
    engine: Engine, judge: Judge, query: Query, rows: np.ndarray, answers: Answers
) -> None:
    """Add answers with the same changed features and clearly different values."""
    own, slot = np.nonzero(answers.code[rows] >= 0)
    if len(own) == 0:
        return
    at = rows[own]
    base = np.nan_to_num(answers.Z[at, slot], nan=STAND_IN)
    found = engine.vary(query.rows.take(at), answers.code[at, slot], base)
    joined = side_by_side(len(rows), own, found, EACH)
    _accept_several(engine, judge, query, rows, joined, answers, fresh=False)


def _sort_options(engine: Engine, query: Query, rows: np.ndarray, answers: Answers) -> None:
    """Sort the answers of rows, but the first, by cost: other sets of features before the rest."""
    there = answers.code[rows] >= 0
    at, slot = np.nonzero(there)
    own = rows[at]
    z = np.where(answers.judged[own, slot, None], answers.after[own, slot], answers.Z[own, slot])
    weight = query.rows.bounds.cost[own]
    cost = np.full(there.shape, np.inf)
    cost[at, slot] = engine.cost(z, query.Z[own], answers.code[own, slot], weight)
    support = np.zeros((*there.shape, engine.space.n_features_in_), dtype=bool)
    support[at, slot] = engine.space.changed(z, query.Z[own])
    twin = (support[:, :, None] == support[:, None]).all(axis=3)
    again = np.tril(twin & there[:, None], -1).any(axis=2)
    cost[:, 0] = -np.inf
    order = np.lexsort((cost, again, ~there), axis=1)
    for name in ("Z", "code", "after", "judged", "probability"):
        values = getattr(answers, name)
        values[rows] = values[rows[:, None], order]
