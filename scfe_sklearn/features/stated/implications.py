"""Implications between columns: if these values, then those, laid out row by row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.kinds import (
    MISSING,
    as_stored,
    is_listing,
    match_levels,
    plain_level,
    position,
)
from scfe_sklearn.features.stated.raw_values import (
    coded,
    is_number,
    raw_numbers,
    refuse_held,
    rounding,
)
from scfe_sklearn.row_values import numbers

if TYPE_CHECKING:
    from scfe_sklearn.features.frames import Table
    from scfe_sklearn.features.kinds import Feature
    from scfe_sklearn.features.space import FeatureSpace
    from scfe_sklearn.features.stated.parts import Part

TOLERANCE = 1e-9  # in training standard deviations


@dataclass(frozen=True, eq=False)
class Atom:
    """Condition on the values of one column: in an interval, or among some levels.

    Parameters
    ----------
    feature : int
        Position of the column.
    low, high : ndarray of shape (n,)
        Ends of the interval, infinite where there is none; of an ordinal column as positions
        among its declared levels. Not used where there are levels.
    levels : frozenset or None
        The levels, None among them for a missing value.
    """

    feature: int
    low: np.ndarray
    high: np.ndarray
    levels: frozenset[Hashable] | None = None

    def take(self, rows: np.ndarray) -> Atom:
        """The atom of some rows."""
        return replace(self, low=self.low[rows], high=self.high[rows])

    def ends(self, bits: int) -> tuple[np.ndarray, np.ndarray]:
        """The interval as a column of the given precision holds it."""
        return as_stored(self.low, bits), as_stored(self.high, bits)


@dataclass(frozen=True, eq=False)
class Implication:
    """Implication: if every atom of the condition holds, so does every atom of the consequence."""

    condition: tuple[Atom, ...]
    consequence: tuple[Atom, ...]

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """All atoms."""
        return self.condition + self.consequence

    def take(self, rows: np.ndarray) -> Implication:
        """The implication of some rows."""
        return Implication(
            tuple(atom.take(rows) for atom in self.condition),
            tuple(atom.take(rows) for atom in self.consequence),
        )


def margin_tolerance(feature: Feature) -> float:
    """Tolerance of a value at the ends of an interval."""
    noise = rounding(feature) if feature.levels is None else 0.0
    return TOLERANCE * (feature.scale if feature.levels is None else 1.0) + noise


def holds(
    atom: Atom, space: FeatureSpace, table: Table, at: int, bits: int, unknown: bool
) -> np.ndarray:
    """Whether an atom holds (n,) for column ``at`` of a table.

    Parameters
    ----------
    atom : Atom
        The atom.
    space : FeatureSpace
        The fitted space.
    table : Table
        The rows.
    at : int
        Where the column stands in the table.
    bits : int
        Precision of the column.
    unknown : bool
        Result for a missing number or rank.
    """
    feature = space.features_[atom.feature]
    if atom.levels is not None:
        codes, levels = coded(table, at)
        inside = np.array([level in atom.levels for level in levels], dtype=bool)[codes]
        if feature.kind == "ordinal" and MISSING not in atom.levels:
            inside = np.where(codes == len(levels) - 1, unknown, inside)
        return inside
    values = raw_numbers(space, table, at, atom.feature)
    low, high = atom.ends(bits) if feature.levels is None else (atom.low, atom.high)
    near = margin_tolerance(feature)
    inside = (values >= low - near) & (values <= high + near)
    return np.where(np.isnan(values), unknown, inside)


def parse_implications(part: Part, space: FeatureSpace, n: int) -> list[Implication]:
    """Check the implications of rules, for ``n`` rows."""
    given: Any = part.implications
    if isinstance(given, Mapping) or not is_listing(given):
        raise ValueError(_message(given))
    out = []
    for item in given:
        pair = isinstance(item, (tuple, list)) and len(item) == 2
        if not pair or not all(isinstance(side, Mapping) and side for side in item):
            raise ValueError(_message(item))
        condition, consequence = (
            tuple(_atom(name, wanted, space, n) for name, wanted in side.items()) for side in item
        )
        out.append(Implication(condition, consequence))
    return out


def _message(given: Any) -> str:
    return (
        "The 'implications' parameter of Rules must be a list of pairs (condition, consequence) "
        "of dicts such as ({'job': 'student'}, {'income': (None, 30000)}). "
        f"Got {given!r} instead."
    )


def _atom(name: Hashable, wanted: Any, space: FeatureSpace, n: int) -> Atom:
    j = position(space.names_, name, "implications", "Rules")
    kind = space.kinds_[j]
    refuse_held(space, j, "implications")
    free = np.full(n, -np.inf), np.full(n, np.inf)
    if kind == "categorical" or (kind == "ordinal" and not isinstance(wanted, tuple)):
        return Atom(j, *free, _levels(j, name, wanted, space))
    if isinstance(wanted, (Mapping, set, frozenset)):
        raise _wrong(name, wanted, "a number or a pair (low, high)")
    if not isinstance(wanted, (tuple, list)):
        if not is_number(wanted):
            raise _wrong(name, wanted, "a number or a pair (low, high)")
        wanted = (wanted, wanted)
    if len(wanted) != 2:
        raise _wrong(name, wanted, "a number or a pair (low, high)")
    if kind == "ordinal":
        low, high = (_place(end, j, name, space) for end in wanted)
        ends = [
            np.full(n, absent if end is None else end)
            for end, absent in ((low, -np.inf), (high, np.inf))
        ]
    else:
        ends = [_end(end, name, n, absent) for end, absent in zip(wanted, (-np.inf, np.inf))]  # noqa: B905
    if (ends[0] > ends[1]).any():
        raise _wrong(name, wanted, "low <= high")
    return Atom(j, ends[0], ends[1])


def _levels(j: int, name: Hashable, wanted: Any, space: FeatureSpace) -> frozenset[Hashable]:
    if isinstance(wanted, Mapping):
        raise _wrong(name, wanted, "a level or a set of levels")
    try:
        levels = frozenset(plain_level(v) for v in (wanted if is_listing(wanted) else [wanted]))
    except TypeError:
        raise _wrong(name, wanted, "a level or a set of levels") from None
    if not levels:
        raise _wrong(name, wanted, "at least one level")
    listed = [level for level in levels if level is not MISSING]
    _positions(listed, j, name, space)
    return levels


def _positions(listed: list[Any], j: int, name: Hashable, space: FeatureSpace) -> np.ndarray:
    """Positions among the declared levels."""
    objects = np.empty(len(listed), dtype=object)
    objects[:] = listed
    declared = np.asarray(space.features_[j].declared)
    try:
        place = match_levels(declared, objects)
    except TypeError:
        raise _wrong(name, listed, "levels, which are single values,") from None
    if (place < 0).any():
        raise ValueError(
            f"The 'implications' parameter of Rules must use levels of {name!r}, which are "
            f"{declared.tolist()}. Got {objects[place < 0][0]!r} instead."
        )
    return place


def _place(level: Any, j: int, name: Hashable, space: FeatureSpace) -> float | None:
    level = plain_level(level)
    return None if level is MISSING else float(_positions([level], j, name, space)[0])


def _end(value: Any, name: Hashable, n: int, absent: float) -> np.ndarray:
    """One end of an interval for each row (NaN in an array: none)."""
    if value is None:
        return np.full(n, absent)
    values = numbers(value)
    if (
        values is None
        or values.shape not in ((), (n,))
        or (values.shape == () and np.isnan(values))
    ):
        raise _wrong(name, value, f"numbers, None, or one number for each of the {n} rows")
    return np.broadcast_to(np.where(np.isnan(values), absent, values), (n,))


def _wrong(name: Hashable, given: Any, wanted: str) -> ValueError:
    return ValueError(
        f"The 'implications' parameter of Rules must have {wanted} for {name!r}. "
        f"Got {given!r} instead."
    )
