"""Permitted changes of levels: for level coordinates, and as intervals of ranks."""

from __future__ import annotations

import numpy as np

from scfe_sklearn.features.kinds import MISSING, Feature
from scfe_sklearn.features.stated import Moves


def level_targets(
    moves: list[Moves], feature: Feature, j: int, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n, L) levels that rows with the given level codes may become, and those named for it."""
    levels = np.asarray(feature.levels)
    objects = levels.astype(object)
    if feature.missing_level >= 0:
        objects[feature.missing_level] = MISSING
    allowed = np.ones((len(codes), len(levels)), dtype=bool)
    named = np.zeros_like(allowed)
    for rule in (rule for rule in moves if rule.feature == j):
        permitted = np.ones((len(levels) + 1, len(levels)), dtype=bool)  # last: unseen level
        told = np.zeros_like(permitted)
        for code in range(len(levels) + 1):
            targets = rule.targets(objects[code] if code < len(levels) else object())
            if targets is not None:
                permitted[code] = told[code] = [level in targets for level in objects]
        allowed[rule.rows] &= permitted[codes[rule.rows]]
        named[rule.rows] |= told[codes[rule.rows]]
    return allowed, named


def rank_targets(
    moves: list[Moves], feature: Feature, j: int, values: np.ndarray
) -> np.ndarray | None:
    """(n, L) ranks other than their own that rows may take; None if no transition is named.

    Parameters
    ----------
    moves : list of Moves
        Transitions of all features.
    feature : Feature
        An ordinal one.
    j : int
        Its position.
    values : ndarray of shape (n,)
        Ranks of the rows, NaN where there is none.
    """
    if not any(rule.feature == j for rule in moves):
        return None
    current = np.where(np.isfinite(values), values, -1.0).astype(np.intp)
    allowed, _ = level_targets(moves, feature, j, current)
    known = np.flatnonzero(current >= 0)
    allowed[known, current[known]] = False
    return allowed


def rank_interval(
    moves: list[Moves],
    feature: Feature,
    j: int,
    values: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Within ``first`` and ``last`` (n,) the interval of the ranks that rows may take.

    A rank of their own beside it belongs to it. Where there is no rank, it is (1, 0). Ranks
    inside that a row may not take are left to `open_ranks`.
    """
    allowed = rank_targets(moves, feature, j, values)
    if allowed is None:
        return first, last
    ranks = np.arange(allowed.shape[1])
    allowed &= (ranks >= first[:, None]) & (ranks <= last[:, None])
    low = allowed.argmax(axis=1).astype(np.float64)
    high = ranks[-1] - allowed[:, ::-1].argmax(axis=1).astype(np.float64)
    low, high = np.where(values == low - 1, values, low), np.where(values == high + 1, values, high)
    some = allowed.any(axis=1)
    return np.where(some, low, 1.0), np.where(some, high, 0.0)


def open_ranks(
    moves: list[Moves], feature: Feature, j: int, values: np.ndarray
) -> np.ndarray | None:
    """(n, L) ranks that rows may have; None if an interval has the same effect in every row."""
    allowed = rank_targets(moves, feature, j, values)
    if allowed is None:
        return None
    known = np.flatnonzero(np.isfinite(values))
    allowed[known, values[known].astype(np.intp)] = True
    starts = np.diff(allowed.astype(np.int8), axis=1, prepend=0) > 0
    return allowed if (starts.sum(axis=1) > 1).any() else None
