"""Proofs that no change within the rules can bring what a row wants: linear models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scfe_sklearn.answering.answers import Answers
from scfe_sklearn.answering.query import Query, unset
from scfe_sklearn.exact import linear_reach, prove_linear
from scfe_sklearn.features import FeatureSpace
from scfe_sklearn.features.bounds import column_bounds
from scfe_sklearn.features.space import exact_columns
from scfe_sklearn.models import LinearScores
from scfe_sklearn.targets import ValueWishes

PROOF = "proved: the best change of every feature is not enough"
"""Why a row has no answer."""


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
    """

    space: FeatureSpace
    scores: LinearScores
    max_changes: int | None

    def prove(self, query: Query, answers: Answers) -> None:
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

    def _hopeless(self, query: Query, rows: np.ndarray, code: int) -> np.ndarray:
        """Whether rows (m,) cannot get one kind of answer."""
        if isinstance(query.wishes, ValueWishes):
            own = self.scores.weights, self.scores.intercept
            weights = np.hstack([own[0], -own[0]])
            low, high = query.wishes.low[rows], query.wishes.high[rows]
            constant = np.column_stack([own[1] - low, high - own[1]])
            # An end that is not there is no demand.
            constant = np.where(np.isinf(constant), np.finfo(float).max / 4, constant)
        else:
            weights, constant = self.scores.leads(code)
        u = exact_columns(self.space.features_, self.space.slices_, self.space.lattice())
        bounds = column_bounds(self.space, query.rows.bounds.take(rows))
        reach = linear_reach(
            weights,
            constant,
            u(torch.from_numpy(query.Z[rows])).numpy(),
            lower=bounds.lower,
            upper=bounds.upper,
            allowed=bounds.allowed,
            starts=self._starts(),
            numeric=np.array([levels is None for levels in self.space.levels_]),
        )
        return prove_linear(reach, self.max_changes)

    def _starts(self) -> np.ndarray:
        """First coordinate of each column."""
        widths = [column.width for column in self.space.columns_]
        return np.concatenate([[0], np.cumsum(widths)]).astype(np.intp)
