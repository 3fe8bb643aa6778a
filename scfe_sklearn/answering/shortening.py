"""Answers move to the shortest numbers that still get the target, so that they can be written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scfe_sklearn.answering.answers import Answers
from scfe_sklearn.answering.engine import Engine
from scfe_sklearn.answering.judge import Judge
from scfe_sklearn.answering.ladders import LEVELS, Ladder, ladder, nearer
from scfe_sklearn.answering.query import STAND_IN, Query

DEARER = 1e-3
"""Share of its price by which the objective of an answer may grow."""

ROUNDING = 1e-9
"""What the log-density of one point may differ by from batch to batch."""

CELLS = 2**23
"""Coordinates of points that are held or judged at once, about."""


def shorten(engine: Engine, judge: Judge, query: Query, answers: Answers) -> None:
    """Replace the new values of continuous features by short numbers nearby.

    A moved answer is judged like any other one: the models give it the target, every rule holds
    and it keeps the plausibility that was promised. An answer near which no short numbers pass
    stays as it is.

    Parameters
    ----------
    engine : Engine
        Feature space, densities and prices.
    judge : Judge
        The user's models and rules.
    query : Query
        The rows.
    answers : Answers
        Their answers, changed in place.
    """
    space = engine.space
    rows, slots = np.nonzero(answers.code >= 0)
    features = space.number_features_[space.step_[space.number_features_] == 0]
    if len(rows) == 0 or len(features) == 0:
        return
    size = max(1, CELLS // (LEVELS * query.Z.shape[1]))
    parts = [slice(start, start + size) for start in range(0, len(rows), size)]
    blocks = [_Block(engine, judge, query, answers, rows[p], slots[p], features) for p in parts]
    for block in blocks:
        block.shorten()
    moved = np.concatenate([block.is_short for block in blocks])
    after = np.concatenate([block.after for block in blocks])
    if answers.code.shape[1] > 1:
        before = np.concatenate([block.start for block in blocks])
        moved &= ~_coincide(rows, before, after)
    probability = np.concatenate([block.probability for block in blocks])
    at = rows[moved], slots[moved]
    answers.Z[at] = answers.after[at] = after[moved]
    answers.probability[at], answers.judged[at] = probability[moved], True
    if moved.any():
        answers.frame = None


def _coincide(rows: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Whether an answer (m, D) has become the same as another one of its row."""
    new = _identified(rows, after)
    pairs = np.unique(np.column_stack([new, _identified(rows, before)]), axis=0)
    several = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    return np.isin(new, several)


def _identified(rows: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Number the distinct points (m, D) of each row."""
    together = np.column_stack([rows, Z])
    return np.unique(together, axis=0, return_inverse=True)[1].reshape(-1)


@dataclass(frozen=True, eq=False)
class _Trials:
    """Judged points (q, D) of the answers ``owner`` (q,), of which only those that pass count."""

    owner: np.ndarray
    number: np.ndarray
    passes: np.ndarray
    cost: np.ndarray
    after: np.ndarray
    probability: np.ndarray

    def best(self, digits: np.ndarray) -> np.ndarray:
        """Positions of the first points that pass, one per answer: few digits, then low cost."""
        order = np.lexsort((self.cost, digits, self.owner))
        order = order[self.passes[order]]
        return order[np.unique(self.owner[order], return_index=True)[1]]


class _Block:
    """Some answers (m,), their continuous features (k,) and the short numbers near each value.

    Parameters
    ----------
    engine, judge, query, answers
        As for `shorten`.
    rows, slots : ndarray of shape (m,), int
        Row of each answer, and which of the answers of the row it is.
    features : ndarray of shape (k,), int
        The continuous features.
    """

    def __init__(
        self,
        engine: Engine,
        judge: Judge,
        query: Query,
        answers: Answers,
        rows: np.ndarray,
        slots: np.ndarray,
        features: np.ndarray,
    ) -> None:
        space = engine.space
        self.engine, self.judge, self.query = engine, judge, query
        self.rows, self.code, self.Z0 = rows, answers.code[rows, slots], query.Z[rows]
        self.weight = query.rows.bounds.cost[rows]
        self.start = space.snap(answers.Z[rows, slots], self.Z0)
        self.place = np.array([space.slices_[j].start for j in features])
        self.center, self.scale = space.center_[features], space.scale_[features]
        self.moved = space.changed(self.start, self.Z0)[:, features]
        self.moved &= ~np.isnan(self.start[:, self.place])
        raw = self.center + self.scale * self.start[:, self.place]
        self.value = np.where(self.moved, space.lattice(features).nearest(raw), 0.0)
        self.after, self.number = self.start.copy(), self.value.copy()
        self.probability = np.full(len(rows), np.nan)
        self.is_short = np.zeros(len(rows), dtype=bool)
        self.away, self.toward = self._ladders()
        self.closer = nearer(self.toward, self.away, self.value)
        self.limit, self.floor = self._limits()

    def _ladders(self) -> tuple[Ladder, Ladder]:
        """Short numbers farther from the factual value than the answer, and nearer to it."""
        before = self.center + self.scale * self.Z0[:, self.place]
        change = self.value - before
        # A value that was missing is as far as another category, whatever it is now.
        size = np.where(np.isnan(before), self.scale, np.abs(change))
        tolerance = np.where(self.moved, DEARER / 2 * size, np.nan)
        rises = ~(change < 0)
        return ladder(self.value, tolerance, rises), ladder(self.value, tolerance, ~rises)

    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Largest objective (m,) and least weighted log-density (m,) of moved answers."""
        everyone = np.arange(len(self.rows))
        price = self.engine.price(self.start, self.Z0, self.weight)
        value, common = self._plausibility(everyone, self.start)
        limit = price * (1 + DEARER) - value + ROUNDING
        floor = np.minimum(value, common) - ROUNDING if self.engine.compared else value - np.inf
        return limit, floor

    def _plausibility(self, owner: np.ndarray, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted log-densities (q,) of points (q, D), and what is common among their kind."""
        value, common = np.zeros(len(Z)), np.zeros(len(Z))
        for kind in np.unique(self.code[owner]):
            own, part = self.code[owner] == kind, self.engine.plausible(int(kind))
            points = torch.from_numpy(np.nan_to_num(Z[own]))
            value[own], common[own] = part.value(points).numpy(), part.weight * part.common
        return value, common

    def shorten(self) -> None:
        """Round all numbers of an answer together, and one by one where that is refused."""
        left = np.flatnonzero(self.moved.any(axis=1))
        for level in range(LEVELS):
            if len(left) == 0:
                return
            left = left[~self._together(left, level)]
        left = left[self.moved[left].sum(axis=1) > 1]
        for feature in np.flatnonzero(self.moved[left].any(axis=0)):
            self._alone(left[self.moved[left, feature]], int(feature))

    def _together(self, rows: np.ndarray, level: int) -> np.ndarray:
        """Try the numbers of one level for all features; return which answers are settled."""
        settled = np.zeros(len(rows), dtype=bool)
        owner, number, digits = [], [], []
        seen = [self.value[rows]]
        for way in (self.toward, self.away, self.closer):
            one = way.number[level, rows]
            # On the grid of this level already.
            settled |= _equal(one, seen[0])
            fresh = ~np.any([_equal(one, other) for other in seen], axis=0)
            if level > 0:
                fresh &= ~_equal(one, way.number[level - 1, rows])
            seen.append(one)
            exponent = np.where(self.moved[rows], way.exponent[level, rows], 0.0)
            owner.append(rows[fresh])
            number.append(one[fresh])
            digits.append(-exponent.sum(axis=1)[fresh])
        trials = self._judged(np.concatenate(owner), np.concatenate(number))
        self._take(trials, trials.best(np.concatenate(digits)))
        return settled | self.is_short[rows]

    def _alone(self, rows: np.ndarray, feature: int) -> None:
        """Try the numbers of all levels for one feature."""
        owner, number, digits = [], [], []
        for way in (self.toward, self.away):
            one, exponent = way.number[:, rows, feature], way.exponent[:, rows, feature]
            fresh = one != self.value[rows, feature]
            fresh[1:] &= one[1:] != one[:-1]
            level, at = np.nonzero(fresh)
            tried = self.number[rows[at]]
            tried[:, feature] = one[level, at]
            owner.append(rows[at])
            number.append(tried)
            digits.append(-exponent[level, at])
        trials = self._judged(np.concatenate(owner), np.concatenate(number))
        self._take(trials, trials.best(np.concatenate(digits)))

    def _take(self, trials: _Trials, best: np.ndarray) -> None:
        """Move answers to judged points."""
        owner = trials.owner[best]
        self.number[owner], self.after[owner] = trials.number[best], trials.after[best]
        self.probability[owner], self.is_short[owner] = trials.probability[best], True

    def _judged(self, owner: np.ndarray, number: np.ndarray) -> _Trials:
        """Judge points with other numbers (q, k) in place of those of the answers ``owner``."""
        q = len(owner)
        passes, cost = np.zeros(q, dtype=bool), np.full(q, np.inf)
        after, probability = np.empty((q, self.start.shape[1])), np.full(q, np.nan)
        size = max(1, CELLS // self.start.shape[1])
        for start in range(0, q, size):
            part = slice(start, start + size)
            found = self._judged_at_once(owner[part], number[part])
            passes[part], cost[part], after[part], probability[part] = found
        return _Trials(owner, number, passes, cost, after, probability)

    def _judged_at_once(self, owner: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, ...]:
        """Whether points pass, their objective, coordinates and probability."""
        Z = self.start[owner]
        here = (number - self.center) / self.scale
        Z[:, self.place] = np.where(self.moved[owner], here, Z[:, self.place])
        rows, code, Z0 = self.rows[owner], self.code[owner], self.Z0[owner]
        table, wishes = self.query.table.take(rows), self.query.wishes
        verdict = self.judge(Z, Z0, table, rows, code, wishes, told=True)
        passes = verdict.good & self.engine.plausible_enough(verdict.after, code)
        passes[passes] = self._sure(rows[passes], code[passes], verdict.after[passes])
        cost = np.full(len(owner), np.inf)
        kept, good = owner[passes], verdict.after[passes]
        value, _ = self._plausibility(kept, good)
        cost[passes] = self.engine.price(good, self.Z0[kept], self.weight[kept]) - value
        passes[passes] = (cost[passes] <= self.limit[kept]) & (value >= self.floor[kept])
        probability = np.full(len(owner), np.nan)
        if verdict.probability is not None:
            probability = verdict.probability[np.arange(len(owner)), wishes.labels(code)]
        return passes, cost, verdict.after, probability

    def _sure(self, rows: np.ndarray, code: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Whether points have the margin of a search, so that no other batch changes a verdict."""
        if len(rows) == 0:
            return np.zeros(0, dtype=bool)
        floor = self.engine.floors[0]
        problem = self.engine.problem(self.query.rows.take(rows), code, floor)
        points = torch.from_numpy(np.where(np.isnan(Z), STAND_IN, Z))
        return np.asarray(problem.margin(points[:, None])[:, 0].numpy() >= floor)


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether numbers (m, k) are the same in every feature, (m,)."""
    return np.asarray((one == other).all(axis=1))
