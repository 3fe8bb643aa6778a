"""Does the finder find planted shortcuts, and is it quiet where there are none?

Random plantings in tables (loans, credit histories, generated classes and breast cancer; a column
of numbers or of levels at a random position) and in images (digits in two random kinds of five; a
bright patch at a random place), each with a correlation of 0.95 with the label in training. The
same number of clean tasks has nothing planted. "found" is where the planted column, or a window
with at least half of the patch, is ranked first.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from benchmarks.datasets import credit_histories
from benchmarks.reporting import Bars, add_check_option
from benchmarks.shortcut_tasks import SHARE, digits_task, table_model
from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.datasets import make_loan_applications
from scfe_sklearn.image import PlausibleImageExplainer
from scfe_sklearn.learning import Shortcuts, find_shortcuts

SIDE = 2
BASES = ("loans", "credit histories", "generated", "breast cancer")


@dataclass(frozen=True, eq=False)
class Trial:
    """One run of the finder."""

    kind: str
    seed: int
    planted: bool
    found: bool
    shortcuts: Shortcuts
    accuracy: float
    seconds: float


def table(name: str, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return one of BASES with labels 0 and 1."""
    if name == "loans":
        X, y = make_loan_applications(1200, random_state=seed)
        return X, (np.asarray(y) == "approved").astype(int)
    if name == "credit histories":
        return credit_histories(1500, seed)
    if name == "breast cancer":
        X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        return X, y.to_numpy()
    numbers, y = make_classification(
        800, 8, n_informative=5, n_redundant=2, class_sep=0.8, random_state=seed
    )
    return pd.DataFrame(numbers, columns=[f"x{j}" for j in range(8)]), y


def table_trial(seed: int, planted: bool) -> Trial:
    """Plant a column, or none, and look for it."""
    random = np.random.default_rng(seed)
    name = BASES[seed % len(BASES)]
    X, y = table(name, seed)
    X = X.reset_index(drop=True)
    train, clean = train_test_split(
        np.arange(len(y)), train_size=0.6, random_state=seed, stratify=y
    )
    if planted:
        tells = np.where(random.random(len(y)) < SHARE, y, 1 - y)
        tells[clean] = random.integers(2, size=len(clean))
        levels = random.random() < 0.5
        values = np.where(tells == 1, "b", "a") if levels else tells + random.normal(0, 0.2, len(y))
        X.insert(int(random.integers(X.shape[1] + 1)), "planted", values)
        name += ", levels" if levels else ", numbers"
    model = table_model(seed).fit(X.iloc[train], y[train])
    explainer = CounterfactualExplainer(FrozenEstimator(model), density="knn")
    explainer.fit(X.iloc[train], y[train])
    start = time.perf_counter()
    shortcuts = find_shortcuts(explainer, X.iloc[clean], y[clean], random_state=seed)
    seconds = time.perf_counter() - start
    first = shortcuts.ranking["name"][0]
    accuracy = model.score(X.iloc[clean], y[clean])
    return Trial(name, seed, planted, first == "planted", shortcuts, accuracy, seconds)


def image_trial(seed: int, planted: bool) -> Trial:
    """Plant a patch, or none, and look for it."""
    random = np.random.default_rng(seed)
    order = random.permutation(10).tolist()
    place = tuple(int(k) for k in random.integers(0, 8 - SIDE + 1, 2))
    kinds = tuple(order[:5]), tuple(order[5:])
    task = digits_task(seed, kinds, place if planted else None, SIDE, n_train=400)
    model = task.fit(task.train.X, task.train.y)
    explainer = PlausibleImageExplainer(model.module_, density="knn", tau=2.0, max_pixels=8)
    explainer.fit(task.train.X, task.train.y)
    X, y = task.clean.X[:300], task.clean.y[:300]
    start = time.perf_counter()
    shortcuts = find_shortcuts(explainer, X, y, random_state=seed)
    seconds = time.perf_counter() - start
    first = shortcuts.ranking["name"][0]
    shared = np.prod([max(0, SIDE - abs(a - b)) for a, b in zip(first, place, strict=True)])
    accuracy = float((model.predict(X) == y).mean())
    return Trial("digits", seed, planted, shared >= SIDE**2 / 2, shortcuts, accuracy, seconds)


def trials(n: int, first: int) -> Iterator[Trial]:
    """Run n plantings and n clean tasks, half of them tables and half of them images."""
    for seed in range(first, first + n // 2):
        for planted in (True, False):
            for run in (table_trial, image_trial):
                yield run(seed, planted)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40, help="plantings, and clean tasks")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    add_check_option(parser)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", ConvergenceWarning)
    done = []
    for trial in trials(options.trials, options.first):
        done.append(trial)
        top = trial.shortcuts.ranking.iloc[0]
        word = ("found" if trial.found else "lost") if trial.planted else "clean"
        alarm = ", alarm" if trial.shortcuts.alarms else ""
        print(
            f"{trial.kind}, seed {trial.seed}: {word}{alarm}; first {top['name']}, score "
            f"{top['score']:.2f}, right {top['right']:.2f}; accuracy {trial.accuracy:.2f}, "
            f"{trial.seconds:.1f} s",
            flush=True,
        )
    print()
    planted = [trial for trial in done if trial.planted]
    clean = [trial for trial in done if not trial.planted]
    found = np.mean([trial.found for trial in planted])
    alarmed = np.mean([bool(trial.shortcuts.alarms) for trial in planted])
    quiet = np.mean([not trial.shortcuts.alarms for trial in clean])
    print(f"alarms where something is planted: {100 * alarmed:.1f} %\n")
    bars = Bars()
    bars.add(
        f"planted shortcut first: {100 * found:.1f} % of {len(planted)}, at least 95", found >= 0.95
    )
    bars.add(
        f"no alarm: {100 * quiet:.1f} % of {len(clean)} clean tasks, at least 90", quiet >= 0.9
    )
    return bars.finish(options.check)


if __name__ == "__main__":
    raise SystemExit(main())
