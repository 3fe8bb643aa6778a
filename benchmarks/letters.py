"""The letter test: does a row that follows its sentence to the letter get the target?

python -m benchmarks.letters --data DIR

Rows are generated around those of five data sets, with numbers of many digits. Every sentence is
read as a customer reads it, its numbers are typed into the row, and the model predicts the row on
its own. The bars: no row that follows its sentence is refused, and every sentence names the
values that the row has.
"""

from __future__ import annotations

import argparse
import re
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.datasets import add_data_option, data_file, loans
from benchmarks.reporting import Bars, add_check_option, print_table, words
from scfe_sklearn import CounterfactualExplainer

SETS = ("adult", "german", "housing", "cancer", "incomes")
MODELS = ("logistic", "boosting")
_NUMBER = r"-?[\d,]*\.?\d+(?:e[+-]?\d+)?"
_VALUE = rf"'[^']*'|\"[^\"]*\"|missing|{_NUMBER}"


def data(name: str, folder: str | None) -> tuple[pd.DataFrame, np.ndarray, Any]:
    """Return rows, labels and the wanted label of a data set."""
    if name in ("adult", "german"):
        table = loans(name, folder)
        return table.X, table.y, table.target
    if name == "housing":
        X = pd.read_csv(data_file(folder, "boston_housing.csv"))
        price = X.pop("medv").to_numpy()
        return X, np.where(price >= np.median(price), "expensive", "cheap"), "expensive"
    if name == "cancer":
        X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        return X, y.to_numpy(), 1
    rng = np.random.default_rng(0)
    n = 3000
    X = pd.DataFrame(
        {
            "utilisation": rng.beta(1, 3, n),
            "income": rng.lognormal(8, 0.7, n),
            "ratio": np.exp(rng.normal(-1, 2.5, n)),
            "late": rng.poisson(0.5, n),
        }
    )
    signal = np.log(X.income) - 3 * X.utilisation - X.late - 0.3 * np.log(X.ratio)
    return X, np.where(signal + rng.normal(0, 0.5, n) > 6.5, "good", "bad"), "good"


def model(name: str, X: pd.DataFrame) -> Any:
    """Return an unfitted model of mixed columns."""
    text = make_column_selector(dtype_exclude="number")
    number = make_column_selector(dtype_include="number")
    levels = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    if name == "logistic":
        columns = make_column_transformer((StandardScaler(), number), (levels, text))
        return make_pipeline(columns, LogisticRegression(max_iter=1000))
    columns = make_column_transformer(("passthrough", number), (levels, text))
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=60, random_state=0))


def generated(X: pd.DataFrame, n: int, seed: int = 0) -> pd.DataFrame:
    """Return n rows like those of X; fractions get digits that no training row has."""
    rng = np.random.default_rng(seed)
    rows = X.iloc[rng.integers(0, len(X), n)].reset_index(drop=True)
    for name in rows.columns[rows.dtypes == np.float64]:
        jitter = 1 + 0.05 * rng.standard_normal(n)
        rows[name] = np.clip(rows[name] * jitter, X[name].min(), X[name].max())
    return rows


def follow(rows: pd.DataFrame, sentences: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Follow sentences; return the new rows, and which factual values were misstated."""
    names = "|".join(re.escape(name) for name in sorted(map(str, rows.columns), key=len)[::-1])
    step = re.compile(rf"({names}) from ({_VALUE}) to ({_VALUE})")
    switch = re.compile(rf"set ({names}) to (yes|no) \(now (yes|no)\)")
    new = {name: rows[name].tolist() for name in rows}
    misstated = np.zeros(len(rows), dtype=bool)
    for i, text in enumerate(sentences):
        found = step.findall(text)
        found += [(name, now, then) for name, then, now in switch.findall(text)]
        for name, before, after in found:
            misstated[i] |= _typed(before) != new[name][i] or before == after
            new[name][i] = _typed(after)
        misstated[i] |= not found
    return pd.DataFrame(new), misstated


def _typed(text: str) -> Any:
    """The value that a text stands for."""
    if text[0] in "'\"":
        return text[1:-1]
    if text in ("yes", "no"):
        return text == "yes"
    return None if text == "missing" else float(text.replace(",", ""))


def letters(
    name: str, kind: str, folder: str | None, rows: int, budget: int | None
) -> dict[str, Any]:
    """Explain generated rows of a data set and follow the sentences."""
    X, y, target = data(name, folder)
    fitted = model(kind, X).fit(X, y)
    asked = generated(X, 8 * rows)
    asked = asked[fitted.predict(asked) != target][:rows].reset_index(drop=True)
    explainer = CounterfactualExplainer(FrozenEstimator(fitted), max_changes=budget).fit(X, y)
    start = time.perf_counter()
    result = explainer.explain(asked, target)
    seconds = time.perf_counter() - start
    found = np.flatnonzero(result.success)
    sentences = [result[i].sentences()[0] for i in found]
    done, misstated = follow(asked.iloc[found].reset_index(drop=True), sentences)
    got = np.array([fitted.predict(done.iloc[[i]])[0] for i in range(len(done))])
    refused = got != target
    return {
        "rows": len(asked),
        "followed": len(done),
        "refused": int(refused.sum()),
        "misstated": int(misstated.sum()),
        "seconds": seconds,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, per data set and model, how many rows followed and how many were refused again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--sets", type=words, default=list(SETS), help=", ".join(SETS))
    parser.add_argument("--models", type=words, default=list(MODELS), help=", ".join(MODELS))
    parser.add_argument("--rows", type=int, default=400, help="rows of each set (default 400)")
    parser.add_argument("--max-changes", type=int, default=3, help="budget (default 3)")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", UserWarning)  # rows without an answer are in the table
    lines, bars = [], Bars()
    for name in options.sets:
        for kind in options.models:
            found = letters(name, kind, options.data, options.rows, options.max_changes)
            lines.append([name, kind, *found.values()])
            bars.add(f"{name}, {kind}: who follows gets the target", found["refused"] == 0)
            bars.add(f"{name}, {kind}: every value is stated in full", found["misstated"] == 0)
    print_table(["data", "model", "rows", "followed", "refused", "misstated", "seconds"], lines)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
