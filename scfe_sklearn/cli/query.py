"""The query of a command: rows in the types of training, their names and the target."""

from __future__ import annotations

import argparse
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.cli.messages import INPUT, Refusal, step, unknown
from scfe_sklearn.cli.tables import exact, match_texts, read_texts
from scfe_sklearn.explanation.containers import is_polars
from scfe_sklearn.targets import Interval, Probability

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


# ---------------------------------------------------------------------------------------- target


def wanted(
    explainer: Any, labels: list[str] | None, at_least: float | None, at_most: float | None
) -> Any:
    """Read ``--target``, ``--at-least`` and ``--at-most``.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted.
    labels : list of str or None
        Classes of which any would do; None for the nearest other one.
    at_least : float or None
        Least probability of these classes; for a regressor the least value.
    at_most : float or None
        Greatest probability of these classes; for a regressor the greatest value.

    Returns
    -------
    label, Probability, set, Interval or None
        As ``explain`` takes it.

    Raises
    ------
    Refusal
        If they do not fit the model.
    """
    if not hasattr(explainer, "classes_"):
        return _values(labels, at_least, at_most)
    if labels is None:
        for name, limit in (("--at-least", at_least), ("--at-most", at_most)):
            if limit is not None:
                raise Refusal(f"The '{name}' option needs '--target', the class that it is about.")
        return None
    classes = explainer.classes_.tolist()
    found = match_texts(dict.fromkeys(labels), classes)
    for label in labels:
        if label not in found:
            raise unknown("--target", "a class", classes, label)
    targets = [found[label] for label in dict.fromkeys(labels)]
    if at_least is not None or at_most is not None:
        _check_probabilities(at_least, at_most)
        targets = [Probability(label, at_least, at_most) for label in targets]
    return targets[0] if len(targets) == 1 else set(targets)


def _values(labels: list[str] | None, at_least: float | None, at_most: float | None) -> Interval:
    if labels is not None:
        raise Refusal(
            "The '--target' option is for classifiers. For a regressor use '--at-least', "
            "'--at-most' or both."
        )
    if at_least is None and at_most is None:
        raise Refusal("A regressor needs the '--at-least' or '--at-most' option, or both.")
    if at_least is not None and at_most is not None and not at_least < at_most:
        raise Refusal(
            "The '--at-least' option must be below '--at-most'. "
            f"Got {at_least:g} and {at_most:g} instead."
        )
    return Interval(at_least, at_most)


def _check_probabilities(at_least: float | None, at_most: float | None) -> None:
    """Refuse limits that are no probabilities, or in the wrong order."""
    if at_least is not None and not 0 < at_least <= 1:
        raise Refusal(
            "The '--at-least' option must be a probability in (0, 1] for a classifier. "
            f"Got {at_least:g} instead."
        )
    if at_most is not None and not 0 <= at_most < 1:
        raise Refusal(
            "The '--at-most' option must be a probability in [0, 1) for a classifier. "
            f"Got {at_most:g} instead."
        )
    if at_least is not None and at_most is not None and at_least > at_most:
        raise Refusal(
            "The '--at-least' option must not be above '--at-most'. "
            f"Got {at_least:g} and {at_most:g} instead."
        )


# ----------------------------------------------------------------------------------------- query


def question(explainer: Any, options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The rows, their names in the column of ``--id`` if there is one, and the target."""
    target = target_of(explainer, options)
    step(options, f"reading {options.data}")
    frame = read_texts("--data", options.data, options.max_size)
    if not len(frame):
        raise Refusal(f"The '--data' file {options.data!r} must have rows. Got none.", INPUT)
    return *rows_of(explainer, frame, options), target


def target_of(explainer: Any, options: argparse.Namespace) -> Any:
    """The target of the options; without one that of a transformer, if the file holds one."""
    given = (options.target, options.at_least, options.at_most)
    default = getattr(options, "default_target", None)
    named = any(part is not None for part in given)
    return wanted(explainer, *given) if named or default is None else default


def rows_of(explainer: Any, frame: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """Rows in the types of training, and their names in the column of ``--id`` if there is one."""
    import pandas as pd

    where, labels = f"'--data' file {options.data!r}", None
    if options.id is not None:
        if options.id not in frame.columns:
            raise unknown("--id", "a column", frame.columns, options.id)
        labels = pd.Index(frame[options.id], name=options.id)
        if not hasattr(explainer, "feature_names_in_"):
            frame = frame.drop(columns=options.id)
    rows = as_trained(frame, explainer, where)
    if labels is not None and isinstance(rows, pd.DataFrame):
        rows = rows.set_axis(labels, axis=0)
    return rows, labels
