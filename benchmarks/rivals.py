"""Other methods, called as their documentation shows, on the same rows and model."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.models import Case

NICE_MISSING = (
    "NICEx is not installed (pip install --no-deps NICEx): no comparison with NICE is made."
)

DICE_MISSING = (
    "dice-ml is not installed (pip install --no-deps dice-ml; pip install jsonschema tqdm): no "
    "comparison with DiCE is made."
)


def nice_available() -> bool:
    """Whether NICEx can be imported."""
    return importlib.util.find_spec("nice") is not None


def nice_answers(
    case: Case, queries: pd.DataFrame, clock: Callable[[], float] = time.perf_counter
) -> tuple[pd.DataFrame, float]:
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
    start = clock()
    found = np.full(coded.shape, np.nan)
    for i in range(len(coded)):
        try:
            found[i] = explainer.explain(coded[i : i + 1])[0]
        except Exception:  # one row that the rival cannot answer must not end the comparison
            continue
    seconds = clock() - start
    missing = np.isnan(found).any(axis=1)
    answers = to_frame(np.where(missing[:, None], coded, found)).astype(object)
    answers.index = queries.index
    answers[missing] = np.nan
    return answers, seconds


def dice_available() -> bool:
    """Whether dice_ml can be imported."""
    return importlib.util.find_spec("dice_ml") is not None


def dice_answers(
    case: Case,
    queries: pd.DataFrame,
    method: str = "genetic",
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[pd.DataFrame, float]:
    """Return one answer of DiCE per row, missing where it fails, and the seconds they took.

    It gets the columns that stay; it has no parameter for a direction.
    """
    import dice_ml

    label = "outcome of the model"
    training = case.X.assign(**{label: np.asarray(case.y)})
    data = dice_ml.Data(dataframe=training, continuous_features=case.numeric, outcome_name=label)
    model = dice_ml.Model(model=case.model, backend="sklearn")
    free = [name for name in case.X.columns if name not in case.loans.immutable]
    options = {"random_seed": 0} if method == "random" else {}
    answers = pd.DataFrame(np.nan, index=queries.index, columns=queries.columns, dtype=object)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        explainer = dice_ml.Dice(data, model, method=method)
        start = clock()
        for i in range(len(queries)):
            try:
                found = explainer.generate_counterfactuals(
                    queries.iloc[i : i + 1],
                    total_CFs=1,
                    desired_class=int(case.loans.target),
                    features_to_vary=free,
                    **options,
                )
                frame = found.cf_examples_list[0].final_cfs_df
                answers.iloc[i] = frame[list(queries.columns)].iloc[0].to_numpy(dtype=object)
            except Exception:  # one row that the rival cannot answer must not end the comparison
                continue
        seconds = clock() - start
    return answers, seconds
