"""Transformers before a tree: probed where they cross a threshold.

Nothing about scaling, rounding or encoding is re-implemented. Every transformer must be
column-wise (each column that it makes reads one column), so that a column of the tree's input
is a table over the levels of one raw column, or a monotone function of one raw number whose
crossing points are found by bisection over the floats themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from scfe_sklearn._utils import ignore_warnings
from scfe_sklearn.data import Column
from scfe_sklearn.models.compiled import UnsupportedModelError, branches, side_by_side, unwrap

_COLUMN_WISE = (
    StandardScaler,
    RobustScaler,
    MinMaxScaler,
    MaxAbsScaler,
    PowerTransformer,
    QuantileTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    TargetEncoder,
    SimpleImputer,
    SelectorMixin,
)
_MONOTONE = (
    np.log1p,
    np.log,
    np.log2,
    np.log10,
    np.sqrt,
    np.exp,
    np.expm1,
    np.tanh,
    np.arcsinh,
    np.cbrt,
    np.negative,
)
NEAR = (4, 2**14)
"""Distances from a guessed crossing, in floats, between which it is looked for first."""

# How far out a raw number is tried: some transformers overflow, some want it positive.
_OUT = tuple(10.0**k for k in (300, 150, 75, 37, 30, 20, 15, 12, 9, 6, 3, 0))
_LOW = tuple(-x for x in _OUT) + (0.0, 1e-300, 1e-100, 1e-30, 1e-12, 1e-6)


def require_column_wise(step: Any) -> None:
    """Refuse a transformer that mixes columns, or that bends one back and forth."""
    step = unwrap(step)
    if step is None or isinstance(step, str):
        return
    if isinstance(step, Pipeline):
        inner = [inner for _, inner in step.steps]
    elif side_by_side(step):
        inner = [part.step for part in branches(step)]
    else:
        if not _is_column_wise(step):
            raise UnsupportedModelError(
                f"{type(step).__name__} before trees cannot be read: it is not known to make "
                "each column from one raw column by a monotone function."
            )
        return
    for part in inner:
        require_column_wise(part)


def _is_column_wise(step: Any) -> bool:
    if not type(step).__module__.startswith("sklearn."):
        return False
    if isinstance(step, KBinsDiscretizer):
        return bool(step.encode == "ordinal")
    if isinstance(step, FunctionTransformer):
        plain = not step.kw_args
        return step.func is None or (plain and any(step.func is f for f in _MONOTONE))
    return isinstance(step, _COLUMN_WISE)


@dataclass(frozen=True, eq=False)
class Probe:
    """Raw rows of the kind that an estimator reads, from numbers and level codes.

    Parameters
    ----------
    columns : tuple of Column
        Layout of column space.
    template : DataFrame, ndarray or None
        Some raw rows: container and dtypes; None for float64.
    names : tuple or None
        Labels of the data frame's columns that the estimator wants, None for an array.
    """

    columns: tuple[Column, ...]
    template: Any
    names: tuple[Any, ...] | None

    def single(self) -> np.ndarray:
        """Flag the columns that are stored in float32."""
        stored = [self._dtype(j) for j in range(len(self.columns))]
        return np.array([np.dtype(d) == np.float32 if d is not None else False for d in stored])

    def _dtype(self, j: int) -> Any:
        """Return the float dtype of a column of numbers, None for levels."""
        if self.columns[j].levels is not None:
            return None
        found: Any = getattr(self.template, "dtype", None)
        if found is None and self.template is not None:
            found = self.template[self.columns[j].name].dtype
        found = getattr(found, "numpy_dtype", found)
        return np.float32 if isinstance(found, np.dtype) and found == np.float32 else np.float64

    def rows(self, numbers: np.ndarray, codes: np.ndarray) -> Any:
        """Build raw rows from numbers and codes, both of shape (n, J)."""
        cells = [
            _as_stored(numbers[:, j], self._dtype(j))
            if column.levels is None
            else column.levels[codes[:, j]]
            for j, column in enumerate(self.columns)
        ]
        if self.names is None:
            return self._array(cells)
        import pandas as pd

        position = {column.name: j for j, column in enumerate(self.columns)}
        series = {}
        for name in self.names:
            j = position[name]
            series[name] = self._series(cells[j], j)
        return pd.DataFrame(series)

    def _array(self, cells: list[np.ndarray]) -> np.ndarray:
        kinds = [cell.dtype.kind for cell in cells]
        if isinstance(self.template, np.ndarray) and self.template.dtype.kind == "O":
            return np.stack([cell.astype(object) for cell in cells], axis=1)
        if all(kind in "iufb" for kind in kinds):
            dtype = np.float32 if self.single().any() else np.float64
            return np.stack([cell.astype(dtype) for cell in cells], axis=1)
        return np.stack([cell.astype(object) for cell in cells], axis=1)

    def _series(self, cell: np.ndarray, j: int) -> Any:
        import pandas as pd

        column = self.columns[j]
        if column.levels is None:
            return pd.Series(cell)
        if self.template is not None:
            return pd.Series(cell, dtype=object).astype(self.template[column.name].dtype)
        if column.levels.dtype.kind == "O":
            known = [level for level in column.levels.tolist() if not pd.isna(level)]
            return pd.Series(pd.Categorical(cell, categories=known))
        return pd.Series(cell)


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """The steps between raw rows and the matrix that a tree reads.

    Parameters
    ----------
    probe : Probe
        Builds raw rows.
    steps : tuple of callables
        Applied one after the other.
    """

    probe: Probe
    steps: tuple[Callable[[Any], Any], ...] = ()

    def then(self, step: Any) -> Preprocessor:
        """Put a fitted transformer behind."""
        step = unwrap(step)
        if step is None or isinstance(step, str):
            return self
        require_column_wise(step)
        return self.apply(step.transform)

    def apply(self, step: Callable[[Any], Any]) -> Preprocessor:
        """Put a function behind, which must be column-wise."""
        return replace(self, steps=(*self.steps, step))

    def take(self, features: Sequence[int] | np.ndarray) -> Preprocessor:
        """Choose some of the columns."""
        chosen = np.asarray(features, dtype=np.intp)
        return self.apply(lambda X: as_matrix(X)[:, chosen])

    def __call__(self, numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Matrix (n, F) of raw rows given by numbers and level codes, both (n, J)."""
        rows = self.probe.rows(numbers, codes)
        # far out numbers overflow on their way, which must not stop a search for a threshold
        quiet = config_context(assume_finite=True, transform_output="default")
        with quiet, ignore_warnings(), np.errstate(all="ignore"):
            for step in self.steps:
                rows = step(rows)
            return as_matrix(rows).astype(np.float64)


def as_matrix(X: Any) -> np.ndarray:
    """Return a dense array of the output of a transformer."""
    if sparse.issparse(X):
        return np.asarray(X.toarray())
    return X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)


@dataclass(frozen=True, eq=False)
class PreprocessorMap:
    """Dependencies of the columns of a preprocessor.

    Parameters
    ----------
    preprocessor : Preprocessor
        The preprocessor.
    owner : ndarray of shape (F,), int
        Raw column of each column of the matrix; -1 for a constant.
    tables : list of (ndarray of shape (L, F) or None)
        The matrix at every level of each raw column with levels.
    low, high : ndarray of shape (J,)
        Ends of the numbers that can be probed.
    falling : ndarray of shape (F,), bool
        Columns that fall as the raw number grows.
    missing : ndarray of shape (J, F)
        The matrix where one raw number is missing; NaN rows where the preprocessor refuses it.
    base : ndarray of shape (J,)
        Numbers of the row that all others are varied from.
    origin : ndarray of shape (F,)
        The matrix at that row.
    """

    preprocessor: Preprocessor
    owner: np.ndarray
    tables: list[np.ndarray | None]
    low: np.ndarray
    high: np.ndarray
    falling: np.ndarray
    missing: np.ndarray
    base: np.ndarray
    origin: np.ndarray

    @classmethod
    def of(cls, preprocessor: Preprocessor) -> PreprocessorMap:
        """Probe the transformers: at every level, and far out on both sides."""
        columns = preprocessor.probe.columns
        base = np.ones(len(columns))
        origin = _origin(preprocessor, base)
        width = len(origin)
        owner, falling = np.full(width, -1), np.zeros(width, bool)
        tables: list[np.ndarray | None] = [None] * len(columns)
        low, first = _farthest(preprocessor, base, _LOW)
        high, last = _farthest(preprocessor, base, _OUT)
        _, missing = _farthest(preprocessor, base, (np.nan,))
        for j, column in enumerate(columns):
            if column.levels is None:
                if np.isnan(low[j]) or np.isnan(high[j]):
                    raise UnsupportedModelError(
                        "The steps before the trees refuse every number tried in column "
                        f"{column.name!r}."
                    )
                # an indicator of missing values moves with these only
                blank = np.isfinite(missing[j]) & ~_same(missing[j], origin)
                moves = ~_same(first[j], last[j]) | blank
                falling |= moves & (first[j] > last[j])
            else:
                table = _level_table(preprocessor, base, j)
                tables[j] = table
                moves = ~_same(table, table[:1]).all(axis=0)
            owner = np.where(moves, np.where(owner >= 0, -2, j), owner)
        return cls(preprocessor, owner, tables, low, high, falling, missing, base, origin)

    def switch_points(self, feature: np.ndarray, threshold: np.ndarray, single: bool) -> np.ndarray:
        """Last raw number, counted upwards, before a column crosses a threshold.

        Parameters
        ----------
        feature : ndarray of shape (S,), int
            Columns that belong to raw numbers.
        threshold : ndarray of shape (S,)
            Thresholds of these columns.
        single : bool
            Whether the columns are compared in float32.

        Returns
        -------
        ndarray of shape (S,)
            For a rising column the largest raw number that is still at most the threshold, for
            a falling one the largest that is still above; -inf or inf where none or all are.
        """
        columns = self.owner[feature]
        order = np.argsort(columns, kind="stable")
        rank = np.empty(len(columns), dtype=np.intp)
        ordered = columns[order]
        rank[order] = np.arange(len(columns)) - np.searchsorted(ordered, ordered)
        falling = self.falling[feature]
        coarse = self.preprocessor.probe.single()[columns]
        codes = np.zeros((int(rank.max(initial=-1)) + 1, len(self.base)), dtype=np.intp)

        def column(raw: np.ndarray) -> np.ndarray:
            """Values of the columns at raw numbers."""
            numbers = np.repeat(self.base[None], len(codes), axis=0)
            numbers[rank, columns] = raw
            return self.preprocessor(numbers, codes)[rank, feature]

        def before(keys: np.ndarray) -> np.ndarray:
            """Whether the raw numbers lie on the lower side of their crossing."""
            return at_most(column(from_keys(keys, coarse)), threshold, single) ^ falling

        first = to_keys(self.low[columns], coarse)
        last = to_keys(self.high[columns], coarse)
        none, every = ~before(first), before(last)
        # Most columns are linear: their crossing is known but for the last bits.
        guess = _linear_crossing(
            column,
            self.base[columns],
            _rounding_up(threshold, single),
            (self.low[columns], self.high[columns]),
        )
        near = np.clip(to_keys(guess, coarse), first, last)
        for width in NEAR:
            for key in (np.maximum(near - width, first), np.minimum(near + width, last)):
                below = before(key)
                first = np.where(below, np.maximum(first, key), first)
                last = np.where(below, last, np.minimum(last, key))
        while True:
            middle = (first >> 1) + (last >> 1) + (first & last & 1)  # no overflow
            if np.all(middle == first):
                break
            below = before(middle)
            first, last = np.where(below, middle, first), np.where(below, last, middle)
        out = from_keys(first, coarse)
        return np.where(none, -np.inf, np.where(every, np.inf, out))


def at_most(x: np.ndarray, threshold: np.ndarray, single: bool) -> np.ndarray:
    """Compare as a tree does; NaN lies below everything, as the logarithm of zero does."""
    if single:
        with np.errstate(over="ignore"):
            x = x.astype(np.float32).astype(np.float64)
    return (x <= threshold) | np.isnan(x)


def _rounding_up(threshold: np.ndarray, single: bool) -> np.ndarray:
    """Largest numbers, about, that compare as at most the thresholds."""
    if not single:
        return threshold
    with np.errstate(over="ignore", invalid="ignore"):
        low = threshold.astype(np.float32)
        low = np.where(low > threshold, np.nextafter(low, -np.float32(np.inf)), low)
        return (low.astype(np.float64) + np.nextafter(low, np.float32(np.inf))) / 2


def _linear_crossing(
    column: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    goal: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Raw numbers between ``ends`` where columns reach a goal if they are linear, by Newton steps.

    The start, where a column does not move.
    """
    with np.errstate(all="ignore"):
        beside = np.clip(start + 1, *ends)
        here = column(start)
        slope = (column(beside) - here) / (beside - start)
        raw = start
        for step in range(3):  # the slope has lost digits where a column is far from zero
            moved = raw + (goal - (column(raw) if step else here)) / slope
            raw = np.clip(np.where(np.isfinite(moved), moved, start), *ends)
    return raw


def to_keys(values: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Integers in the order of the floats: neighbouring floats are neighbouring integers."""
    with np.errstate(over="ignore"):
        coarse = np.nan_to_num(values.astype(np.float32)).view(np.int32).astype(np.int64)
    fine = (np.asarray(values, dtype=np.float64) + 0.0).view(np.int64)
    fine = np.where(fine < 0, np.iinfo(np.int64).min - fine, fine)
    coarse = np.where(coarse < 0, np.iinfo(np.int32).min - coarse, coarse)
    return np.where(single, coarse, fine)


def from_keys(keys: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Invert `to_keys`."""
    fine = np.where(keys < 0, np.iinfo(np.int64).min - keys, keys).view(np.float64)
    short = np.where(single, keys, 0)
    short = np.where(short < 0, np.iinfo(np.int32).min - short, short).astype(np.int32)
    return np.where(single, short.view(np.float32).astype(np.float64), fine)


def _as_stored(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Cast numbers to the dtype of their column, the largest it holds for larger ones."""
    top = float(np.finfo(dtype).max)
    return np.clip(values, -top, top).astype(dtype)


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))


def _origin(preprocessor: Preprocessor, base: np.ndarray) -> np.ndarray:
    try:
        return preprocessor(base[None], np.zeros((1, len(base)), dtype=np.intp))[0]
    except (TypeError, ValueError) as error:
        raise UnsupportedModelError(
            f"The columns before the trees cannot be read as numbers: {error}"
        ) from error


def _farthest(
    preprocessor: Preprocessor, base: np.ndarray, tries: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """For each raw number the first of the tries that the preprocessor takes, and its matrix row.

    NaN where it takes none; (J,) and (J, F).
    """
    numbers = np.repeat(base[None], len(base), axis=0)
    np.fill_diagonal(numbers, tries[0])
    codes = np.zeros(numbers.shape, dtype=np.intp)
    try:
        return np.full(len(base), tries[0]), preprocessor(numbers, codes)
    except (TypeError, ValueError):
        pass  # some column refuses: probe one by one
    found = np.full(len(base), np.nan)
    rows: list[np.ndarray | None] = [None] * len(base)
    for j in range(len(base)):
        for value in tries:
            row = base[None].copy()
            row[0, j] = value
            try:
                rows[j], found[j] = preprocessor(row, codes[:1])[0], value
            except (TypeError, ValueError):
                continue
            break
    width = next((len(row) for row in rows if row is not None), 0)
    empty = np.full(width, np.nan)
    return found, np.array([empty if row is None else row for row in rows])


def _level_table(preprocessor: Preprocessor, base: np.ndarray, j: int) -> np.ndarray:
    levels = preprocessor.probe.columns[j].levels
    count = 0 if levels is None else len(levels)
    codes = np.zeros((count, len(base)), dtype=np.intp)
    codes[:, j] = np.arange(count)
    try:
        return preprocessor(np.repeat(base[None], count, axis=0), codes)
    except (TypeError, ValueError) as error:
        raise UnsupportedModelError(
            f"The steps before the trees refuse a level of column "
            f"{preprocessor.probe.columns[j].name!r}: {error}"
        ) from error
