"""Dependencies between derived columns, found by changing them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from scfe_sklearn.features.frames import Edit, Table
from scfe_sklearn.features.kinds import plain_level, position

ROWS = 256
"""Rows in which columns are changed."""

_LEVELS = 3  # levels that are written into a whole column


def ordered(
    functions: Mapping[Hashable, Callable[[Any], Any]], table: Table, named: tuple[str, str]
) -> list[Hashable]:
    """Return derived columns in an order in which each comes after those that it depends on.

    Parameters
    ----------
    functions : dict
        ``{column: function of rows}``.
    table : Table
        Rows with all columns.
    named : (str, str)
        Parameter and owner in messages.

    Raises
    ------
    ValueError
        If a function depends on its own column, or some depend on each other in a circle.
    """
    table = table.take(np.arange(min(table.n_rows, ROWS)))
    waits = _dependencies(functions, table, named)
    order: list[Hashable] = []
    while waits:
        free = [name for name, needed in waits.items() if needed.isdisjoint(waits)]
        if not free:
            raise ValueError(_circle(waits, named))
        order.append(free[0])
        del waits[free[0]]
    return order


def _dependencies(
    functions: Mapping[Hashable, Callable[[Any], Any]], table: Table, named: tuple[str, str]
) -> dict[Hashable, set[Hashable]]:
    """Return for every derived column the derived columns that its function depends on."""
    found: dict[Hashable, set[Hashable]] = {name: set() for name in functions}
    expected = {name: np.asarray(f(table.write({}))) for name, f in functions.items()}
    for other in functions:
        j = position(table.names, other, *named)
        for edit in _edits(table, j):
            for name, function in functions.items():
                if other in found[name]:
                    continue
                if not _agrees(function, table.write({j: edit}), expected[name]):
                    found[name].add(other)
    for name, needed in found.items():
        if name in needed:
            raise ValueError(
                f"The {named[0]!r} parameter of {named[1]} must compute a column from others. "
                f"Got a function of {name!r} that depends on {name!r} itself."
            )
    return found


def _agrees(function: Callable[[Any], Any], X: Any, expected: np.ndarray) -> bool:
    """Return whether a function gives the expected values for changed rows."""
    try:
        values = np.asarray(function(X))
    except Exception:  # it cannot read the changed column, so it reads it
        return False
    if values.shape != expected.shape:
        return False
    if values.dtype.kind == expected.dtype.kind == "f":
        return bool(np.array_equal(values, expected, equal_nan=True))
    pairs = zip(values.ravel().tolist(), expected.ravel().tolist(), strict=True)
    return all(plain_level(one) == plain_level(other) for one, other in pairs)


def _edits(table: Table, j: int) -> Iterator[Edit]:
    """Yield changes of a column: other values that it has or could have."""
    n, storage = table.n_rows, table.storage(j)
    every, none = np.arange(n), np.empty(0, dtype=np.intp)
    if n == 0:
        return
    if storage.family == "levels":
        codes, distinct = table.factorize(j)
        known = np.flatnonzero(codes >= 0)
        turned = distinct[np.roll(codes[known], 1)].astype(object)
        yield Edit(known, turned, none)
        for level in distinct[np.unique(codes[known])][:_LEVELS]:
            yield Edit(every, np.array([level] * n, dtype=object), none)
        yield Edit(none, np.empty(0, dtype=object), every)
        return
    values = table.numbers(j)
    finite = np.isfinite(values)
    values = np.where(finite, values, values[finite][0] if finite.any() else 0.0)
    yield Edit(every, np.roll(values, 1), none)
    if storage.family == "boolean":
        yield Edit(every, 1.0 - values, none)
        return
    for value in (values.min(), values.max()):
        yield Edit(every, np.full(n, value), none)
    step = 1.0 if values.max() < storage.high - 1.0 else -1.0
    yield Edit(every, values + step, none)


def _circle(waits: Mapping[Hashable, set[Hashable]], named: tuple[str, str]) -> str:
    """Return the message about columns that depend on each other."""
    path = [next(iter(waits))]
    while True:
        needed = next(name for name in waits[path[-1]] if name in waits)
        if needed in path:
            break
        path.append(needed)
    circle = [*path[path.index(needed) :], needed]
    return (
        f"The {named[0]!r} parameter of {named[1]} must not have columns that depend on each other "
        f"in a circle. Got {' from '.join(repr(name) for name in circle)} instead."
    )
