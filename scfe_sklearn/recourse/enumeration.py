"""Enumeration of all permitted points if these are few: an answer, or a proof of its absence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.judge import Judge
from scfe_sklearn.recourse.query import Query
from scfe_sklearn.rules import Actionability

LIMIT = 4096
"""Most permitted points of a row that are listed."""

BATCH = 2**15
"""Points of one call of the model, about."""


def permitted_points(
    space: FeatureSpace,
    z: np.ndarray,
    bounds: Actionability,
    max_changes: int | None,
    limit: int = LIMIT,
) -> np.ndarray | None:
    """List all permitted points of a row, other than itself.

    Parameters
    ----------
    space : FeatureSpace
        The fitted feature space.
    z : ndarray of shape (D,)
        The row.
    bounds : Actionability
        Where it may go: of one row.
    max_changes : int or None
        Budget of changed features.
    limit : int
        Points at most.

    Returns
    -------
    ndarray of shape (N, D) or None
        None where there are more than ``limit``, or infinitely many.
    """
    lists = []
    for part in space.slices_:
        option = _options(space, z, bounds, part, limit)
        if option is None:
            return None
        if len(option):
            lists.append((part, option))
    budget = len(lists) if max_changes is None else min(max_changes, len(lists))
    if _count([len(option) for _, option in lists], budget) > limit:
        return None
    points, changes = z[None], np.zeros(1, dtype=np.intp)
    for part, option in lists:
        parents = points[changes < budget]
        moved = np.repeat(parents, len(option), axis=0)
        moved[:, part] = np.tile(option, (len(parents), 1))
        points = np.concatenate([points, moved])
        changes = np.concatenate([changes, np.repeat(changes[changes < budget] + 1, len(option))])
    return points[1:]


def _options(
    space: FeatureSpace, z: np.ndarray, bounds: Actionability, part: slice, limit: int
) -> np.ndarray | None:
    """Other values (N, width) that a feature may take; None if there are more than ``limit``."""
    allowed, now = bounds.allowed[0, part], z[part]
    if space.kinds_[space.groups_[part.start]] == "categorical":
        levels = np.eye(len(now))[allowed & ~(now > 0)]
        return np.asarray(levels / np.sqrt(2))
    low, high = bounds.lower[0, part.start], bounds.upper[0, part.start]
    if not allowed[0] or low > high:
        return np.empty((0, 1))
    step, offset = space.z_step_[part.start], space.z_offset_[part.start]
    if step > 0 and np.isfinite(high - low):
        first = np.ceil((low - offset) / step - 1e-6)
        last = np.floor((high - offset) / step + 1e-6)
        if last - first > limit:
            return None
        values = offset + step * np.arange(first, last + 1)
    elif low == high:
        values = np.array([low])
    else:
        return None
    return values[abs(values - now[0]) > 1e-9][:, None]


def _count(sizes: list[int], budget: int) -> int:
    """Number of points other than the row itself: sums of products of at most ``budget`` sizes."""
    ways = [1] + [0] * budget
    for size in sizes:
        for k in range(budget, 0, -1):
            ways[k] += ways[k - 1] * size
    return sum(ways[1:])


def search_exhaustively(
    engine: Engine, judge: Judge, query: Query, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answer rows that have few permitted points, or prove that none of these is an answer.

    Parameters
    ----------
    engine : Engine
        Feature space, densities and prices.
    judge : Judge
        The user's model and rules.
    query : Query
        All rows with their targets.
    rows : ndarray of shape (m,), int
        The rows in question.

    Returns
    -------
    point : ndarray of shape (m, D)
        The cheapest answers; the rows themselves where there is none.
    code : ndarray of shape (m,), int
        The kinds of answers that these are, -1 where there is none.
    proof : ndarray of shape (m,), object
        Why a row has no answer; "" where it has one or was not listed.
    """
    X, Z, targets, bounds = query.X, query.Z, query.targets, query.rows.bounds
    point, code = Z[rows].copy(), np.full(len(rows), -1)
    proof = np.full(len(rows), "", dtype=object)

    def listed() -> Iterator[tuple[int, np.ndarray]]:
        for k, row in enumerate(rows):
            one = bounds.take(rows[k : k + 1])
            points = permitted_points(engine.space, Z[row], one, judge.max_changes)
            if points is not None and len(points) == 0:
                proof[k] = "the rules permit no other row"
            elif points is not None:
                yield k, points

    for owner, points in _batches(listed()):
        for k in np.unique(owner):
            proof[k] = f"none of the {(owner == k).sum()} permitted rows gets the target"
        here = rows[owner]
        frame = take_rows(X, here)
        decoded = engine.space.decode(points, frame, reference=Z[here])
        output, failed = judge.isolated_outcome(decoded, targets, deadline=engine.deadline)
        proof[owner[list(failed)]] = ""
        got = targets.answered_by(here, output)
        fits = got >= 0
        if not fits.any():
            continue
        points, owner, here, got = points[fits], owner[fits], here[fits], got[fits]
        verdict = judge(points, Z[here], take_rows(X, here), here, got, targets)
        good = verdict.good & engine.plausible_enough(verdict.after, got)
        points, owner, here, got = points[good], owner[good], here[good], got[good]
        order = np.argsort(engine.cost(points, Z[here], got, bounds.cost[here]), kind="stable")
        answered, first = np.unique(owner[order], return_index=True)
        best = order[first]
        point[answered], code[answered], proof[answered] = points[best], got[best], ""
    return point, code, proof


def _batches(
    listed: Iterator[tuple[int, np.ndarray]],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Join the points of several rows: owners (N,) and points (N, D)."""
    waiting: list[tuple[int, np.ndarray]] = []
    for k, points in listed:
        waiting.append((k, points))
        if sum(len(points) for _, points in waiting) >= BATCH:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    owner = np.repeat([k for k, _ in parts], [len(points) for _, points in parts])
    return owner, np.concatenate([points for _, points in parts])
