"""Tables: read columns as numbers or levels, and write changed cells, of any container."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Family = Literal["float", "integer", "boolean", "levels"]


@dataclass(frozen=True, eq=False)
class Storage:
    """Storage of a column.

    Parameters
    ----------
    family : {"float", "integer", "boolean", "levels"}
        What the values are.
    text : str
        The dtype in words, for messages.
    low, high : float
        Limits of what the column can hold, as floats that cast back without overflow.
    bits : int
        Precision of floats: 16, 32 or 64.
    categories : ndarray or None
        Declared categories, in their order.
    ordered : bool
        Whether the categories are declared as ordered.
    """

    family: Family
    text: str
    low: float = -np.inf
    high: float = np.inf
    bits: int = 64
    categories: np.ndarray | None = None
    ordered: bool = False


@dataclass(frozen=True, eq=False)
class Edit:
    """New values of one column: ``values[i]`` goes to row ``rows[i]``; ``blank`` turn missing."""

    rows: np.ndarray
    values: np.ndarray
    blank: np.ndarray


class Table(ABC):
    """A data frame or array, seen column by column."""

    names: list[Hashable]
    n_rows: int
    labelled: bool  # False for an array, whose columns are known by position

    @abstractmethod
    def storage(self, j: int) -> Storage:
        """Return how column ``j`` is stored; ValueError if it is neither number nor level."""

    @abstractmethod
    def numbers(self, j: int) -> np.ndarray:
        """Column ``j`` as float64, missing values as NaN; raises ValueError for other content."""

    def matrix(self, columns: Sequence[int]) -> np.ndarray:
        """Some columns as `numbers` gives them, (n, k)."""
        out = np.empty((self.n_rows, len(columns)))
        for k, j in enumerate(columns):
            out[:, k] = self.numbers(j)
        return out

    @abstractmethod
    def factorize(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes (n,) into the distinct values (k,) of column ``j``; code -1 is a missing value."""

    @abstractmethod
    def missing_value(self, j: int) -> Any:
        """The object that marks a missing value in column ``j``."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> Table:
        """The rows at the given positions, in their order."""

    @abstractmethod
    def write(self, edits: Mapping[int, Edit]) -> Any:
        """A copy of the container with the edits of its columns; other cells are untouched."""


def whole_cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """``values`` as integers of ``dtype``, or None where a value would change by the cast."""
    info = np.iinfo(dtype)
    if values.dtype.kind == "O":
        try:
            values = np.asarray(values.tolist())
        except (ValueError, OverflowError):
            return None
    if values.dtype.kind not in "iufb" or values.size == 0:
        return values.astype(dtype) if values.size == 0 else None
    if values.dtype.kind == "f":
        # The float nearest to the top of int64 lies above it, hence the strict comparison.
        fits = (values >= float(info.min)) & (values < float(info.max) + 1.0)
        if not (fits & (values == np.rint(values))).all():
            return None
    elif values.min() < info.min or values.max() > info.max:
        return None
    return values.astype(dtype)


def float_storage(text: str, dtype: np.dtype) -> Storage:
    """The storage of a float column; double precision has no limits that matter."""
    bits = min(8 * dtype.itemsize, 64)
    top = float(np.finfo(dtype).max) if bits < 64 else np.inf
    return Storage("float", text, -top, top, bits=bits)


def integer_limits(dtype: np.dtype) -> tuple[float, float]:
    """The smallest and the largest float64 that cast to an integer dtype without overflow."""
    info = np.iinfo(dtype)
    low, high = float(info.min), float(info.max)
    return low, high if int(high) <= info.max else float(np.nextafter(high, 0.0))


def object_family(values: np.ndarray, name: Hashable) -> Family:
    """Return the family of a column of Python objects, by its values."""
    from pandas.api.types import infer_dtype

    found = infer_dtype(values, skipna=True)
    if found in ("integer", "floating", "mixed-integer-float"):
        return "float"
    if found == "boolean":
        return "boolean"
    if found in ("string", "bytes", "empty", "mixed", "mixed-integer"):
        return "levels"
    raise unsupported(name, found)


def object_numbers(values: np.ndarray, name: Hashable) -> np.ndarray:
    """A column of Python objects as float64, missing values as NaN."""
    import pandas as pd

    missing = np.asarray(pd.isna(values), dtype=bool)
    present = values[~missing]
    if present.size and object_family(present, name) not in ("float", "boolean"):
        words = [v for v in present if isinstance(v, (str, bytes))] or list(present[:1])
        raise not_numbers(name, type(words[0]).__name__, words[0])
    out = np.full(len(values), np.nan)
    out[~missing] = present.astype(np.float64)
    return out


def object_codes(values: Any, name: Hashable) -> tuple[np.ndarray, np.ndarray]:
    """Codes and distinct values of a column; missing values get -1."""
    import pandas as pd

    try:
        codes, distinct = pd.factorize(values)
    except TypeError as error:
        raise ValueError(f"Column {name!r} of X must hold hashable values. {error}.") from error
    return codes, np.asarray(distinct, dtype=object)


def python_numbers(values: np.ndarray, whole: bool) -> np.ndarray:
    """Float values as an object array of Python ints or floats."""
    out = np.empty(len(values), dtype=object)
    out[:] = [int(v) if whole and v == int(v) else v for v in values.tolist()]
    return out


def unsupported(name: Hashable, text: str) -> ValueError:
    """The error for a column that is neither numbers nor levels."""
    unknown = "Complex data not supported. " if text.startswith("complex") else ""
    return ValueError(
        f"{unknown}Column {name!r} of X must hold numbers, booleans, strings or categories. "
        f"Got {text} instead; convert it (for example a date to a number of days) or leave it out."
    )


def not_numbers(name: Hashable, text: str, example: object | None = None) -> ValueError:
    """The error for a numeric column that holds something else."""
    such = "" if example is None else f" values such as {example!r}"
    return ValueError(f"Column {name!r} of X must hold numbers. Got {text}{such} instead.")
