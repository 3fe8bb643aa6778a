"""Ranges: limits on a new number or level, or on its change."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scfe_sklearn.data import (
    FeatureSpace,
    as_stored,
    match_levels,
)
from scfe_sklearn.rules.atoms import Atom
from scfe_sklearn.rules.base import (
    TOLERANCE,
    BoundRule,
    Change,
    ColumnRule,
    JointRule,
    Kind,
    Options,
    RawRows,
)
from scfe_sklearn.rules.implications import always
from scfe_sklearn.rules.reading import (
    Labelled,
    find_column,
    is_by_row,
    level_text,
    limits_text,
    of_columns,
    pair_in_row_order,
    read_limits,
    subject,
    wrong,
)

_ROUNDING = 8 * np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Relative:
    """A range that moves with the factual value.

    Parameters
    ----------
    low, high : float, ndarray of shape (n,) or None
        ``factual + low <= new <= factual + high``; None: no limit. With ``factor=True`` the
        limits are on the ratio: ``factual * low <= new <= factual * high`` (the two ends
        change places for a negative value). For an ordinal column they count levels.
    factor : bool, default=False
        Whether the limits are factors.

    Examples
    --------
    >>> from scfe_sklearn.rules import Relative, Rules
    >>> rules = Rules(ranges={"income": Relative(0.9, 1.2, factor=True)})
    """

    low: Any = None
    high: Any = None
    factor: bool = False


@dataclass(frozen=True, eq=False)
class Range(ColumnRule):
    """Lower and upper limits (n,) of one column; infinite where there is none.

    Absolute limits of ordinal columns are positions in the declared order of the levels, and
    relative ones are numbers of ranks.
    """

    feature: int
    low: np.ndarray
    high: np.ndarray
    relative: bool = False
    factor: bool = False
    _by_row = ("low", "high")

    @property
    def about_values(self) -> bool:  # type: ignore[override]
        """Whether the limits are absolute."""
        return not self.relative

    def interval(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The interval (low, high) that a new value must lie in, by the factual values (n,)."""
        if not self.relative:
            return self.low, self.high
        if not self.factor:
            with np.errstate(invalid="ignore"):  # an infinite value has no neighbourhood
                return values + self.low, values + self.high
        # A factor limits new / factual, so the ends of a negative value change places.
        negative = values < 0
        first = np.where(negative, self.high, self.low)
        second = np.where(negative, self.low, self.high)
        with np.errstate(invalid="ignore"):
            low, high = values * first, values * second
        # An infinite factor is no limit, also of a value that is zero.
        return np.where(np.isinf(first), -np.inf, low), np.where(np.isinf(second), np.inf, high)

    def narrow(self, options: Options) -> None:
        feature = options.feature
        low, high = self.interval(options.values)
        if feature.kind == "ordinal" and not self.relative:
            # Positions among all declared levels become ranks among those that training showed.
            seen = match_levels(np.asarray(feature.declared), np.asarray(feature.levels))
            low = np.where(np.isfinite(low), np.searchsorted(seen, low, "left"), low)
            high = np.where(np.isfinite(high), np.searchsorted(seen, high, "right") - 1, high)
        elif feature.bits < 64:
            # A limit means the number that the column can hold: 0.3 is 0.3 in single precision.
            low, high = as_stored(low, feature.bits), as_stored(high, feature.bits)
        low, high = low.astype(np.float64), high.astype(np.float64)
        options.stated_low = np.fmax(options.stated_low, low)
        options.stated_high = np.fmin(options.stated_high, high)
        if self.relative:
            # Sums such as 0.1 + 0.2 miss the lattice point they mean by a rounding error.
            size = np.maximum(_size(low), _size(high))
            near = _ROUNDING * (_size(options.values) + size)[:, None]
            below = options.lattice.at_least(low[:, None], near)[:, 0]
            above = options.lattice.at_most(high[:, None], near)[:, 0]
            low = np.where(np.isfinite(low), below, low)
            high = np.where(np.isfinite(high), above, high)
        options.low, options.high = np.fmax(options.low, low), np.fmin(options.high, high)

    def breaks(self, change: Change) -> np.ndarray:
        before, after = change.seen_ranks() if self.relative else (change.before, change.after)
        low, high = (as_stored(end, change.bits) for end in self.interval(before))
        free = np.isneginf(self.low) & np.isposinf(self.high)
        free |= np.isnan(before) & self.relative
        return ~free & ~((after >= low - change.slack) & (after <= high + change.slack))

    def outside(self, rows: RawRows) -> np.ndarray | bool:
        if self.relative:
            return False
        feature, values = rows.space.features_[self.feature], rows.numbers(self.feature)
        near = TOLERANCE * (feature.scale if feature.levels is None else 1.0)
        low, high = (as_stored(end, rows.bits(self.feature)) for end in (self.low, self.high))
        return (values < low - near) | (values > high + near)

    def kept_within(self, rows: RawRows) -> BoundRule | None:
        if self.relative:
            return None
        return always(Atom(self.feature, self.low, self.high).bind(rows))


def _size(values: np.ndarray) -> np.ndarray:
    """Absolute values, 0 for what is not finite."""
    return np.where(np.isfinite(values), np.abs(values), 0.0)


class RangeKind(Kind):
    """`Rules(ranges=...)`."""

    parameter = "ranges"

    def in_row_order(self, given: Any, labelled: Labelled) -> Any:
        def pair(value: Any, parameter: str, name: Hashable) -> Any:
            if isinstance(value, Relative):
                low, high = (labelled(end, parameter, name) for end in (value.low, value.high))
                return replace(value, low=low, high=high)
            return pair_in_row_order(labelled, value, parameter, name)

        return of_columns(given, "ranges", pair)

    def parse(self, given: Any, space: FeatureSpace, n: int) -> Iterator[ColumnRule | JointRule]:
        if not isinstance(given, Mapping):
            raise wrong("ranges", "be a dict from columns to (low, high)", given)
        for name, limits in given.items():
            yield self._parse(name, limits, space, n)

    def _parse(self, name: Hashable, limits: Any, space: FeatureSpace, n: int) -> Range:
        j = find_column(space, name, "ranges")
        if space.kinds_[j] == "categorical":
            raise ValueError(
                "The 'ranges' parameter of Rules must name numeric or ordinal columns. "
                f"Got {name!r}, which is categorical; use 'transitions'."
            )
        relative = isinstance(limits, Relative)
        factor = relative and bool(limits.factor)
        if factor and space.kinds_[j] == "ordinal":
            raise ValueError(
                "The 'ranges' parameter of Rules must not give a factor for an ordinal column. "
                f"Got one for {name!r}; a relative range of it counts levels."
            )
        if not relative and not (isinstance(limits, (tuple, list)) and len(limits) == 2):
            raise wrong("ranges", "give (low, high) or Relative(low, high)", limits, name)
        ends = (limits.low, limits.high) if relative else tuple(limits)
        ranks = space.kinds_[j] == "ordinal" and not relative
        low, high = read_limits(ends, j, space, n, "ranges", ranks)
        if not any(map(is_by_row, ends)) and n and low[0] > high[0]:
            raise wrong("ranges", "have low <= high", ends, name)
        return Range(j, low, high, relative, factor)

    def describe(self, given: Any, space: FeatureSpace) -> Iterator[tuple[int, str]]:
        for name, limits in given.items():
            j = find_column(space, name, "ranges")
            yield j, f"{subject(name)} {_sentence(limits)}"

    def may_be_broken(self, given: Any) -> bool:
        return any(not isinstance(limits, Relative) for limits in given.values())


def _sentence(limits: Any) -> str:
    if not isinstance(limits, Relative):
        text = limits_text(limits[0], limits[1], level_text)
        verb = "must stay" if any(map(is_by_row, limits)) else "must be"
        return f"{verb} {text}" if text else "has no limits"
    if is_by_row(limits.low) or is_by_row(limits.high):
        return "must change within limits given row by row"
    verb, unit = ("may become", " times its value") if limits.factor else ("may change by", "")
    low, high = (
        None if end is None else level_text(end) if limits.factor else f"{float(end):+.15g}"
        for end in (limits.low, limits.high)
    )
    if low is not None and high is not None:
        return f"{verb} {low} to {high}{unit}"
    if low is not None:
        return f"{verb} {low}{unit} or more"
    return "has no limits" if high is None else f"{verb} {high}{unit} at most"
