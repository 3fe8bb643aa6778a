"""Outcome of every row of an explanation, in raw values, for sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.presentation import Change, Outcome, direction

if TYPE_CHECKING:
    from scfe_sklearn.explanation.result import Explanation


def outcomes(explanation: Explanation) -> list[Outcome]:
    """One outcome for every row, with its changes in the order of the features."""
    lines = explanation.changes
    by_row: list[list[Change]] = [[] for _ in range(len(explanation))]
    features = np.nonzero(explanation.changed)[1]
    for i, j, before, after in zip(lines.index, features, lines["from"], lines["to"], strict=True):
        upward = _upward(explanation, int(j), before, after)
        by_row[i].append(Change(int(j), explanation.feature_names[j], before, after, upward))
    return [
        Outcome(
            label=explanation.index[i],
            status=explanation.status[i],
            reason=explanation.reason[i],
            target=explanation.target[i],
            prediction=explanation.prediction[i],
            probability=(explanation.probability_before[i], explanation.probability_after[i]),
            changes=tuple(changes),
            outside=bool(explanation.outside_rules[i]),
        )
        for i, changes in enumerate(by_row)
    ]


def _upward(explanation: Explanation, j: int, before: Any, after: Any) -> bool | None:
    """Whether a change of a feature goes up; None where there is no order."""
    kind, levels = explanation.kinds[j], explanation.levels
    if kind == "categorical":
        return None
    return direction(before, after, levels[j] if kind == "ordinal" and levels is not None else None)
