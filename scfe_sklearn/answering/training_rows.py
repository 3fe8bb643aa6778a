"""Training rows that are predicted to have the target, as answers of last resort."""

from __future__ import annotations

import numpy as np

from scfe_sklearn.answering.candidates import Candidates, Rows
from scfe_sklearn.answering.engine import Engine
from scfe_sklearn.rules import Actionability

TRIED = 24
"""Training rows of each class that the judge checks, per row."""

CHUNK = 4_000_000
"""Coordinates compared at once."""


def training_rows(engine: Engine, rows: Rows, count: int = TRIED) -> Candidates:
    """Return the nearest training rows of the targets that the rules of each row permit.

    They need no score: where scores and predictions of a model disagree, as they may for
    calibrated ones, they are still answers.

    Parameters
    ----------
    engine : Engine
        Feature space, training rows and budget.
    rows : Rows
        Where the rows are, where they may go and what they want.
    count : int
        Training rows per row at most.

    Returns
    -------
    Candidates
        Nearest first.
    """
    Z, bounds, wanted = rows.Z, rows.bounds, rows.targets.wanted
    z = np.zeros((len(Z), count, Z.shape[1]))
    cost, code = np.full((len(Z), count), np.inf), np.zeros((len(Z), count), dtype=np.intp)
    for target in np.flatnonzero(wanted.any(axis=0)):
        anchors = engine.reference_rows[target]
        if engine.extra_reference_rows is not None:
            anchors = np.concatenate([anchors, engine.extra_reference_rows[target]])
        own = np.flatnonzero(wanted[:, target])
        for part in np.array_split(own, max(1, -(-len(own) * anchors.size // CHUNK))):
            here = bounds.take(part)
            distance = _distance(engine, Z[part], here, anchors)
            value = None if engine.values is None else engine.values[target]
            if value is not None:
                low, high = rows.targets.take(part).limits(int(target))
                inside = (value >= low[:, None]) & (value <= high[:, None])
                distance = np.where(inside, distance, np.inf)
            near = np.argsort(distance, axis=1, kind="stable")[:, :count]
            every = np.concatenate([cost[part], np.take_along_axis(distance, near, 1)], axis=1)
            best = np.argsort(every, axis=1, kind="stable")[:, :count]
            points = np.concatenate([z[part], anchors[near]], axis=1)
            codes = np.concatenate([code[part], np.full(near.shape, target)], axis=1)
            z[part] = np.take_along_axis(points, best[..., None], axis=1)
            cost[part] = np.take_along_axis(every, best, axis=1)
            code[part] = np.take_along_axis(codes, best, axis=1)
    return Candidates(z, cost, code)


def _distance(
    engine: Engine, Z: np.ndarray, bounds: Actionability, anchors: np.ndarray
) -> np.ndarray:
    """Squared distance plus price of the changes (n, T); infinite if the rules forbid it."""
    space = engine.space
    gap = anchors - Z[:, None]
    moved = abs(gap) > 1e-9
    scalar = np.array([space.kinds_[g] != "categorical" for g in space.groups_])
    inside = (anchors >= bounds.lower[:, None] - 1e-9) & (anchors <= bounds.upper[:, None] + 1e-9)
    fits = np.where(scalar, inside, True) & bounds.allowed[:, None]
    # A level that a row leaves has no condition.
    forbidden = moved & ~fits & (scalar | (anchors > 0))
    starts = [part.start for part in space.slices_]
    features = np.logical_or.reduceat(moved, starts, axis=2)
    changes = features.sum(axis=2)
    squared = np.add.reduceat(gap**2, starts, axis=2)
    by_feature = squared + engine.penalty(squared, features)
    price = (bounds.cost[:, None] * by_feature).sum(axis=2)
    refused = forbidden.any(axis=2) | (changes == 0)
    if engine.max_changes is not None:
        refused |= changes > engine.max_changes
    return np.where(refused, np.inf, price)
