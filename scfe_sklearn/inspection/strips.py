"""One feature as a strip from 0 to 1: the place of a value, and the spread of people over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.containers import column_values
from scfe_sklearn.explanation.wording import (
    Change,
    exact,
    feature_text,
    is_missing,
    plain,
    value_pair,
)
from scfe_sklearn.inspection.base import percent

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


class Curves:
    """The curves that occur, each drawn once; strips show them at their own scale."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, str], str] = {}
        self.symbols: list[dict[str, str]] = []

    def name(self, feature: int, target: Any, scale: Strip) -> str:
        """The name of the curve of a feature and a label."""
        key = (feature, repr(target) if scale.own else "")
        if key not in self._names:
            self._names[key] = f"curve{len(self.symbols)}"
            self.symbols.append({"name": self._names[key], "path": _path(scale)})
        return self._names[key]


def strip_context(
    explanation: Explanation, change: Change, entry: int, curves: Curves
) -> dict[str, Any]:
    """One change as the template draws it."""
    target = explanation.target[entry]
    scale = strip(explanation, change.position, [change.before, change.after], target)
    before, after = value_pair(change.before, change.after, quotes=False)
    context: dict[str, Any] = {
        "name": feature_text(change.feature),
        "before": before,
        "after": after,
        "kind": "switched" if change.upward is None else "raised" if change.upward else "lowered",
    }
    if scale.levels is not None:
        return context | {"levels": _levels(scale, change)}
    start, end = scale.place(change.before), scale.place(change.after)
    known = np.isfinite(start) and np.isfinite(end)
    context |= {
        "levels": None,
        "start": _per_cent(start),
        "end": _per_cent(end),
        "left": _per_cent(min(start, end)) if known else None,
        "width": _per_cent(abs(end - start)) if known else None,
        "back": bool(known and end < start),
        "ends": scale.ends,
        "curve": None,
    }
    if len(scale.places):
        first, last = float(scale.places[0]), float(scale.places[-1])
        name = curves.name(change.position, target, scale)
        context["curve"] = {
            "name": name,
            "left": _per_cent(first),
            "width": _per_cent(last - first),
        }
    return context


def _levels(scale: Strip, change: Change) -> list[dict[str, Any]]:
    assert scale.levels is not None
    return [
        {
            "text": exact(level),
            "share": percent(float(scale.heights[k])) if len(scale.heights) else "",
            "fill": round(100 * float(scale.heights[k]), 1) if len(scale.heights) else 0,
            "now": _same(level, change.before),
            "new": _same(level, change.after),
        }
        for k, level in enumerate(scale.levels)
    ]


def _same(level: Any, value: Any) -> bool:
    return bool(level == value) or (is_missing(level) and is_missing(value))


def _per_cent(place: float) -> float | None:
    return round(100 * float(place), 2) if np.isfinite(place) else None


def _path(scale: Strip) -> str:
    """The curve in a box of 100 by 30, closed along its foot."""
    x = np.linspace(0, 100, len(scale.heights))
    points = " ".join(f"{a:.1f},{30 - 29 * b:.1f}" for a, b in zip(x, scale.heights, strict=True))
    return f"M0,30 L{points} L100,30 Z"
