"""An explanation as plain dicts, one for each entry."""

from __future__ import annotations

import datetime
import math
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.explanation import tables
from scfe_sklearn.explanation.outcomes import outcomes
from scfe_sklearn.presentation import sentence
from scfe_sklearn.presentation.containers import column_values
from scfe_sklearn.presentation.wording import is_missing
from scfe_sklearn.status import Status

if TYPE_CHECKING:
    from scfe_sklearn.explanation.result import Explanation


def written(explanation: Explanation) -> list[dict[str, Any]]:
    """Return a dict of plain values for each entry."""
    columns = {name: _plain_all(getattr(explanation, name)) for name in tables.COLUMNS}
    counts = columns["n_changes"]
    columns["n_changes"] = [None if count is None else int(count) for count in counts]
    answers = _answers(explanation)
    return [
        {
            "row": plain_value(outcome.label),
            **{name: values[i] for name, values in columns.items()},
            "sentence": sentence(outcome),
            "changes": [
                {
                    "feature": plain_value(change.feature),
                    "from": plain_value(change.before),
                    "to": plain_value(change.after),
                }
                for change in outcome.changes
            ],
            "counterfactual": answers[i],
        }
        for i, outcome in enumerate(outcomes(explanation))
    ]


def plain_value(value: Any) -> Any:
    """Return a value as ``json.dumps`` takes it.

    Examples
    --------
    >>> plain_value(np.int64(3)), plain_value(np.float32(0.1)), plain_value(("a", np.nan))
    (3, 0.1, ['a', None])
    """
    if isinstance(value, tuple | list | set | frozenset | np.ndarray):
        return _plain_all(value)
    if is_missing(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        # The shortest digits of a single-precision number, not its binary fraction in full.
        number = float(str(value)) if isinstance(value, np.floating) else float(value)
        return number if math.isfinite(number) else str(number)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _plain_all(values: Any) -> list[Any]:
    return [plain_value(value) for value in values]


def _answers(explanation: Explanation) -> list[dict[str, Any] | None]:
    """The raw values of each counterfactual by column; None where there is none."""
    frame = explanation.counterfactuals
    names = list(getattr(frame, "columns", explanation.feature_names))
    given = np.flatnonzero(explanation.success | (explanation.status == Status.CLOSEST))
    columns = [_plain_all(column_values(frame, j, given)) for j in range(len(names))]
    texts = [name if isinstance(name, str) else str(name) for name in names]
    found: list[dict[str, Any] | None] = [None] * len(explanation)
    for place, cells in zip(given, zip(*columns, strict=True), strict=True):
        found[place] = dict(zip(texts, cells, strict=True))
    return found
