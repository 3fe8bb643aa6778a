"""Spread of the training rows of each label over each feature, to draw answers against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Marginals", "summarise"]

_POINTS = 48  # of the curve of a number
_TAIL = 0.005  # share of the rows beyond either end of the curve


@dataclass(frozen=True, eq=False)
class Marginals:
    """Per feature a curve for each label: a summary from which no training row can be read.

    Parameters
    ----------
    labels : sequence of length K
        None for all rows, then the labels that a model gives.
    positions : sequence of ndarray of shape (P,), length d
        Per feature the places of the curve: raw numbers, or ranks of levels.
    heights : sequence of ndarray of shape (K, P), length d
        Per feature and label the density of a number, 1 where it is highest; or the shares of
        the levels.
    """

    labels: Sequence[Any]
    positions: Sequence[np.ndarray]
    heights: Sequence[np.ndarray]

    def curve(self, feature: int, label: Any) -> tuple[np.ndarray, np.ndarray, bool]:
        """Places and heights of a label, and whether they are its own or those of all rows."""
        known = [k for k, other in enumerate(self.labels) if k and other == label]
        k = known[0] if known else 0
        return self.positions[feature], self.heights[feature][k], bool(known)


def summarise(
    values: np.ndarray, steps: np.ndarray, n_levels: Sequence[int], codes: np.ndarray, labels: Any
) -> Marginals:
    """Summarise training rows.

    Parameters
    ----------
    values : ndarray of shape (n, d)
        Numbers, or ranks of levels; NaN where missing.
    steps : ndarray of shape (d,)
        Distance of neighbouring values; 0 for continuous ones.
    n_levels : sequence of int, length d
        Number of levels; 0 for a number.
    codes : ndarray of shape (n,), int
        Positions of the labels that a model gives the rows; anything else for none.
    labels : sequence of length C
        The labels.

    Returns
    -------
    Marginals

    Examples
    --------
    >>> values = np.array([[1.0, 0], [2, 1], [3, 1], [4, 1]])
    >>> background = summarise(values, np.ones(2), [0, 2], np.array([0, 0, 1, 1]), ["no", "yes"])
    >>> background.curve(1, "no")[1], background.curve(1, "yes")[1]
    (array([0.5, 0.5]), array([0., 1.]))
    """
    codes = np.where(codes < len(labels), codes, -1)  # a regressor gives no label
    counted = np.array([count > 0 for count in n_levels], dtype=bool)
    positions: list[np.ndarray] = [np.empty(0)] * len(counted)
    heights: list[np.ndarray] = [np.empty(0)] * len(counted)
    numbers = np.flatnonzero(~counted)
    if len(numbers):
        places, curves = _curves(values[:, numbers], steps[numbers], codes, len(labels))
        for k, j in enumerate(numbers):
            positions[j], heights[j] = places[k], curves[:, k]
    for j in np.flatnonzero(counted):
        positions[j] = np.arange(n_levels[int(j)], dtype=np.float64)
        known = np.isin(values[:, j], positions[j])
        counts = _counts(
            codes[known], len(labels), values[known, j].astype(np.intp), n_levels[int(j)]
        )
        heights[j] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return Marginals([None, *labels], positions, heights)


def _curves(
    values: np.ndarray, steps: np.ndarray, codes: np.ndarray, n_labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places (k, P) and densities (K, k, P) of k numbers: counts in bins, smoothed."""
    known = np.where(np.isfinite(values), values, np.nan)
    known[:, np.isnan(known).all(axis=0)] = 0.0
    low, first, third, high = _quantiles(known, [_TAIL, 0.25, 0.75, 1 - _TAIL])
    flat = high <= low
    low, high = np.where(flat, low - 0.5, low), np.where(flat, high + 0.5, high)
    width = np.asarray((high - low) / (_POINTS - 1))
    places = low[:, None] + width[:, None] * np.arange(_POINTS)
    bins = np.rint((known - low) / width)
    inside = (bins >= 0) & (bins < _POINTS)
    rows, columns = np.nonzero(inside)
    flat_bins = columns * _POINTS + bins[rows, columns].astype(np.intp)
    counts = _counts(codes[rows], n_labels, flat_bins, values.shape[1] * _POINTS)
    counts = counts.reshape(-1, values.shape[1], _POINTS)
    # Silverman's rule, but no narrower than the step of the values: no comb of whole numbers.
    quarter = (third - first) / 1.34
    spread = np.nanstd(known, axis=0)
    spread = np.where(quarter > 0, np.minimum(quarter, spread), spread)
    broad = np.maximum.reduce([0.9 * spread * len(values) ** -0.2, 0.7 * steps, 0.8 * width])
    gap = (places[:, :, None] - places[:, None]) / broad[:, None, None]
    smoothed = np.matmul(counts.transpose(1, 0, 2), np.exp(-0.5 * gap**2))
    curves = smoothed.transpose(1, 0, 2)
    highest = curves.max(axis=2, keepdims=True)
    return places, curves / np.where(highest > 0, highest, 1.0)


def _quantiles(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Quantiles (q, k) of the columns, each a value that occurs; missing values do not count."""
    last = np.isfinite(values).sum(axis=0) - 1
    rows = np.rint(np.outer(shares, last)).astype(np.intp)
    return np.asarray(np.take_along_axis(np.sort(values, axis=0), rows, axis=0))


def _counts(codes: np.ndarray, n_labels: int, bins: np.ndarray, n_bins: int) -> np.ndarray:
    """Count the rows in each bin (K, n_bins): of all rows, then of those of each label."""
    own = np.bincount((codes + 1) * n_bins + bins, minlength=(n_labels + 1) * n_bins)
    own = own.reshape(n_labels + 1, n_bins).astype(np.float64)
    return np.vstack([own.sum(axis=0), own[1:]])
