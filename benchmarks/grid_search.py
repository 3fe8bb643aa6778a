"""Grid search over 3 x 3 values of tau and max_changes, 3 folds, on German credit.

python -m benchmarks.grid_search --data DIR

Prints the table of the search and its time; the bar is 60 s on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.datasets import Loans, add_data_option, loans
from scfe_sklearn import CounterfactualExplainer, RecourseScorer, SparsestValid
from scfe_sklearn.scoring import METRICS

GRID = {"tau": [0.5, 2.5, 10.0], "max_changes": [1, 2, 3]}


def search(data: Loans, model: object, memory: str, jobs: int) -> GridSearchCV:
    """Fit the search; the target of the refused rows of each fold is to be approved."""
    explainer = CounterfactualExplainer(model, memory=memory, **data.rules)
    return GridSearchCV(
        explainer,
        GRID,
        scoring=RecourseScorer(METRICS, target=data.target),
        refit=SparsestValid(),
        cv=StratifiedKFold(3),
        n_jobs=jobs,
        error_score="raise",
    ).fit(data.X, data.y)


def main() -> None:
    """Print what the search found and how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    data = loans("german", options.data)
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    network = MLPClassifier((32,), max_iter=200, random_state=0)
    models = {
        "logistic, trained in each fold": make_pipeline(columns, LogisticRegression()),
        "network, frozen": FrozenEstimator(make_pipeline(columns, network).fit(data.X, data.y)),
    }
    for name, model in models.items():
        with tempfile.TemporaryDirectory() as memory:
            start, busy = time.perf_counter(), time.process_time()
            found = search(data, model, memory, options.jobs)
            seconds, busy = time.perf_counter() - start, time.process_time() - busy
        table = pd.DataFrame(found.cv_results_)
        shown = ["param_tau", "param_max_changes", *(f"mean_test_{metric}" for metric in METRICS)]
        # Only with one process is all of the work done in this one.
        processor = f", {busy:.1f} s of processor time" if options.jobs == 1 else ""
        print(f"\n{name}: {seconds:.1f} s with {options.jobs} processes{processor}")
        print(table[shown].round(3).to_string(index=False))
        print(f"chosen: {found.best_params_}")


if __name__ == "__main__":
    main()
