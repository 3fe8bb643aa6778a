"""An explanation as tables: only what changes, everything side by side, counts and means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.explanation.row_numbers import first_entries
from scfe_sklearn.presentation.containers import column_values, is_polars, objects
from scfe_sklearn.status import Status

if TYPE_CHECKING:
    import pandas as pd

    from scfe_sklearn.explanation.result import Explanation

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
            "row": pd.Series(objects(explanation.index[where]), index=index).infer_objects(),
            "feature": pd.Series(explanation.feature_names[features], index=index).infer_objects(),
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
    extra = pd.DataFrame(
        {names[name]: pd.Series(getattr(explanation, name)).infer_objects() for name in COLUMNS}
    )
    return pd.concat([answers, extra.set_axis(answers.index)], axis=1)


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
