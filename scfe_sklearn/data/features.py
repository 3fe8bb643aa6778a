"""Features: kind, levels, scale and lattice of each column, as training data and user give them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scfe_sklearn._utils import invalid
from scfe_sklearn.data.domains import (
    NO_ROUNDING,
    decimals_of,
    fine_decimals,
    infer_offset,
    infer_step,
    is_listing,
    is_number,
    level_array,
    match_levels,
    plain_level,
    position,
    positions,
    ranks,
    sorted_levels,
    whole_step,
)
from scfe_sklearn.data.table import Storage, Table

Kind = Literal["numeric", "integer", "ordinal", "categorical", "held"]

MANY_LEVELS = 256
"""A column that never changes and has more levels than this is held as it is."""


@dataclass(frozen=True, eq=False)
class Feature:
    """A raw feature as the training data show it.

    Numbers are in raw units; those of an ordinal feature are ranks of its levels.
    """

    kind: Kind
    levels: np.ndarray | None = None
    declared: np.ndarray | None = None  # all levels that dtype or user know, seen or not
    missing_level: int = -1
    center: float = 0.0
    scale: float = 1.0
    low: float = np.nan
    high: float = np.nan
    step: float = 0.0
    offset: float = 0.0
    decimals: int = NO_ROUNDING
    floor: float = -np.inf  # limits of the storage
    ceiling: float = np.inf
    bits: int = 64
    constant: bool = False


HELD = Feature(kind="held", low=0.0, high=0.0, floor=0.0, ceiling=0.0, constant=True)
"""A column that never changes, of any content: its coordinate is always 0."""


def level_numbers(feature: Feature, levels: Sequence[Hashable]) -> np.ndarray:
    """Levels as numbers: the declared rank if ordinal, their own value otherwise (text: NaN)."""
    if feature.kind == "ordinal":
        return ranks(np.asarray(feature.declared), levels)
    return np.array([float(v) if is_number(v) else np.nan for v in levels], dtype=np.float64)  # type: ignore[arg-type]


def own_levels(feature: Feature) -> list[Hashable]:
    """The levels of a feature as rules write them, a missing one as None."""
    return [plain_level(v) for v in np.asarray(feature.levels).tolist()]


def magnitude(feature: Feature) -> float:
    """The size of the numbers that a feature has in training."""
    if feature.levels is None:
        return max(abs(feature.low), abs(feature.high), abs(feature.center))
    return float(np.nanmax(np.abs(level_numbers(feature, own_levels(feature))), initial=0.0))


_ROUNDING = {16: 2.0**-10, 32: 2.0**-23}


def rounding(feature: Feature, bits: int = 64) -> float:
    """Rounding of a number of the feature by arithmetic and storage."""
    return _ROUNDING.get(min(bits, feature.bits), 8 * 2.0**-52) * magnitude(feature)


@dataclass(frozen=True, eq=False)
class KindOverrides:
    """The constructor's parameters, resolved to column positions."""

    categorical: frozenset[int]
    ordinal: Mapping[int, Sequence[Any] | None]
    integer: frozenset[int]
    continuous: frozenset[int]
    steps: Mapping[int, float]
    hint: frozenset[int]
    immutable: frozenset[int] = frozenset()
    scaled: bool = True

    def names(self, j: int) -> bool:
        """Whether a parameter gives the kind of a column."""
        given = (self.categorical, self.ordinal, self.integer, self.continuous, self.steps)
        return any(j in columns for columns in given)


def resolve(space: Any, names: Sequence[Hashable], hint: Any, immutable: Any = ()) -> KindOverrides:
    """Check the parameters of a feature space and resolve their columns."""
    ordinal: dict[int, Sequence[Any] | None] = {}
    if isinstance(space.ordinal, Mapping):
        for name, levels in space.ordinal.items():
            ordinal[position(names, name, "ordinal", "FeatureSpace")] = _ordered(name, levels)
    else:
        ordinal = dict.fromkeys(sorted(positions(names, space.ordinal, "ordinal")))
    steps: dict[int, float] = {}
    if not (space.steps is None or isinstance(space.steps, Mapping)):
        must = "be a dict from columns to steps"
        raise invalid("steps", "FeatureSpace", must, space.steps)
    for name, step in (space.steps or {}).items():
        if not (isinstance(step, (int, float, np.number)) and 0 < step < np.inf):
            raise invalid("steps", "FeatureSpace", "be positive", step, name)
        steps[position(names, name, "steps", "FeatureSpace")] = float(step)
    if space.scale not in ("std", None):
        raise invalid("scale", "FeatureSpace", "be 'std' or None", space.scale)
    overrides = KindOverrides(
        categorical=positions(names, space.categorical, "categorical"),
        ordinal=ordinal,
        integer=positions(names, space.integer, "integer"),
        continuous=positions(names, space.continuous, "continuous"),
        steps=steps,
        hint=positions(names, hint, "categorical_hint", "FeatureSpace.fit"),
        immutable=positions(names, immutable, "immutable", "FeatureSpace.fit"),
        scaled=space.scale == "std",
    )
    _refuse_contradictions(overrides, names)
    return overrides


def _ordered(name: Hashable, levels: Any) -> list[Any]:
    """The levels of an ordinal column as a list of distinct values."""
    if isinstance(levels, Mapping) or not is_listing(levels):
        must = "give a list of levels, lowest first"
        raise invalid("ordinal", "FeatureSpace", must, levels, name)
    listed = list(levels)
    if not listed or len(set(listed)) != len(listed):
        raise invalid("ordinal", "FeatureSpace", "give distinct levels", listed, name)
    return listed


def _refuse_contradictions(overrides: KindOverrides, names: Sequence[Hashable]) -> None:
    claims: dict[str, Iterable[int]] = {
        "categorical": overrides.categorical,
        "ordinal": overrides.ordinal,
        "integer": overrides.integer,
        "continuous": overrides.continuous,
    }
    taken: dict[int, str] = {}
    for parameter, columns in claims.items():
        for j in columns:
            if j in taken:
                raise ValueError(
                    f"The {parameter!r} parameter of FeatureSpace must not name a column of "
                    f"{taken[j]!r}. Got {names[j]!r} in both."
                )
            taken[j] = parameter
    for j in overrides.steps:
        if taken.get(j, "integer") != "integer":
            raise ValueError(
                f"The 'steps' parameter of FeatureSpace must not name a column of "
                f"{taken[j]!r}. Got {names[j]!r} in both."
            )


def learn(table: Table, j: int, overrides: KindOverrides) -> Feature:
    """Learn one feature from the training table.

    A column that never changes is held as it is if it is neither number nor level, has no
    finite range, or has very many levels.
    """
    if j not in overrides.immutable:
        return _learn(table, j, overrides)
    try:
        feature = _learn(table, j, overrides)
    except ValueError:
        return HELD
    many = feature.kind == "categorical" and len(np.asarray(feature.levels)) > MANY_LEVELS
    return HELD if many and not overrides.names(j) else feature


def _learn(table: Table, j: int, overrides: KindOverrides) -> Feature:
    storage = table.storage(j)
    if j in overrides.ordinal:
        return _learn_ordinal(table, j, storage, overrides.ordinal[j])
    if j in overrides.categorical:
        return _learn_categorical(table, j, storage)
    overridden = j in overrides.integer or j in overrides.continuous or j in overrides.steps
    if storage.family in ("boolean", "levels"):
        if overridden:
            raise ValueError(
                "The 'integer', 'continuous' and 'steps' parameters of FeatureSpace must name "
                f"numeric columns. Got {table.names[j]!r} of dtype {storage.text} instead."
            )
        if storage.ordered:
            return _learn_ordinal(table, j, storage, None)
        return _learn_categorical(table, j, storage)
    if j in overrides.hint and not overridden:
        return _learn_categorical(table, j, storage)
    return _learn_number(table, j, storage, overrides)


def _learn_number(table: Table, j: int, storage: Storage, overrides: KindOverrides) -> Feature:
    values = table.numbers(j)
    if np.isinf(values).any():
        raise ValueError(
            f"Column {table.names[j]!r} of the training data must be finite. Got infinity."
        )
    values = values[~np.isnan(values)]
    if not len(values):
        raise _nothing(table.names[j])
    low, high = float(values.min()), float(values.max())
    center, scale = (low, 1.0) if low == high else center_and_scale(values)
    scale = scale if overrides.scaled else 1.0
    step, offset = _step_of(table.names[j], j, values, storage, overrides)
    if step:
        decimals = decimals_of(step, offset)
    elif storage.bits < 64:
        decimals = NO_ROUNDING
    else:
        decimals = fine_decimals(scale, max(abs(low), abs(high)))
    floor, ceiling = storage.low, storage.high
    if step and np.isfinite(floor):
        # Limits are lattice points, so that clipping to them stays on the lattice.
        floor = offset + np.ceil((floor - offset) / step) * step
        ceiling = offset + np.floor((ceiling - offset) / step) * step
    return Feature(
        kind="integer" if step and step == round(step) and offset == round(offset) else "numeric",
        center=center,
        scale=scale,
        low=low,
        high=high,
        step=step,
        offset=offset,
        decimals=decimals,
        floor=floor,
        ceiling=ceiling,
        bits=storage.bits,
        constant=low == high,
    )


def _step_of(
    name: Hashable, j: int, values: np.ndarray, storage: Storage, overrides: KindOverrides
) -> tuple[float, float]:
    """Distance of neighbouring values of a number (0: none) and one of these values."""
    step, offset = 0.0, 0.0
    if j in overrides.steps:
        step = overrides.steps[j]
        offset = infer_offset(values, step)
        if j in overrides.integer and (step != round(step) or offset != round(offset)):
            must = "be whole for an integer column"
            raise invalid("steps", "FeatureSpace", must, step, name)
    elif j in overrides.integer:
        step = 1.0
    elif j not in overrides.continuous:
        whole = storage.family == "integer"
        step = whole_step(values) if whole else infer_step(values, storage.bits)
    if storage.family == "integer" and (not step or step != round(step)):
        raise ValueError(
            f"Column {name!r} is stored as {storage.text} and must have a whole step. Convert "
            "it to float to let it take other values."
        )
    return step, offset


def _learn_categorical(table: Table, j: int, storage: Storage) -> Feature:
    codes, distinct = table.factorize(j)
    seen = np.unique(codes)
    missing = bool(len(seen)) and seen[0] < 0
    listed = distinct[seen[seen >= 0]].tolist()
    if not listed:
        raise _nothing(table.names[j])
    if storage.categories is None:
        listed = sorted_levels(listed)
    levels = level_array(listed, [table.missing_value(j)] if missing else [])
    return Feature(
        kind="categorical",
        levels=levels,
        declared=storage.categories if storage.categories is not None else levels.astype(object),
        missing_level=len(listed) if missing else -1,
        constant=len(levels) == 1,
    )


def _learn_ordinal(table: Table, j: int, storage: Storage, order: Sequence[Any] | None) -> Feature:
    name = table.names[j]
    if order is None:
        if storage.categories is None or not (storage.ordered or "Enum" in storage.text):
            raise ValueError(
                "The 'ordinal' parameter of FeatureSpace must be a dict that gives the levels "
                f"in order, unless a column is an ordered categorical. Got {name!r} of dtype "
                f"{storage.text} without an order."
            )
        order = storage.categories.tolist()
    declared = np.empty(len(order), dtype=object)
    declared[:] = list(order)
    codes, distinct = table.factorize(j)
    place = match_levels(declared, distinct)
    counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
    unknown = [v for v, at, n in zip(distinct, place, counts, strict=True) if at < 0 and n]
    if unknown:
        raise ValueError(
            f"The 'ordinal' parameter of FeatureSpace must list every level of {name!r}. "
            f"Got no place for {unknown[:5]}."
        )
    ranks = place[codes[codes >= 0]]
    if not len(ranks):
        raise _nothing(name)
    # A level that no training row has means nothing to the model, so it is not offered.
    observed, ranks = np.unique(ranks, return_inverse=True)
    center, scale = (0.0, 1.0) if len(observed) == 1 else center_and_scale(ranks.astype(float))
    top = float(len(observed) - 1)
    return Feature(
        kind="ordinal",
        levels=level_array(declared[observed].tolist(), []),
        declared=declared,
        center=center,
        scale=scale,
        low=0.0,
        high=top,
        step=1.0,
        decimals=0,
        floor=0.0,
        ceiling=top,
        constant=len(observed) == 1,
    )


def center_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Mean and population standard deviation, safe against overflow and underflow."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        center, scale = float(values.mean()), float(values.std())
        if not (np.isfinite(scale) and scale > 1e-150):
            largest = float(np.abs(values).max())
            center = float((values / largest).mean() * largest)
            spread = float(np.abs(values - center).max())
            scale = float(((values - center) / spread).std() * spread)
    return center, scale if scale > 0 else 1.0


def _nothing(name: Hashable) -> ValueError:
    return ValueError(
        f"Column {name!r} of the training data must have values. Got only missing ones; "
        "leave it out."
    )
