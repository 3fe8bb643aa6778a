"""Bounds of each row: rules in solver coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.bounds.joint import Joint, bind_joint, requirements_of
from scfe_sklearn.features.bounds.propagation import find_hopeless, tighten
from scfe_sklearn.features.bounds.requirements import Requirement
from scfe_sklearn.features.bounds.transitions import level_targets, rank_interval
from scfe_sklearn.features.kinds import VERTEX, Feature, as_stored, match_levels
from scfe_sklearn.features.stated import Limits, ParsedRules

if TYPE_CHECKING:
    from scfe_sklearn.features.frames import Table
    from scfe_sklearn.features.space import FeatureSpace

_SAME = 1e-9  # in training standard deviations
_ROUNDING = 8 * np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Actionability:
    """The set of points that a row may become, one row of each array per query.

    Attributes
    ----------
    lower, upper : ndarray of shape (n, D)
        Bounds of numeric and ordinal coordinates, at points that the data can have. They hold
        the factual coordinate, unless a range excludes it: then the feature stays, or jumps
        into the interval. Level coordinates: 0 and 1/sqrt(2).
    allowed : ndarray of shape (n, D), bool
        Level coordinates: whether the level may be the new one (the factual level always may).
        Numeric and ordinal coordinates: whether the feature may move.
    mutable : ndarray of shape (n, d), bool
        Whether the raw feature may take any value but the factual one.
    conflict : ndarray of shape (n,), object
        None, or why the rules of the row contradict each other.
    cost : ndarray of shape (n, d)
        The price of changing a raw feature, relative to the others; 1 by default.
    requirements : tuple of Requirement
        What a point must fulfil beside the bounds: relations, implications, and ranks between
        others that an ordinal feature may not have. The bounds are as narrow already as each of
        these implies for one feature alone.
    hopeless : ndarray of shape (n,), object, or None
        None, or why a row cannot come within strict rules; None where no rule is strict.
    """

    lower: np.ndarray
    upper: np.ndarray
    allowed: np.ndarray
    mutable: np.ndarray
    conflict: np.ndarray
    cost: np.ndarray = field(default=None)  # type: ignore[arg-type]
    requirements: tuple[Requirement, ...] = ()
    hopeless: np.ndarray | None = None

    def __post_init__(self) -> None:
        """No costs are costs of 1."""
        if self.cost is None:
            object.__setattr__(self, "cost", np.ones(self.mutable.shape))

    def take(self, rows: np.ndarray) -> Actionability:
        """The given rows, in their order."""
        return Actionability(
            self.lower[rows],
            self.upper[rows],
            self.allowed[rows],
            self.mutable[rows],
            self.conflict[rows],
            self.cost[rows],
            tuple(requirement.take(rows) for requirement in self.requirements),
            None if self.hopeless is None else self.hopeless[rows],
        )


def bind_rules(parsed: ParsedRules, space: FeatureSpace, X: Any, Z: np.ndarray) -> Actionability:
    """Turn parsed rules into bounds and allowed levels for the rows of ``X``."""
    table, order = space.align(X)
    n = table.n_rows
    bounds = Actionability(
        lower=np.zeros((n, len(space.groups_))),
        upper=np.full((n, len(space.groups_)), VERTEX),
        allowed=np.zeros((n, len(space.groups_)), dtype=bool),
        mutable=np.zeros((n, space.n_features_in_), dtype=bool),
        conflict=np.full(n, None, dtype=object),
    )
    for j, kind in enumerate(space.kinds_):
        if kind == "held":
            bounds.upper[:, space.slices_[j]] = 0.0
        elif kind == "categorical":
            unknown = np.isnan(Z[:, space.slices_[j].start])
            missing = _missing(table, order[j], space, j) if unknown.any() else None
            _bind_levels(bounds, parsed, space, j, Z, missing)
    _bind_numbers(bounds, parsed, space, table, order, Z)
    for j, cost in parsed.costs.items():
        bounds.cost[:, j] = cost
    joint = bind_joint(parsed, space, (table, order), Z)
    if not (joint.relations or joint.implications):
        return bounds
    # Before bounds are narrowed: a rule may leave no interval to a value that may be filled in.
    requirements = requirements_of(joint, space, bounds.allowed, Z, parsed.strict)
    _find_contradictions(bounds, parsed, joint, space)
    outside = find_hopeless(bounds, joint, space, Z) if parsed.strict else None
    tighten(bounds, joint, space, Z)
    return replace(bounds, requirements=requirements, hopeless=outside)


def _find_contradictions(
    bounds: Actionability, parsed: ParsedRules, joint: Joint, space: FeatureSpace
) -> None:
    """Report rows in which a relation has a lower limit above its upper one."""
    for relation, bound in zip(parsed.relations, joint.relations, strict=True):
        names = ", ".join(repr(space.names_[j]) for j in relation.features)
        for i in np.flatnonzero(relation.low > relation.high + bound.tolerance):
            bounds.conflict[i] = (
                f"the limits of a relation between {names} contradict each other "
                f"(at least {relation.low[i]:g}, at most {relation.high[i]:g})"
            )


def _numbers(
    table: Table, order: list[int], space: FeatureSpace, features: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Raw values (n, k) of numeric features with coordinates ``z``, ranks of ordinal ones."""
    values = np.rint(space.center_[features] + space.scale_[features] * z)
    plain = np.array([space.levels_[j] is None for j in features], dtype=bool)
    values[:, plain] = table.matrix([order[j] for j in features[plain]])
    return np.where(np.isfinite(values), values, np.nan)


def _missing(table: Table, at: int, space: FeatureSpace, j: int) -> np.ndarray:
    """Rows whose number or rank is missing, and not only unseen or infinite."""
    if space.levels_[j] is None:
        return np.isnan(table.numbers(at))
    return table.factorize(at)[0] < 0


def _bind_numbers(
    bounds: Actionability,
    parsed: ParsedRules,
    space: FeatureSpace,
    table: Table,
    order: list[int],
    Z: np.ndarray,
) -> None:
    """Fill in the bounds of the numeric and ordinal features; some unknown values may be filled."""
    held = np.array([space.kinds_[j] == "held" for j in space.number_features_], dtype=bool)
    features, at = space.number_features_[~held], space.number_coordinates_[~held]
    if len(features) == 0:
        return
    values, z = _numbers(table, order, space, features, Z[:, at]), Z[:, at]
    lattice = space.lattice(features)
    low, high = np.full(values.shape, -np.inf), np.full(values.shape, np.inf)
    up, down, fixed, unknown, empty = (np.zeros(values.shape, dtype=bool) for _ in range(5))
    limited = {rule.feature for rule in parsed.limits}
    for k, j in enumerate(features.tolist()):
        for flags, told in ((up, "increasing"), (down, "decreasing"), (fixed, "immutable")):
            if j in getattr(parsed, told):
                flags[:, k] = getattr(parsed, told)[j]
        if j in parsed.fillable:
            unknown[:, k] = parsed.fillable[j] & _missing(table, order[j], space, j)
        if j in limited:
            low[:, k], high[:, k], empty[:, k] = _told_interval(
                parsed, space, j, values[:, k], bounds.conflict
            )
        bounds.conflict[up[:, k] & down[:, k]] = (
            f"{space.names_[j]!r} must both increase and decrease"
        )

    # The training range, or as far as the row itself is outside of it.
    known = ~np.isnan(values)
    least, most = space.min_[features], space.max_[features]
    low = np.fmax(low, np.where(up & known, values, np.fmin(least, values)))
    high = np.fmin(high, np.where(down & known, values, np.fmax(most, values)))
    inside = (low <= values) & (values <= high)
    low, high = lattice.at_least(low), lattice.at_most(high)
    for k, j in enumerate(features.tolist()):
        if space.kinds_[j] == "ordinal":
            low[:, k], high[:, k] = rank_interval(
                parsed.moves, space.features_[j], j, values[:, k], low[:, k], high[:, k]
            )
            inside[:, k] &= (low[:, k] <= values[:, k]) & (values[:, k] <= high[:, k])

    center, scale = space.center_[features], space.scale_[features]
    elsewhere = (low < high) | ((low == high) & (np.abs(low - values) > _SAME * scale))
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


def _told_interval(
    parsed: ParsedRules, space: FeatureSpace, j: int, values: np.ndarray, conflict: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The intersection (low, high) of the ranges of a feature, and the rows where it is empty.

    Writes the reason of an empty one into ``conflict``. Relative limits come rounded inward to
    representable values.
    """
    feature, lattice = space.features_[j], space.lattice(np.array([j]))
    n = len(values)
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    told_low, told_high = low, high
    for limits in (rule for rule in parsed.limits if rule.feature == j):
        first, last = _interval(limits, feature, values)
        told_low, told_high = np.fmax(told_low, first), np.fmin(told_high, last)
        if limits.relative:
            # Sums such as 0.1 + 0.2 miss the lattice point they mean by a rounding error.
            near = _ROUNDING * (_size(values) + np.maximum(_size(first), _size(last)))[:, None]
            below = lattice.at_least(first[:, None], near)[:, 0]
            above = lattice.at_most(last[:, None], near)[:, 0]
            first = np.where(np.isfinite(first), below, first)
            last = np.where(np.isfinite(last), above, last)
        low, high = np.fmax(low, first), np.fmin(high, last)
    empty = told_low > told_high + _SAME * feature.scale
    for i in np.flatnonzero(empty):
        conflict[i] = (
            f"the limits of {space.names_[j]!r} contradict each other "
            f"(at least {told_low[i]:g}, at most {told_high[i]:g})"
        )
    return low, high, empty


def _size(values: np.ndarray) -> np.ndarray:
    """Absolute values, 0 for what is not finite."""
    return np.where(np.isfinite(values), np.abs(values), 0.0)


def _interval(
    limits: Limits, feature: Feature, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of a rule in the values (or ranks) of the feature."""
    low, high = limits.interval(values)
    if feature.kind == "ordinal" and not limits.relative:
        # Positions among all declared levels become ranks among those that training showed.
        seen = match_levels(np.asarray(feature.declared), np.asarray(feature.levels))
        low = np.where(np.isfinite(low), np.searchsorted(seen, low, "left"), low)
        high = np.where(np.isfinite(high), np.searchsorted(seen, high, "right") - 1, high)
    elif feature.bits < 64:
        # A limit means the number that the column can hold: 0.3 is 0.3 in single precision.
        low, high = as_stored(low, feature.bits), as_stored(high, feature.bits)
    return low.astype(np.float64), high.astype(np.float64)


def _bind_levels(
    bounds: Actionability,
    parsed: ParsedRules,
    space: FeatureSpace,
    j: int,
    Z: np.ndarray,
    missing: np.ndarray | None,
) -> None:
    """Fill in the allowed levels of a categorical feature; those that are ``missing`` stay so."""
    feature, block = space.features_[j], space.slices_[j]
    codes = np.where(np.isnan(Z[:, block]).any(axis=1), -1, Z[:, block].argmax(axis=1))
    allowed, named = level_targets(parsed.moves, feature, j, codes)
    if feature.missing_level >= 0:
        # To withhold an answer is no action, unless a rule offers it.
        allowed[:, feature.missing_level] &= named[:, feature.missing_level]
        # What nobody knows does not become known by itself, either.
        gone = codes == feature.missing_level
        allowed[gone] &= named[gone]
    no = np.zeros(len(codes), dtype=bool)
    allowed[parsed.immutable.get(j, no)] = False
    if missing is not None:
        allowed[missing & (codes < 0)] = False
    known = np.flatnonzero(codes >= 0)
    allowed[known, codes[known]] = True
    bounds.allowed[:, block] = allowed
    bounds.mutable[:, j] = allowed.sum(axis=1) > (codes >= 0)
