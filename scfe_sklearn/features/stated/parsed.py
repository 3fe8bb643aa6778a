"""Rules that were checked, laid out by feature and row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from scfe_sklearn.features.stated.implications import Implication
from scfe_sklearn.features.stated.relations import Relation

Targets = frozenset[Hashable]


@dataclass(frozen=True, eq=False)
class Limits:
    """Lower and upper limits (n,) of one feature; infinite where there is none.

    Absolute limits of ordinal features are positions in the declared order of the levels, and
    relative ones are numbers of ranks.
    """

    feature: int
    low: np.ndarray
    high: np.ndarray
    relative: bool = False
    factor: bool = False

    def interval(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The interval (low, high) that a new value must lie in, by the factual values (n,)."""
        if not self.relative:
            return self.low, self.high
        if not self.factor:
            with np.errstate(invalid="ignore"):  # an infinite value has no neighbourhood
                return values + self.low, values + self.high
        # A factor limits new / factual, so the ends of a negative value change places.
        negative = values < 0
        first, second = (
            np.where(negative, self.high, self.low),
            np.where(negative, self.low, self.high),
        )
        with np.errstate(invalid="ignore"):
            low, high = values * first, values * second
        # An infinite factor is no limit, also of a value that is zero.
        return (
            np.where(np.isinf(first), -np.inf, low),
            np.where(np.isinf(second), np.inf, high),
        )


@dataclass(frozen=True, eq=False)
class Moves:
    """Allowed new levels of one feature, for some rows.

    ``by_level`` maps a level to the levels that it may become; levels that it does not name
    may become any. ``anywhere`` is a set for every level instead.
    """

    feature: int
    rows: np.ndarray
    by_level: Mapping[Hashable, Targets] = field(default_factory=dict)
    anywhere: Targets | None = None

    def targets(self, level: Hashable) -> Targets | None:
        """Return the levels that a level may become; None for all."""
        return self.anywhere if self.anywhere is not None else self.by_level.get(level)


@dataclass(frozen=True, eq=False)
class ParsedRules:
    """Rules of all parts, per feature position and row.

    ``strict``: a row must end within the rules, also where it breaks one already.
    """

    immutable: dict[int, np.ndarray]
    increasing: dict[int, np.ndarray]
    decreasing: dict[int, np.ndarray]
    limits: list[Limits]
    moves: list[Moves]
    fillable: dict[int, np.ndarray] = field(default_factory=dict)
    costs: dict[int, np.ndarray] = field(default_factory=dict)
    relations: list[Relation] = field(default_factory=list)
    implications: list[Implication] = field(default_factory=list)
    strict: bool = False

    @property
    def about_values(self) -> bool:
        """Whether any rule is about values, and not only about their changes."""
        return bool(
            self.implications
            or any(not relation.of_change for relation in self.relations)
            or any(not limits.relative for limits in self.limits)
            or any(move.anywhere is not None for move in self.moves)
        )

    def take(self, rows: np.ndarray) -> ParsedRules:
        """The rules of some rows, given by distinct positions, in their order."""
        limits = [replace(rule, low=rule.low[rows], high=rule.high[rows]) for rule in self.limits]
        moves = [
            replace(rule, rows=np.flatnonzero(np.isin(rows, rule.rows))) for rule in self.moves
        ]
        immutable, increasing, decreasing, fillable, costs = (
            {j: values[rows] for j, values in by_feature.items()}
            for by_feature in (
                self.immutable,
                self.increasing,
                self.decreasing,
                self.fillable,
                self.costs,
            )
        )
        return ParsedRules(
            immutable,
            increasing,
            decreasing,
            limits,
            moves,
            fillable,
            costs,
            [relation.take(rows) for relation in self.relations],
            [implication.take(rows) for implication in self.implications],
            self.strict,
        )
