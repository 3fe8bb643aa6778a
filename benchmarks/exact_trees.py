"""The exact option for trees: does it agree with exhaustive search, and how long does it take?

(a) Small trees, forests and boosting on random numbers: the cheapest of all admissible rows by
the model itself against the program's answer. (b) German credit with forests of 50 trees of
depth 5 and 100 of depth 6: time, gap and what is proved, for the nearest answer and for the
fewest changes, under the benchmark's rules and at training values' resolution. (c) The search
against the exact answers, both through `explain`, by the same prices: tau 0, and a price of 4, 1
and 0 for each change. Boosting, forests and extra trees of 50 to 100 trees on generated credit
histories, breast cancer, German credit and Adult. "worse than higher" is the share of the rows
whose answer costs more than that of the same search at a higher price, at the price of the line.

``exact_answers`` is what other methods are compared with: the cheapest answer of each row.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from benchmarks.datasets import LOANS, Loans, add_data_option, available_loans, loans
from benchmarks.reporting import Bars, add_check_option, print_table, words
from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.data import Column, FeatureSpace
from scfe_sklearn.exact import ExactAnswer, Options, cheapest, class_wins, row_options
from scfe_sklearn.models import TreeEnsemble, read_trees
from scfe_sklearn.rules import Rules

FORESTS = ((50, 5), (100, 6))


@dataclass(frozen=True, eq=False)
class Task:
    """Refused rows, the trees that refused them, and what each may become."""

    model: Any
    X: pd.DataFrame
    y: np.ndarray
    space: FeatureSpace
    refused: pd.DataFrame
    ensemble: TreeEnsemble
    code: int
    options: list[Options]


SEARCHED = {
    "boosting 100": GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=0),
    "hist boosting 60": HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=16, max_depth=5, random_state=0
    ),
    "forest 50": RandomForestClassifier(50, max_depth=5, class_weight="balanced", random_state=0),
    "extra trees 50": ExtraTreesClassifier(
        50, max_depth=5, class_weight="balanced", random_state=0
    ),
}
"""Models on which the search is compared with the exact answers."""

BETAS = (4.0, 1.0, 0.0)
"""Prices of a change, each lower than the one before."""


def fitted(
    data: Loans, model: Any, n_rows: int, seed: int = 0
) -> tuple[Any, pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Fit a pipeline on at most 5,000 training rows; return it, the rows, and refused others."""
    order = np.random.default_rng(seed).permutation(len(data.X))
    train, rest = np.split(order, [int(0.7 * len(order))])
    train = train[:5000]
    numeric = list(data.X.select_dtypes("number").columns)
    words = [name for name in data.X.columns if name not in numeric]
    columns = make_column_transformer(
        (StandardScaler(), numeric),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
    )
    X, y = data.X.iloc[train], data.y[train]
    pipeline = make_pipeline(columns, clone(model)).fit(X, y)
    held = data.X.iloc[rest]
    return pipeline, X, y, held[pipeline.predict(held) != data.target].iloc[:n_rows]


def forest_task(data: Loans, n_trees: int, depth: int, n_rows: int, seed: int = 0) -> Task:
    """Fit a forest and list what refused rows may become."""
    forest = RandomForestClassifier(n_trees, max_depth=depth, random_state=seed)
    model, X, y, refused = fitted(data, forest, n_rows, seed)
    space = FeatureSpace().fit(X)
    ensemble = read_trees(model, space.columns_, X)
    code = list(model.classes_).index(data.target)
    options = options_of(space, ensemble, refused, Rules(**data.rules))
    return Task(model, X, y, space, refused, ensemble, code, options)


def options_of(
    space: FeatureSpace, ensemble: TreeEnsemble, X: pd.DataFrame, rules: Rules
) -> list[Options]:
    """Options of each row under rules, in the feature space's own lattice."""
    import torch

    Z = space.encode(X)
    bounds = rules.bind(space, X, Z)
    u = space.column_map_(torch.from_numpy(Z)).numpy()
    numeric = np.array([column.levels is None for column in space.columns_])
    at, starts = ensemble.starts[:-1][numeric], ensemble.starts
    z_at = np.array([space.slices_[j].start for j in np.flatnonzero(numeric)])
    lattice = space.lattice(np.flatnonzero(numeric))
    center, scale = space.center_[numeric], space.scale_[numeric]
    raw = np.column_stack([X[space.names_[j]].to_numpy(float) for j in np.flatnonzero(numeric)])
    u[:, at] = raw  # the raw number itself, not what is left of it after scaling
    lower, upper = np.zeros_like(u), np.zeros_like(u)
    lower[:, at] = lattice.nearest(center + scale * bounds.lower[:, z_at])
    upper[:, at] = lattice.nearest(center + scale * bounds.upper[:, z_at])
    allowed = np.zeros(u.shape, dtype=bool)
    unit = np.where(np.array(space.kinds_) == "categorical", np.nan, space.scale_)
    for j, kind in enumerate(space.kinds_):
        block = slice(int(starts[j]), int(starts[j + 1]))
        if kind == "ordinal":
            rank, z = np.arange(block.stop - block.start), space.slices_[j].start
            z_rank = (rank - space.center_[j]) / space.scale_[j]
            allowed[:, block] = (z_rank >= bounds.lower[:, [z]] - 1e-9) & (
                z_rank <= bounds.upper[:, [z]] + 1e-9
            )
        else:
            allowed[:, block] = bounds.allowed[:, space.slices_[j]]
    return [
        row_options(
            ensemble,
            u[i],
            lower=lower[i],
            upper=upper[i],
            allowed=allowed[i],
            unit=unit,
            values=lattice,
        )
        for i in range(len(u))
    ]


def exact_answers(task: Task, objective: str, time_limit: float) -> list[ExactAnswer]:
    """The cheapest answer of each row."""
    want = class_wins(task.ensemble, task.code)
    return [
        cheapest(task.ensemble, options, want, objective=objective, time_limit=time_limit)  # type: ignore[arg-type]
        for options in task.options
    ]


def agreement(n_problems: int) -> tuple[int, int, int]:
    """Problems, those where program and exhaustive search agree, those without any answer."""
    agree = none = 0
    for seed in range(n_problems):
        rng = np.random.default_rng(seed)
        X = rng.integers(0, 5, size=(60, 4)).astype(float)
        y = rng.integers(0, 2, 60)
        model = [
            DecisionTreeClassifier(max_depth=4, random_state=0),
            RandomForestClassifier(5, max_depth=3, random_state=0),
            GradientBoostingClassifier(n_estimators=5, max_depth=2, random_state=0),
            HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3),
        ][seed % 4].fit(X, y)
        ensemble = read_trees(model, [Column(k, None) for k in range(4)], X)
        row, low, high = X[0], np.maximum(X[0] - 2, 0), np.minimum(X[0] + 2, 4)
        options = row_options(
            ensemble,
            row,
            lower=low,
            upper=high,
            allowed=rng.random(4) < 0.8,
            unit=np.ones(4),
            values=_Whole(),
        )
        code = 1 - int(model.predict(row[None])[0])
        budget = int(rng.integers(1, 5))
        answer = cheapest(ensemble, options, class_wins(ensemble, code), max_changes=budget)
        free = [options.starts[k + 1] - options.starts[k] > 1 for k in range(4)]
        grid = np.array(
            list(
                itertools.product(
                    *(np.arange(low[k], high[k] + 1) if free[k] else [row[k]] for k in range(4))
                )
            )
        )
        few = (grid != row).sum(axis=1) <= budget
        good = few & (model.predict(grid) == code)
        best = ((grid - row) ** 2).sum(axis=1)[good].min(initial=np.inf)
        agree += int(answer.status in ("optimal", "unreachable") and answer.cost == best)
        none += int(best == np.inf)
    return n_problems, agree, none


class _Whole:
    """Whole numbers in each of the four columns."""

    step = np.ones(4)

    def at_least(self, values: np.ndarray) -> np.ndarray:
        return np.ceil(values)

    def at_most(self, values: np.ndarray) -> np.ndarray:
        return np.floor(values)


def compare_search(
    data: Loans, name: str, n_rows: int, limit: float, bars: Bars, seed: int = 0
) -> list[list[Any]]:
    """Return a line for each price of a change: the search against the exact answers."""
    model, X, y, refused = fitted(data, SEARCHED[name], n_rows, seed)
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), solver="search", tau=0.0, milp_seconds=limit, **data.rules
    ).fit(X, y)
    exact = clone(explainer).set_params(solver="milp").fit(X, y)
    earlier: list[Any] = []
    lines = []
    for beta in BETAS:
        start = time.process_time()
        found = explainer.set_params(beta=beta).explain(refused, target=data.target)
        search = 1000 * (time.process_time() - start) / len(refused)
        start = time.process_time()
        best = exact.set_params(beta=beta).explain(refused, target=data.target)
        proof = 1000 * (time.process_time() - start) / len(refused)
        both = found.success & best.success
        price, least = (one.distance**2 + beta * one.n_changes for one in (found, best))
        ratio = price[both] / least[both]
        higher = [one.distance**2 + beta * one.n_changes for one in earlier]
        worse = [price[both] > other[both] * (1 + 1e-9) for other in higher]
        worst = float(np.any(worse, axis=0).mean()) if worse else np.nan
        near = float((ratio <= 1.05).mean())
        earlier.append(found)
        text = f"{data.name}, {name}, beta {beta:g}"
        bars.add(f"{text}: price within 5 % on {near:.0%} of the rows (>= 90 %)", near >= 0.9)
        if worse:
            bars.add(f"{text}: {worst:.0%} worse than at a higher price (0)", worst == 0)
        proved = float((best.gap[both] == 0).mean())
        figures = [near, float(ratio.mean()), float(np.median(ratio)), worst, search, proof]
        lines.append([data.name, name, beta, int(both.sum()), proved, *figures])
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.exact_trees", description=__doc__)
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--problems", type=int, default=200, help="small problems (default 200)")
    parser.add_argument("--rows", type=int, default=20, help="refused rows (default 20; 0: none)")
    parser.add_argument(
        "--sets",
        type=words,
        default=list(LOANS),
        help=f"data of the search against exact answers (default {','.join(LOANS)})",
    )
    parser.add_argument(
        "--models",
        type=words,
        default=list(SEARCHED),
        help=f"models of the same (default {','.join(SEARCHED)})",
    )
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a row (default 60)")
    args = parser.parse_args(arguments)
    bars = Bars()
    count, agree, none = agreement(args.problems)
    print(f"{agree} of {count} small problems agree with exhaustive search; {none} have no answer")
    bars.add("the exact option agrees with exhaustive search on small trees", agree == count)
    rows = []
    for n_trees, depth in FORESTS if args.rows else ():
        task = forest_task(loans("german", args.data), n_trees, depth, args.rows)
        for objective in ("distance", "changes"):
            answers = exact_answers(task, objective, args.limit)
            seconds = np.array([answer.seconds for answer in answers])
            proved = [answer.status in ("optimal", "unreachable") for answer in answers]
            found = [answer for answer in answers if answer.u is not None]
            rows.append(
                [
                    f"{n_trees} x {depth}",
                    objective,
                    len(answers),
                    float(np.mean(proved)),
                    max((answer.gap for answer in found), default=0.0),
                    float(np.mean([answer.changes for answer in found])),
                    float(np.mean([np.sqrt(answer.distance) for answer in found])),
                    float(seconds.mean()),
                    float(np.median(seconds)),
                    float(seconds.max()),
                ]
            )
    compared = []
    for data in available_loans(args.sets if args.rows else (), args.data):
        for kind in args.models:
            compared += compare_search(data, kind, args.rows, args.limit, bars)
    if rows:
        header = ["forest", "objective", "rows", "proved", "worst gap", "changes", "distance"]
        print_table([*header, "mean s", "median s", "worst s"], rows)
    if compared:
        print()
        header = ["data", "model", "beta", "rows", "proved", "price <= 1.05", "mean", "median"]
        print_table([*header, "worse than higher", "search ms", "exact ms"], compared)
    return bars.finish(args.check)


if __name__ == "__main__":
    raise SystemExit(main())
