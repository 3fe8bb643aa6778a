"""Starts of the solvers: from single moves, training rows, or the margin."""

from scfe_sklearn.solvers.starts.anchors import RecallSettings, hybrids, nearest_anchors, recall
from scfe_sklearn.solvers.starts.baseline import Baselines, floors, with_floors
from scfe_sklearn.solvers.starts.climbing import climb, nearest_miss
from scfe_sklearn.solvers.starts.screening import ScreenSettings, screen
from scfe_sklearn.solvers.starts.wide import (
    WideSettings,
    descend_wide,
    feature_sets,
    geometric,
    too_wide,
    within,
)

__all__ = [
    "Baselines",
    "WideSettings",
    "RecallSettings",
    "ScreenSettings",
    "climb",
    "descend_wide",
    "feature_sets",
    "floors",
    "geometric",
    "hybrids",
    "nearest_miss",
    "nearest_anchors",
    "recall",
    "screen",
    "too_wide",
    "with_floors",
    "within",
]
