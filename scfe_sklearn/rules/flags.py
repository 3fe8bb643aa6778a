"""Rules that are on or off for a column: immutable, increasing, decreasing and fillable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scfe_sklearn.data import FeatureSpace, position, positions
from scfe_sklearn.rules.base import Change, ColumnRule, JointRule, Kind, Options
from scfe_sklearn.rules.reading import is_by_row, subject, wrong


@dataclass(frozen=True, eq=False)
class Flag(ColumnRule):
    """A rule that holds for some rows of a column.

    Parameters
    ----------
    feature : int
        The column.
    rows : ndarray of shape (n,), bool
        The rows.
    for_all : bool
        Whether the rule was given for all rows, and not row by row.
    """

    feature: int
    rows: np.ndarray
    for_all: bool
    _by_row = ("rows",)


class Immutable(Flag):
    """The column must not change."""

    def narrow(self, options: Options) -> None:
        options.immutable |= self.rows

    def breaks(self, change: Change) -> np.ndarray:
        return self.rows


class Increasing(Flag):
    """The number or rank must not fall; an unknown one may become any."""

    def narrow(self, options: Options) -> None:
        options.increasing |= self.rows

    def breaks(self, change: Change) -> np.ndarray:
        kept = change.after >= change.before - change.slack
        return self.rows & ~np.isnan(change.before) & ~kept


class Decreasing(Flag):
    """The number or rank must not rise; an unknown one may become any."""

    def narrow(self, options: Options) -> None:
        options.decreasing |= self.rows

    def breaks(self, change: Change) -> np.ndarray:
        kept = change.after <= change.before + change.slack
        return self.rows & ~np.isnan(change.before) & ~kept


class Fillable(Flag):
    """A missing number or rank may become known."""

    def narrow(self, options: Options) -> None:
        options.fillable |= self.rows

    def permits_filling(self, change: Change) -> np.ndarray:
        return self.rows


class FlagKind(Kind):
    """A parameter that lists columns, or maps them to a bool or to one for each row."""

    rule: ClassVar[type[Flag]]
    phrase: ClassVar[str]

    def parse(self, given: Any, space: FeatureSpace, n: int) -> Iterator[ColumnRule | JointRule]:
        if not isinstance(given, Mapping):
            columns = positions(space.names_, given, self.parameter, "Rules")
            flags = [(j, np.ones(n, dtype=bool), True) for j in sorted(columns)]
        else:
            flags = [
                self._flag(name, flag, space, n)
                for name, flag in given.items()
                if flag is not False
            ]
        for j, rows, for_all in flags:
            self.check(space, j)
            yield self.rule(j, rows, for_all)

    def _flag(
        self, name: Any, flag: Any, space: FeatureSpace, n: int
    ) -> tuple[int, np.ndarray, bool]:
        """Column and rows of a flag, and whether it is one for all rows."""
        j = position(space.names_, name, self.parameter, "Rules")
        try:
            values = np.asarray(flag)
        except ValueError:  # lists of different lengths
            values = np.array(None)
        if values.dtype.kind == "O" and values.size and {type(v) for v in values.flat} <= {bool}:
            values = values.astype(bool)
        if np.ma.is_masked(flag) or values.dtype != bool or values.shape not in ((), (n,)):
            must = f"give one bool for a column, or one for each of the {n} rows"
            raise wrong(self.parameter, must, flag, name)
        return j, np.broadcast_to(values, (n,)), not values.shape

    def check(self, space: FeatureSpace, j: int) -> None:
        """Raise if the rule does not fit the kind of a column."""

    def describe(self, given: Any, space: FeatureSpace) -> Iterator[tuple[int, str]]:
        flags = given if isinstance(given, Mapping) else dict.fromkeys(given, True)
        for name, flag in flags.items():
            j, rows = position(space.names_, name, self.parameter, "Rules"), np.asarray(flag)
            where = f" (in {int(rows.sum())} of {len(rows)} rows)" if is_by_row(rows) else ""
            if rows.shape or rows:
                yield j, f"{subject(name)} {self.phrase}{where}"


class ImmutableKind(FlagKind):
    """`Rules(immutable=...)`."""

    parameter, phrase, rule = "immutable", "must not change", Immutable


class _OrderedKind(FlagKind):
    """A rule of numeric and ordinal columns."""

    def check(self, space: FeatureSpace, j: int) -> None:
        if space.kinds_[j] == "categorical":
            levels = np.asarray(space.levels_[j]).tolist()
            raise ValueError(
                f"The {self.parameter!r} parameter of Rules must name numeric or ordinal columns. "
                f"Got {space.names_[j]!r}, whose categories have no order; declare it as "
                f"FeatureSpace(ordinal={{{space.names_[j]!r}: [...]}}) with its levels "
                f"{levels[:6]} from lowest to highest."
            )


class IncreasingKind(_OrderedKind):
    """`Rules(increasing=...)`."""

    parameter, phrase, rule = "increasing", "may only increase", Increasing


class DecreasingKind(_OrderedKind):
    """`Rules(decreasing=...)`."""

    parameter, phrase, rule = "decreasing", "may only decrease", Decreasing


class FillableKind(FlagKind):
    """`Rules(fillable=...)`."""

    parameter, phrase, rule = "fillable", "may be filled in where it is missing", Fillable

    def check(self, space: FeatureSpace, j: int) -> None:
        if space.kinds_[j] == "categorical":
            raise ValueError(
                "The 'fillable' parameter of Rules must name numeric or ordinal columns. "
                f"Got {space.names_[j]!r}, which is categorical; use 'transitions' from None."
            )


def check_directions(rules: Iterable[ColumnRule], space: FeatureSpace) -> None:
    """Raise if a column must both increase and decrease in all rows."""
    fixed = [rule for rule in rules if isinstance(rule, Flag) and rule.for_all]
    up, down = (
        {rule.feature for rule in fixed if isinstance(rule, kind)}
        for kind in (Increasing, Decreasing)
    )
    if up & down:
        raise ValueError(
            "The 'increasing' and 'decreasing' parameters of Rules must not name the same "
            f"column. Got {space.names_[min(up & down)]!r} in both; use 'immutable' for no change."
        )
