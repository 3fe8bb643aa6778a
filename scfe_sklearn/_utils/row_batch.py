"""Batches of rows: records whose fields hold one value for every row."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, ClassVar, Self


def taken(value: Any, rows: Any) -> Any:
    """Return some rows of an array, of a batch, or of each in a tuple; None stays None.

    Examples
    --------
    >>> import numpy as np
    >>> taken((np.array([5, 6, 7]), None), np.array([2, 0]))
    (array([7, 5]), None)
    """
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(taken(one, rows) for one in value)
    return value[rows] if hasattr(value, "dtype") else value.take(rows)


class RowBatch:
    """Mixin of dataclasses: `take` returns some rows of the fields that `_by_row` names, or of all.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> @dataclass
    ... class Interval(RowBatch):
    ...     low: np.ndarray
    ...     unit: float
    ...     _by_row = ("low",)
    >>> Interval(np.array([5, 6, 7]), 2.0).take(np.array([2, 0]))
    Interval(low=array([7, 5]), unit=2.0)
    """

    _by_row: ClassVar[tuple[str, ...] | None] = None

    def take(self, rows: Any) -> Self:
        """Return the rows at some positions, in their order."""
        names = self._by_row
        if names is None:
            names = tuple(field.name for field in fields(self))  # type: ignore[arg-type]
        changed = {name: taken(getattr(self, name), rows) for name in names}
        return replace(self, **changed)  # type: ignore[type-var]
