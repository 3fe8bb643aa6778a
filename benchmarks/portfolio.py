"""A whole portfolio in one call: memory, statuses and time of a million generated rows; kills.

python -m benchmarks.portfolio                       # 1,000,000 rows: half an hour and more
python -m benchmarks.portfolio --rows 20000 --jobs 2 --kills 50
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.memory_probe import peak
from benchmarks.reporting import Bars, add_check_option
from scfe_sklearn import CounterfactualExplainer, Status
from scfe_sklearn.datasets import make_loan_applications

TRAINING = 5000
"""Training rows."""

WORKERS = 0.85
"""Least speed of a call in several processes, as a share of their number."""

LAST_BITS = 1e-12
"""Most that probabilities of the same rows may differ by."""

BOUND = 2048
"""Mebibytes above the fitted explainer and the rows."""


def fitted() -> CounterfactualExplainer:
    """An explainer of a logistic pipeline on loan applications."""
    X, y = make_loan_applications(TRAINING, random_state=0)
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500))
    return CounterfactualExplainer(model, immutable=["sex", "age"], max_changes=2).fit(X, y)


def portfolio(n: int) -> pd.DataFrame:
    """Loan applications of 14 columns (27 coordinates), with labels that are no positions."""
    X, _ = make_loan_applications(n, random_state=1)
    return X.set_axis(np.arange(n)[::-1] * 3, axis=0)


def answer_all(explainer: Any, n: int, jobs: int | None, bars: Bars) -> float:
    """Answer all rows; print memory, statuses and time; return the seconds."""
    rows = portfolio(n)
    # Libraries are loaded, and workers started, in the first call.
    explainer.explain(rows[:200], "approved", n_jobs=jobs)
    before, start = peak(), time.perf_counter()
    result = explainer.explain(rows, "approved", n_jobs=jobs)
    seconds = time.perf_counter() - start
    above = peak() - before
    print(f"{n:,} rows of {rows.shape[1]} columns, {jobs or 1} process(es)")
    print(f"time    {seconds:,.1f} s, {1000 * seconds / n:.2f} ms a row")
    print(f"memory  {before:,.0f} MiB before, {above:,.0f} MiB above, at most {BOUND:,}")
    counts = {status: int((result.status == status).sum()) for status in Status.ALL}
    for status, count in counts.items():
        if count:
            print(f"{count:>9,}  {status}")
    bars.add("memory stays within the bound", above <= BOUND)
    bars.add("the statuses add up", sum(counts.values()) == n == len(result))
    same = result.index.equals(rows.index) and result.counterfactuals.index.equals(rows.index)
    bars.add("order and labels of the rows are kept", same)
    return seconds


def identical(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether all columns are equal, the model's probabilities but for their last bits.

    A matrix product rounds by the number of rows that are predicted together.
    """
    rounded = [name for name in other if name.startswith("probability")]
    if not one.drop(columns=rounded).equals(other.drop(columns=rounded)):
        return False
    close = np.isclose(one[rounded], other[rounded], rtol=0, atol=LAST_BITS, equal_nan=True)
    return bool(close.all())


def kill_and_resume(explainer: Any, n: int, times: int, bars: Bars) -> None:
    """Kill calls with a checkpoint at random moments, and compare what they resume to."""
    rows = portfolio(n)
    start = time.perf_counter()
    plain = explainer.explain(rows, "approved").to_frame()
    seconds = time.perf_counter() - start
    moment, same, lost, late = random.Random(0), 0, 0, 0
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            child = os.fork()
            if child == 0:
                explainer.explain(rows, "approved", checkpoint=run)
                os._exit(0)
            time.sleep(moment.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            late += not os.WIFSIGNALED(status)
            again = explainer.explain(rows, "approved", checkpoint=run).to_frame()
            same += identical(again, plain)
            lost += len(plain) - len(again)
    print(f"{times} kills of a call of {seconds:.1f} s ({late} came after its end)")
    print(f"{same} identical results, {lost} rows lost")
    bars.add(f"{times} kills: {times} identical results, no row lost", same == times and lost == 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.portfolio", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--jobs", type=int, metavar="N", help="repeat in N processes")
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kill 2,000 rows N times")
    add_check_option(parser)
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", message=".*have no counterfactual")
    explainer, bars = fitted(), Bars()
    alone = answer_all(explainer, options.rows, None, bars)
    if options.jobs:
        ratio = alone / answer_all(explainer, options.rows, options.jobs, bars)
        enough = WORKERS * options.jobs
        name = f"{options.jobs} processes are {ratio:.2f} times as fast as one (>= {enough:g})"
        bars.add(name, ratio >= enough)
    if options.kills:
        kill_and_resume(explainer, min(2000, options.rows), options.kills, bars)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
