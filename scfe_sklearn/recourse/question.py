"""Rows, targets and rules of a call, of which some rows can be taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.rules import ParsedRules, Rules
from scfe_sklearn.targets import Interval, Probability

__all__ = ["Question"]


@dataclass(frozen=True, eq=False)
class Question:
    """One call of ``explain`` for n rows.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n, d)
        The rows, as the user gives them.
    target : object
        The target; values per row are in the order of the rows.
    rules : Rules
        All rules, in the order of the rows of the whole call.
    parsed : ParsedRules or None
        The rules of these rows; None if they are not parsed yet.
    count : int
        Answers per row.
    best_effort : bool
        Whether a row without an answer gets the closest change.
    of_values : bool
        Whether a pair is the two ends of an interval, as for a regressor.
    """

    X: Any
    target: Any
    rules: Rules
    parsed: ParsedRules | None
    count: int = 1
    best_effort: bool = False
    of_values: bool = False

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return int(self.X.shape[0]) if self.X.shape else 0

    @property
    def is_divisible(self) -> bool:
        """Whether every value per row has the length of the rows; an error must count them all."""
        return all(size in (None, self.n_rows) for size in map(_length, self._ends))

    def parse(self, space: FeatureSpace) -> Question:
        """Return the question with its rules parsed for all rows."""
        return replace(self, parsed=self.rules.parsed(space, self.n_rows))

    def take(self, rows: np.ndarray) -> Question:
        """Return the question about some of the rows; its rules must be parsed."""
        n = self.n_rows
        if len(rows) == n:
            return self
        assert self.parsed is not None
        ends = [_of_rows(end, rows, n) for end in self._ends]
        target = ends[0] if len(ends) == 1 else _pair(self.target, ends)
        return replace(
            self, X=take_rows(self.X, rows), target=target, parsed=self.parsed.take(rows)
        )

    @property
    def _ends(self) -> Sequence[Any]:
        """The target, or both ends of it."""
        if isinstance(self.target, Interval):
            return (self.target.at_least, self.target.at_most)
        if self.of_values and isinstance(self.target, tuple) and len(self.target) == 2:
            return self.target
        return (self.target,)


def _pair(target: Any, ends: Sequence[Any]) -> Any:
    """Return the ends in the form of the target."""
    return Interval(*ends) if isinstance(target, Interval) else tuple(ends)


def _length(value: Any) -> int | None:
    """Length of values per row; None for a value of all rows."""
    if value is None or isinstance(value, (str, bytes, dict, set, frozenset, Probability)):
        return None
    if isinstance(value, (list, tuple)):
        return len(value)
    shape = np.shape(value)
    return shape[0] if shape else None


def _of_rows(value: Any, rows: np.ndarray, n: int) -> Any:
    """Return the values of some rows; one value of all rows stays."""
    if _length(value) != n:
        return value
    if isinstance(value, (list, tuple)):
        return [value[row] for row in rows.tolist()]
    return np.asarray(value)[rows]
