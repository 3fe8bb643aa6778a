"""One feature as a strip from 0 to 1: where a value stands, and how people are spread over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.presentation.containers import column_values
from scfe_sklearn.presentation.wording import is_missing, plain

__all__ = ["Strip", "feature_values", "strip"]

_MARGIN = 0.04
_MANY_LEVELS = 7


@dataclass(frozen=True, eq=False)
class Strip:
    """The scale of one feature.

    Parameters
    ----------
    levels : list or None
        The levels that are shown, in their order; None for a number.
    low, high : float
        Raw numbers at 0 and 1.
    places, heights : ndarray of shape (P,)
        The curve of the people with the label: places in [0, 1] and heights, 1 at the top; for
        levels their shares. Empty if nothing is known of them.
    own : bool
        Whether the curve is of the label, not of all rows.
    ends : tuple of str
        The lowest and the highest number, in words.
    """

    levels: list[Any] | None
    low: float
    high: float
    places: np.ndarray
    heights: np.ndarray
    own: bool
    ends: tuple[str, str]

    def place(self, value: Any) -> float:
        """Position of a raw value in [0, 1]; NaN for a missing number or an unknown level."""
        if self.levels is not None:
            for k, level in enumerate(self.levels):
                if level == value or (is_missing(level) and is_missing(value)):
                    return _level_place(k, len(self.levels))
            return float("nan")
        if is_missing(value):
            return float("nan")
        return (float(value) - self.low) / (self.high - self.low)


def strip(explanation: Explanation, feature: int, values: Sequence[Any], target: Any) -> Strip:
    """The strip of a feature on which all the given values have a place.

    Parameters
    ----------
    explanation : Explanation
        Gives the levels and the background.
    feature : int
        Position of the feature.
    values : sequence
        Raw values that are shown.
    target : label
        Whose people are shown behind; all rows where they are not known.
    """
    background = explanation.background
    places, heights, own = np.empty(0), np.empty(0), False
    if background is not None:
        places, heights, own = background.curve(feature, target)
    levels = None if explanation.levels is None else explanation.levels[feature]
    if levels is not None or explanation.kinds[feature] in ("ordinal", "categorical"):
        return _level_strip(levels, values, heights, own, explanation.kinds[feature])
    return _number_strip(values, places, heights, own)


def feature_values(explanation: Explanation, feature: int, rows: Any) -> tuple[list, list]:
    """Raw values of a feature before and after, at some entries."""
    before, after = explanation.by_feature
    rows = np.asarray(rows)
    return column_values(before, feature, rows), column_values(after, feature, rows)


def _level_strip(
    levels: Any, values: Sequence[Any], shares: np.ndarray, own: bool, kind: str
) -> Strip:
    known = [] if levels is None else list(levels)
    extra = [value for value in dict.fromkeys(values) if value not in known]
    extra = [value for value in extra if not (is_missing(value) and any(map(is_missing, known)))]
    every = known + extra
    shares = np.concatenate([shares, np.zeros(len(extra))]) if len(shares) else shares
    if len(every) > _MANY_LEVELS:
        # The levels in question, and the most frequent of the others, in their order.
        weight = shares if len(shares) else np.zeros(len(every))
        rank = sorted(range(len(every)), key=lambda k: (every[k] not in values, -weight[k]))
        kept = sorted(rank[: max(_MANY_LEVELS, len(set(map(str, values))))])
        every = [every[k] for k in kept]
        shares = shares[kept] if len(shares) else shares
    places = np.array([_level_place(k, len(every)) for k in range(len(every))])
    return Strip(every, 0.0, 1.0, places if len(shares) else np.empty(0), shares, own, ("", ""))


def _level_place(k: int, n: int) -> float:
    return (k + 0.5) / n


def _number_strip(
    values: Sequence[Any], places: np.ndarray, heights: np.ndarray, own: bool
) -> Strip:
    numbers = [float(value) for value in values if not is_missing(value)]
    ends = numbers + ([float(places[0]), float(places[-1])] if len(places) else [])
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    text = plain(_rounded(low, high - low)), plain(_rounded(high, high - low))
    room = _MARGIN * (high - low)
    low, high = low - room, high + room
    return Strip(None, low, high, (places - low) / (high - low), heights, own, text)


def _rounded(value: float, span: float) -> float:
    """Rounded to about three digits of the span."""
    digits = 2 - int(np.floor(np.log10(span)))
    return round(value, digits)
