"""Learning from counterfactuals: the thesis's experiment on two tasks with a planted shortcut.

A standard model is trained on rows in which a shortcut goes with the label in 95 % of the rows:
digits (3 against 5, scikit-learn's) with a bright patch, and generated loan applications with a
column. Every training row is perturbed towards the other class on that model, by PGD, by nearest
and by plausible counterfactuals, and a new model is trained on the perturbed rows alone, or on
training and perturbed rows. Accuracy and that of the worst of four groups (label x shortcut) are
those of rows that come with and without the shortcut; mean and deviation are over the seeds.
``--folder DIR`` adds the images of WaterBirds, SpuCoAnimals or another folder of their layouts,
with a small network and, for plausibility, an autoencoder.

``--rows validation`` prints the same for the validation rows, on which the resampler's defaults
were chosen, and ``--scan TAU,TAU`` for other settings of p-cfe; no choice was made on the test
rows. "goes along" is the share of the perturbed rows whose shortcut goes with the new label: at 1
they teach the shortcut, at 0 its opposite.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from benchmarks.datasets import add_data_option, loans
from benchmarks.models import loan_case
from benchmarks.reporting import Bars, add_check_option, numbers, print_table, words
from benchmarks.shortcut_tasks import Rows, Task, digits_task, folder_task, loans_task, mnist_task
from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.image import AutoencoderDensity, PlausibleImageExplainer
from scfe_sklearn.learning import CounterfactualResampler, worst_group_score

METHODS = ("pgd-l2", "pgd-linf", "cfe-l2", "p-cfe")
TASKS: dict[str, Callable[[int], Task]] = {"digits": digits_task, "loans": loans_task}
PUBLISHED = {
    "WaterBirds": {
        "pgd-l2": (86.08, 56.58), "pgd-linf": (86.02, 61.72), "cfe-l2": (88.58, 63.04),
        "p-cfe": (86.54, 76.05), "standard": (None, 64.0),
    },
    "SpuCoAnimals": {
        "pgd-l2": (78.10, 56.06), "pgd-linf": (79.43, 57.53), "cfe-l2": (79.00, 56.60),
        "p-cfe": (81.78, 63.53), "standard": (None, 65.60),
    },
}  # fmt: skip
"""Accuracy and worst group of the thesis, percent, of models trained on perturbed rows alone."""


LARGE = 256
"""Values of an image from which its density is an autoencoder."""


@dataclass(frozen=True)
class Score:
    """One trained model."""

    accuracy: float
    worst: float
    along: float = float("nan")


def measured(model: Any, rows: Rows) -> tuple[float, float]:
    """Return accuracy and that of the worst group, in percent."""
    predicted = model.predict(rows.X)
    accuracy = float((predicted == rows.y).mean())
    return 100 * accuracy, 100 * worst_group_score(rows.y, predicted, groups=rows.marked)


def explainer_of(task: Task, standard: Any) -> Any:
    """Return the explainer of a task's standard model; the resampler chooses the rest."""
    if hasattr(standard, "module_"):
        shape = task.train.X.shape[1:]
        large = task.density is None and math.prod(shape) > LARGE
        coded = large or task.density == "autoencoder"
        density = AutoencoderDensity(shape) if coded else task.density or "gmm"
        return PlausibleImageExplainer(standard.module_, density=density)
    return CounterfactualExplainer(FrozenEstimator(standard))


def marked(task: Task, X: Any) -> np.ndarray:
    """Return which rows hold the shortcut; NaN where nothing is planted."""
    if task.place is None:
        return np.full(len(X), np.nan)
    if hasattr(X, "columns"):
        return (X[task.place] == "b").to_numpy(float)
    bright = X[(slice(None), slice(None), *task.place)].mean(axis=(1, 2, 3)) > 0.5
    return bright.astype(float)


def run(
    task: Task, seed: int, which: str, methods: Sequence[str] = METHODS
) -> dict[tuple[str, str], Score]:
    """Train all models of a task; keys are the perturbation and "alone" or "appended"."""
    rows: Rows = getattr(task, which)
    standard = task.fit(task.train.X, task.train.y)
    scores = {("standard", ""): Score(*measured(standard, rows))}
    explainer = explainer_of(task, standard)
    for method in methods:
        resampler = CounterfactualResampler(explainer, perturbation=method, random_state=seed)
        scores |= trained(task, resampler, rows, method)
    return scores


def trained(
    task: Task, resampler: CounterfactualResampler, rows: Rows, name: str
) -> dict[tuple[str, str], Score]:
    """Train on what a resampler returns: the perturbed rows alone, and appended."""
    X, y = resampler.fit_resample(task.train.X, task.train.y)
    moved = np.flatnonzero(resampler.perturbed_)
    alone = X.iloc[moved] if hasattr(X, "iloc") else X[moved]
    with_it = marked(task, alone)
    along = float(np.where(np.isnan(with_it), np.nan, with_it == (y[moved] == 1)).mean())
    return {
        (name, "alone"): Score(*measured(task.fit(alone, y[moved]), rows), along),
        (name, "appended"): Score(*measured(task.fit(X, y), rows), along),
    }


def scan(task: Task, seed: int, which: str, taus: Sequence[float]) -> dict[tuple[str, str], Score]:
    """Train models on p-cfe with the explainer's own prices, and with others."""
    rows: Rows = getattr(task, which)
    standard = task.fit(task.train.X, task.train.y)
    scores = {("standard", ""): Score(*measured(standard, rows))}
    for tau, beta in [(2.0, 4.0), *((tau, 0.0) for tau in taus)]:
        resampler = CounterfactualResampler(
            explainer_of(task, standard), tau=tau, beta=beta, random_state=seed
        )
        scores |= trained(task, resampler, rows, f"tau {tau:g}, beta {beta:g}")
    return scores


def adult_seconds(folder: str | None) -> tuple[float, float]:
    """Return seconds and success of resampling 1,000 rows of Adult with a logistic model."""
    case = loan_case(loans("adult", folder), "logistic")
    X, y = case.X.iloc[:1000], case.y[:1000]
    explainer = CounterfactualExplainer(FrozenEstimator(case.model), **case.loans.rules)
    resampler = CounterfactualResampler(explainer, random_state=0)
    start = time.perf_counter()
    resampler.fit_resample(X, y)
    return time.perf_counter() - start, float(resampler.success_.mean())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tasks", type=words, default=list(TASKS), help="digits,loans, and mnist (--data)"
    )
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--scan", type=numbers, metavar="TAU,TAU", help="p-cfe with these tau, and as explained"
    )
    parser.add_argument("--rows", choices=["test", "validation"], default="test")
    parser.add_argument("--folder", help="a WaterBirds- or SpuCo-style folder, as a further task")
    parser.add_argument("--size", type=int, default=32, help="side of the images of the folder")
    parser.add_argument("--density", help="of images: kde, gmm, knn, lof or autoencoder")
    parser.add_argument("--adult", action="store_true", help="time 1,000 rows of Adult (--data)")
    add_data_option(parser)
    add_check_option(parser)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", ConvergenceWarning)
    bars = Bars()
    tasks = {**TASKS, "mnist": lambda seed: mnist_task(seed, options.data)}
    if options.folder:
        tasks["folder"] = lambda seed: folder_task(options.folder, seed, options.size)
    for name in [*options.tasks, *(["folder"] if options.folder else [])]:
        rows = []
        for seed in map(int, options.seeds):
            task = tasks[name](seed)
            if options.density:
                task = replace(task, density=options.density)
            scores = (
                scan(task, seed, options.rows, options.scan)
                if options.scan
                else run(task, seed, options.rows)
            )
            rows += [
                {"method": method, "rows": part, **vars(score)}
                for (method, part), score in scores.items()
            ]
        table = pd.DataFrame(rows)
        _print(name, table)
        if not options.scan:
            _judge(name, table, bars)
    print("Published, percent: accuracy and worst group of models of perturbed rows alone.")
    print_table(
        ["data", "method", "accuracy", "worst group"],
        [
            [data, method, "-" if figures[0] is None else f"{figures[0]:.2f}", figures[1]]
            for data, methods in PUBLISHED.items()
            for method, figures in methods.items()
        ],
    )
    if options.adult:
        seconds, success = adult_seconds(options.data)
        print(f"1,000 rows of Adult: {seconds:.1f} s, {100 * success:.1f} % perturbed\n")
        bars.add(f"1,000 rows of Adult take seconds: {seconds:.1f}, at most 60", seconds <= 60)
    return bars.finish(options.check)


def _print(name: str, table: pd.DataFrame) -> None:
    grouped = table.groupby(["method", "rows"], sort=False)
    print(f"{name}: percent, mean (deviation) over {len(table) // grouped.ngroups} seeds")
    print_table(
        ["method", "rows", "accuracy", "worst group", "goes along", "by seed"],
        [
            [
                method, rows,
                f"{part['accuracy'].mean():.1f} ({part['accuracy'].std(ddof=0):.1f})",
                f"{part['worst'].mean():.1f} ({part['worst'].std(ddof=0):.1f})",
                "-" if method == "standard" else f"{part['along'].mean():.2f}",
                " ".join(f"{value:.0f}" for value in part["worst"]),
            ]
            for (method, rows), part in grouped
        ],
    )  # fmt: skip


def _judge(name: str, table: pd.DataFrame, bars: Bars) -> None:
    means = table.groupby(["method", "rows"])[["accuracy", "worst"]].mean()
    best = means.loc[("p-cfe", "alone"), "worst"]
    for method in METHODS[:-1]:
        other = means.loc[(method, "alone"), "worst"]
        bars.add(
            f"{name}, alone: worst group of p-cfe {best:.1f} above {method} {other:.1f}",
            best > other,
        )
    more, standard = means.loc[("p-cfe", "appended")], means.loc[("standard", "")]
    gain, cost = more["worst"] - standard["worst"], standard["accuracy"] - more["accuracy"]
    bars.add(f"{name}, appended: p-cfe raises the worst group by {gain:.1f}, at least 3", gain >= 3)
    bars.add(f"{name}, appended: p-cfe costs {cost:.1f} of accuracy, at most 1", cost <= 1)


if __name__ == "__main__":
    raise SystemExit(main())
