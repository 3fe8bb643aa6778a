"""Scores of answers: the same for every method, apart from any solver."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import OneHotEncoder

from benchmarks.datasets import Table
from benchmarks.models import Case

NEIGHBOURS = 20
PUBLISHED_NEIGHBOURS = 30
"""Neighbours of LOF in the published script, for Housing and Wine."""
MOST_REFERENCE_ROWS = 5000
SAME_NUMBER = 1e-6
"""A number that moves by less, in training standard deviations, has not changed."""


def table_scores(table: Table, predicted: np.ndarray, answers: np.ndarray) -> pd.DataFrame:
    """Score answers (n, d) to the queries of a published table, one row each.

    ``predicted`` are the labels of the answers. LOF is that of a novelty among the training
    rows whose true label is the target, with 20 neighbours and ("lof_published") with 30.
    """
    found = np.isfinite(answers).all(axis=1)
    step = answers - table.queries
    scores = pd.DataFrame(
        {
            "found": found,
            "valid": found & (predicted == table.targets),
            "norm": np.linalg.norm(step, axis=1),
            "changes": np.where(found, (np.abs(step) > 1e-9).sum(axis=1), np.nan),
            "lof": np.nan,
            "lof_published": np.nan,
        }
    )
    for target in (0, 1):
        rows = found & (table.targets == target)
        if rows.any():
            for name, count in (("lof", NEIGHBOURS), ("lof_published", PUBLISHED_NEIGHBOURS)):
                factor = LocalOutlierFactor(count, novelty=True)
                factor.fit(table.X[table.y == target])
                scores.loc[rows, name] = -factor.score_samples(answers[rows])
    return scores


class LoanScores:
    """Scores answers to refused rows of mixed data.

    * found: no missing value; usable: found, given the target by the model, no rule broken.
    * changes: numbers that moved by more than 1e-6 training standard deviations, and
      categories that differ.
    * distance: root of the squared changes in training standard deviations plus the number of
      changed categories.
    * lof: as a novelty among the training rows that the model gives the target (at most 5,000),
      with standardised numbers and one-hot categories divided by the square root of two.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self._mean = case.X[case.numeric].mean().to_numpy()
        self._spread = case.X[case.numeric].std(ddof=0).to_numpy()
        self._levels = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        if case.categorical:
            self._levels.fit(case.X[case.categorical])

    def __call__(self, queries: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
        """Return found, valid, broken, usable, changes, distance and lof of every row."""
        case = self.case
        found = ~answers.isna().any(axis=1).to_numpy()
        before = queries[found]
        after = answers[found].astype(before.dtypes.to_dict())
        moved = (
            after[case.numeric].to_numpy(dtype=float) - before[case.numeric].to_numpy(dtype=float)
        ) / self._spread
        switched = after[case.categorical].to_numpy() != before[case.categorical].to_numpy()
        columns = {
            "valid": case.model.predict(after) == case.loans.target if len(after) else [],
            "broken": self._broken(before, after),
            "changes": (np.abs(moved) > SAME_NUMBER).sum(axis=1) + switched.sum(axis=1),
            "distance": np.sqrt((moved**2).sum(axis=1) + switched.sum(axis=1)),
            "lof": -self._factor.score_samples(self.encode(after)) if len(after) else [],
        }
        scores = pd.DataFrame(columns, index=np.flatnonzero(found)).reindex(range(len(queries)))
        for name in ("valid", "broken"):
            scores[name] = np.equal(scores[name].to_numpy(dtype=object), True)
        scores["found"] = found
        scores["usable"] = found & scores.valid & ~scores.broken
        return scores

    def encode(self, X: pd.DataFrame) -> np.ndarray:
        """Return rows in the space in which outliers are looked for."""
        case = self.case
        numbers = (X[case.numeric].to_numpy(dtype=float) - self._mean) / self._spread
        if not case.categorical:
            return np.asarray(numbers)
        return np.hstack([numbers, self._levels.transform(X[case.categorical]) / np.sqrt(2)])

    def reachable(self, queries: pd.DataFrame) -> np.ndarray:
        """Return whether a training row that the model gives the target obeys the rules."""
        case, given = self.case, self._given
        possible = np.ones((len(queries), len(given)), dtype=bool)
        for name in case.loans.immutable:
            possible &= queries[name].to_numpy()[:, None] == given[name].to_numpy()
        for name in case.loans.increasing:
            possible &= queries[name].to_numpy()[:, None] <= given[name].to_numpy()
        return np.asarray(possible.any(axis=1))

    @cached_property
    def _given(self) -> pd.DataFrame:
        return self.case.X[self.case.model.predict(self.case.X) == self.case.loans.target]

    @cached_property
    def _factor(self) -> LocalOutlierFactor:
        rows = self._given
        if len(rows) > MOST_REFERENCE_ROWS:
            rows = rows.sample(MOST_REFERENCE_ROWS, random_state=0)
        return LocalOutlierFactor(NEIGHBOURS, novelty=True).fit(self.encode(rows))

    def _broken(self, before: pd.DataFrame, after: pd.DataFrame) -> np.ndarray:
        broken = np.zeros(len(before), dtype=bool)
        for name in self.case.loans.immutable:
            broken |= after[name].to_numpy() != before[name].to_numpy()
        for name in self.case.loans.increasing:
            broken |= after[name].to_numpy() < before[name].to_numpy() - 1e-9
        return broken
