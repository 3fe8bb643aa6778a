"""Read what users give to rules: columns, levels and limits; and write it in sentences."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scfe_sklearn._utils import invalid, is_series, numbers
from scfe_sklearn.data import MISSING, FeatureSpace, match_levels, plain_level, position

Labelled = Callable[[Any, str, Hashable], Any]
"""Of a value, its parameter and its column: the value, a Series as an array in row order."""


def wrong(parameter: str, must: str, given: Any, *column: Any) -> ValueError:
    """The error of a wrong parameter of `Rules`, for a column if one is named."""
    return invalid(parameter, "Rules", must, given, *column)


def find_column(space: FeatureSpace, name: Hashable, parameter: str) -> int:
    """Position of a column that a rule reads; ValueError if it cannot."""
    j = position(space.names_, name, parameter, "Rules")
    if space.kinds_[j] == "held":
        raise ValueError(
            f"The {parameter!r} parameter of Rules must name columns of numbers or levels. Got "
            f"{name!r} instead, which never changes and is held as it is; name it in "
            "'categorical' if a rule is to read its levels."
        )
    return j


def first_column(space: FeatureSpace, names: Iterable[Hashable], parameter: str) -> int:
    """The first position of some columns."""
    return min(position(space.names_, name, parameter, "Rules") for name in names)


def level_places(levels: Sequence[Any], j: int, space: FeatureSpace, parameter: str) -> np.ndarray:
    """Places (k,) of levels among the declared ones, -1 if missing; ValueError if unknown."""
    declared, name = np.asarray(space.features_[j].declared), space.names_[j]
    objects = np.empty(len(levels), dtype=object)
    objects[:] = [plain_level(level) for level in levels]
    try:
        hash(tuple(objects))
        places = match_levels(declared, objects)
    except TypeError:
        must = f"name levels of {name!r}, which are single values"
        raise wrong(parameter, must, list(levels)) from None
    unknown = [v for v, at in zip(objects, places, strict=True) if at < 0 and v is not MISSING]
    if unknown:
        raise wrong(parameter, f"use levels of {name!r}, which are {declared.tolist()}", unknown[0])
    return places


def level_set(
    levels: Iterable[Any], j: int, space: FeatureSpace, parameter: str
) -> frozenset[Hashable]:
    """Levels as a set; ValueError for one that neither the dtype nor the training data have."""
    levels = list(levels)
    level_places(levels, j, space, parameter)
    return frozenset(plain_level(level) for level in levels)


def by_row(value: Any, n: int, absent: float) -> np.ndarray | None:
    """A limit for each row; ``absent`` for None, and for NaN in an array. None if it is wrong."""
    values = numbers(absent if value is None else value)
    if values is None or values.shape not in ((), (n,)) or (not values.ndim and np.isnan(values)):
        return None
    return np.broadcast_to(np.where(np.isnan(values), absent, values), (n,))


def read_limits(
    ends: Sequence[Any], j: int, space: FeatureSpace, n: int, parameter: str, ranks: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits (n,) of a column, infinite where there is none.

    With ``ranks`` they are given as levels, and returned as places among the declared ones.
    """
    name, found = space.names_[j], []
    for value, absent in zip(ends, (-np.inf, np.inf), strict=True):
        if ranks and value is not None:
            listed = list(value) if is_by_row(value) else [value]
            if len(listed) not in (1, n):
                raise ValueError(
                    f"The {parameter!r} parameter of Rules must have one limit, or one for each of "
                    f"the {n} rows. Got {len(listed)} for {name!r} instead."
                )
            places = level_places(listed, j, space, parameter)
            value = np.broadcast_to(np.where(places < 0, np.nan, places), (n,))
        limit = by_row(value, n, absent)
        if limit is None:
            must = "have numbers as limits, None for no limit, or one number for each of the "
            raise wrong(parameter, f"{must}{n} rows", value, name)
        found.append(limit)
    low, high = found
    return low, high


# ----------------------------------------------------------------------- order of the rows


def of_columns(given: Any, parameter: str, labelled: Labelled) -> Any:
    """Values by column, with the values of each in the order of the rows."""
    if _is_frame(given):
        given = {name: given[name] for name in given.columns}
    if not isinstance(given, Mapping):
        return given
    return {name: labelled(value, parameter, name) for name, value in given.items()}


def pair_in_row_order(labelled: Labelled, value: Any, parameter: str, name: Hashable) -> Any:
    """A pair of limits, each in the order of the rows; other values as they are."""
    if _is_frame(value) and value.shape[1] == 2:
        value = tuple(value.iloc[:, k] for k in range(2))
    if isinstance(value, (tuple, list)) and any(map(is_series, value)):
        return tuple(labelled(end, parameter, name) for end in value)
    return value


def _is_frame(value: Any) -> bool:
    """Return whether a value is a pandas data frame."""
    return hasattr(value, "iloc") and hasattr(value, "columns")


# ------------------------------------------------------------------------------ sentences


def subject(name: Hashable) -> str:
    """A column as sentences call it."""
    return name if isinstance(name, str) else f"column {name}"


def number_text(value: Any) -> str:
    """A number with thousands set apart."""
    return f"{float(value):,.15g}"


def level_text(level: Any) -> str:
    """A number or level as it is written in code."""
    if isinstance(level, (float, np.floating)) and not np.isnan(level):
        return f"{float(level):.15g}"
    return repr(level.item() if isinstance(level, np.generic) else level)


def limits_text(low: Any, high: Any, text: Callable[[Any], str]) -> str:
    """Limits of a value; empty if there are none."""
    if is_by_row(low) or is_by_row(high):
        return "within limits given row by row"
    if low is not None and high is not None:
        return f"between {text(low)} and {text(high)}"
    if low is not None:
        return f"at least {text(low)}"
    return "" if high is None else f"at most {text(high)}"


def is_by_row(limit: Any) -> bool:
    """Whether a limit is given row by row."""
    return not isinstance(limit, (str, bytes)) and np.ndim(limit) > 0
