"""Columns of a file in the types that the training rows had."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.cli.levels import match_texts
from scfe_sklearn.cli.refusal import INPUT, Refusal
from scfe_sklearn.cli.table_files import exact
from scfe_sklearn.presentation.containers import is_polars

if TYPE_CHECKING:
    import pandas as pd

MISSING = {"", "<NA>", "None", "NULL", "null", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan"}
MISSING |= {"#N/A", "#N/A N/A", "#NA", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
"""Texts that pandas takes for missing values; a level of training with such a name stays one."""


def as_trained(frame: pd.DataFrame, explainer: Any, where: str) -> Any:
    """Rows of a file as the explainer's training rows were.

    Parameters
    ----------
    frame : DataFrame
        As `read_texts` gives it. Columns that were not in training are left out.
    explainer : CounterfactualExplainer
        Fitted.
    where : str
        What the file is called in messages.

    Returns
    -------
    DataFrame or ndarray of shape (n, d)
        In the container, order and types of training. A value that cannot have the type, such
        as a category never seen, stays as it is: the row's status shows that.

    Raises
    ------
    Refusal
        If columns are missing, or texts stand where training had numbers.
    """
    import pandas as pd

    sample = explainer.inputs_.to_user(explainer.sample_)
    if not hasattr(sample, "columns"):
        return _as_array(frame, explainer, sample, where)
    polars = is_polars(sample)
    like = sample.to_pandas() if polars else sample
    absent = [name for name in like.columns if name not in frame.columns]
    if absent:
        raise Refusal(
            f"The {where} must have the columns of the training data. Got none called "
            f"{absent}; it has {[str(name) for name in frame.columns]}.",
            INPUT,
        )
    levels = _levels_by_name(explainer)
    columns = {
        name: _column(frame[name], like[name], levels.get(name), where) for name in like.columns
    }
    rows = pd.DataFrame(columns, index=frame.index)
    if not polars:
        return rows
    return _as_polars(rows, sample)


def _as_polars(rows: pd.DataFrame, sample: Any) -> Any:
    """Rows in the polars types of training, but for columns that would lose values by it."""
    import polars as pl

    found = pl.from_pandas(rows)
    cast = [found[name].cast(dtype, strict=False) for name, dtype in sample.schema.items()]
    kept = [one.null_count() == found[one.name].null_count() for one in cast]
    return found.with_columns(one for one, whole in zip(cast, kept, strict=True) if whole)


def _as_array(frame: pd.DataFrame, explainer: Any, sample: np.ndarray, where: str) -> np.ndarray:
    import pandas as pd

    if frame.shape[1] != sample.shape[1]:
        raise Refusal(
            f"The {where} must have {sample.shape[1]} columns, as many as the training data. "
            f"Got {frame.shape[1]} instead.",
            INPUT,
        )
    like = pd.DataFrame(sample).infer_objects()
    levels = _levels_by_name(explainer)
    columns = [
        _column(frame.iloc[:, j], like[j], levels.get(j), where) for j in range(frame.shape[1])
    ]
    if sample.dtype == object:
        return np.array([column.astype(object).tolist() for column in columns], dtype=object).T
    return np.array([column.to_numpy(float, na_value=np.nan) for column in columns]).T


def _levels_by_name(explainer: Any) -> dict[Hashable, Any]:
    space = explainer.space_
    return dict(zip(space.names_, space.levels_, strict=True))


def _column(column: pd.Series, like: pd.Series, levels: Any, where: str) -> pd.Series:
    """One column in the type of another."""
    import pandas as pd

    kinds = pd.api.types
    if column.dtype == like.dtype and not kinds.is_object_dtype(column.dtype):
        return column
    numeric = kinds.is_numeric_dtype(like.dtype) and not kinds.is_bool_dtype(like.dtype)
    ours = kinds.is_numeric_dtype(column.dtype) and not kinds.is_bool_dtype(column.dtype)
    if numeric and ours:
        return _numbers(column, column.isna(), like.dtype)
    known = _known_levels(like, levels)
    gone = column.isna()
    texts = column.astype(object).where(gone, column.map(str)).astype(object)
    meant = match_texts({text for text, no in zip(texts, gone, strict=True) if not no}, known)
    gone |= texts.isin(MISSING - set(meant))
    if numeric:
        return _parsed(texts, gone, like.dtype, where)
    values = np.empty(len(texts), dtype=object)
    values[:] = [meant.get(text, text) for text in texts]
    if kinds.is_bool_dtype(like.dtype):
        return _truths(values, gone, texts, like.dtype, where)
    values[gone.to_numpy()] = None if isinstance(like.dtype, pd.CategoricalDtype) else np.nan
    out = pd.Series(values, index=column.index, name=column.name)
    if isinstance(like.dtype, pd.CategoricalDtype):
        # What training never had becomes a category of its own, not a missing value.
        new = [value for value in dict.fromkeys(values) if value is not None and value not in known]
        categories = like.dtype.categories.append(pd.Index(new)) if new else like.dtype.categories
        return out.astype(pd.CategoricalDtype(categories, ordered=like.dtype.ordered))
    return out if kinds.is_object_dtype(like.dtype) else out.astype(like.dtype)


def _known_levels(like: pd.Series, levels: Any) -> list[Any]:
    import pandas as pd

    if isinstance(like.dtype, pd.CategoricalDtype):
        return list(like.dtype.categories)
    if pd.api.types.is_bool_dtype(like.dtype):
        return [False, True]
    known = like.dropna().unique().tolist() if levels is None else list(levels)
    return [level for level in known if not pd.isna(level)]


def _parsed(texts: pd.Series, gone: pd.Series, dtype: Any, where: str) -> pd.Series:
    import pandas as pd

    values = exact(pd.to_numeric(texts.where(~gone), errors="coerce"), texts)
    bad = values.isna() & ~gone
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise Refusal(
            f"The {where} must hold numbers in the column {str(texts.name)!r}, as the training "
            f"data do. Got {texts.iloc[row]!r} in row {row + 1} instead.",
            INPUT,
        )
    return _numbers(values, gone, dtype)


def _numbers(values: pd.Series, gone: pd.Series, dtype: Any) -> pd.Series:
    """Numbers in a type where it can hold them all; whole ones stay whole beside missing ones."""
    import pandas as pd

    present = values[~gone].astype(np.float64)
    if pd.api.types.is_integer_dtype(dtype):
        if not (np.isfinite(present) & (present == np.floor(present))).all():
            return values.astype(np.float64)
        plain = isinstance(dtype, np.dtype)
        limits = np.iinfo(dtype if plain else dtype.numpy_dtype)
        if not present.between(limits.min, limits.max).all():
            return values.astype(np.float64)
        if plain and gone.any():
            return values.astype(np.float64).astype("Int64")
    return values.astype(dtype)


def _truths(
    values: np.ndarray, gone: pd.Series, texts: pd.Series, dtype: Any, where: str
) -> pd.Series:
    import pandas as pd

    strange = np.array([not isinstance(value, (bool, np.bool_)) for value in values], dtype=bool)
    bad = strange & ~gone.to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise Refusal(
            f"The {where} must hold true or false in the column {str(texts.name)!r}, as the "
            f"training data do. Got {texts.iloc[row]!r} in row {row + 1} instead.",
            INPUT,
        )
    values[gone.to_numpy()] = pd.NA
    out = pd.Series(values, index=texts.index, name=texts.name).astype("boolean")
    return out if gone.any() else out.astype(dtype)
