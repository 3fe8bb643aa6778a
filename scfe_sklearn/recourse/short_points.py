"""Short numbers near points: the shortest ones that keep the target."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.judge import Judge
from scfe_sklearn.recourse.ladders import LEVELS, Ladder, ladder, nearer
from scfe_sklearn.recourse.query import STAND_IN, Query
from scfe_sklearn.solvers.problem import ROUNDING, TOLERANCE, Problem

ALLOWANCE = 1e-3
"""Share of its price by which the objective of an answer may grow."""

CELLS = 2**23
"""Coordinates of points that are held or judged at once, about."""


def continuous_features(engine: Engine) -> np.ndarray:
    """Return the numeric features (k,) without a step."""
    numbers = engine.space.number_features_
    return np.asarray(numbers[engine.space.step_[numbers] == 0])


def shorten_points(
    engine: Engine, query: Query, rows: np.ndarray, code: np.ndarray, Z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return points with short numbers near given points, and which of them have moved.

    The moved points are valid for the search; the judge decides on them like on all points.

    Parameters
    ----------
    engine : Engine
        Feature space, models, densities and prices.
    query : Query
        All rows.
    rows : ndarray of shape (m,), int
        The row of each point.
    code : ndarray of shape (m,), int
        The kind of answer that each point is meant for.
    Z : ndarray of shape (m, D)
        The points.

    Returns
    -------
    Z : ndarray of shape (m, D)
    moved : ndarray of shape (m,), bool
    """
    moved, out = np.zeros(len(rows), dtype=bool), Z
    features = continuous_features(engine)
    if len(features) == 0:
        return out, moved
    size = max(1, CELLS // (LEVELS * Z.shape[1]))
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        block = Block(engine, query, rows[part], code[part], Z[part], features)
        block.shorten()
        moved[part] = block.is_short
        if block.is_short.any():
            out = Z.copy() if out is Z else out
            out[part][block.is_short] = block.after[block.is_short]
    return out, moved


class Block:
    """Some points (m,), their continuous features (k,) and the short numbers near each value.

    Parameters
    ----------
    engine : Engine
        Feature space, models, densities and prices.
    query : Query
        All rows.
    rows, code : ndarray of shape (m,), int
        The row of each point, and the kind of answer that it is meant for.
    Z : ndarray of shape (m, D)
        The points.
    features : ndarray of shape (k,), int
        The continuous features.
    judge : Judge or None
        The user's models and rules; None where only points that are valid for the search are
        looked for.

    Attributes
    ----------
    after : ndarray of shape (m, D)
        The points with short numbers.
    probability : ndarray of shape (m,)
        Probabilities that the judge computed for them.
    is_short : ndarray of shape (m,), bool
        Which of the points have moved.
    """

    def __init__(
        self,
        engine: Engine,
        query: Query,
        rows: np.ndarray,
        code: np.ndarray,
        Z: np.ndarray,
        features: np.ndarray,
        judge: Judge | None = None,
    ) -> None:
        space = engine.space
        self.engine, self.judge, self.query = engine, judge, query
        self.rows, self.code, self.Z0 = rows, code, query.Z[rows]
        self.weight = query.rows.bounds.cost[rows]
        self.start = space.snap(Z, self.Z0)
        self.place = np.array([space.slices_[j].start for j in features])
        self.center, self.scale = space.center_[features], space.scale_[features]
        self.moved = space.changed(self.start, self.Z0)[:, features]
        self.moved &= ~np.isnan(self.start[:, self.place])
        raw = self.center + self.scale * self.start[:, self.place]
        self.value = np.where(self.moved, space.lattice(features).nearest(raw), 0.0)
        self.after, self.number = self.start.copy(), self.value.copy()
        self.probability = np.full(len(rows), np.nan)
        self.is_short = np.zeros(len(rows), dtype=bool)
        self._limits: tuple[np.ndarray, np.ndarray] | None = None

    @cached_property
    def _ways(self) -> tuple[Ladder, Ladder, Ladder]:
        """Short numbers nearer to the factual value than the point, farther from it, and both."""
        before = self.center + self.scale * self.Z0[:, self.place]
        change = self.value - before
        # Filling in a missing value costs 1, like changing a category.
        size = np.where(np.isnan(before), self.scale, np.abs(change))
        tolerance = np.where(self.moved, ALLOWANCE / 2 * size, np.nan)
        rises = ~(change < 0)
        toward, away = (
            ladder(self.value, np.minimum(tolerance, self._room(up)), up) for up in (~rises, rises)
        )
        return toward, away, nearer(toward, away, self.value)

    def _room(self, upward: np.ndarray) -> np.ndarray:
        """Return the distance (m, k) from each value to its upper or its lower bound."""
        bounds, at = self.query.rows.bounds, (self.rows[:, None], self.place)
        end = np.where(upward, bounds.upper[at], bounds.lower[at])
        room = self.center + self.scale * end - self.value
        return np.maximum(np.where(upward, room, -room), 0.0)

    @cached_property
    def _problem(self) -> Problem:
        """The problem of the points, as in the search."""
        return self.engine.problem(
            self.query.rows.take(self.rows), self.code, self.engine.floors[0]
        )

    def _affordable(self, owner: np.ndarray, Z: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Whether points (q, D) of the given prices are about as good as those they replace."""
        if self._limits is None:  # with the densities of the initial points
            m = len(self.rows)
            everyone = np.concatenate([np.arange(m), owner])
            value, common = self._plausibility(everyone, np.concatenate([self.start, Z]))
            limit = self.engine.price(self.start, self.Z0, self.weight) * (1 + ALLOWANCE)
            floor = np.full(m, -np.inf)
            if self.engine.compared:
                floor = np.minimum(value[:m], common[:m]) - ROUNDING
            self._limits, value = (limit - value[:m] + ROUNDING, floor), value[m:]
        else:
            value, _ = self._plausibility(owner, Z)
        limit, floor = self._limits
        return np.asarray((price - value <= limit[owner]) & (value >= floor[owner]))

    def _plausibility(self, owner: np.ndarray, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted log-densities (q,) of points (q, D), and the lower quartiles of their kinds."""
        value, common = np.zeros(len(Z)), np.zeros(len(Z))
        for kind in np.unique(self.code[owner]):
            own, part = self.code[owner] == kind, self.engine.plausible(int(kind))
            points = torch.from_numpy(np.nan_to_num(Z[own]))
            value[own], common[own] = part.value(points).numpy(), part.weight * part.lower_quartile
        return value, common

    def shorten(self) -> None:
        """Round all numbers of a point together, or one by one if that is refused."""
        left = np.flatnonzero(self.moved.any(axis=1))
        for level in range(LEVELS):
            if len(left) == 0:
                return
            left = left[~self._together(left, level)]
        left = left[self.moved[left].sum(axis=1) > 1]
        for feature in np.flatnonzero(self.moved[left].any(axis=0)):
            self._alone(left[self.moved[left, feature]], int(feature))

    def _together(self, rows: np.ndarray, level: int) -> np.ndarray:
        """Try the numbers of one level for all features; return which points are settled."""
        settled = np.zeros(len(rows), dtype=bool)
        owner, number, digits = [], [], []
        seen = [self.value[rows]]
        for way in self._ways:
            one = way.number[level, rows]
            # On the grid of this level.
            settled |= _equal(one, seen[0])
            fresh = ~np.any([_equal(one, other) for other in seen], axis=0)
            if level > 0:
                fresh &= ~_equal(one, way.number[level - 1, rows])
            seen.append(one)
            exponent = np.where(self.moved[rows], way.exponent[level, rows], 0.0)
            owner.append(rows[fresh])
            number.append(one[fresh])
            digits.append(-exponent.sum(axis=1)[fresh])
        self._try(*(np.concatenate(parts) for parts in (owner, number, digits)))
        return settled | self.is_short[rows]

    def _alone(self, rows: np.ndarray, feature: int) -> None:
        """Try the numbers of all levels for one feature."""
        owner, number, digits = [], [], []
        for way in self._ways[:2]:
            one, exponent = way.number[:, rows, feature], way.exponent[:, rows, feature]
            fresh = one != self.value[rows, feature]
            fresh[1:] &= one[1:] != one[:-1]
            level, at = np.nonzero(fresh)
            tried = self.number[rows[at]]
            tried[:, feature] = one[level, at]
            owner.append(rows[at])
            number.append(tried)
            digits.append(-exponent[level, at])
        self._try(*(np.concatenate(parts) for parts in (owner, number, digits)))

    def _try(self, owner: np.ndarray, number: np.ndarray, digits: np.ndarray) -> None:
        """Move the points ``owner`` (q,) to the first numbers (q, k) that pass.

        Those of few digits come first, then those of a low price.
        """
        Z = self.start[owner]
        here = (number - self.center) / self.scale
        Z[:, self.place] = np.where(self.moved[owner], here, Z[:, self.place])
        size = max(1, CELLS // Z.shape[1])
        parts = [slice(start, start + size) for start in range(0, len(owner), size)]
        judged = [self._judged(owner[part], Z[part]) for part in parts]
        if not judged:
            return
        passes, after, probability = (np.concatenate(one) for one in zip(*judged, strict=True))
        price = self.engine.price(after, self.Z0[owner], self.weight[owner])
        order = np.lexsort((price, digits, owner))
        order = order[passes[order]]
        first = np.unique(owner[order], return_index=True)[1]
        done = np.zeros(len(self.rows), dtype=bool)
        # Most often the first one passes: densities of the others are computed only where not.
        for some in (order[first], np.delete(order, first)):
            some = some[~done[owner[some]]]
            if len(some) == 0:
                continue
            good = some[self._affordable(owner[some], after[some], price[some])]
            best = good[np.unique(owner[good], return_index=True)[1]]
            at = owner[best]
            self.number[at], self.after[at] = number[best], after[best]
            self.probability[at] = probability[best]
            self.is_short[at] = done[at] = True

    def _judged(self, owner: np.ndarray, Z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return which points are valid, their coordinates and probabilities.

        Valid for the judge and for the search; without a judge, for the search alone.
        """
        probability = np.full(len(owner), np.nan)
        if self.judge is None:
            domain = self._problem.domain
            low, high = (part.numpy()[:, self.place] for part in (domain.lower, domain.upper))
            numbers = Z[:, self.place]
            inside = (numbers >= low[owner] - TOLERANCE) & (numbers <= high[owner] + TOLERANCE)
            passes, after = (inside | ~self.moved[owner]).all(axis=1), Z
        else:
            passes, after, probability = self._asked(owner, Z)
        passes[passes] = self.engine.plausible_enough(after[passes], self.code[owner[passes]])
        passes[passes] = self._sure(owner[passes], after[passes])
        return passes, after, probability

    def _asked(self, owner: np.ndarray, Z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return which points the judge accepts, their coordinates and their probabilities."""
        assert self.judge is not None
        rows, code, probability = self.rows[owner], self.code[owner], np.full(len(owner), np.nan)
        table, targets = self.query.table.take(rows), self.query.targets
        verdict = self.judge(Z, self.Z0[owner], table, rows, code, targets, with_proba=True)
        if verdict.probability is not None:
            probability = verdict.probability[np.arange(len(owner)), targets.labels(code)]
        return verdict.good.copy(), verdict.after, probability

    def _sure(self, owner: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """Whether points have the margin of a search, so that no other batch changes a verdict."""
        if len(owner) == 0:
            return np.zeros(0, dtype=bool)
        points = torch.from_numpy(np.where(np.isnan(Z), STAND_IN, Z))
        margin = self._problem.objective.margin_at(points, torch.from_numpy(owner))
        return np.asarray(margin.numpy() >= self.engine.floors[0])


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether numbers (m, k) are the same in every feature, (m,)."""
    return np.asarray((one == other).all(axis=1))
