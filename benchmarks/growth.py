"""Growth of time and memory with rows, features, levels, training rows, changes and classes.

python -m benchmarks.growth                      # minutes
python -m benchmarks.growth --axes rows,levels --save growth.png
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.reporting import Bars, add_check_option, print_table, words
from benchmarks.roofline import recorded
from scfe_sklearn import CounterfactualExplainer

ROWS = 100
"""Rows of a query on the other axes."""

LINEAR = 1.5
"""Most that the time per row may grow by from the fewest rows to the most."""


class Case(NamedTuple):
    """An explainer and its query."""

    explainer: Any
    rows: Any
    target: Any


class Point(NamedTuple):
    """Time and memory of one case."""

    axis: str
    size: int
    seconds: float
    model: float
    mebibytes: float
    found: float


def _numbers(n: int, d: int = 8, classes: int = 2) -> tuple[pd.DataFrame, np.ndarray]:
    """Correlated numbers whose first columns decide the class."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(n, d)) + 0.5 * rng.normal(size=(n, 1))
    score = Z[:, 0] + Z[:, 1] - 0.5 * Z[:, 2]
    y = np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    return pd.DataFrame(Z, columns=[f"x{j}" for j in range(d)]), y


def _case(X: Any, y: np.ndarray, n: int = ROWS, **parameters: Any) -> Case:
    """A logistic model of standardized columns; rows of the lowest class want the highest."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    explainer = CounterfactualExplainer(model, **parameters).fit(X, y)
    low = X[np.asarray(explainer.estimator_.predict(X)) == 0]
    return Case(explainer, low.iloc[np.arange(n) % len(low)].reset_index(drop=True), y.max())


def _with_levels(levels: int) -> Case:
    """A column that never changes holds as many names as there are levels."""
    X, y = _numbers(max(2000, levels))
    identifiers = np.array([f"person {k}" for k in range(levels)])[np.arange(len(X)) % levels]
    X = X.assign(person=identifiers)
    model = RandomForestClassifier(5, max_depth=4, random_state=0).fit(X.drop(columns="person"), y)

    def scores(frame: Any) -> np.ndarray:
        return np.asarray(model.predict_proba(frame.drop(columns="person")))

    explainer = CounterfactualExplainer(scores, immutable=["person"]).fit(X, y)
    low = X[y == 0][:ROWS]
    return Case(explainer, low, 1)


AXES: dict[str, tuple[Sequence[int], Callable[[int], Case]]] = {
    "rows": ((100, 400, 1600), lambda n: _case(*_numbers(2000), n=n)),
    "features": ((5, 20, 80), lambda d: _case(*_numbers(2000, d))),
    "levels": ((200, 2000, 20000), _with_levels),
    "training rows": ((1000, 10000, 100000), lambda n: _case(*_numbers(n))),
    "changes": ((1, 2, 4), lambda m: _case(*_numbers(2000), max_changes=m)),
    "classes": ((2, 4, 8), lambda c: _case(*_numbers(2000, classes=c))),
}
"""Sizes of each axis, and the case of a size."""


def measure(axis: str, size: int) -> Point:
    """Explain the rows of a case: processor time, that of the model alone, memory."""
    case = AXES[axis][1](size)
    explain = case.explainer.explain
    explain(case.rows[:2], case.target)  # caches of the model are made in the first call
    start = time.process_time()
    result = explain(case.rows, case.target)
    seconds = time.process_time() - start
    with recorded(case.explainer.estimator_) as calls:
        explain(case.rows, case.target)
    tracemalloc.start()
    explain(case.rows, case.target)
    memory = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return Point(axis, size, seconds, calls.again()["model"], memory, float(result.success.mean()))


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw time, time of the model and memory against the size, one panel per axis."""
    import matplotlib.pyplot as plt

    axes = list(dict.fromkeys(point.axis for point in points))
    figure, panels = plt.subplots(
        2, len(axes), figsize=(2.6 * len(axes), 5), squeeze=False, layout="constrained"
    )
    for k, axis in enumerate(axes):
        own = [point for point in points if point.axis == axis]
        size = [point.size for point in own]
        panels[0, k].loglog(size, [point.seconds for point in own], "o-", label="explain")
        panels[0, k].loglog(size, [point.model for point in own], "s--", label="model alone")
        panels[1, k].loglog(size, [point.mebibytes for point in own], "o-", color="C2")
        panels[0, k].set_title(axis)
    panels[0, 0].set_ylabel("seconds")
    panels[1, 0].set_ylabel("MiB")
    panels[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--axes", type=words, default=list(AXES), metavar="A,B")
    parser.add_argument("--save", type=Path, metavar="FILE", help="draw the curves")
    add_check_option(parser)
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", message=".*have no counterfactual")
    points, bars = [], Bars()
    for axis in options.axes:
        points += [measure(axis, size) for size in AXES[axis][0]]
    header = ["axis", "size", "s", "model s", "MiB", "found"]
    print_table(header, points)
    own = [point for point in points if point.axis == "rows"]
    if own:
        each = [point.seconds / point.size for point in own]
        bars.add(f"time is linear in rows, within {LINEAR}", each[-1] <= LINEAR * each[0])
    own = [point for point in points if point.axis == "levels"]
    if own:
        ratio = own[-1].seconds / own[0].seconds
        bars.add(f"levels of a held column cost nothing, within {LINEAR}", ratio <= LINEAR)
    if options.save:
        draw(points, options.save)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
