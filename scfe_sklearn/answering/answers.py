"""The second half of ``explain``: searched, judged, and proven where nothing was found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scfe_sklearn.answering.engine import Candidates, Engine
from scfe_sklearn.answering.enumeration import search_exhaustively
from scfe_sklearn.answering.judge import Judge
from scfe_sklearn.answering.query import Query, unset
from scfe_sklearn.answering.training_rows import training_rows
from scfe_sklearn.presentation.containers import take_rows


@dataclass(eq=False)
class Answers:
    """Up to k points per row that the judge accepted.

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
        Share by which an answer may be dearer than the cheapest one; NaN where that is unknown.
    """

    Z: np.ndarray
    code: np.ndarray
    proof: np.ndarray
    closest: np.ndarray
    gap: np.ndarray

    @classmethod
    def none(cls, query: Query, k: int) -> Answers:
        """Return no answers at all."""
        n = len(query.Z)
        return cls(
            np.repeat(query.Z[:, None], k, axis=1),
            np.full((n, k), -1),
            np.full(n, "", dtype=object),
            np.full(n, -1),
            np.full((n, k), np.nan),
        )

    def write(self, rows: np.ndarray, found: Answers) -> None:
        """Write down the answers of some of the rows."""
        self.Z[rows], self.code[rows] = found.Z, found.code
        self.proof[rows], self.closest[rows] = found.proof, found.closest
        self.gap[rows] = found.gap

    @property
    def found(self) -> np.ndarray:
        """Whether a row has an answer, (n,)."""
        return np.asarray(self.code[:, 0] >= 0)


def answer(engine: Engine, judge: Judge, query: Query, k: int = 1) -> Answers:
    """Search for all rows, and again with a larger margin where the judge refuses.

    What is left without an answer is listed in full where the rules permit few points, and else
    tries training rows, of which the judge knows the class.
    """
    answers = Answers.none(query, k)
    rows = np.flatnonzero(unset(query.status))
    for floor in engine.floors:
        if len(rows) == 0:
            break
        candidates = engine.search(query.rows.take(rows), floor)
        _accept(engine, judge, query, rows, candidates, answers)
        # A row without a candidate will not have one at a larger margin either.
        again = ~answers.found[rows] & (candidates.cost[:, 0] < np.inf)
        rows = rows[again]
    left = np.flatnonzero(unset(query.status) & ~answers.found)
    if len(left):
        point, code, proof = search_exhaustively(engine, judge, query, left)
        answers.Z[left, 0], answers.code[left, 0], answers.proof[left] = point, code, proof
        left = left[(code < 0) & (proof == "")]
        nearest = training_rows(engine, query.rows.take(left))
        _accept(engine, judge, query, left, nearest, answers)
    return answers


def add_closest(engine: Engine, judge: Judge, query: Query, answers: Answers) -> None:
    """Write down, for rows without an answer, the lawful change that came closest to one."""
    rows = np.flatnonzero(unset(query.status) & ~answers.found)
    if len(rows) == 0:
        return
    near = engine.nearest_misses(query.rows.take(rows))
    z, code = query.with_holes(near.z[:, 0], rows), near.code[:, 0]
    verdict = judge(z, query.Z[rows], take_rows(query.X, rows), rows, code, query.wishes)
    good = rows[verdict.lawful]
    answers.Z[good, 0], answers.closest[good] = z[verdict.lawful], code[verdict.lawful]


def answer_fewest(engine: Engine, judge: Judge, query: Query, k: int = 1) -> Answers:
    """Answer every row with the least number of changes that an answer is found for."""
    answers = answer(replace(engine, max_changes=None), replace(judge, max_changes=None), query, k)
    best = _changes(engine, query, answers)
    for budget in range(1, int(best.max(initial=0))):
        rows = np.flatnonzero(best > budget)
        status = np.full(len(query.status), "not asked", dtype=object)
        status[rows] = None
        tighter = answer(
            replace(engine, max_changes=budget),
            replace(judge, max_changes=budget),
            replace(query, status=status),
            k,
        )
        better = tighter.found
        answers.Z[better], answers.code[better] = tighter.Z[better], tighter.code[better]
        best[better] = 0
    return answers


def _changes(engine: Engine, query: Query, answers: Answers) -> np.ndarray:
    """Changed features (n,) of the first answers; 0 where there is none."""
    return np.asarray(engine.space.changed(answers.Z[:, 0], query.Z).sum(axis=1))


def _accept(
    engine: Engine,
    judge: Judge,
    query: Query,
    rows: np.ndarray,
    candidates: Candidates,
    answers: Answers,
) -> None:
    """Write down the first candidates of each row that the judge accepts."""
    if answers.code.shape[1] > 1:
        _accept_several(engine, judge, query, rows, candidates, answers)
        return
    left = np.arange(len(rows))
    for entry in range(candidates.cost.shape[1]):
        left = left[candidates.cost[left, entry] < np.inf]
        if len(left) == 0:
            return
        here, wish = rows[left], candidates.code[left, entry]
        z = query.with_holes(candidates.z[left, entry], here)
        good = _accepted(engine, judge, query, here, z, wish)
        answers.Z[here[good], 0], answers.code[here[good], 0] = z[good], wish[good]
        left = left[~good]


def _accepted(
    engine: Engine,
    judge: Judge,
    query: Query,
    rows: np.ndarray,
    z: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Whether points (m, D) of some rows are answers."""
    verdict = judge(z, query.Z[rows], take_rows(query.X, rows), rows, code, query.wishes)
    return verdict.good & engine.plausible_enough(verdict.after, code)


def _accept_several(
    engine: Engine,
    judge: Judge,
    query: Query,
    rows: np.ndarray,
    candidates: Candidates,
    answers: Answers,
) -> None:
    """Write down several accepted candidates of each row: different sets of features first."""
    where, entry = np.nonzero(candidates.cost < np.inf)
    good = np.zeros(candidates.cost.shape, dtype=bool)
    if len(where) == 0:
        return
    z = query.with_holes(candidates.z[where, entry], rows[where])
    code = candidates.code[where, entry]
    good[where, entry] = _accepted(engine, judge, query, rows[where], z, code)
    points = np.zeros(candidates.z.shape)
    points[where, entry] = z
    d = engine.space.n_features_in_
    support: np.ndarray = np.zeros((*good.shape, d), dtype=bool)
    support[where, entry] = engine.space.changed(z, query.Z[rows[where]])
    count = np.zeros(len(rows), dtype=np.intp)
    used: np.ndarray = np.zeros((len(rows), answers.code.shape[1], d), dtype=bool)
    taken = np.zeros_like(good)
    for fresh in (True, False):
        for e in range(candidates.cost.shape[1]):
            room = good[:, e] & ~taken[:, e] & (count < answers.code.shape[1])
            if fresh:
                own = support[:, e][:, None]
                same = (used == own).all(axis=2) & (np.arange(used.shape[1]) < count[:, None])
                room &= ~same.any(axis=1)
            at = np.flatnonzero(room)
            slot = count[at]
            answers.Z[rows[at], slot] = points[at, e]
            answers.code[rows[at], slot] = candidates.code[at, e]
            used[at, slot] = support[at, e]
            taken[at, e] = True
            count[at] += 1
