"""A table that remembers what was read of it: every column is taken apart once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scfe_sklearn.features.frames.table import Edit, Storage, Table, open_table


class KeptTable(Table):
    """A view of a table that is read more than once and does not change meanwhile.

    Rows that are taken of it know what was read of the whole already.

    Parameters
    ----------
    table : Table
        The view itself.
    whole : KeptTable or None
        The table that these are rows of, if any.
    rows : ndarray of shape (n,), int, or None
        Their positions in the whole.

    Examples
    --------
    >>> import numpy as np
    >>> table = keep(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> table.take(np.array([1])).numbers(0), keep(table) is table
    (array([3.]), True)
    """

    def __init__(
        self, table: Table, whole: KeptTable | None = None, rows: np.ndarray | None = None
    ) -> None:
        self._table, self._whole, self._rows = table, whole, rows
        self.names, self.n_rows, self.labelled = table.names, table.n_rows, table.labelled
        self._storage: dict[int, Storage] = {}
        self._numbers: dict[int, np.ndarray] = {}
        self._codes: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._matrices: dict[tuple[int, ...], np.ndarray] = {}

    def storage(self, j: int) -> Storage:
        if j not in self._storage:
            self._storage[j] = self._table.storage(j)
        return self._storage[j]

    def matrix(self, columns: Sequence[int]) -> np.ndarray:
        key = tuple(columns)
        if key not in self._matrices:
            self._matrices[key] = _fixed(
                self._table.matrix(columns)
                if self._whole is None
                else self._whole.matrix(columns)[self._rows]
            )
        return self._matrices[key]

    def numbers(self, j: int) -> np.ndarray:
        if j not in self._numbers:
            self._numbers[j] = _fixed(
                self._table.numbers(j)
                if self._whole is None
                else self._whole.numbers(j)[self._rows]
            )
        return self._numbers[j]

    def factorize(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        if j not in self._codes:
            if self._whole is None:
                codes, distinct = self._table.factorize(j)
            else:
                codes, distinct = self._whole.factorize(j)
                codes = codes[self._rows]
            self._codes[j] = _fixed(codes), distinct
        return self._codes[j]

    def missing_value(self, j: int) -> Any:
        return self._table.missing_value(j)

    def take(self, rows: np.ndarray) -> KeptTable:
        if np.array_equal(rows, np.arange(self.n_rows)):
            return self
        return KeptTable(self._table.take(rows), self, rows)

    def write(self, edits: Mapping[int, Edit]) -> Any:
        return self._table.write(edits)


def keep(X: Any) -> KeptTable:
    """Open a container, or a view of one, for being read more than once."""
    table = open_table(X)
    return table if isinstance(table, KeptTable) else KeptTable(table)


def _fixed(values: np.ndarray) -> np.ndarray:
    """Values that several readers share, so that none may write to them."""
    values = np.asarray(values).view()
    values.flags.writeable = False
    return values
