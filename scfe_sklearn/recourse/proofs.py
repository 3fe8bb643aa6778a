"""Proofs for linear models that no change within the rules reaches the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.exact import linear_reach, prove_linear, prove_linear_jointly
from scfe_sklearn.models import LinearScores
from scfe_sklearn.recourse.answers import Answers
from scfe_sklearn.recourse.judge import Judge
from scfe_sklearn.recourse.query import Query, unset
from scfe_sklearn.rules import ColumnBounds, RowRules, column_bounds
from scfe_sklearn.targets import IntervalTarget

PROOF = "proved: the best change of every feature is not enough"
"""Reason of a row without an answer."""

PROOF_BY_PROGRAM = "proved by mixed-integer programming"
"""The same under relations and implications."""

NO_DEMAND = float(np.finfo(float).max / 4)
"""Constant of a condition that always holds."""

MOST_ODDS = 36.0
"""Least log-odds at which a sigmoid may be rounded to 1."""


@dataclass(frozen=True, eq=False)
class LinearProver:
    """Upper bounds of the scores of a linear model within the rules of a row.

    Parameters
    ----------
    space : FeatureSpace
        The fitted feature space.
    scores : LinearScores
        The model over column space.
    seconds : float or None
        Time limit of a row with relations or implications, which need a program.
    """

    space: FeatureSpace
    scores: LinearScores
    seconds: float | None = None

    def prove(self, judge: Judge, query: Query, answers: Answers) -> None:
        """Store a proof for rows of which no target class can be reached."""
        rows = self.prove_apart(judge, query, answers)
        if len(rows) == 0 or not query.rows.bounds.requirements:
            return
        joint = query.bound_rules(judge)
        for row in rows.tolist():
            rules = RowRules.of(joint, row)
            codes = np.flatnonzero(query.targets.wanted[row]).tolist()
            if all(self._unreachable_under(judge, rules, query, row, code) for code in codes):
                answers.proof[row] = PROOF_BY_PROGRAM

    def prove_apart(self, judge: Judge, query: Query, answers: Answers) -> np.ndarray:
        """Store proofs that need no joint rules; return the rows that are left."""
        rows = np.flatnonzero(unset(query.status) & ~answers.found & (answers.proof == ""))
        rows = rows[np.isfinite(query.Z[rows]).all(axis=1)]
        if len(rows) == 0:
            return rows
        wanted = query.targets.wanted[rows]
        unreachable = np.ones(len(rows), dtype=bool)
        for code in np.flatnonzero(wanted.any(axis=0)):
            own = np.flatnonzero(wanted[:, code])
            unreachable[own] &= self._unreachable(judge, query, rows[own], int(code))
        answers.proof[rows[unreachable]] = PROOF
        return rows[~unreachable]

    def _leads(self, query: Query, rows: np.ndarray, code: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights (U, R) and constants of scores that must not be negative."""
        targets = query.targets
        if isinstance(targets, IntervalTarget):
            weights, own = self.scores.weights, self.scores.intercept
            constant = np.column_stack([own - targets.low[rows], targets.high[rows] - own])
            return np.hstack([weights, -weights]), _finite(constant)
        if code < targets.n_classes:
            return self.scores.leads(code)
        low, high = targets.low[rows, code], targets.high[rows, code]
        return self._odds(int(targets.about[code]), low, high)

    def _odds(self, code: int, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (U, R) and constants (m, R) that limits of a probability imply.

        No condition where nothing linear follows from the limits.
        """
        slope = self.scores.slope
        if slope is None:
            return np.empty((len(self.scores.weights), 0)), np.empty((len(low), 0))
        weights, own = self.scores.leads(code)
        weights, own = slope * weights, slope * own
        # A probability in single precision may miss a limit by its own rounding.
        low = np.maximum(low - self.scores.rounding, 0.0)
        high = np.minimum(high + self.scores.rounding, 1.0)
        least = np.minimum(_log_odds(low), MOST_ODDS)
        most = np.maximum(_log_odds(high), -MOST_ODDS)
        # The class leads each other one by the log-odds of its probability at least.
        constant = own - least[:, None]
        if self.scores.n_classes > 2:
            return weights, _finite(constant)
        constant = np.column_stack([constant, most[:, None] - own])
        return np.hstack([weights, -weights]), _finite(constant)

    def _unreachable(self, judge: Judge, query: Query, rows: np.ndarray, code: int) -> np.ndarray:
        """Whether rows (m,) cannot reach a target, even without joint rules."""
        weights, constant = self._leads(query, rows, code)
        bounds = column_bounds(self.space, query.rows.bounds.take(rows))
        factual = self._columns(query, rows)
        reach = linear_reach(
            weights,
            constant + self._noise(factual, bounds)[:, None],
            factual,
            lower=bounds.lower,
            upper=bounds.upper,
            allowed=bounds.allowed,
            starts=self._starts(),
            numeric=self._numeric,
        )
        return prove_linear(reach, judge.max_changes)

    def _unreachable_under(
        self, judge: Judge, rules: RowRules, query: Query, row: int, code: int
    ) -> bool:
        """Whether a row cannot reach a target under its joint rules."""
        at = np.array([row])
        weights, constant = self._leads(query, at, code)
        bounds = column_bounds(self.space, query.rows.bounds.take(at))
        factual = self._columns(query, at)
        constant = np.atleast_2d(constant)[0] + self._noise(factual, bounds)
        demanded = constant < NO_DEMAND / 2
        if not demanded.any():
            return False
        return prove_linear_jointly(
            weights[:, demanded],
            constant[demanded],
            factual[0],
            columns=self.space.columns_,
            lower=bounds.lower[0],
            upper=bounds.upper[0],
            allowed=bounds.allowed[0],
            unit=np.where(np.array(self.space.kinds_) == "categorical", np.nan, self.space.scale_),
            rules=rules,
            values=self.space.lattice(np.flatnonzero(self._numeric)),
            max_changes=judge.max_changes,
            time_limit=self.seconds,
        )

    def _noise(self, factual: np.ndarray, bounds: ColumnBounds) -> np.ndarray:
        """Bound (m,) of the rounding errors of the scores of all permitted points."""
        if not self.scores.rounding:
            return np.zeros(len(factual))
        numbers = np.repeat(self._numeric, np.diff(self._starts()))
        center = 0.0 if self.scores.center is None else self.scores.center
        ends = [np.where(numbers, end, 1.0) for end in (bounds.lower, bounds.upper)]
        farthest = np.max([np.abs(end - center) for end in (factual, *ends)], axis=0)
        return self.scores.noise(np.where(np.isfinite(farthest), farthest, 0.0))

    def _columns(self, query: Query, rows: np.ndarray) -> np.ndarray:
        """Rows of column space."""
        u = self.space.exact_columns()
        return u(torch.from_numpy(query.Z[rows])).numpy()

    @property
    def _numeric(self) -> np.ndarray:
        """Return which columns are numbers."""
        return np.array([levels is None for levels in self.space.levels_])

    def _starts(self) -> np.ndarray:
        """First coordinate of each column."""
        widths = [column.width for column in self.space.columns_]
        return np.concatenate([[0], np.cumsum(widths)]).astype(np.intp)


def _finite(constant: np.ndarray) -> np.ndarray:
    """Return constants, without a demand for infinite ends."""
    return np.where(np.isinf(constant), NO_DEMAND, constant)


def _log_odds(p: np.ndarray) -> np.ndarray:
    """Return log-odds, infinite for limits of 0 and 1, which always hold."""
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.log(p) - np.log1p(-p)
    return np.asarray(odds)
