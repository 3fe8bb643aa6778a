"""Other methods, called the way their documentation says, on the same rows and model."""

from __future__ import annotations

import importlib.util
import time

import numpy as np
import pandas as pd

from benchmarks.models import Case

NICE_MISSING = (
    "NICEx is not installed (pip install --no-deps NICEx): no comparison with NICE is made."
)


def nice_available() -> bool:
    """Whether NICEx can be imported."""
    return importlib.util.find_spec("nice") is not None


def nice_answers(case: Case, queries: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return NICE's sparsest answers, missing where it fails, and the seconds they took.

    NICE reads arrays, so categories are numbered and its model translates them back. It takes
    no rules: that its answers may break them is part of the comparison.
    """
    from nice import NICE

    columns = list(case.X.columns)
    levels = {name: np.unique(case.X[name].to_numpy()) for name in case.categorical}
    dtypes = case.X.dtypes

    def to_numbers(X: pd.DataFrame) -> np.ndarray:
        coded = [
            np.searchsorted(levels[name], X[name].to_numpy()) if name in levels else X[name]
            for name in columns
        ]
        return np.column_stack([np.asarray(part, dtype=float) for part in coded])

    def to_frame(Z: np.ndarray) -> pd.DataFrame:
        parts = {
            name: levels[name][Z[:, j].astype(int)] if name in levels else Z[:, j]
            for j, name in enumerate(columns)
        }
        return pd.DataFrame(parts).astype(dtypes.to_dict())

    explainer = NICE(
        X_train=to_numbers(case.X),
        predict_fn=lambda Z: case.model.predict_proba(to_frame(Z)),
        y_train=np.asarray(case.y),
        cat_feat=[columns.index(name) for name in case.categorical],
        num_feat=[columns.index(name) for name in case.numeric],
        optimization="sparsity",
        justified_cf=True,
    )
    coded = to_numbers(queries)
    start = time.perf_counter()
    found = np.full(coded.shape, np.nan)
    for i in range(len(coded)):
        try:
            found[i] = explainer.explain(coded[i : i + 1])[0]
        except Exception:  # one row that the rival cannot answer must not end the comparison
            continue
    seconds = time.perf_counter() - start
    missing = np.isnan(found).any(axis=1)
    answers = to_frame(np.where(missing[:, None], coded, found)).astype(object)
    answers.index = queries.index
    answers[missing] = np.nan
    return answers, seconds
