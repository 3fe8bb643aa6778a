"""Columns that a user's function computes from the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from scfe_sklearn._utils import Documented, invalid
from scfe_sklearn.data.domains import plain_level, position
from scfe_sklearn.data.frames import open_table
from scfe_sklearn.data.table import Edit, Table

Functions = Mapping[Hashable, Callable[[Any], Any]]

ROWS = 256
"""Rows in which columns are changed to find dependencies."""

_LEVELS = 3  # levels that are written into a whole column


class Derived(Documented, BaseEstimator):
    """Columns that follow from others, so that they move when those move.

    Parameters
    ----------
    functions : dict
        ``{column: function}``: a function takes a data frame (or array) of n rows and returns
        the n values of its column. A function may read columns that others compute, and is
        called after these, whatever the order of the dict; it must not depend on its own column
        or on which rows stand together.
    tol : float, default=1e-6
        Relative difference up to which a stored number counts as the derived one.

    Examples
    --------
    >>> import pandas as pd
    >>> from scfe_sklearn.data.derived import Derived
    >>> X = pd.DataFrame({"debt": [10.0, 20.0], "income": [40.0, 40.0], "ratio": [0.25, 0.5]})
    >>> derived = Derived({"ratio": lambda X: X.debt / X.income})
    >>> derived.obeys(X.assign(debt=[10.0, 30.0])).tolist()
    [True, False]
    >>> derived.recompute(X.assign(debt=[10.0, 30.0]))["ratio"].tolist()
    [0.25, 0.75]
    """

    _named = ("functions", "Derived")
    """Parameter and owner in messages."""

    def __init__(self, functions: Functions, tol: float = 1e-6) -> None:
        self.functions = functions
        self.tol = tol

    def arrange(self, X: Any) -> Self:
        """Find the order of the functions, and check the training rows.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, d)
            Training rows.

        Returns
        -------
        Derived
            Self.

        Raises
        ------
        ValueError
            If a function depends on its own column, some depend on each other in a circle, or
            a column of the rows is not what its function gives.
        """
        self.check(X)
        self.order_ = ordered(self._checked(), open_table(X), self._named)
        return self

    @property
    def names(self) -> tuple[Hashable, ...]:
        """The derived columns."""
        return tuple(self._checked())

    def recompute(self, X: Any) -> Any:
        """Rows with every derived column computed again.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, d)
            Rows, for example decoded ones.

        Returns
        -------
        DataFrame or ndarray of shape (n, d)
            A copy. A number that comes out infinite or NaN is missing.

        Raises
        ------
        ValueError
            If a function gives another shape or another kind of values than its column has, or
            if functions depend on their own columns.
        """
        out = open_table(X).write({})
        for name in self._order(open_table(X)):
            table = open_table(out)
            j, values = self._computed(table, name)
            known = ~_missing(values) & ~_infinite(values)
            rows = np.flatnonzero(known & ~self._same(table, j, values))
            out = table.write({j: Edit(rows, values[rows], np.flatnonzero(~known))})
        return out

    def obeys(self, X: Any) -> np.ndarray:
        """Judge whether rows hold what the functions give.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,), bool
            True where every derived column is up to date. A value that the function leaves
            missing must be missing; an infinite one is never right.
        """
        table = open_table(X)
        good = np.ones(table.n_rows, dtype=bool)
        for name in self._checked():
            good &= self._same(table, *self._computed(table, name))
        return good

    def stale(self, X: Any) -> np.ndarray:
        """Return which rows hold another value than a function gives.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,), object
            None, or the first column and both of its values in words.
        """
        table = open_table(X)
        found = np.full(table.n_rows, None, dtype=object)
        for name in reversed(self._order(table)):
            j, values = self._computed(table, name)
            values[_infinite(values)] = np.nan  # as `recompute` writes it
            rows = np.flatnonzero(~self._same(table, j, values))
            held = _held(table, j, rows)
            for row, old, new in zip(rows.tolist(), held, values[rows].tolist(), strict=True):
                found[row] = f"{name!r} is {_word(old)}, but its function gives {_word(new)}"
        return found

    def check(self, X: Any) -> None:
        """Refuse training rows that do not obey.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, d)
            Training rows.

        Raises
        ------
        ValueError
            If a column of them is not what its function gives.
        """
        wrong = np.flatnonzero(~self.obeys(X))
        if len(wrong):
            raise ValueError(
                f"{_parameter(self._named)} must give the columns of the training data. Got other "
                f"values of {list(self.names)} in {len(wrong)} rows, the first of which is row "
                f"{wrong[0]}."
            )

    def _order(self, table: Table) -> list[Hashable]:
        """Return the derived columns in the order of their computation."""
        for name in self._checked():
            position(table.names, name, *self._named)
        known = getattr(self, "order_", [])
        if set(known) == set(self.functions):
            return list(known)
        return ordered(self.functions, table, self._named)

    def _checked(self) -> Functions:
        functions = self.functions
        if not isinstance(functions, Mapping) or not functions:
            raise invalid(*self._named, "be a dict from columns to functions", functions)
        for name, function in functions.items():
            if not callable(function):
                raise invalid(*self._named, "have functions", function, name)
        return functions

    def _computed(self, table: Table, name: Hashable) -> tuple[int, np.ndarray]:
        """Return the position of a derived column, and what its function gives."""
        j = position(table.names, name, *self._named)
        # A copy: the function may change its rows.
        return j, _values(self._checked()[name], table.write({}), table, j, self._named)

    def _same(self, table: Table, j: int, values: np.ndarray) -> np.ndarray:
        """(n,) whether the column holds the values already."""
        if table.storage(j).family == "levels":
            codes, distinct = table.factorize(j)
            levels = [*(plain_level(v) for v in distinct.tolist()), None]
            pairs = zip(codes.tolist(), values.tolist(), strict=True)
            return np.array([levels[code] == plain_level(v) for code, v in pairs], dtype=bool)
        stored = table.numbers(j)
        with np.errstate(invalid="ignore"):
            near = np.abs(stored - values) <= self.tol * np.maximum(np.abs(stored), np.abs(values))
            if table.storage(j).family != "float":
                near = stored == values
        return (near & np.isfinite(values)) | (np.isnan(stored) & np.isnan(values))


def _parameter(named: tuple[str, str]) -> str:
    """Return the beginning of a message: the parameter and its owner."""
    return f"The {named[0]!r} parameter of {named[1]}"


def _values(
    function: Callable[[Any], Any], X: Any, table: Table, j: int, named: tuple[str, str]
) -> np.ndarray:
    """Return the values of a function for a column: floats, or objects if it has levels."""
    given = function(X)
    n = table.n_rows
    subject = f"{_parameter(named)} must have a function of {table.names[j]!r} that returns"
    # A reordered series would otherwise put values into the wrong rows in silence.
    index: Any = getattr(given, "index", None)
    moved = hasattr(X, "index") and hasattr(index, "equals") and not index.equals(X.index)
    values = np.asarray(given)
    if values.shape != (n,) or moved:
        what = "values in another order of rows" if moved else f"shape {values.shape}"
        raise ValueError(
            f"{subject} one value for each of the {n} rows, in their order. Got {what} instead."
        )
    family = table.storage(j).family
    if family == "levels":
        return values.astype(object)
    try:
        if values.dtype.kind in "USmM":
            raise TypeError
        numbers = (
            np.array([np.nan if _gone(v) else v for v in values], dtype=np.float64)
            if (values.dtype.kind == "O")
            else values.astype(np.float64)
        )
    except (TypeError, ValueError):
        raise ValueError(
            f"{subject} numbers, as the column has. Got values of type {values.dtype} instead."
        ) from None
    finite = numbers[np.isfinite(numbers)]
    allowed = {"integer": finite == np.rint(finite), "boolean": (finite == 0) | (finite == 1)}
    if not allowed.get(family, np.ones(1, dtype=bool)).all():
        kind = "whole numbers" if family == "integer" else "booleans"
        raise ValueError(
            f"{subject} {kind}, as the column has. Got {finite[~allowed[family]][0]} instead."
        )
    return numbers


def _held(table: Table, j: int, rows: np.ndarray) -> list[Any]:
    """Return what some rows of a column hold, None for a missing value."""
    if table.storage(j).family != "levels":
        return list(table.numbers(j)[rows].tolist())
    codes, distinct = table.factorize(j)
    levels = [*distinct.tolist(), None]
    return [levels[code] for code in codes[rows]]


def _word(value: Any) -> str:
    if _gone(value):
        return "missing"
    return f"{value:.15g}" if isinstance(value, float) else repr(value)


def _gone(value: Any) -> bool:
    return plain_level(value) is None


def _missing(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "O":
        return np.array([_gone(v) for v in values], dtype=bool)
    return np.isnan(values)


def _infinite(values: np.ndarray) -> np.ndarray:
    return np.isinf(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


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
