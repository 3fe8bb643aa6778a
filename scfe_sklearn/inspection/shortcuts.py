"""``Explanation.plot``: which display draws what."""

from __future__ import annotations

from typing import Any

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.inspection.change_display import ChangeDisplay
from scfe_sklearn.inspection.entries import check_explanation, people
from scfe_sklearn.inspection.frequency_display import FrequencyDisplay
from scfe_sklearn.inspection.options_display import OptionsDisplay
from scfe_sklearn.inspection.pareto_display import ParetoDisplay

__all__ = ["draw"]

_DISPLAYS: dict[str, Any] = {
    "change": ChangeDisplay,
    "options": OptionsDisplay,
    "pareto": ParetoDisplay,
    "frequency": FrequencyDisplay,
}


def draw(explanation: Explanation, kind: str | None, ax: Any) -> Any:
    """Draw an explanation with the display of that kind, or with the one that suits it."""
    if kind is not None and kind not in _DISPLAYS:
        raise ValueError(
            "The 'kind' parameter of Explanation.plot must be None or a str among "
            f"{sorted(_DISPLAYS)}. Got {kind!r} instead."
        )
    check_explanation(explanation, "Explanation.plot")
    if kind is None and explanation.front:
        kind = "pareto"
    if kind is None:
        single = len(people(explanation)) == 1
        kind = "frequency" if not single else "change" if len(explanation) == 1 else "options"
    return _DISPLAYS[kind].from_explanation(explanation, ax=ax)
