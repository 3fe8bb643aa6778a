"""Groups of intervals that hold about the same training rows, each with a density of its own."""

from __future__ import annotations

import numpy as np

GRID = 32
"""Quantiles that distinguish ends of intervals, for densities only."""

LEAST = 30
"""Least number of training rows of a group, if there are as many."""


def groups_of(
    low: np.ndarray, high: np.ndarray, ordered: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Group (n,) of each interval, and the training rows that the intervals of a group hold."""
    total = len(ordered)
    step = max(total // GRID, 1)
    # Ranks of the training values inside, coarsened so that there are few groups.
    first = np.searchsorted(ordered, low, "left") // step * step
    last = total - (total - np.searchsorted(ordered, high, "right")) // step * step
    middle = (first + last) // 2
    short = last - first < min(LEAST, total)
    begin = (middle - LEAST // 2).clip(0, max(total - LEAST, 0))
    first = np.where(short, begin, first)
    last = np.where(short, np.minimum(begin + LEAST, total), last)
    pairs, group = np.unique(np.column_stack([first, last]), axis=0, return_inverse=True)
    return group.reshape(-1), [order[a:b] for a, b in pairs.tolist()]
