"""Parsed rules of n rows: bind them to bounds, and find what changes or values break them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.data import VERTEX, FeatureSpace, ranks
from scfe_sklearn.rules.atoms import AllOf, BoundAtom
from scfe_sklearn.rules.base import (
    TOLERANCE,
    BoundRule,
    Change,
    ColumnRule,
    JointRule,
    Options,
    RawRows,
)
from scfe_sklearn.rules.bounds import SAME, Actionability, Narrowing, codes_of
from scfe_sklearn.rules.flags import Immutable
from scfe_sklearn.rules.implications import BoundImplication, always


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
        # The level "missing" may be entered only where a transition names it.
        allowed[:, feature.missing_level] &= offered[:, feature.missing_level]
        # A missing level stays missing unless a transition names a new one.
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


_PASSES = 2


@dataclass(frozen=True, eq=False)
class ParsedRules(RowBatch):
    """Rules that were checked against a feature space, for n rows.

    Parameters
    ----------
    columns : tuple of ColumnRule
        Rules of single columns.
    joint : tuple of JointRule
        Rules between columns: relations and budgets first.
    strict : bool
        Whether a row must end within the rules, also where it breaks one already.
    """

    columns: tuple[ColumnRule, ...]
    joint: tuple[JointRule, ...]
    strict: bool = False
    _by_row = ("columns", "joint")

    @property
    def about_values(self) -> bool:
        """Whether any rule is about values, and not only about their changes."""
        rules: tuple[ColumnRule | JointRule, ...] = (*self.columns, *self.joint)
        return any(rule.about_values for rule in rules)

    def immutable(self, space: FeatureSpace, n: int) -> np.ndarray:
        """(n, d) whether a feature is immutable."""
        found = np.zeros((n, space.n_features_in_), dtype=bool)
        for rule in self.columns:
            if isinstance(rule, Immutable):
                found[:, rule.feature] |= rule.rows
        return found

    # ----------------------------------------------------------------------------- bounds

    def bind(self, space: FeatureSpace, X: Any, Z: np.ndarray) -> Actionability:
        """Work out where each row may go; see `Rules.bind`."""
        rows = RawRows(space, X)
        bounds = bind_columns(self.columns, rows, Z)
        joint = self.bind_joint(space, rows, Z)
        if not joint:
            return bounds
        # Before bounds are narrowed: a rule may leave no interval to a value that may be filled in.
        requirements = tuple(rule.requirement(bounds.allowed) for rule in joint)
        if self.strict and len(requirements) > 1:
            requirements = (AllOf(requirements),)  # rows that break several begin outside of all
        for rule, bound in zip(self.joint, joint, strict=False):
            rule.contradictions(bound, bounds.conflict, space.names_)
        narrowing = Narrowing(bounds, space, Z)
        infeasible = _infeasible(joint, narrowing) if self.strict else None
        for _ in range(_PASSES):
            for bound in joint:
                bound.narrow(narrowing)
        return replace(bounds, requirements=requirements, infeasible=infeasible)

    def bind_joint(self, space: FeatureSpace, X: Any, Z: np.ndarray) -> tuple[BoundRule, ...]:
        """The rules between columns, relaxed to what the factual rows break already.

        With them come rules that bounds cannot hold: gaps between the ranks that an ordinal
        feature may have, and ranges and levels of strict rules.
        """
        rows = X if isinstance(X, RawRows) else RawRows(space, X)
        found: list[BoundRule] = [rule.bind(rows, Z, self.strict) for rule in self.joint]
        ruled = {rule.feature for rule in self.columns}
        for j in sorted(j for j in ruled if space.kinds_[j] == "ordinal"):
            member = rank_gaps(self.columns, rows, j, Z)
            if member is not None:
                found.append(always(BoundAtom.of_levels(space, j, member)))
        if self.strict:
            within = (rule.kept_within(rows) for rule in self.columns)
            found += [rule for rule in within if rule is not None]
        return tuple(found)

    # ------------------------------------------------------------------------- raw values

    def violations(self, space: FeatureSpace, before: Any, after: Any) -> np.ndarray:
        """(n, d) whether a change of the feature breaks a rule; see `Rules.violations`."""
        old, new = RawRows(space, before), RawRows(space, after)
        broken, changed, lost = np.zeros((3, len(old), space.n_features_in_), dtype=bool)
        for j in range(space.n_features_in_):
            if space.levels_[j] is not None:
                broken[:, j], changed[:, j], lost[:, j] = self._of_levels(j, old, new)
        plain = space.plain_features_
        broken[:, plain], changed[:, plain], lost[:, plain] = self._of_numbers(plain, old, new)
        for rule in self.joint:
            wrong = rule.breaks(old, new, changed)
            for j in rule.features:
                broken[:, j] |= wrong & changed[:, j]
        if self.strict and self.about_values:
            broken |= self._outside(new)
        held = np.array([kind == "held" for kind in space.kinds_])
        return broken & ~(lost | held).all(axis=1, keepdims=True)

    def _of_numbers(
        self, features: np.ndarray, old: RawRows, new: RawRows
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Broken rules, changes and missing new values (n, k) of numeric features."""
        space = old.space
        before, after = (
            rows.table.matrix([rows.order[j] for j in features]) for rows in (old, new)
        )
        slack = TOLERANCE * space.scale_[features]
        lost, missing = np.isnan(after), np.isnan(before)
        with np.errstate(invalid="ignore"):
            same = (before == after) | (np.abs(after - before) <= slack)
        changed = ~(same | (lost & missing))
        broken = lost | missing
        ruled = {rule.feature for rule in self.columns}
        for k, j in enumerate(features.tolist()):
            if j in ruled and changed[:, k].any():
                bits = min(old.bits(j), new.bits(j))
                change = Change(
                    space.features_[j], before[:, k], after[:, k], slack=float(slack[k]), bits=bits
                )
                unknown, rules = self._breaks(j, change)
                broken[:, k] = rules | lost[:, k] | (missing[:, k] & unknown)
        return changed & broken, changed, lost

    def _of_levels(
        self, j: int, old: RawRows, new: RawRows
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Broken rules, changes and missing new values (n,) of a feature with levels."""
        feature = old.space.features_[j]
        (before, old_levels), (after, new_levels) = old.coded(j), new.coded(j)
        same = np.array([[a == b for b in new_levels] for a in old_levels], dtype=bool)
        changed = ~same.reshape(len(old_levels), len(new_levels))[before, after]
        lost, missing = after == len(new_levels) - 1, before == len(old_levels) - 1
        places = (before, after)
        if feature.kind == "ordinal":
            declared = np.asarray(feature.declared)
            places = (ranks(declared, old_levels)[before], ranks(declared, new_levels)[after])
        change = Change(feature, *places, old=(before, old_levels), new=(after, new_levels))
        unknown, broken = self._breaks(j, change)
        broken = broken | (missing & unknown)
        if feature.kind == "ordinal":
            broken |= lost
        return changed & broken, changed, lost

    def _breaks(self, j: int, change: Change) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n,) in which what is missing must stay so, and rows that break a rule."""
        n = len(change.before)
        unknown, broken = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
        for rule in self.columns:
            if rule.feature == j:
                unknown &= ~np.asarray(rule.permits_filling(change))
                broken |= rule.breaks(change)
        return unknown, broken

    def outside(self, space: FeatureSpace, X: Any) -> np.ndarray:
        """Find the features whose values break a rule about values.

        These rules are absolute ranges, levels that a row may take, relations between values and
        implications. Rules about changes (immutable, directions, relative ranges, transitions from
        a level, budgets) hold for a value that stays. A missing value is not judged.

        Parameters
        ----------
        space : FeatureSpace
            The fitted space.
        X : DataFrame, ndarray of shape (n, d) or Table
            The rows.

        Returns
        -------
        ndarray of shape (n, d), bool
            A relation or implication that is broken marks each of its features.
        """
        return self._outside(RawRows(space, X))

    def _outside(self, rows: RawRows) -> np.ndarray:
        outside = np.zeros((len(rows), rows.space.n_features_in_), dtype=bool)
        for column in self.columns:
            outside[:, column.feature] |= column.outside(rows)
        for rule in self.joint:
            outside[:, list(rule.features)] |= np.asarray(rule.outside(rows))[..., None]
        return outside


def _infeasible(joint: Sequence[BoundRule], narrowing: Narrowing) -> np.ndarray:
    """(n,) None, or why no point within the bounds keeps a rule: the first implication, if any."""
    reasons = np.full(len(narrowing.Z), None, dtype=object)
    implications = [rule for rule in joint if isinstance(rule, BoundImplication)]
    others = [rule for rule in joint if not isinstance(rule, BoundImplication)]
    for rule in (*reversed(others), *reversed(implications)):
        names = " and ".join(repr(narrowing.space.names_[j]) for j in dict.fromkeys(rule.features))
        reasons[rule.infeasible(narrowing)] = f"{names} cannot come within the rules"
    return reasons
