"""Rules that a change breaks, from the raw values alone."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.kinds import Feature, as_stored
from scfe_sklearn.features.stated.joint_violations import find_joint_violations
from scfe_sklearn.features.stated.outside import find_outside
from scfe_sklearn.features.stated.parsed import ParsedRules
from scfe_sklearn.features.stated.raw_values import coded, ranks

if TYPE_CHECKING:
    from scfe_sklearn.features.frames import Table
    from scfe_sklearn.features.space import FeatureSpace

_TOLERANCE = 1e-9  # in training standard deviations


def find_violations(
    parsed: ParsedRules, space: FeatureSpace, before: Any, after: Any
) -> np.ndarray:
    """(n, d) whether a change of the feature breaks a rule; rows all missing break none.

    Of strict rules, a value that stays outside of a rule breaks it as well.
    """
    (old, old_order), (new, new_order) = space.align(before), space.align(after)
    n, d = old.n_rows, space.n_features_in_
    broken = np.zeros((n, d), dtype=bool)
    lost, changed = broken.copy(), broken.copy()
    for j in range(d):
        if space.levels_[j] is not None:
            at, to = old_order[j], new_order[j]
            broken[:, j], changed[:, j], lost[:, j] = _level(parsed, space, j, old, at, new, to)
    plain = space.plain_features_
    broken[:, plain], changed[:, plain], lost[:, plain] = _numbers(
        parsed, space, plain.tolist(), (old, old_order), (new, new_order)
    )
    if parsed.relations or parsed.implications:
        opened = (old, old_order), (new, new_order)
        broken |= find_joint_violations(parsed, space, *opened, changed)
    if parsed.strict and parsed.about_values:
        broken |= find_outside(parsed, space, (new, new_order))
    held = np.array([kind == "held" for kind in space.kinds_])
    return broken & ~(lost | held).all(axis=1, keepdims=True)


def _numbers(
    parsed: ParsedRules,
    space: FeatureSpace,
    features: list[int],
    old: tuple[Table, list[int]],
    new: tuple[Table, list[int]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Broken rules, changes and missing new values (n, k) of numeric features."""
    places = [[order[j] for j in features] for _, order in (old, new)]
    before, after = old[0].matrix(places[0]), new[0].matrix(places[1])
    slack = _TOLERANCE * space.scale_[features]
    lost, missing = np.isnan(after), np.isnan(before)
    with np.errstate(invalid="ignore"):
        same = (before == after) | (np.abs(after - before) <= slack)
    changed = ~(same | (lost & missing))
    broken = lost | missing
    ruled = {*parsed.immutable, *parsed.increasing, *parsed.decreasing, *parsed.fillable}
    limited = {limits.feature for limits in parsed.limits}
    for k, j in enumerate(features):
        if j in ruled | limited and changed[:, k].any():
            bits = 64
            if j in limited:
                ends = old[0].storage(places[0][k]), new[0].storage(places[1][k])
                bits = min(end.bits for end in ends)
            ordered = _out_of_order(parsed, j, before[:, k], after[:, k], slack[k], bits)
            broken[:, k] = ordered | lost[:, k] | _filled(parsed, j, missing[:, k])
    return changed & broken, changed, lost


def _filled(parsed: ParsedRules, j: int, missing: np.ndarray) -> np.ndarray:
    """Missing numbers that must stay missing."""
    return missing & ~parsed.fillable.get(j, np.zeros(len(missing), dtype=bool))


def _out_of_order(
    parsed: ParsedRules,
    j: int,
    before: np.ndarray,
    after: np.ndarray,
    slack: float,
    bits: int = 64,
) -> np.ndarray:
    """Whether a changed number (or rank) breaks a rule; a missing new value breaks any."""
    n = len(before)
    no = np.zeros(n, dtype=bool)
    broken = parsed.immutable.get(j, no).copy()
    known = ~np.isnan(before)
    broken |= parsed.increasing.get(j, no) & known & ~(after >= before - slack)
    broken |= parsed.decreasing.get(j, no) & known & ~(after <= before + slack)
    for limits in (rule for rule in parsed.limits if rule.feature == j):
        low, high = limits.interval(before)
        low, high = as_stored(low, bits), as_stored(high, bits)
        unlimited = np.isneginf(limits.low) & np.isposinf(limits.high)
        unlimited |= ~known & limits.relative
        broken |= ~unlimited & ~((after >= low - slack) & (after <= high + slack))
    return broken


def _level(
    parsed: ParsedRules, space: FeatureSpace, j: int, old: Table, at: int, new: Table, to: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Broken rules, changes and missing new values of a categorical or ordinal feature."""
    before, old_levels = coded(old, at)
    after, new_levels = coded(new, to)
    same = np.array([[a == b for b in new_levels] for a in old_levels], dtype=bool)
    same = same.reshape(len(old_levels), len(new_levels))
    changed = ~same[before, after]
    no = np.zeros(len(before), dtype=bool)
    broken = parsed.immutable.get(j, no).copy()
    feature = space.features_[j]
    lost = after == len(new_levels) - 1
    if feature.kind == "ordinal":
        broken |= lost | _filled(parsed, j, before == len(old_levels) - 1)
        broken |= _out_of_rank(parsed, feature, j, (before, old_levels), (after, new_levels))
    gone = len(old_levels) - 1
    offered = np.zeros(len(before), dtype=bool)
    for rule in (rule for rule in parsed.moves if rule.feature == j):
        forbidden = np.zeros_like(same)
        for i, level in enumerate(old_levels):
            targets = rule.targets(level)
            if targets is not None:
                forbidden[i] = [other not in targets for other in new_levels]
                offered[rule.rows] |= i == gone
        broken[rule.rows] |= forbidden[before[rule.rows], after[rule.rows]]
    if feature.kind == "categorical":
        broken |= (before == gone) & ~offered
    return changed & broken, changed, lost


def _out_of_rank(
    parsed: ParsedRules,
    feature: Feature,
    j: int,
    before: tuple[np.ndarray, list[Hashable]],
    after: tuple[np.ndarray, list[Hashable]],
) -> np.ndarray:
    """Broken directions and limits of an ordinal feature, in the declared order of levels."""
    declared, seen = np.asarray(feature.declared), np.asarray(feature.levels)
    absolute = ParsedRules(
        {}, parsed.increasing, parsed.decreasing, [r for r in parsed.limits if not r.relative], []
    )
    relative = ParsedRules({}, {}, {}, [r for r in parsed.limits if r.relative], [])
    broken = np.zeros(len(before[0]), dtype=bool)
    for rules, order in ((absolute, declared), (relative, seen)):
        places = [ranks(order, levels)[codes] for codes, levels in (before, after)]
        broken |= _out_of_order(rules, j, places[0], places[1], _TOLERANCE)
    return broken
