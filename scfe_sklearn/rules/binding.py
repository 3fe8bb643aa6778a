"""Bind rules to rows: bounds and allowed levels of each feature, in solver coordinates."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from scfe_sklearn.data import VERTEX
from scfe_sklearn.rules.actionability import Actionability
from scfe_sklearn.rules.base import ColumnRule, Options, RawRows
from scfe_sklearn.rules.narrowing import SAME, codes_of


def bind_columns(rules: Iterable[ColumnRule], rows: RawRows, Z: np.ndarray) -> Actionability:
    """Turn the rules of single columns into bounds and allowed levels.

    Parameters
    ----------
    rules : iterable of ColumnRule
        The rules.
    rows : RawRows
        The factual rows.
    Z : ndarray of shape (n, D)
        Their coordinates.

    Returns
    -------
    Actionability
        Bounds without requirements.
    """
    space, n = rows.space, len(rows)
    bounds = Actionability(
        lower=np.zeros((n, len(space.groups_))),
        upper=np.full((n, len(space.groups_)), VERTEX),
        allowed=np.zeros((n, len(space.groups_)), dtype=bool),
        mutable=np.zeros((n, space.n_features_in_), dtype=bool),
        conflict=np.full(n, None, dtype=object),
    )
    features = np.array([j for j in space.number_features_ if space.kinds_[j] != "held"], dtype=int)
    values = _raw_values(rows, features, Z)
    column = {j: k for k, j in enumerate(features.tolist())}
    options: dict[int, Options] = {}
    for rule in rules:
        j = rule.feature
        if j not in options:
            own = values[:, column[j]] if j in column else codes_of(space, j, Z)
            options[j] = Options(space, j, own)
        rule.narrow(options[j])
    for j, option in options.items():
        bounds.cost[:, j] = option.cost
    for j, kind in enumerate(space.kinds_):
        if kind == "held":
            bounds.upper[:, space.slices_[j]] = 0.0
        elif kind == "categorical":
            option = options.get(j) or Options(space, j, codes_of(space, j, Z))
            _bind_levels(bounds, option, j, rows)
    if len(features):
        _bind_numbers(bounds, options, features, values, rows, Z)
    return bounds


def _raw_values(rows: RawRows, features: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Numbers (n, k) of numeric features, ranks of ordinal ones; NaN where not finite."""
    space = rows.space
    at = [space.slices_[j].start for j in features]
    values = np.rint(space.center_[features] + space.scale_[features] * Z[:, at])
    plain = np.array([space.levels_[j] is None for j in features], dtype=bool)
    values[:, plain] = rows.table.matrix([rows.order[j] for j in features[plain]])
    return np.where(np.isfinite(values), values, np.nan)


def _bind_levels(bounds: Actionability, options: Options, j: int, rows: RawRows) -> None:
    """Fill in the allowed levels of a categorical feature; missing ones stay so."""
    feature, block, codes = options.feature, rows.space.slices_[j], options.codes
    allowed, offered = options.permitted.copy(), options.offered
    if feature.missing_level >= 0:
        # To withhold an answer is no action, unless a rule offers it.
        allowed[:, feature.missing_level] &= offered[:, feature.missing_level]
        # What nobody knows does not become known by itself, either.
        gone = codes == feature.missing_level
        allowed[gone] &= offered[gone]
    allowed[options.immutable] = False
    if (codes < 0).any():
        allowed[rows.missing(j) & (codes < 0)] = False
    known = np.flatnonzero(codes >= 0)
    allowed[known, codes[known]] = True
    bounds.allowed[:, block] = allowed
    bounds.mutable[:, j] = allowed.sum(axis=1) > (codes >= 0)


def _bind_numbers(
    bounds: Actionability,
    options: dict[int, Options],
    features: np.ndarray,
    values: np.ndarray,
    rows: RawRows,
    Z: np.ndarray,
) -> None:
    """Fill in the bounds of numeric and ordinal features; some unknown values may be filled."""
    space = rows.space
    at = np.array([space.slices_[j].start for j in features])
    z = Z[:, at]
    low, high = np.full(values.shape, -np.inf), np.full(values.shape, np.inf)
    up, down, fixed, unknown, empty = (np.zeros(values.shape, dtype=bool) for _ in range(5))
    ruled = [(k, options[j], j) for k, j in enumerate(features.tolist()) if j in options]
    for k, option, j in ruled:
        low[:, k], high[:, k], empty[:, k] = option.low, option.high, option.empty
        up[:, k], down[:, k] = option.increasing, option.decreasing
        fixed[:, k] = option.immutable
        if option.fillable.any():
            unknown[:, k] = option.fillable & rows.missing(j)
        _note_conflicts(option, bounds.conflict)

    # The training range, or as far as the row itself is outside of it.
    known = ~np.isnan(values)
    least, most = space.min_[features], space.max_[features]
    low = np.fmax(low, np.where(up & known, values, np.fmin(least, values)))
    high = np.fmin(high, np.where(down & known, values, np.fmax(most, values)))
    inside = (low <= values) & (values <= high)
    lattice = space.lattice(features)
    low, high = lattice.at_least(low), lattice.at_most(high)
    for k, option, _ in ruled:
        if option.has_transitions:
            low[:, k], high[:, k] = _rank_interval(option, low[:, k], high[:, k])
            inside[:, k] &= (low[:, k] <= values[:, k]) & (values[:, k] <= high[:, k])

    center, scale = space.center_[features], space.scale_[features]
    elsewhere = (low < high) | ((low == high) & (np.abs(low - values) > SAME * scale))
    free = np.where(unknown, low <= high, elsewhere & known & ~space.constant_[features])
    free &= ~(fixed | empty | (up & down))
    with np.errstate(invalid="ignore"):
        lower, upper = (low - center) / scale, (high - center) / scale
    # A factual value between two lattice points is itself an end of its interval.
    lower = np.where(inside, np.fmin(lower, z), lower)
    upper = np.where(inside, np.fmax(upper, z), upper)
    bounds.lower[:, at] = np.where(free, lower, z)
    bounds.upper[:, at] = np.where(free, upper, z)
    bounds.allowed[:, at] = free
    bounds.mutable[:, features] = free


def _note_conflicts(options: Options, conflict: np.ndarray) -> None:
    """Write into ``conflict`` (n,) why the rules of a number contradict each other."""
    for i in np.flatnonzero(options.empty):
        conflict[i] = (
            f"the limits of {options.name!r} contradict each other "
            f"(at least {options.stated_low[i]:g}, at most {options.stated_high[i]:g})"
        )
    both = options.increasing & options.decreasing
    conflict[both] = f"{options.name!r} must both increase and decrease"


def other_ranks(options: Options) -> np.ndarray:
    """(n, L) ranks other than their own that rows may take by transitions."""
    allowed, codes = options.permitted.copy(), options.codes
    known = np.flatnonzero(codes >= 0)
    allowed[known, codes[known]] = False
    return allowed


def _rank_interval(
    options: Options, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Within ``first`` and ``last`` (n,) the interval of the ranks that rows may take.

    A rank of their own next to it belongs to it. Where there is no rank, it is (1, 0). Ranks
    inside that a row may not take are left to `rank_gaps`.
    """
    allowed, values = other_ranks(options), options.values
    ranks = np.arange(allowed.shape[1])
    allowed &= (ranks >= first[:, None]) & (ranks <= last[:, None])
    low = allowed.argmax(axis=1).astype(np.float64)
    high = ranks[-1] - allowed[:, ::-1].argmax(axis=1).astype(np.float64)
    low, high = np.where(values == low - 1, values, low), np.where(values == high + 1, values, high)
    some = allowed.any(axis=1)
    return np.where(some, low, 1.0), np.where(some, high, 0.0)


def rank_gaps(
    rules: Iterable[ColumnRule], rows: RawRows, j: int, Z: np.ndarray
) -> np.ndarray | None:
    """(n, L) ranks of an ordinal feature by its rules; None if an interval has the same effect."""
    options = Options(rows.space, j, codes_of(rows.space, j, Z))
    for rule in rules:
        if rule.feature == j:
            rule.narrow(options)
    if not options.has_transitions:
        return None
    allowed, codes = options.permitted, options.codes
    known = np.flatnonzero(codes >= 0)
    allowed[known, codes[known]] = True
    starts = np.diff(allowed.astype(np.int8), axis=1, prepend=0) > 0
    return allowed if (starts.sum(axis=1) > 1).any() else None
