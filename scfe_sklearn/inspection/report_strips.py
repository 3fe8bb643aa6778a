"""Strips of a page: places in per cent, curves that many strips share, chips of levels."""

from __future__ import annotations

from typing import Any

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.inspection.entries import percent
from scfe_sklearn.inspection.strips import Strip, strip
from scfe_sklearn.presentation import Change
from scfe_sklearn.presentation.sentences import feature_text
from scfe_sklearn.presentation.wording import exact, is_missing, value_pair

__all__ = ["Curves", "strip_context"]


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
