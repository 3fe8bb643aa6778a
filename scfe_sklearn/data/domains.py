"""Values that features may take: lattices of numbers, and levels of categories."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from scfe_sklearn._utils import RowBatch, invalid
from scfe_sklearn.data.table import Table

MAX_DECIMALS = 4  # most decimals of a float column that is read as stepped
NO_ROUNDING = -999
_MAX_WHOLE = 1e15  # beyond it, arithmetic of doubles confuses whole numbers


_COARSE: dict[int, type[np.floating]] = {16: np.float16, 32: np.float32}


def as_stored(values: np.ndarray, bits: int) -> np.ndarray:
    """Round float64 values to a column of 16, 32 or 64 bits, as float64."""
    if bits not in _COARSE:
        return values
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(_COARSE[bits]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Lattice(RowBatch):
    """The representable values of ``k`` numeric coordinates, in raw units (ranks if ordinal).

    A coordinate with a step takes the values ``offset + i * step``; one without takes every
    value of ``decimals`` decimals, about a thousand times finer than any change worth naming
    and coarse enough for ``center + scale * z`` to come back to the same number.

    Parameters
    ----------
    step : ndarray of shape (k,)
        Distance of neighbouring values; 0 for continuous coordinates.
    offset : ndarray of shape (k,)
        One point of the lattice.
    decimals : ndarray of shape (k,), int
        Decimals to which values are rounded; `NO_ROUNDING` for none.
    low, high : ndarray of shape (k,)
        Limits of the storage.
    bits : ndarray of shape (k,), int
        Precision of the storage: 16, 32 or 64.

    Examples
    --------
    >>> import numpy as np
    >>> from scfe_sklearn.data.domains import Lattice
    >>> lattice = Lattice(*(np.array([v]) for v in (0.1, 0.0, 1, -9.0, 9.0, 64)))
    >>> print(lattice.nearest(np.array([[0.1 + 0.2], [12.0]])).ravel())
    [0.3 9. ]
    """

    step: np.ndarray
    offset: np.ndarray
    decimals: np.ndarray
    low: np.ndarray
    high: np.ndarray
    bits: np.ndarray

    _by_row = ("step", "offset", "decimals", "low", "high", "bits")

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """The representable values nearest to ``values`` (n, k)."""
        out = np.array(values, dtype=np.float64)
        stepped = self.step > 0
        if stepped.any():
            step, offset = self.step[stepped], self.offset[stepped]
            out[:, stepped] = offset + np.rint((out[:, stepped] - offset) / step) * step
        for places in np.unique(self.decimals):
            if places != NO_ROUNDING:
                same = self.decimals == places
                out[:, same] = np.round(out[:, same], int(places))
        np.clip(out, self.low, self.high, out=out)
        for bits in (16, 32):
            coarse = self.bits == bits
            if coarse.any():
                out[:, coarse] = as_stored(out[:, coarse], bits)
        return out + 0.0  # no negative zeros

    def at_least(self, values: np.ndarray, slack: np.ndarray | float = 0.0) -> np.ndarray:
        """The smallest representable values that are no more than ``slack`` below ``values``."""
        return 0.0 - self._mirrored().at_most(-np.asarray(values, dtype=np.float64), slack)

    def at_most(self, values: np.ndarray, slack: np.ndarray | float = 0.0) -> np.ndarray:
        """The largest representable values no more than ``slack`` above ``values``, or -inf."""
        values = np.asarray(values, dtype=np.float64)
        top = values + slack
        out = self.nearest(values)
        for _ in range(2):
            above = out > top
            if above.any():
                out = np.where(above, self._below(out), out)
        return np.where(out > top, -np.inf, out)

    def _below(self, values: np.ndarray) -> np.ndarray:
        """The representable neighbours below representable values."""
        grid = np.where(self.step > 0, self.step, 0.0)
        fine = (self.step <= 0) & (self.decimals != NO_ROUNDING)
        grid[fine] = 10.0 ** -self.decimals[fine].astype(np.float64)
        free = np.nextafter(values, -np.inf)
        for bits, kind in _COARSE.items():
            below = np.nextafter(as_stored(values, bits).astype(kind), kind(-np.inf))
            free = np.where(self.bits == bits, below.astype(np.float64), free)
        return np.where(grid > 0, self.nearest(values - grid), free)

    def _mirrored(self) -> Lattice:
        return Lattice(self.step, -self.offset, self.decimals, -self.high, -self.low, self.bits)


def decimals_of(*numbers: float) -> int:
    """Decimals that write all the numbers exactly as they print, or `NO_ROUNDING` beyond 12."""
    most = 0
    for number in numbers:
        exponent = Decimal(repr(float(number))).normalize().as_tuple().exponent
        most = max(most, -int(exponent))
    return most if most <= 12 else NO_ROUNDING


def fine_decimals(scale: float, largest: float) -> int:
    """Decimals of a continuous coordinate: 12 digits of its spread, within double precision."""
    grid = max(1e-12 * scale, 4e-15 * largest)
    if not np.isfinite(grid) or grid <= 1e-290:
        return NO_ROUNDING
    return int(np.floor(-np.log10(grid)))


def whole_step(values: np.ndarray) -> float:
    """The step of a column of integers: 1, or coarser where doubles cannot follow."""
    largest = float(np.abs(values).max())
    return 1.0 if largest < _MAX_WHOLE else float(10.0 ** np.ceil(np.log10(4e-15 * largest)))


def infer_step(values: np.ndarray, bits: int = 64) -> float:
    """The step that training values show: 1, a power of ten down to 1e-4, or 0 for none.

    Parameters
    ----------
    values : ndarray
        Finite training values.
    bits : int
        Precision of the column that they come from.

    Returns
    -------
    float
        1.0 if all are whole, else ``10**-k`` for the smallest ``k <= 4`` that writes all of
        them, else 0.0.

    Examples
    --------
    >>> import numpy as np
    >>> from scfe_sklearn.data.domains import infer_step
    >>> infer_step(np.array([1.0, 7.0])), infer_step(np.array([0.25, 0.5]))
    (1.0, 0.01)
    """
    if np.abs(values).max() >= _MAX_WHOLE:
        return 0.0
    for places in range(MAX_DECIMALS + 1):
        rounded = np.round(values, places)
        same = as_stored(rounded, bits) == values
        if same.all():
            return float(10.0**-places) if places else 1.0
    return 0.0


def infer_offset(values: np.ndarray, step: float) -> float:
    """The offset of a lattice of the given step on which all values lie, or 0."""
    start = float(values.min())
    for offset in (0.0, start - np.floor(start / step) * step):
        i = (values - offset) / step
        if (np.abs(i - np.rint(i)) <= 1e-9 * np.maximum(1.0, np.abs(i))).all():
            places = decimals_of(step)
            return float(offset if places == NO_ROUNDING else np.round(offset, places + 3))
    return 0.0


# ---------------------------------------------------------------------------------------- levels


VERTEX = 1.0 / np.sqrt(2.0)  # so that a changed category adds 1 to the squared distance
MISSING = None  # how a missing level is written in rules


def match_levels(levels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each value its place among the levels, -1 where it is none of them."""
    import pandas as pd

    asked = values.tolist()
    if all(type(value) is str for value in asked):  # a fraction of the time, for few of them
        places = {level: place for place, level in enumerate(levels.tolist())}
        return np.array([places.get(value, -1) for value in asked], dtype=np.intp)
    known = pd.Index(levels.astype(object), dtype=object)
    return np.asarray(known.get_indexer(pd.Index(values.astype(object), dtype=object)))


def level_codes(table: Table, j: int, levels: np.ndarray, missing_level: int) -> np.ndarray:
    """The level of every row as a position in ``levels``, -1 where it is none of them.

    ``missing_level`` is the position of the missing value, the last one, or -1.
    """
    codes, distinct = table.factorize(j)
    present = levels[:missing_level] if missing_level >= 0 else levels
    # Code -1 is a missing value, and picks the last place.
    place = np.append(match_levels(present, distinct), missing_level)
    return place[codes]


def vertices(block: np.ndarray) -> np.ndarray:
    """The nearest vertex of the scaled simplex; NaN rows stay NaN."""
    out = np.zeros_like(block)
    out[np.arange(len(block)), block.argmax(axis=1)] = VERTEX
    out[np.isnan(block).any(axis=1)] = np.nan
    return out


def level_array(listed: list[Any], missing: list[Any]) -> np.ndarray:
    """Levels as an array: numbers or booleans where all are, objects otherwise."""
    if all(isinstance(v, (bool, np.bool_)) for v in listed) and not missing:
        return np.array(listed, dtype=bool)
    if all(
        isinstance(v, (int, float, np.number)) and not isinstance(v, (bool, np.bool_))
        for v in listed
    ):
        numbers = np.array(listed)
        if numbers.dtype.kind in "iuf":
            if not missing:
                return numbers
            if isinstance(missing[0], float):
                return np.append(numbers.astype(np.float64), np.nan)
    out = np.empty(len(listed) + len(missing), dtype=object)
    out[:] = listed + missing
    return out


def sorted_levels(listed: list[Any]) -> list[Any]:
    """Levels in their natural order; of mixed types by type and text."""
    try:
        return sorted(listed)
    except TypeError:
        return sorted(listed, key=lambda v: (type(v).__name__, str(v)))


def plain_level(value: Any) -> Hashable:
    """A level as a dictionary key; None for whatever means missing."""
    if value is None:
        return MISSING
    try:
        return MISSING if bool(value != value) else value
    except (TypeError, ValueError):  # pandas.NA is neither equal nor unequal
        return MISSING


def is_listing(value: Any) -> bool:
    """Whether a value is a collection, and no text that happens to be iterable."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes))


def position(names: Sequence[Hashable], name: Hashable, parameter: str, owner: str) -> int:
    """Return the position of a column that a parameter names; ValueError if there is none."""
    try:
        return list(names).index(name)
    except (ValueError, TypeError):  # pandas.NA is neither equal nor unequal
        more = " and more" if len(names) > 20 else ""
        must = f"name columns of X, which are {list(names[:20])}{more}"
        raise invalid(parameter, owner, must, name) from None


def positions(
    names: Sequence[Hashable], wanted: Any, parameter: str, owner: str = "FeatureSpace"
) -> frozenset[int]:
    """The positions of a list of columns (None: no columns)."""
    if wanted is None:
        return frozenset()
    if not is_listing(wanted):
        raise invalid(parameter, owner, "be a list of columns", wanted)
    return frozenset(position(names, name, parameter, owner) for name in wanted)


def coded(table: Table, at: int) -> tuple[np.ndarray, list[Hashable]]:
    """Codes and the levels that occur, missing last (whether or not it occurs)."""
    codes, distinct = table.factorize(at)
    used = np.unique(codes[codes >= 0])
    place = np.full(len(distinct) + 1, len(used))
    place[used] = np.arange(len(used))
    return place[codes], [*(plain_level(v) for v in distinct[used]), None]


def ranks(order: np.ndarray, levels: Sequence[Hashable]) -> np.ndarray:
    """The place of each level in an order, NaN where it has none."""
    objects = np.empty(len(levels), dtype=object)
    objects[:] = levels
    place = match_levels(order, objects).astype(np.float64)
    place[place < 0] = np.nan
    return place


def is_number(value: Any) -> bool:
    """Whether a level is a number or a boolean."""
    return isinstance(value, (bool, int, float, np.number, np.bool_))
