"""Check the parameters of rules against a feature space, and lay them out row by row."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.kinds import (
    MISSING,
    is_listing,
    match_levels,
    plain_level,
    position,
    positions,
)
from scfe_sklearn.features.stated.implications import parse_implications
from scfe_sklearn.features.stated.parsed import Limits, Moves, ParsedRules, Targets
from scfe_sklearn.features.stated.raw_values import refuse_held
from scfe_sklearn.features.stated.relations import parse_relations
from scfe_sklearn.features.stated.relative import Relative
from scfe_sklearn.row_values import numbers

if TYPE_CHECKING:
    from scfe_sklearn.features.space import FeatureSpace
    from scfe_sklearn.features.stated.parts import Part


def parse_rules(rules: Part, space: FeatureSpace, n: int) -> ParsedRules:
    """Check rules and all parts of them, for ``n`` rows.

    Raises
    ------
    ValueError
        If a rule names an unknown column or level, does not fit the kind of its column, has
        the wrong length, or contradicts another rule in every row.
    """
    parsed = ParsedRules({}, {}, {}, [], [], strict=any(_strict(part) for part in rules.parts()))
    fixed: dict[str, set[int]] = {"increasing": set(), "decreasing": set()}
    for part in rules.parts():
        for parameter in ("immutable", "increasing", "decreasing", "fillable"):
            flags = _flags(getattr(part, parameter), parameter, space, n)
            into = getattr(parsed, parameter)
            for j, (flag, whole) in flags.items():
                if parameter in fixed:
                    _refuse_unordered(space, j, parameter)
                    if whole:
                        fixed[parameter].add(j)
                if parameter == "fillable":
                    _refuse_unfillable(space, j)
                into[j] = into[j] | flag if j in into else flag
        parsed.limits.extend(_limits(part, space, n))
        parsed.moves.extend(_moves(part, space, n))
        if part.relations is not None:
            parsed.relations.extend(parse_relations(part, space, n))
        if part.implications is not None:
            parsed.implications.extend(parse_implications(part, space, n))
        for j, cost in _costs(part, space, n).items():
            parsed.costs[j] = parsed.costs[j] * cost if j in parsed.costs else cost
    both = sorted(fixed["increasing"] & fixed["decreasing"])
    if both:
        raise ValueError(
            "The 'increasing' and 'decreasing' parameters of Rules must not name the same "
            f"column. Got {space.names_[both[0]]!r} in both; use 'immutable' for no change."
        )
    return parsed


def _strict(part: Part) -> bool:
    """Whether rows must end within the rules."""
    if not isinstance(part.strict, (bool, np.bool_)):
        raise ValueError(
            f"The 'strict' parameter of Rules must be a bool. Got {part.strict!r} instead."
        )
    return bool(part.strict)


def _refuse_unordered(space: FeatureSpace, j: int, parameter: str) -> None:
    if space.kinds_[j] == "categorical":
        levels = np.asarray(space.levels_[j]).tolist()
        raise ValueError(
            f"The {parameter!r} parameter of Rules must name numeric or ordinal columns. "
            f"Got {space.names_[j]!r}, whose categories have no order; declare it as "
            f"FeatureSpace(ordinal={{{space.names_[j]!r}: [...]}}) with its levels "
            f"{levels[:6]} from lowest to highest."
        )


def _refuse_unfillable(space: FeatureSpace, j: int) -> None:
    if space.kinds_[j] == "categorical":
        raise ValueError(
            "The 'fillable' parameter of Rules must name numeric or ordinal columns. "
            f"Got {space.names_[j]!r}, which is categorical; use 'transitions' from None."
        )


def _costs(part: Part, space: FeatureSpace, n: int) -> dict[int, np.ndarray]:
    """The price of changing a feature, for each row."""
    if not (part.costs is None or isinstance(part.costs, Mapping)):
        raise ValueError(
            "The 'costs' parameter of Rules must be a dict from columns to positive numbers. "
            f"Got {_short(part.costs)} instead."
        )
    out = {}
    for name, given in (part.costs or {}).items():
        j = position(space.names_, name, "costs", "Rules")
        values = numbers(given)
        finite = values is not None and bool(((values > 0) & (values < np.inf)).all())
        if values is None or not finite or values.shape not in ((), (n,)):
            raise ValueError(
                "The 'costs' parameter of Rules must give a positive number for a column, or one "
                f"for each of the {n} rows. Got {_short(given)} for {name!r} instead."
            )
        out[j] = np.broadcast_to(values, (n,))
    return out


def _flags(
    wanted: Any, parameter: str, space: FeatureSpace, n: int
) -> dict[int, tuple[np.ndarray, bool]]:
    """Per feature: the rows that a rule holds for, and whether it was given for all rows."""
    if not isinstance(wanted, Mapping):
        columns = positions(space.names_, wanted, parameter, "Rules")
        return {j: (np.ones(n, dtype=bool), True) for j in columns}
    out = {}
    for name, flag in wanted.items():
        j = position(space.names_, name, parameter, "Rules")
        values = np.asarray(flag)
        masked = np.ma.is_masked(flag)
        if values.dtype.kind == "O" and values.size and {type(v) for v in values.flat} <= {bool}:
            values = values.astype(bool)
        if masked or values.dtype != bool or values.shape not in ((), (n,)):
            raise ValueError(
                f"The {parameter!r} parameter of Rules must give one bool for a column, or one "
                f"for each of the {n} rows. Got {_short(flag)} for {name!r} instead."
            )
        if values.any() or values.shape:
            out[j] = np.broadcast_to(values, (n,)), not values.shape
    return out


def _limits(part: Part, space: FeatureSpace, n: int) -> list[Limits]:
    if not (part.ranges is None or isinstance(part.ranges, Mapping)):
        raise ValueError(
            "The 'ranges' parameter of Rules must be a dict from columns to (low, high). "
            f"Got {_short(part.ranges)} instead."
        )
    out = []
    for name, limits in (part.ranges or {}).items():
        j = position(space.names_, name, "ranges", "Rules")
        refuse_held(space, j, "ranges")
        if space.kinds_[j] == "categorical":
            raise ValueError(
                "The 'ranges' parameter of Rules must name numeric or ordinal columns. "
                f"Got {name!r}, which is categorical; use 'transitions'."
            )
        if isinstance(limits, Relative):
            out.append(_relative(j, name, limits, space, n))
            continue
        if not (isinstance(limits, (tuple, list)) and len(limits) == 2):
            raise ValueError(
                "The 'ranges' parameter of Rules must give (low, high) or Relative(low, high). "
                f"Got {_short(limits)} for {name!r} instead."
            )
        if space.kinds_[j] == "ordinal":
            ends = [_level_limit(v, j, name, space, n, i) for i, v in enumerate(limits)]
        else:
            ends = [_limit(v, name, n, (-np.inf, np.inf)[i]) for i, v in enumerate(limits)]
        (low, one), (high, other) = ends
        if one and other:
            _refuse_empty(low, high, limits, name)
        out.append(Limits(j, low, high))
    return out


def _relative(j: int, name: Hashable, limits: Relative, space: FeatureSpace, n: int) -> Limits:
    if limits.factor and space.kinds_[j] == "ordinal":
        raise ValueError(
            "The 'ranges' parameter of Rules must not give a factor for an ordinal column. "
            f"Got one for {name!r}; a relative range of it counts levels."
        )
    low, one = _limit(limits.low, name, n, -np.inf)
    high, other = _limit(limits.high, name, n, np.inf)
    if one and other:
        _refuse_empty(low, high, (limits.low, limits.high), name)
    return Limits(j, low, high, relative=True, factor=bool(limits.factor))


def _refuse_empty(low: np.ndarray, high: np.ndarray, shown: Any, name: Hashable) -> None:
    if len(low) and low[0] > high[0]:
        raise ValueError(
            "The 'ranges' parameter of Rules must have low <= high. "
            f"Got ({shown[0]!r}, {shown[1]!r}) for {name!r} instead."
        )


def _limit(value: Any, name: Hashable, n: int, absent: float) -> tuple[np.ndarray, bool]:
    """One limit for each row (NaN in an array: none), and whether it is the same for all."""
    if value is None:
        return np.full(n, absent), True
    values = numbers(value)
    if values is None or values.shape not in ((), (n,)) or (not values.ndim and np.isnan(values)):
        raise ValueError(
            "The 'ranges' parameter of Rules must have numbers as limits, None for no limit, "
            f"or one number for each of the {n} rows. Got {_short(value)} for {name!r} instead."
        )
    out = np.broadcast_to(values, (n,))
    return np.where(np.isnan(out), absent, out), values.shape == ()


def _level_limit(
    value: Any, j: int, name: Hashable, space: FeatureSpace, n: int, end: int
) -> tuple[np.ndarray, bool]:
    """A limit of an ordinal feature as a position among its declared levels."""
    absent = (-np.inf, np.inf)[end]
    if value is None:
        return np.full(n, absent), True
    declared = space.features_[j].declared
    scalar = isinstance(value, (str, bytes)) or np.ndim(value) == 0
    listed = [value] if scalar else list(value)
    if not scalar and len(listed) != n:
        raise ValueError(
            "The 'ranges' parameter of Rules must have one limit, or one for each of the "
            f"{n} rows. Got {len(listed)} for {name!r} instead."
        )
    objects = np.empty(len(listed), dtype=object)
    objects[:] = [plain_level(v) for v in listed]
    try:
        place = match_levels(np.asarray(declared), objects).astype(np.float64)
    except TypeError:
        raise ValueError(_unhashable("ranges", name, value)) from None
    none = np.array([v is MISSING for v in objects], dtype=bool)
    if ((place < 0) & ~none).any():
        wrong = objects[(place < 0) & ~none][0]
        raise ValueError(
            f"The 'ranges' parameter of Rules must limit {name!r} by its levels "
            f"{np.asarray(declared).tolist()}. Got {wrong!r} instead."
        )
    return np.broadcast_to(np.where(none, absent, place), (n,)), scalar


def _moves(part: Part, space: FeatureSpace, n: int) -> list[Moves]:
    if not (part.transitions is None or isinstance(part.transitions, Mapping)):
        raise ValueError(
            "The 'transitions' parameter of Rules must be a dict from columns to "
            f"{{level: [allowed levels]}}. Got {_short(part.transitions)} instead."
        )
    out = []
    for name, given in (part.transitions or {}).items():
        j = position(space.names_, name, "transitions", "Rules")
        refuse_held(space, j, "transitions")
        if space.levels_[j] is None:
            raise ValueError(
                "The 'transitions' parameter of Rules must name categorical or ordinal columns. "
                f"Got {name!r}, which is {space.kinds_[j]}; use 'ranges'."
            )
        if isinstance(given, Mapping):
            out.append(Moves(j, np.arange(n), _by_level(given, j, name, space)))
            continue
        if not is_listing(given):
            raise ValueError(_moves_message(name, given))
        out.extend(_moves_per_row(list(given), j, name, space, n))
    return out


def _moves_per_row(
    items: list[Any], j: int, name: Hashable, space: FeatureSpace, n: int
) -> list[Moves]:
    """Rows with the same rule together, so that the work is by rule and not by row."""
    if len(items) != n:
        raise ValueError(
            "The 'transitions' parameter of Rules must give {level: [allowed levels]}, or a "
            f"list with one item for each of the {n} rows. Got {len(items)} items for {name!r}."
        )
    together: dict[Any, list[int]] = {}
    for i, item in enumerate(items):
        if item is None:
            continue
        if not is_listing(item):
            raise ValueError(_moves_message(name, item))
        is_map = isinstance(item, Mapping)
        if is_map and not all(map(is_listing, item.values())):
            raise ValueError(_moves_message(name, item))
        key = tuple((k, tuple(v)) for k, v in item.items()) if is_map else tuple(item)
        try:
            together.setdefault((is_map, key), []).append(i)
        except TypeError:
            raise ValueError(_unhashable("transitions", name, item)) from None
    out = []
    for rows in together.values():
        item = items[rows[0]]
        if isinstance(item, Mapping):
            out.append(Moves(j, np.array(rows), _by_level(item, j, name, space)))
        else:
            out.append(Moves(j, np.array(rows), anywhere=_known(item, j, name, space)))
    return out


def _by_level(given: Mapping, j: int, name: Hashable, space: FeatureSpace) -> dict:
    for allowed in given.values():
        if not is_listing(allowed):
            raise ValueError(_moves_message(name, allowed))
    sources = [plain_level(level) for level in given]
    _known(sources, j, name, space)
    return {
        source: _known(allowed, j, name, space)
        for source, allowed in zip(sources, given.values(), strict=True)
    }


def _known(levels: Iterable[Any], j: int, name: Hashable, space: FeatureSpace) -> Targets:
    """Levels as a set; ValueError for one that neither the dtype nor the training data have."""
    levels = list(levels)
    try:
        out = frozenset(plain_level(level) for level in levels)
    except TypeError:
        raise ValueError(_unhashable("transitions", name, levels)) from None
    feature = space.features_[j]
    listed = [level for level in out if level is not MISSING]
    objects = np.empty(len(listed), dtype=object)
    objects[:] = listed
    unknown = objects[match_levels(np.asarray(feature.declared), objects) < 0]
    if len(unknown):
        raise ValueError(
            f"The 'transitions' parameter of Rules must use levels of {name!r}, which are "
            f"{np.asarray(feature.declared).tolist()}. Got {unknown[0]!r} instead."
        )
    return out


def _unhashable(parameter: str, name: Hashable, given: Any) -> str:
    return (
        f"The {parameter!r} parameter of Rules must name levels of {name!r}, which are single "
        f"values. Got {_short(given)} instead."
    )


def _moves_message(name: Hashable, given: Any) -> str:
    return (
        "The 'transitions' parameter of Rules must give {level: [allowed levels]}, or a list "
        "of such dicts or of lists of allowed levels with one item for each row. "
        f"Got {_short(given)} for {name!r} instead."
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
