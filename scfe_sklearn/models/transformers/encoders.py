"""Encoders of categories: the fitted encoder itself encodes every level.

Nothing about dropped, infrequent, unknown or missing categories is re-implemented: each
encoder transforms every level once, and the model relaxes over that table.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from scfe_sklearn.data import BlockExpander
from scfe_sklearn.models.compiled import (
    AdapterMismatchError,
    Frame,
    Levels,
    UnsupportedModelError,
    compile_transformer,
    stack,
)


@compile_transformer.register(OneHotEncoder)
@compile_transformer.register(OrdinalEncoder)
@compile_transformer.register(TargetEncoder)
def _encoder(estimator: Any, frame: Frame) -> Frame:
    levels = _require_levels(estimator, frame)
    if not levels:
        return frame
    out = _transform_levels(estimator, levels, frame)
    weight, bias, owners = _tabulate(out, levels, frame.source.width)
    table = sparse.csc_array(weight)
    kept: list[Levels | None] = []
    for column, owner in enumerate(owners):
        if owner is None:
            kept.append(None)
        else:
            stop = owner.start + len(owner.values)
            values = table[:, [column]].toarray()[owner.start : stop, 0]
            kept.append(Levels(owner.start, values))
    return frame.tables(table, bias, kept)


def _require_levels(estimator: Any, frame: Frame) -> list[Levels]:
    found = []
    for label, levels in zip(frame.labels, frame.levels, strict=True):
        if levels is None:
            raise UnsupportedModelError(
                f"{type(estimator).__name__} reads column {label!r}, which has no levels here: "
                "declare it as categorical, and put the encoder before steps that make numbers."
            )
        found.append(levels)
    return found


def _transform_levels(estimator: Any, levels: list[Levels], frame: Frame) -> sparse.csr_array:
    """Output of the encoder, one row per level of each column, the others at their first."""
    try:
        out = _silent(estimator).transform(_probe(estimator, levels))
    except (ValueError, TypeError) as error:
        raise AdapterMismatchError(
            f"{type(estimator).__name__} refuses a level of the columns {list(frame.labels)!r}: "
            f"{error}"
        ) from error
    return sparse.csr_array(out if sparse.issparse(out) else np.asarray(out, dtype=float))


def _silent(estimator: Any) -> Any:
    """Return an encoder that does the same, without a warning for a level that it does not know."""
    if not isinstance(estimator, OneHotEncoder):
        return estimator
    silent = copy(estimator)
    # What is dropped was settled by its fit; the parameter only decides whether it warns.
    silent.drop = None
    if silent.handle_unknown == "warn":
        silent.handle_unknown = "infrequent_if_exist"
    return silent


def _probe(estimator: Any, levels: list[Levels]) -> Any:
    counts = [len(level.values) for level in levels]
    starts = np.concatenate([[0], np.cumsum(counts)])
    columns = []
    for k, level in enumerate(levels):
        values = _spell_missing(level.values, estimator.categories_[k])
        chosen = np.zeros(starts[-1], dtype=int)
        chosen[starts[k] : starts[k + 1]] = np.arange(counts[k])
        columns.append(values[chosen])
    if hasattr(estimator, "feature_names_in_"):
        import pandas as pd

        # With their dtype: pandas would read text as strings, in which None becomes NaN.
        named = {k: pd.Series(column, dtype=column.dtype) for k, column in enumerate(columns)}
        return pd.DataFrame(named).set_axis(list(estimator.feature_names_in_), axis=1)
    plain = all(categories.dtype.kind != "O" for categories in estimator.categories_)
    if plain and all(column.dtype.kind in "iufb" for column in columns):
        return np.stack(columns, axis=1)
    return np.stack([column.astype(object) for column in columns], axis=1)


def _spell_missing(values: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """Mark missing levels the way the encoder does: by NaN, None or pandas.NA."""
    gone, known = is_missing(values), is_missing(categories)
    if not gone.any():
        return values
    values = values.astype(object)
    values[gone] = categories[known][0] if known.any() else np.nan
    return values.astype(float) if categories.dtype.kind in "iuf" else values


def _tabulate(
    out: sparse.csr_array, levels: list[Levels], width: int
) -> tuple[sparse.lil_array, np.ndarray, list[Levels | None]]:
    """Return the column of every output and its table; outputs that never change are constant."""
    n_outputs = out.shape[1]
    owner = np.full(n_outputs, -1)
    finite = out.copy()  # an encoded missing value can be NaN: a value like any other here
    finite.data = np.nan_to_num(out.data, nan=np.nanmax(np.abs(out.data), initial=0.0) + 1.0)
    starts = np.concatenate([[0], np.cumsum([len(level.values) for level in levels])])
    for k in range(len(levels)):
        block = finite[starts[k] : starts[k + 1]]
        spread = block.max(axis=0).toarray() - block.min(axis=0).toarray()
        owner[np.ravel(spread) > 0] = k
    weight = sparse.lil_array((width, n_outputs))
    for k, level in enumerate(levels):
        mine = np.flatnonzero(owner == k)
        if len(mine):
            block = out[starts[k] : starts[k + 1]][:, mine].toarray()
            weight[level.start : level.start + len(level.values), mine] = block
    bias = np.where(owner < 0, out[[0]].toarray()[0], 0.0)
    return weight, bias, [None if k < 0 else levels[k] for k in owner]


def is_missing(values: np.ndarray) -> np.ndarray:
    """Mask of None, NaN and pandas.NA."""
    if values.dtype.kind in "fmM":
        return np.isnat(values) if values.dtype.kind in "mM" else np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(len(values), dtype=bool)
    return np.array([_gone(value) for value in values], dtype=bool)


def _gone(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


@compile_transformer.register(BlockExpander)
def _expander(estimator: BlockExpander, frame: Frame) -> Frame:
    parts = []
    for place, (k, level, whole) in enumerate(estimator.column_sources()):
        column = frame.take([k])
        if whole:
            parts.append(column)
            continue
        levels = column.levels[0]
        if levels is None:
            raise UnsupportedModelError(
                f"BlockExpander reads column {column.labels[0]!r}, which has no levels here: "
                "declare it as categorical."
            )
        label = estimator.get_feature_names_out()[place]
        parts.append(frame.lookup(_indicator(levels, level, estimator), levels.start, label))
    return stack(parts)


def _indicator(levels: Levels, level: object, estimator: BlockExpander) -> Levels:
    """1 at a level and 0 at the others; a missing level has no number."""
    known = {other for block in estimator.blocks_ for other in block.levels}
    gone = is_missing(levels.values)
    strange = [v for v in levels.values[~gone].tolist() if v not in known]
    if strange:
        raise AdapterMismatchError(f"BlockExpander does not know the level {strange[0]!r}.")
    table = np.array([value == level for value in levels.values.tolist()], dtype=np.float64)
    table[gone] = np.nan
    return Levels(levels.start, table)
