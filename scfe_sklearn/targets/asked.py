"""The words for a target that is more than a label."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Probability:
    """A class that the model has to be sure of.

    Parameters
    ----------
    label : label
        The wanted class.
    at_least : float in (0, 1]
        Least probability that ``predict_proba`` must give it. The class must be predicted, too.

    Examples
    --------
    >>> Probability("approved", at_least=0.8)
    Probability(label='approved', at_least=0.8)
    >>> print(Probability("approved", at_least=0.8))
    'approved' with probability 0.8 or more
    """

    label: Hashable
    at_least: float

    def __post_init__(self) -> None:
        number = isinstance(self.at_least, (int, float, np.integer, np.floating))
        if isinstance(self.at_least, bool) or not number or not 0 < self.at_least <= 1:
            raise ValueError(
                "The 'at_least' parameter of Probability must be a float in (0, 1]. "
                f"Got {self.at_least!r} instead."
            )

    def __str__(self) -> str:
        return f"{self.label!r} with probability {self.at_least:g} or more"


@dataclass(frozen=True, eq=False)
class Interval:
    """Values of a regressor that would do, ends included.

    Parameters
    ----------
    at_least, at_most : float, array-like of shape (n,) or None
        The ends, for all rows or row by row (NaN: none); None for no limit.

    Examples
    --------
    >>> print(Interval(at_least=200_000))
    at least 200,000
    >>> print(Interval(at_least=1.5, at_most=2))
    between 1.5 and 2
    """

    at_least: Any = None
    at_most: Any = None

    def __post_init__(self) -> None:
        low, high = self.ends()
        if not (low < high).all():
            raise ValueError(
                "The 'at_least' parameter of Interval must be below 'at_most'. "
                f"Got {self.at_least!r} and {self.at_most!r} instead."
            )
        if (np.isneginf(low) & np.isposinf(high)).any():
            raise ValueError("Interval must have an end in every row. Got one without instead.")

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Both ends, infinite where there is no limit, broadcast against each other."""
        low = _end("at_least", self.at_least, -np.inf)
        high = _end("at_most", self.at_most, np.inf)
        if low.ndim and high.ndim and low.shape != high.shape:
            raise ValueError(
                "The 'at_least' and 'at_most' parameters of Interval must have the same length. "
                f"Got {len(low)} and {len(high)} instead."
            )
        low, high = np.broadcast_arrays(low, high)
        return low, high

    def __str__(self) -> str:
        low, high = self.ends()
        if low.ndim:
            return f"an interval for each of {len(low)} rows"
        return interval_text(float(low), float(high))


def interval_text(low: float, high: float) -> str:
    """Return an interval in words.

    Examples
    --------
    >>> interval_text(-float("inf"), 3.0)
    'at most 3'
    """
    if high == np.inf:
        return f"at least {low:,.10g}"
    if low == -np.inf:
        return f"at most {high:,.10g}"
    return f"between {low:,.10g} and {high:,.10g}"


def _end(name: str, value: Any, absent: float) -> np.ndarray:
    if value is None:
        return np.array(absent)
    try:
        out = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        out = np.array([[0.0]])
    if isinstance(value, bool) or out.ndim > 1 or (out.ndim == 0 and np.isnan(out)):
        raise ValueError(
            f"The {name!r} parameter of Interval must be a number, an array with one number for "
            f"each row, or None. Got {value!r} instead."
        )
    return np.where(np.isnan(out), absent, out)
