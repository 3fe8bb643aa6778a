"""Transitions: the levels that a level may become."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scfe_sklearn.data import (
    MISSING,
    FeatureSpace,
    is_listing,
    own_levels,
    plain_level,
)
from scfe_sklearn.rules.atoms import BoundAtom
from scfe_sklearn.rules.base import BoundRule, Change, ColumnRule, JointRule, Kind, Options, RawRows
from scfe_sklearn.rules.implications import always
from scfe_sklearn.rules.reading import find_column, level_set, level_text, subject, wrong

Targets = frozenset[Hashable]


@dataclass(frozen=True, eq=False)
class Transition(ColumnRule):
    """Allowed new levels of one column, for some rows.

    ``by_level`` maps a level to the levels that it may become; levels that it does not name
    may become any. ``anywhere`` is a set for every level instead.
    """

    feature: int
    rows: np.ndarray
    by_level: Mapping[Hashable, Targets] = field(default_factory=dict)
    anywhere: Targets | None = None

    @property
    def about_values(self) -> bool:  # type: ignore[override]
        """Whether the rule lists the levels that a row may have."""
        return self.anywhere is not None

    def take(self, rows: np.ndarray) -> Transition:
        """The rule for some rows, given by distinct positions, in their order."""
        return replace(self, rows=np.flatnonzero(np.isin(rows, self.rows)))

    def targets(self, level: Hashable) -> Targets | None:
        """Return the levels that a level may become; None for all."""
        return self.anywhere if self.anywhere is not None else self.by_level.get(level)

    def narrow(self, options: Options) -> None:
        feature = options.feature
        objects = np.asarray(feature.levels).astype(object)
        if feature.missing_level >= 0:
            objects[feature.missing_level] = MISSING
        permitted = np.ones((len(objects) + 1, len(objects)), dtype=bool)  # last: unseen level
        offered = np.zeros_like(permitted)
        for code in range(len(objects) + 1):
            targets = self.targets(objects[code] if code < len(objects) else object())
            if targets is not None:
                permitted[code] = offered[code] = [level in targets for level in objects]
        codes = options.codes[self.rows]
        options.has_transitions = True
        options.permitted[self.rows] &= permitted[codes]
        options.offered[self.rows] |= offered[codes]

    def breaks(self, change: Change) -> np.ndarray:
        (before, old), (after, new) = change.old, change.new
        forbidden = np.zeros((len(old), len(new)), dtype=bool)
        for i, level in enumerate(old):
            targets = self.targets(level)
            if targets is not None:
                forbidden[i] = [other not in targets for other in new]
        broken = np.zeros(len(before), dtype=bool)
        broken[self.rows] = forbidden[before[self.rows], after[self.rows]]
        return broken

    def permits_filling(self, change: Change) -> np.ndarray | bool:
        """Rows in which the rule names what a missing level may become; not of ranks."""
        if change.feature.kind != "categorical" or self.targets(MISSING) is None:
            return False
        rows = np.zeros(len(change.old[0]), dtype=bool)
        rows[self.rows] = True
        return rows

    def outside(self, rows: RawRows) -> np.ndarray | bool:
        if self.anywhere is None:
            return False
        codes, levels = rows.coded(self.feature)
        forbidden = np.array([v is not MISSING and v not in self.anywhere for v in levels])
        outside = np.zeros(len(rows), dtype=bool)
        outside[self.rows] = forbidden[codes[self.rows]]
        return outside

    def kept_within(self, rows: RawRows) -> BoundRule | None:
        if self.anywhere is None:
            return None
        levels = own_levels(rows.space.features_[self.feature])
        member = np.ones((len(rows), len(levels)), dtype=bool)
        member[self.rows] = [v is MISSING or v in self.anywhere for v in levels]
        return always(BoundAtom.of_levels(rows.space, self.feature, member))


class TransitionKind(Kind):
    """`Rules(transitions=...)`."""

    parameter = "transitions"

    def parse(self, given: Any, space: FeatureSpace, n: int) -> Iterator[ColumnRule | JointRule]:
        if not isinstance(given, Mapping):
            raise wrong("transitions", "be a dict from columns to {level: [allowed levels]}", given)
        for name, moves in given.items():
            j = find_column(space, name, "transitions")
            if space.levels_[j] is None:
                raise ValueError(
                    "The 'transitions' parameter of Rules must name categorical or ordinal "
                    f"columns. Got {name!r}, which is {space.kinds_[j]}; use 'ranges'."
                )
            if isinstance(moves, Mapping):
                yield Transition(j, np.arange(n), _by_level(moves, j, space))
            elif is_listing(moves):
                yield from _by_row(list(moves), j, space, n)
            else:
                raise _no_levels(name, moves)

    def describe(self, given: Any, space: FeatureSpace) -> Iterator[tuple[int, str]]:
        for name, moves in given.items():
            j = find_column(space, name, "transitions")
            if not isinstance(moves, Mapping):
                yield j, f"{subject(name)} may change to levels given row by row"
                continue
            for level, allowed in moves.items():
                goals = [level_text(v) for v in allowed if plain_level(v) != plain_level(level)]
                verb, start = "may" if goals else "may not", level_text(level)
                only = f" only to {' or '.join(goals)}" if goals else ""
                yield j, f"{subject(name)} {verb} change from {start}{only}"

    def may_be_broken(self, given: Any) -> bool:
        return any(not isinstance(moves, Mapping) for moves in given.values())


def _by_row(items: list[Any], j: int, space: FeatureSpace, n: int) -> Iterator[Transition]:
    """Rows with the same rule together, so that the work is by rule and not by row."""
    name = space.names_[j]
    if len(items) != n:
        raise ValueError(
            "The 'transitions' parameter of Rules must give {level: [allowed levels]}, or a "
            f"list with one item for each of the {n} rows. Got {len(items)} items for {name!r}."
        )
    together: dict[Any, list[int]] = {}
    for i, item in enumerate(items):
        if item is None:
            continue
        is_map = isinstance(item, Mapping)
        if not is_listing(item) or (is_map and not all(map(is_listing, item.values()))):
            raise _no_levels(name, item)
        key = tuple((k, tuple(v)) for k, v in item.items()) if is_map else tuple(item)
        try:
            together.setdefault((is_map, key), []).append(i)
        except TypeError:
            must = f"name levels of {name!r}, which are single values"
            raise wrong("transitions", must, item) from None
    for (is_map, _), rows in together.items():
        item = items[rows[0]]
        if is_map:
            yield Transition(j, np.array(rows), _by_level(item, j, space))
        else:
            yield Transition(j, np.array(rows), anywhere=level_set(item, j, space, "transitions"))


def _by_level(given: Mapping, j: int, space: FeatureSpace) -> dict[Hashable, Targets]:
    """The levels that each level may become."""
    for allowed in given.values():
        if not is_listing(allowed):
            raise _no_levels(space.names_[j], allowed)
    level_set(given, j, space, "transitions")
    targets = [level_set(allowed, j, space, "transitions") for allowed in given.values()]
    return dict(zip(map(plain_level, given), targets, strict=True))


def _no_levels(name: Hashable, given: Any) -> ValueError:
    must = (
        "give {level: [allowed levels]}, or a list of such dicts or of lists of allowed levels "
        "with one item for each row"
    )
    return wrong("transitions", must, given, name)
