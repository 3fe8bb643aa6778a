"""Several answers per row: other sets of features first, then clearly different values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.judge import Candidates, Rows, gathered
from scfe_sklearn.recourse.query import Query
from scfe_sklearn.solvers.fallback import SPACING

ROUNDS = 4
"""Most searches with a feature of the answers so far held fixed."""

EACH = 4
"""Candidates of a search that are judged."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Points of some rows with the verdicts of the judge.

    Parameters
    ----------
    rows : ndarray of shape (m,), int
        The rows.
    found : Candidates
        Their candidates, (m, P).
    after : ndarray of shape (m, P, D)
        Coordinates of the decoded rows.
    good : ndarray of shape (m, P), bool
        Which are answers.
    """

    rows: np.ndarray
    found: Candidates
    after: np.ndarray
    good: np.ndarray


def distinct(
    engine: Engine,
    query: Query,
    judged: Judged,
    after: np.ndarray,
    there: np.ndarray,
    fresh: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose accepted points that differ from the answers that rows have already.

    Points are compared as they are decoded.

    Parameters
    ----------
    engine : Engine
        Feature space.
    query : Query
        All rows.
    judged : Judged
        Points of m of the rows.
    after : ndarray of shape (m, k, D)
        Coordinates of the answers so far; changed in place.
    there : ndarray of shape (m, k), bool
        Which of them there are; changed in place.
    fresh : bool
        Whether a point must change another set of features; else, of points with the same set,
        at least one value must differ clearly.

    Returns
    -------
    row, slot, entry : ndarray of int
        Which of the m rows get which of their points as which of their answers.
    """
    m, k = there.shape
    factual = query.Z[judged.rows]
    support = np.zeros((m, k, engine.space.n_features_in_), dtype=bool)
    at = np.nonzero(there)
    support[at] = engine.space.changed(after[at], factual[at[0]])
    taken: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for place in range(judged.good.shape[1]):
        open_ = np.flatnonzero(judged.good[:, place] & ~there.all(axis=1))
        if len(open_) == 0:
            continue
        point = judged.after[open_, place]
        own = engine.space.changed(point, factual[open_])
        same = (support[open_] == own[:, None]).all(axis=2) & there[open_]
        if not fresh:
            gap = np.abs(np.nan_to_num(after[open_]) - np.nan_to_num(point)[:, None]).max(axis=2)
            same &= gap < SPACING
        new = ~same.any(axis=1)
        row = open_[new]
        slot = there[row].argmin(axis=1)
        after[row, slot], support[row, slot], there[row, slot] = point[new], own[new], True
        taken.append((row, slot, np.full(len(row), place)))
    if not taken:
        none = np.zeros(0, dtype=np.intp)
        return none, none, none
    row, slot, entry = (np.concatenate(part) for part in zip(*taken, strict=True))
    return row, slot, entry


def other_sets(n: int, row: np.ndarray, changed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which features must stay so that answers change sets that contain no known one.

    Such a set has no feature that answers a row alone, and lacks one of every other set.

    Parameters
    ----------
    n : int
        Number of rows.
    row : ndarray of shape (a,), int
        Row of each answer so far.
    changed : ndarray of shape (a, d), bool
        Features that it changes.

    Returns
    -------
    owner : ndarray of shape (m,), int
        Row of each search.
    stays : ndarray of shape (m, d), bool
        Features that must not change in it.

    Examples
    --------
    >>> changed = np.array([[1, 0, 0, 0], [0, 1, 1, 0]], dtype=bool)
    >>> other_sets(1, np.array([0, 0]), changed)[1].astype(int)
    array([[1, 1, 0, 0],
           [1, 0, 1, 0]])
    """
    alone, used = np.zeros((2, n, changed.shape[1]), dtype=bool)
    single = changed.sum(axis=1) == 1
    np.logical_or.at(alone, row[single], changed[single])
    np.logical_or.at(used, row, changed)
    owner, feature = np.nonzero(used & ~alone)
    stays = alone[owner]
    stays[np.arange(len(owner)), feature] = True
    rest = np.setdiff1d(np.flatnonzero(alone.any(axis=1)), owner)
    return np.concatenate([owner, rest]), np.concatenate([stays, alone[rest]])


def without_features(query: Query, rows: np.ndarray, stays: np.ndarray, groups: np.ndarray) -> Rows:
    """Return rows (m,) of a query of which the flagged features (m, d) must not change."""
    part = query.rows.take(rows)
    own, bounds = stays[:, groups], part.bounds
    bounds = replace(
        bounds,
        lower=np.where(own, part.Z, bounds.lower),
        upper=np.where(own, part.Z, bounds.upper),
        allowed=bounds.allowed & ~own,
        mutable=bounds.mutable & ~stays,
    )
    return replace(part, bounds=bounds)


def side_by_side(n: int, owner: np.ndarray, found: Candidates, count: int) -> Candidates:
    """Join the candidates of instances (m,) of n rows, the first ``count`` of each."""
    return gathered(
        n, owner, Candidates(found.z[:, :count], found.cost[:, :count], found.code[:, :count])
    )
