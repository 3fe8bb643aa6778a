"""Proofs that no change within the rules can bring what a row wants: linear models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scfe_sklearn.answering.answers import Answers
from scfe_sklearn.answering.exact_rules import bound_rules, joint_rules
from scfe_sklearn.answering.judge import Judge
from scfe_sklearn.answering.query import Query, unset
from scfe_sklearn.exact import JointRules, linear_reach, prove_linear, prove_linear_jointly
from scfe_sklearn.features import FeatureSpace
from scfe_sklearn.features.bounds import column_bounds
from scfe_sklearn.features.space import exact_columns
from scfe_sklearn.models import LinearScores
from scfe_sklearn.targets import ValueWishes

PROOF = "proved: the best change of every feature is not enough"
"""Why a row has no answer."""

PROOF_BY_PROGRAM = "proved by mixed-integer programming"
"""Why it has none under relations and implications."""


@dataclass(frozen=True, eq=False)
class LinearProver:
    """Knows the largest score that the rules leave a row, which for a linear model is a sum.

    Parameters
    ----------
    space : FeatureSpace
        The fitted feature space.
    scores : LinearScores
        The model over column space.
    max_changes : int or None
        Budget of changed features.
    seconds : float or None
        Time limit of a row with relations or implications, which need a program.
    """

    space: FeatureSpace
    scores: LinearScores
    max_changes: int | None
    seconds: float | None = None

    def prove(self, judge: Judge, query: Query, answers: Answers) -> None:
        """Write down a proof for rows without an answer of which no class can be reached."""
        rows = np.flatnonzero(unset(query.status) & ~answers.found & (answers.proof == ""))
        rows = rows[np.isfinite(query.Z[rows]).all(axis=1)]
        if len(rows) == 0:
            return
        wanted = query.wishes.wanted[rows]
        hopeless = np.ones(len(rows), dtype=bool)
        for code in np.flatnonzero(wanted.any(axis=0)):
            own = np.flatnonzero(wanted[:, code])
            hopeless[own] &= self._hopeless(query, rows[own], int(code))
        answers.proof[rows[hopeless]] = PROOF
        if not query.rows.bounds.requirements:
            return
        joint = bound_rules(judge, query)
        for row in rows[~hopeless].tolist():
            rules = joint_rules(joint, self.space, query.Z, row)
            codes = np.flatnonzero(query.wishes.wanted[row]).tolist()
            if all(self._hopeless_under(rules, query, row, code) for code in codes):
                answers.proof[row] = PROOF_BY_PROGRAM

    def _leads(self, query: Query, rows: np.ndarray, code: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights (U, R) and constants of scores that must not be negative."""
        if not isinstance(query.wishes, ValueWishes):
            return self.scores.leads(code)
        own = self.scores.weights, self.scores.intercept
        low, high = query.wishes.low[rows], query.wishes.high[rows]
        constant = np.column_stack([own[1] - low, high - own[1]])
        # An end that is not there is no demand.
        constant = np.where(np.isinf(constant), np.finfo(float).max / 4, constant)
        return np.hstack([own[0], -own[0]]), constant

    def _hopeless(self, query: Query, rows: np.ndarray, code: int) -> np.ndarray:
        """Whether rows (m,) cannot get one kind of answer, whatever joint rules say."""
        weights, constant = self._leads(query, rows, code)
        bounds = column_bounds(self.space, query.rows.bounds.take(rows))
        reach = linear_reach(
            weights,
            constant,
            self._columns(query, rows),
            lower=bounds.lower,
            upper=bounds.upper,
            allowed=bounds.allowed,
            starts=self._starts(),
            numeric=self._numeric,
        )
        return prove_linear(reach, self.max_changes)

    def _hopeless_under(self, rules: JointRules, query: Query, row: int, code: int) -> bool:
        """Whether a row cannot get one kind of answer under its joint rules."""
        at = np.array([row])
        weights, constant = self._leads(query, at, code)
        constant = np.atleast_2d(constant)[0]
        asked = constant < np.finfo(float).max / 8
        bounds = column_bounds(self.space, query.rows.bounds.take(at))
        return prove_linear_jointly(
            weights[:, asked],
            constant[asked],
            self._columns(query, at)[0],
            columns=self.space.columns_,
            lower=bounds.lower[0],
            upper=bounds.upper[0],
            allowed=bounds.allowed[0],
            unit=np.where(np.array(self.space.kinds_) == "categorical", np.nan, self.space.scale_),
            rules=rules,
            values=self.space.lattice(np.flatnonzero(self._numeric)),
            max_changes=self.max_changes,
            time_limit=self.seconds,
        )

    def _columns(self, query: Query, rows: np.ndarray) -> np.ndarray:
        """Rows of column space."""
        u = exact_columns(self.space.features_, self.space.slices_, self.space.lattice())
        return u(torch.from_numpy(query.Z[rows])).numpy()

    @property
    def _numeric(self) -> np.ndarray:
        """Which columns are numbers."""
        return np.array([levels is None for levels in self.space.levels_])

    def _starts(self) -> np.ndarray:
        """First coordinate of each column."""
        widths = [column.width for column in self.space.columns_]
        return np.concatenate([[0], np.cumsum(widths)]).astype(np.intp)
