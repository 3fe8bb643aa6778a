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
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.reporting import Bars, add_check_option, print_table, words
from benchmarks.roofline import recorded
from scfe_sklearn import CounterfactualExplainer

ROWS = 100
"""Rows of a query on the other axes."""

LINEAR = 1.5
"""Most that the time per row may grow by from the fewest rows to the most."""

TRAINING = 3.0
"""Most that the time per row may grow by from 10,000 to 1,000,000 training rows."""

FIT_SECONDS, FIT_MEMORY = 60.0, 3.0
"""Most seconds of a fit, and most memory as a multiple of the training data."""

AS_PLAUSIBLE = 1.03
"""Most that the mean outlier factor may grow by from the fewest training rows to the most."""

REPEATS = 2
"""Calls of which the fastest counts."""

WIDE_ROWS, WIDE_SECONDS = 12, 5.0
"""Rows of the query with many columns and a forest, and most seconds for them."""


class Case(NamedTuple):
    """An explainer, its training data and a query."""

    explainer: Any
    X: pd.DataFrame
    y: np.ndarray
    rows: pd.DataFrame
    target: Any


class Point(NamedTuple):
    """Fit, time and memory (in mebibytes) of one case."""

    axis: str
    size: int
    data: float
    fit: float
    fit_memory: float
    seconds: float
    model: float
    mebibytes: float
    found: float
    outlier: float


def _numbers(n: int, d: int = 8, classes: int = 2, seed: int = 0) -> tuple[Any, np.ndarray]:
    """Correlated numbers whose first columns decide the class."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, d)) + 0.5 * rng.normal(size=(n, 1))
    score = Z[:, 0] + Z[:, 1] - 0.5 * Z[:, 2]
    y = np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    return pd.DataFrame(Z, columns=[f"x{j}" for j in range(d)]), y


def _case(n: int = 2000, d: int = 8, classes: int = 2, rows: int = ROWS, **parameters: Any) -> Case:
    """A logistic model of standardized columns; new rows of the lowest class want the highest."""
    X, y = _numbers(n, d, classes)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(X, y)
    new, _ = _numbers(4 * classes * max(rows, ROWS), d, classes, seed=1)
    low = new[model.predict(new) == 0][:rows].reset_index(drop=True)
    return Case(CounterfactualExplainer(FrozenEstimator(model), **parameters), X, y, low, y.max())


def _with_levels(levels: int) -> Case:
    """A column that never changes holds as many names as there are levels."""
    X, y = _numbers(max(2000, levels))
    identifiers = np.array([f"person {k}" for k in range(levels)])[np.arange(len(X)) % levels]
    numbers = make_column_transformer(("passthrough", list(X.columns)))
    X = X.assign(person=identifiers)
    forest = RandomForestClassifier(5, max_depth=4, random_state=0)
    model = make_pipeline(numbers, forest).fit(X, y)
    explainer = CounterfactualExplainer(FrozenEstimator(model), immutable=["person"])
    return Case(explainer, X, y, X[y == 0][:ROWS], 1)


def _forest(d: int) -> Case:
    """A forest of many columns, of which all count a little."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(2000, d))
    y = (Z @ rng.normal(size=d) > 0).astype(int)
    X = pd.DataFrame(Z, columns=[f"x{j}" for j in range(d)])
    model = RandomForestClassifier(50, random_state=0, n_jobs=1).fit(X, y)
    low = X[model.predict(X) == 0][:WIDE_ROWS]
    return Case(CounterfactualExplainer(FrozenEstimator(model)), X, y, low, 1)


AXES: dict[str, tuple[Sequence[int], Callable[[int], Case]]] = {
    "rows": ((100, 400, 1600), lambda n: _case(rows=n)),
    "features": ((5, 20, 80), lambda d: _case(d=d)),
    "columns of a forest": ((100, 300, 1000), _forest),
    "levels": ((200, 2000, 20000), _with_levels),
    "training rows": ((10_000, 100_000, 1_000_000), lambda n: _case(n)),
    "changes": ((1, 2, 4), lambda m: _case(max_changes=m)),
    "classes": ((2, 4, 8), lambda c: _case(classes=c)),
}
"""Sizes of each axis, and the case of a size."""


def measure(axis: str, size: int) -> Point:
    """Fit and explain a case: processor time, that of the model alone, memory, outlier factor."""
    explainer, X, y, rows, target = AXES[axis][1](size)
    fit = _seconds(lambda: explainer.fit(X, y))
    fit_memory = _memory(lambda: explainer.fit(X, y))
    data = X.memory_usage(deep=True).sum() / 2**20
    explainer.explain(rows[:2], target)  # caches of the model are made in the first call
    result = explainer.explain(rows, target)
    seconds = min(_seconds(lambda: explainer.explain(rows, target)) for _ in range(REPEATS))
    model = explainer.estimator_
    with recorded(model.estimator if isinstance(model, FrozenEstimator) else model) as calls:
        explainer.explain(rows, target)
    memory = _memory(lambda: explainer.explain(rows, target))
    outlier = np.nan
    if axis == "training rows":
        new, labels = _numbers(10_000, seed=2)  # judged by the same rows for every size
        judge = LocalOutlierFactor(novelty=True).fit(new[labels == target].to_numpy())
        outlier = -judge.score_samples(result.counterfactuals[result.success].to_numpy()).mean()
    found = float(result.success.mean())
    alone = calls.again()["model"]
    return Point(axis, size, data, fit, fit_memory, seconds, alone, memory, found, outlier)


def _seconds(call: Callable[[], Any]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def _memory(call: Callable[[], Any]) -> float:
    """Most memory that a call holds at a time, in mebibytes."""
    tracemalloc.start()
    call()
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return top / 2**20


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw time, time of the model and memory against the size, one panel per axis."""
    import matplotlib.pyplot as plt

    axes = list(dict.fromkeys(point.axis for point in points))
    figure, panels = plt.subplots(
        2,
        len(axes),
        figsize=(1.9 * len(axes), 5),
        sharex="col",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for k, axis in enumerate(axes):
        own = [point for point in points if point.axis == axis]
        size = [point.size for point in own]
        panels[0, k].loglog(size, [point.seconds for point in own], "o-", label="explain")
        panels[0, k].loglog(size, [point.model for point in own], "s--", label="model alone")
        panels[1, k].loglog(size, [point.mebibytes for point in own], "o-", color="C2")
        panels[0, k].set_title(axis)
        panels[1, k].set_xticks(size, [f"{n:,}" for n in size])
        panels[1, k].minorticks_off()
    panels[0, 0].set_ylabel("seconds")
    panels[1, 0].set_ylabel("MiB")
    panels[0, 0].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def check(points: Sequence[Point], bars: Bars) -> None:
    """Compare the growth of each axis with its bar."""
    ends = {}
    for axis in dict.fromkeys(point.axis for point in points):
        own = [point for point in points if point.axis == axis]
        ends[axis] = own[0], own[-1]
    if "rows" in ends:
        few, many = ends["rows"]
        ratio = (many.seconds / many.size) / (few.seconds / few.size)
        bars.add(f"time is linear in rows, within {LINEAR:g}", ratio <= LINEAR)
    if "levels" in ends:
        few, many = ends["levels"]
        enough = many.seconds <= LINEAR * few.seconds
        bars.add(f"levels of a held column cost nothing, within {LINEAR:g}", enough)
    if "columns of a forest" in ends:
        wide = ends["columns of a forest"][1]
        name = f"{WIDE_ROWS} rows of {wide.size} columns with a forest in {WIDE_SECONDS:g} s"
        bars.add(name, wide.seconds <= WIDE_SECONDS)
    if "training rows" in ends:
        few, many = ends["training rows"]
        name = f"{few.size:,} to {many.size:,} training rows:"
        bars.add(f"{name} time within {TRAINING:g}", many.seconds <= TRAINING * few.seconds)
        bars.add(f"{name} fit within {FIT_SECONDS:g} s", many.fit <= FIT_SECONDS)
        bars.add(
            f"{name} memory of the fit within {FIT_MEMORY:g}",
            many.fit_memory <= FIT_MEMORY * many.data,
        )
        near = many.outlier <= AS_PLAUSIBLE * few.outlier
        bars.add(f"{name} outlier factor within {AS_PLAUSIBLE:g}", near)


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
    header = ["axis", "size", "MiB", "fit s", "fit MiB", "s", "model s", "peak MiB", "found", "LOF"]
    print_table(header, points)
    check(points, bars)
    if options.save:
        draw(points, options.save)
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
