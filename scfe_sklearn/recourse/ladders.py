"""Short decimal numbers near given ones, the shortest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVELS = 7
"""Lengths that are tried."""

COARSER = 2
"""Lengths that are tried although their grid is coarser than the tolerance."""

_POWERS = np.array([float(f"1e{k}") for k in range(23)])  # all exact in double precision
_WHOLE = 2.0**53


@dataclass(frozen=True, eq=False)
class Ladder:
    """One short number near each value, for every length.

    Parameters
    ----------
    number : ndarray of shape (LEVELS, m, k)
        Numbers within the tolerance. The value itself where no number of the length is.
    exponent : ndarray of shape (LEVELS, m, k)
        The number is a whole multiple of this power of ten.
    """

    number: np.ndarray
    exponent: np.ndarray

    def take(self, rows: np.ndarray) -> Ladder:
        """Return the ladder of some of the m rows."""
        return Ladder(self.number[:, rows], self.exponent[:, rows])


def ladder(value: np.ndarray, tolerance: np.ndarray, upward: np.ndarray) -> Ladder:
    """Return the nearest short numbers on one side of each value, the coarsest grid first.

    Parameters
    ----------
    value : ndarray of shape (m, k)
        Numbers.
    tolerance : ndarray of shape (m, k)
        Largest distance from the value; NaN where it must not move.
    upward : ndarray of shape (m, k), bool
        Whether the numbers lie above the value, else below it.

    Returns
    -------
    Ladder
        Where a grid has no number within the tolerance, the number of the next finer grid.

    Examples
    --------
    >>> import numpy as np
    >>> value = np.array([[61.99120034]])
    >>> up = ladder(value, np.array([[0.05]]), np.array([[True]]))
    >>> up.number[:, 0, 0].tolist()
    [62.0, 62.0, 62.0, 61.992, 61.9913, 61.99121, 61.991201]
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        first = np.floor(np.log10(tolerance)) + COARSER
        exponent = first - np.arange(LEVELS)[:, None, None]
        number = _on_grid(value, exponent, upward)
        lost = ~(np.abs(number - value) <= tolerance)
    number = np.where(lost, value, number)
    exponent = np.where(lost, -np.inf, exponent)
    for level in range(LEVELS - 2, -1, -1):
        finer = lost[level]
        number[level] = np.where(finer, number[level + 1], number[level])
        exponent[level] = np.where(finer, exponent[level + 1], exponent[level])
    return Ladder(number, exponent)


def nearer(one: Ladder, other: Ladder, value: np.ndarray) -> Ladder:
    """Return at every length the number of two ladders that is nearer to the value."""
    first = np.abs(one.number - value) <= np.abs(other.number - value)
    return Ladder(
        np.where(first, one.number, other.number), np.where(first, one.exponent, other.exponent)
    )


def _on_grid(value: np.ndarray, exponent: np.ndarray, upward: np.ndarray) -> np.ndarray:
    """Multiples of powers of ten next to values; NaN where doubles cannot distinguish them."""
    known = np.abs(exponent) < len(_POWERS)
    power = _POWERS[np.where(known, np.abs(exponent), 0).astype(np.intp)]
    fine = exponent < 0
    scaled = np.where(fine, value * power, value / power)

    def back(whole: np.ndarray) -> np.ndarray:
        return np.where(fine, whole / power, whole * power)

    whole = np.where(upward, np.ceil(scaled), np.floor(scaled))
    nearest = np.rint(scaled)
    whole = np.where(back(nearest) == value, nearest, whole)
    return np.where(known & (np.abs(scaled) < _WHOLE), back(whole) + 0.0, np.nan)
