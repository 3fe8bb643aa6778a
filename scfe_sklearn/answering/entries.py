"""The entries of the result: for every row that was asked about, one for each answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scfe_sklearn.answering.answers import Answers
from scfe_sklearn.answering.query import Query
from scfe_sklearn.features import FeatureSpace
from scfe_sklearn.presentation.containers import take_rows


@dataclass(frozen=True, eq=False)
class Entries:
    """k entries for each of n rows, one after the other: m in all.

    Parameters
    ----------
    row, option : ndarray of shape (m,), int
        The row of the query that an entry is about, and which of its answers it holds.
    X : DataFrame or ndarray of shape (m, d)
        The factual rows.
    Z : ndarray of shape (m, D)
        Their coordinates.
    success : ndarray of shape (m,), bool
        Whether the entry holds an answer.
    closest : ndarray of shape (m,), bool
        Whether it holds, for want of one, the change that came closest.
    code : ndarray of shape (m,), int
        The kind of answer that it holds or comes closest to, else -1.
    frame : DataFrame or ndarray of shape (m, d)
        What it holds, decoded; missing values where that is nothing.
    """

    row: np.ndarray
    option: np.ndarray
    X: Any
    Z: np.ndarray
    success: np.ndarray
    closest: np.ndarray
    code: np.ndarray
    frame: Any

    @classmethod
    def of(cls, space: FeatureSpace, query: Query, answers: Answers) -> Entries:
        """Lay out the answers of a query."""
        n, k = answers.code.shape
        row, option = np.repeat(np.arange(n), k), np.tile(np.arange(k), n)
        X, Z = query.X if k == 1 else take_rows(query.X, row), query.Z[row]
        code = answers.code.reshape(-1)
        success = code >= 0
        code = np.where(success, code, np.where(option == 0, answers.closest[row], -1))
        frame = answers.frame
        if frame is None or k > 1:
            points = np.where((code >= 0)[:, None], answers.Z.reshape(Z.shape), np.nan)
            frame = space.decode(points, X, reference=Z)
        return cls(row, option, X, Z, success, (code >= 0) & ~success, code, frame)

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def shown(self) -> np.ndarray:
        """Whether an entry holds anything, (m,)."""
        return self.success | self.closest

    @cached_property
    def given(self) -> np.ndarray:
        """Positions of the entries that hold something."""
        return np.flatnonzero(self.shown)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """One number for every entry (m,): those of what is given, else NaN."""
        every = np.full(len(self), np.nan)
        every[self.given] = values
        return every

    def rows_of(self, asked: Any) -> Any:
        """Return the rows of a query in some other form, one for every entry."""
        return asked if len(self) == asked.shape[0] else take_rows(asked, self.row)
