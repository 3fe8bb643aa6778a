"""Batches of rows: records whose fields hold one value for every row."""

from __future__ import annotations

from dataclasses import replace
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
    """Mixin of dataclasses: `take` returns some rows of the fields that `_by_row` names."""

    _by_row: ClassVar[tuple[str, ...]] = ()

    def take(self, rows: Any) -> Self:
        """Return the rows at some positions, in their order."""
        fields = {name: taken(getattr(self, name), rows) for name in self._by_row}
        return replace(self, **fields)  # type: ignore[type-var]
