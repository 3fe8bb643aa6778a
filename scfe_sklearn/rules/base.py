"""Base classes of rules: a kind of rule, a rule of one column, and a rule between columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.data import (
    Feature,
    FeatureSpace,
    coded,
    level_numbers,
    ranks,
)
from scfe_sklearn.rules.bounds import Narrowing
from scfe_sklearn.rules.reading import Labelled, of_columns

TOLERANCE = 1e-9
"""Rounding that breaks no rule, in training standard deviations."""


class RawRows:
    """Rows in raw values, as rules read them: numbers, levels, or levels as numbers.

    Parameters
    ----------
    space : FeatureSpace
        The fitted space.
    X : DataFrame, ndarray of shape (n, d) or Table
        The rows.
    """

    def __init__(self, space: FeatureSpace, X: Any) -> None:
        self.space = space
        self.table, self.order = space.align(X)

    def __len__(self) -> int:
        return self.table.n_rows

    def coded(self, j: int) -> tuple[np.ndarray, list[Hashable]]:
        """Codes of a feature and the levels that occur, missing last."""
        return coded(self.table, self.order[j])

    def numbers(self, j: int) -> np.ndarray:
        """A feature as numbers (n,): value, declared rank, or number of its level."""
        feature = self.space.features_[j]
        if feature.levels is None:
            return self.table.numbers(self.order[j])
        codes, levels = self.coded(j)
        return level_numbers(feature, levels)[codes]

    def finite_numbers(self, features: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """Some features as numbers (n,), NaN where they are not finite."""
        found = (self.numbers(j) for j in features)
        return tuple(np.where(np.isfinite(values), values, np.nan) for values in found)

    def missing(self, j: int) -> np.ndarray:
        """Rows whose value is missing, and not only unseen or infinite."""
        if self.space.levels_[j] is None:
            return np.isnan(self.table.numbers(self.order[j]))
        return self.table.factorize(self.order[j])[0] < 0

    def bits(self, j: int) -> int:
        """Precision of a feature in the table."""
        if self.space.levels_[j] is not None:
            return 64
        return self.table.storage(self.order[j]).bits


class Options:
    """Values that n rows may take in one feature; its rules narrow them in place.

    Parameters
    ----------
    space : FeatureSpace
        The fitted space.
    j : int
        The feature.
    values : ndarray of shape (n,)
        Factual numbers or ranks, NaN where there is none; of a category codes, -1 for none.
    """

    def __init__(self, space: FeatureSpace, j: int, values: np.ndarray) -> None:
        self.feature, self.name = space.features_[j], space.names_[j]
        self.values, self.n = values, len(values)
        self.lattice = space.lattice(np.array([j]))
        self.cost = np.ones(self.n)
        self.immutable, self.increasing, self.decreasing, self.fillable = (
            np.zeros(self.n, dtype=bool) for _ in range(4)
        )
        self.has_transitions = False
        # Limits as they are stated, and rounded inward to values that the data can have.
        self.stated_low, self.low = np.full((2, self.n), -np.inf)
        self.stated_high, self.high = np.full((2, self.n), np.inf)

    @cached_property
    def permitted(self) -> np.ndarray:
        """(n, L) levels that transitions permit."""
        return np.ones((self.n, len(np.asarray(self.feature.levels))), dtype=bool)

    @cached_property
    def offered(self) -> np.ndarray:
        """(n, L) levels that a transition names."""
        return np.zeros((self.n, len(np.asarray(self.feature.levels))), dtype=bool)

    @property
    def codes(self) -> np.ndarray:
        """Factual levels (n,) as positions, -1 for none."""
        return np.where(np.isfinite(self.values), self.values, -1.0).astype(np.intp)

    @property
    def empty(self) -> np.ndarray:
        """Rows whose limits contradict each other."""
        return self.stated_low > self.stated_high + TOLERANCE * self.feature.scale


@dataclass
class Change:
    """Raw values of n rows in one feature, before and after a change.

    Parameters
    ----------
    feature : Feature
        The feature.
    before, after : ndarray of shape (n,)
        Numbers, or declared ranks; of a category not used.
    slack : float
        Differences of numbers that do not count.
    bits : int
        Precision of the storage.
    old, new : (ndarray of shape (n,), list)
        Codes and levels of a feature with levels, missing last.
    """

    feature: Feature
    before: np.ndarray
    after: np.ndarray
    slack: float = TOLERANCE
    bits: int = 64
    old: tuple[np.ndarray, list[Hashable]] = (np.empty(0, dtype=np.intp), [])
    new: tuple[np.ndarray, list[Hashable]] = (np.empty(0, dtype=np.intp), [])

    def seen_ranks(self) -> tuple[np.ndarray, np.ndarray]:
        """Ranks before and after among the levels that training showed; numbers as they are."""
        if self.feature.levels is None:
            return self.before, self.after
        seen = np.asarray(self.feature.levels)
        before, after = (ranks(seen, levels)[codes] for codes, levels in (self.old, self.new))
        return before, after


class ColumnRule(RowBatch, ABC):
    """A rule of one column, for n rows."""

    feature: int
    about_values: ClassVar[bool] = False
    """Whether a value can break the rule that has not changed."""

    @abstractmethod
    def narrow(self, options: Options) -> None:
        """Narrow the values that rows may take."""

    def breaks(self, change: Change) -> np.ndarray | bool:
        """Rows whose change breaks the rule; only those that changed are read."""
        return False

    def permits_filling(self, change: Change) -> np.ndarray | bool:
        """Rows in which the rule lets a missing value become known."""
        return False

    def outside(self, rows: RawRows) -> np.ndarray | bool:
        """Rows whose value is outside of a rule about values."""
        return False

    def kept_within(self, rows: RawRows) -> BoundRule | None:
        """The rule between columns that keeps a row within a rule about values, if it is one.

        Bounds let a factual value stay that is outside of them.
        """
        return None


class BoundRule(RowBatch, ABC):
    """A rule between columns, relaxed to what n factual rows break already."""

    features: tuple[int, ...]

    @abstractmethod
    def requirement(self, allowed: np.ndarray) -> Any:
        """The rule as a `Requirement`; ``allowed`` (n, D) as in `Actionability`."""

    @abstractmethod
    def narrow(self, narrowing: Narrowing) -> None:
        """Narrow the bounds by what the rule implies for each feature alone."""

    @abstractmethod
    def infeasible(self, narrowing: Narrowing) -> np.ndarray | bool:
        """Rows in which no point within the bounds keeps the rule."""

    @abstractmethod
    def of_row(self, row: int) -> Any:
        """The rule of one row, as the exact methods read it."""


class JointRule(RowBatch, ABC):
    """A rule between columns, for n rows."""

    features: tuple[int, ...]
    about_values: ClassVar[bool] = True

    @abstractmethod
    def breaks(self, old: RawRows, new: RawRows, changed: np.ndarray) -> np.ndarray:
        """Rows that break the rule after their change, and more than before.

        ``changed`` is (n, d).
        """

    @abstractmethod
    def outside(self, rows: RawRows) -> np.ndarray | bool:
        """Rows whose values break a rule about values."""

    @abstractmethod
    def bind(self, rows: RawRows, Z: np.ndarray, strict: bool) -> BoundRule:
        """Bind the rule to factual rows; what they break already is permitted unless strict."""

    def contradictions(self, bound: BoundRule, conflict: np.ndarray, names: Any) -> None:
        """Write into ``conflict`` (n,) where the rule contradicts itself."""
        return


class Kind(ABC):
    """One kind of rule, which is one parameter of `Rules`: read, checked and described."""

    parameter: ClassVar[str]
    by_column: ClassVar[bool] = True
    """Whether the parameter is about single columns, and not a list of rules between columns."""

    def in_row_order(self, given: Any, labelled: Labelled) -> Any:
        """The parameter, with every Series as an array in the order of the rows."""
        return of_columns(given, self.parameter, labelled)

    @abstractmethod
    def parse(self, given: Any, space: FeatureSpace, n: int) -> Iterator[ColumnRule | JointRule]:
        """Check what is given, for n rows; ValueError if it is wrong."""

    @abstractmethod
    def describe(self, given: Any, space: FeatureSpace) -> Iterator[tuple[int, str]]:
        """Sentences, each with the position of the first column that it is about."""

    def may_be_broken(self, given: Any) -> bool:
        """Whether a row may break what is given already."""
        return False
