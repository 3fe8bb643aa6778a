"""An explanation as tables, as plain dicts and as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import numbers
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn._utils import pack, unpack
from scfe_sklearn.explanation.containers import column_values, is_polars, objects
from scfe_sklearn.explanation.marginals import Marginals
from scfe_sklearn.explanation.wording import Change, Outcome, direction, is_missing, sentence
from scfe_sklearn.status import Status

if TYPE_CHECKING:
    import pandas as pd

    from scfe_sklearn.explanation.result import Explanation


def row_numbers(explanation: Explanation) -> np.ndarray:
    """Number (n,) of the row of each entry, counted from 0.

    The options of a row follow one another under one label. A row begins where the label
    changes, or where the number of the option does not rise.
    """
    option = explanation.option
    if not option.any():
        return np.arange(len(option))
    label = explanation.index.factorize(use_na_sentinel=False)[0]
    begins = (option[1:] <= option[:-1]) | (label[1:] != label[:-1])
    return np.concatenate([[0], np.cumsum(begins)])


def first_entries(explanation: Explanation) -> np.ndarray:
    """Position of the first entry of each row."""
    return np.flatnonzero(np.diff(row_numbers(explanation), prepend=-1))


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


# ---------------------------------------------------------------------------------------- tables


NUMBERS = (
    "probability_before",
    "probability_after",
    "n_changes",
    "distance",
    "log_density",
    "density_quantile",
)
"""What is a number for every row."""

COLUMNS = (
    "success",
    "status",
    "reason",
    "target",
    "prediction",
    "prediction_after",
    *NUMBERS,
    "gap",
    "option",
    "outside_rules",
)
"""What stands beside the counterfactuals in a frame."""

ALIGNED = (*COLUMNS, "changed", "index")
"""What has an entry for every row."""


def changes(explanation: Explanation) -> pd.DataFrame:
    """One line per changed feature: row, feature, from, to."""
    import pandas as pd

    where, features = np.nonzero(explanation.changed)
    before = np.empty(len(where), dtype=object)
    after = np.empty(len(where), dtype=object)
    for j in np.unique(features):
        here = features == j
        rows = where[here]
        before[here] = objects(column_values(explanation.by_feature[0], int(j), rows))
        after[here] = objects(column_values(explanation.by_feature[1], int(j), rows))
    index = pd.Index(where, name="position")
    return pd.DataFrame(
        {
            "row": _inferred(objects(explanation.index[where]), index),
            "feature": _inferred(explanation.feature_names[features], index),
            "from": pd.Series(before, index=index, dtype=object),
            "to": pd.Series(after, index=index, dtype=object),
        }
    )


def frame(explanation: Explanation) -> Any:
    """Counterfactuals and everything known about them, in the container of the query."""
    taken = set(getattr(explanation.counterfactuals, "columns", explanation.feature_names))
    names = {}
    for name in COLUMNS:
        free = name
        while free in taken:
            free = f"explanation_{free}"
        names[name] = free
    if is_polars(explanation.counterfactuals):
        import polars as pl

        columns = {names[name]: getattr(explanation, name) for name in COLUMNS}
        return explanation.counterfactuals.with_columns(
            pl.Series(name, values.tolist() if values.dtype == object else values)
            for name, values in columns.items()
        )
    import pandas as pd

    answers = explanation.counterfactuals
    if not isinstance(answers, pd.DataFrame):
        answers = pd.DataFrame(answers, columns=explanation.feature_names, index=explanation.index)
    extra = pd.DataFrame({names[name]: _inferred(getattr(explanation, name)) for name in COLUMNS})
    return pd.concat([answers, extra.set_axis(answers.index)], axis=1)


def _inferred(values: Any, index: Any = None) -> pd.Series:
    """Return values as a column of their type, texts with half of a surrogate pair as objects."""
    import pandas as pd

    try:
        return pd.Series(values, index=index).infer_objects()
    except UnicodeEncodeError:  # from pyarrow
        return pd.Series(values, index=index, dtype=object)


def summary(explanation: Explanation) -> pd.DataFrame:
    """Counts and means in one line."""
    import pandas as pd

    first = explanation.status[first_entries(explanation)]
    found = explanation.status == Status.FOUND
    needed = explanation.status != Status.ALREADY_TARGET
    values: dict[str, Any] = {
        "rows": len(first),
        "found": int((first == Status.FOUND).sum()),
        "coverage": _over(np.mean, (first == Status.FOUND)[first != Status.ALREADY_TARGET]),
        "answers": int(found.sum()),
        "validity": _over(np.mean, explanation.success[_answered(explanation) & needed]),
        "mean_changes": _over(np.mean, explanation.n_changes[found]),
        "mean_distance": _over(np.mean, explanation.distance[found]),
        "mean_probability_after": _over(np.mean, explanation.probability_after[found]),
        "median_density_quantile": _over(np.median, explanation.density_quantile[found]),
    }
    for status in Status.ALL[1:]:
        counted = explanation.status if status == Status.NO_FURTHER else first
        values[status] = int((counted == status).sum())
    return pd.DataFrame([values])


def _answered(explanation: Explanation) -> np.ndarray:
    """Rows whose counterfactual is not missing throughout."""
    import pandas as pd

    every = np.arange(len(explanation))
    columns = [
        pd.isna(objects(column_values(explanation.by_feature[1], j, every)))
        for j in range(explanation.changed.shape[1])
    ]
    return ~np.all(columns, axis=0)


def _over(statistic: Callable[[np.ndarray], Any], values: np.ndarray) -> float:
    """A statistic of the known values, NaN where there are none."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(statistic(known)) if known.size else float("nan")


# ----------------------------------------------------------------------------------------- dicts


def as_dicts(explanation: Explanation) -> list[dict[str, Any]]:
    """Return a dict of plain values for each entry."""
    columns = {name: _plain_all(getattr(explanation, name)) for name in COLUMNS}
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


# ------------------------------------------------------------------------------------------ JSON


SCHEMA = "scfe_sklearn.Explanation"
"""Name of the schema."""

VERSION = 2
"""Raised whenever what is written changes."""


def as_json(explanation: Explanation) -> str:
    """Return everything in an explanation as text; TypeError for objects that cannot be written."""
    fields = {
        field.name: getattr(explanation, field.name) for field in dataclasses.fields(explanation)
    }
    if explanation.background is not None:
        fields["background"] = dict(vars(explanation.background))
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "fields": {name: pack(value) for name, value in fields.items()},
    }
    return json.dumps(content, allow_nan=False, ensure_ascii=False)


def from_json(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the fields of an explanation from a text or a file; ValueError if it is none."""
    version: Any = None
    content: dict[str, Any] = {}
    try:
        content = json.loads(_text(source))
        version = content["version"] if content["schema"] == SCHEMA else None
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    if not isinstance(version, int):
        raise ValueError("The 'source' of from_json must be an explanation in JSON.")
    if version > VERSION:
        raise ValueError(
            f"The 'source' of from_json must have version {VERSION} at most. "
            f"Got {version} instead, of a later version of this package."
        )
    packed = dict(content["fields"])
    fields = dict(zip(packed, unpack(list(packed.values())), strict=True))
    if fields.get("background") is not None:
        fields["background"] = Marginals(**fields["background"])
    return fields


def _text(source: str | os.PathLike[str]) -> str:
    if isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("{"):
        return source.removeprefix("\ufeff")
    return Path(source).read_text(encoding="utf-8-sig")
