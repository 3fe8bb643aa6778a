"""Distance of default answers from the best known answers, without a search of all pairs.

The best known answer of a row is the cheapest of

* the default answer;
* answers of the same explainer under other settings: several answers a row, budgets of one to
  five changes, other prices, random features kept fixed, the search without a gradient. They
  are starts: what counts is their objective under the prices of the cell;
* a random local search on raw rows (benchmarks/local_search.py) from the factual, from training
  rows, from the default answer and from the answers above.

The objective of all of them is computed from the raw rows (benchmarks/objective.py), and compared
with the distance, changes and log-density that the explainer reports. The gap of an answer is its
objective minus that of the best one, relative to the larger of the absolute best objective and
the price (squared distance and changes) of the best answer: the log-density has an arbitrary
zero, so the objective alone may be near zero where the price is not.

A row without a default answer, where there is one, counts as not near and as improved; the mean
gap is over the other rows. "improved" counts rows whose default answer the local search alone, from
the default answer, makes cheaper by more than 1 %.

With the default settings an answer may also have to be as plausible as a greedy baseline
(``min_plausibility="auto"``). Then the others must be as plausible as the lower quartile of the
class, or as the default or the thorough answer, whichever is least. "plain" is the same without
that limit, and so are all other settings.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from benchmarks.datasets import available_loans
from benchmarks.local_search import Chains, LocalSearch
from benchmarks.models import Case, loan_case
from benchmarks.objective import RawObjective
from benchmarks.reporting import Bars, print_table
from scfe_sklearn import CounterfactualExplainer, Rules

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "plain": {"min_plausibility": 0.0},
    "tau0": {"tau": 0.0, "min_plausibility": 0.0},
    "beta0": {"beta": 0.0, "min_plausibility": 0.0},
    "nearest": {"tau": 0.0, "beta": 0.0, "min_plausibility": 0.0},
    "budget3": {"max_changes": 3},
}
"""Parameters of the explainer: (tau, beta) is (2, 4), (2, 4), (0, 4), (2, 0), (0, 0), (2, 4)."""

NEAR = 0.01
BARS = {"default": (0.90, 0.005), "thorough": (0.97, 0.001)}
"""Share of the rows within NEAR, and mean gap, of each effort."""
IMPROVED = 0.04
"""Most rows whose default answer the local search may make cheaper by more than NEAR."""
ASKED = ("boosting", "forest")
"""Models without a gradient."""
TRAINING_STARTS, OTHER_STARTS = 2, 3
"""Training rows, and answers under other settings, that the local search starts from."""
REPEATS = 3
"""Calls whose median time is taken."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of one method: codes (n, d), missing where there is none, and objective (n,)."""

    codes: np.ndarray
    cost: np.ndarray


def gap(cost: np.ndarray, best: np.ndarray, price: np.ndarray) -> np.ndarray:
    """Return how much larger objectives are than the best, relative to what is paid at the best."""
    return (cost - best) / np.maximum(np.maximum(np.abs(best), price), 1e-12)


class Cell:
    """One data set, model and setting."""

    def __init__(self, case: Case, setting: str, n_rows: int, seed: int) -> None:
        self.case, self.setting, self.seed = case, setting, seed
        self.queries = case.refused[:n_rows]
        self.explainer = self._fitted({})
        self.objective = RawObjective(case, self.explainer)
        self.factual = self.objective.encode(self.queries)

    def default(self) -> tuple[Answers, float]:
        """Return the default answers and the milliseconds of processor time a row."""
        seconds = []
        for _ in range(REPEATS):
            start = time.process_time()
            result = self.explainer.explain(self.queries, target=self.case.loans.target)
            seconds.append(time.process_time() - start)
        found = np.flatnonzero(result.success)
        codes = np.full_like(self.factual, np.nan)
        codes[found] = self.objective.encode(result.counterfactuals.iloc[found])
        self.objective.check(result, codes[found], self.factual[found])
        floor = np.full(len(self.factual), -np.inf)
        if self._has_floor:
            # The limit itself is not known here. Answers of either effort keep it.
            floor[:] = self.objective.quartiles[0]
            thorough = self._fitted({"effort": "thorough"})
            for answers in (result, thorough.explain(self.queries, target=self.case.loans.target)):
                there = np.flatnonzero(answers.success)
                keeps = self.objective.encode(answers.counterfactuals.iloc[there])
                density = self.objective.log_density(keeps) - 1e-9
                floor[there] = np.minimum(floor[there], density)
        self.search = LocalSearch(self.objective, self.factual, floor, self.seed)
        cost = np.full(len(codes), np.inf)
        cost[found] = self.search.cost(codes[found], found)
        if not np.isfinite(cost[found]).all():
            raise AssertionError("a default answer is not valid or breaks a rule")
        return Answers(codes, cost), 1000 * float(np.median(seconds)) / len(codes)

    def effort(self, effort: str) -> Answers:
        """Return the answers of another effort."""
        return self._answers(self._fitted({"effort": effort}))[0]

    def others(self) -> list[Answers]:
        """Return answers under other settings, costed under the prices of the cell."""
        found = self._answers(self.explainer, n_counterfactuals=8)
        free = [name for name in self.case.X.columns if name not in self.case.loans.immutable]
        random = np.random.default_rng(self.seed)
        for _ in range(6):
            fixed = random.permutation(free)[: len(free) // 3].tolist()
            found += self._answers(self.explainer, rules=Rules(immutable=fixed))
        own = self.explainer.get_params(deep=False)
        most = own["max_changes"] or 5
        for budget in range(1, most + 1):
            found += self._answers(self._changed(max_changes=budget, min_plausibility="auto"))
        for tau, beta in ((0, 1), (1, 0), (0.5, 1), (2, 1), (1, 0.25), (1, 3)):
            prices = {"tau": tau * own["tau"] or 0.1 * tau, "beta": beta * own["beta"] or beta}
            found += self._answers(self._changed(**prices))
        if self.explainer.solver_ == "apg":
            found += self._answers(self._fitted({"solver": "search"}))
        elif own["tau"] or own["beta"]:
            found += self._answers(self._fitted({"surrogate": True}))
        found.append(self.effort("thorough"))
        return found

    def _answers(self, explainer: CounterfactualExplainer, **options: Any) -> list[Answers]:
        """Return the answers of an explainer, a list of one for each answer of a row."""
        result = explainer.explain(self.queries, target=self.case.loans.target, **options)
        count = options.get("n_counterfactuals", 1)
        every = []
        for k in range(count):
            rows = np.arange(k, len(result.success), count)
            found = np.flatnonzero(result.success[rows])
            codes = np.full_like(self.factual, np.nan)
            if len(found):
                frame = pd.DataFrame(result.counterfactuals).iloc[rows[found]]
                codes[found] = self.objective.encode(frame)
            cost = np.full(len(codes), np.inf)
            cost[found] = self.search.cost(codes[found], found)
            every.append(Answers(codes, cost))
        return every

    def _fitted(self, extra: dict[str, Any]) -> CounterfactualExplainer:
        explainer = CounterfactualExplainer(
            FrozenEstimator(self.case.model), random_state=0, **self.case.loans.rules
        )
        explainer.set_params(**SETTINGS[self.setting], **extra)
        return explainer.fit(self.case.X, self.case.y)

    def _changed(self, **parameters: Any) -> CounterfactualExplainer:
        """Return the fitted explainer with other prices; what is fitted does not depend on them."""
        other = CounterfactualExplainer(**self.explainer.get_params(deep=False))
        other.__dict__.update(self.explainer.__dict__)
        return other.set_params(**parameters)

    @property
    def _has_floor(self) -> bool:
        own = self.explainer
        return own.min_plausibility == "auto" and own.tau > 0 and own.max_changes is None


def starts(
    search: LocalSearch, default: Answers, others: list[Answers]
) -> tuple[np.ndarray, np.ndarray]:
    """Return points to start from and their rows; the first n are the factuals."""
    n = len(search.factual)
    codes, row = search.training_starts(TRAINING_STARTS)
    parts, rows = [search.factual, codes], [np.arange(n), row]
    if others:
        cost = np.array([answers.cost for answers in others])
        stacked = np.array([answers.codes for answers in others])
        order = np.argsort(cost, axis=0, kind="stable")[:OTHER_STARTS]
        for chosen in order:
            found = np.flatnonzero(np.isfinite(cost[chosen, np.arange(n)]))
            parts.append(stacked[chosen[found], found])
            rows.append(found)
    return np.concatenate(parts), np.concatenate(rows)


def least(chains: Chains, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the least objective (n,) of the chains of each row, and its codes (n, d)."""
    cost, codes = np.full(n, np.inf), np.full((n, chains.codes.shape[1]), np.nan)
    for i, own in enumerate(chains.row):
        if chains.cost[i] < cost[own]:
            cost[own], codes[own] = chains.cost[i], chains.codes[i]
    return cost, codes


def measure(cell: Cell, rounds: int, bars: Bars) -> list[list[Any]]:
    """Return a line of figures for each effort that the explainer has."""
    case, n = cell.case, len(cell.queries)
    default, ms = cell.default()
    tried = {"default": (default, ms)}
    search = cell.search
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        others = cell.others()
    tried["thorough"] = (others[-1], np.nan)
    found = np.flatnonzero(np.isfinite(default.cost))
    own = Chains(default.codes[found], found, default.cost[found].copy())
    search.run(own, rounds)
    local, local_codes = least(own, n)
    many = search.chains(*starts(search, default, others))
    search.run(many, rounds, dense=True)
    known = [default, Answers(local_codes, local), Answers(*reversed(least(many, n))), *others]
    cost = np.array([answers.cost for answers in known])
    which = cost.argmin(axis=0)
    best = cost.min(axis=0)
    rows = np.flatnonzero(np.isfinite(best))
    codes = np.array([known[which[i]].codes[i] for i in rows])
    price = cell.objective.price(codes, cell.factual[rows])
    lines = []
    for effort, (answers, ms) in tried.items():
        gaps = gap(answers.cost[rows], best[rows], price)
        given = np.isfinite(gaps)
        near, mean = float((gaps <= NEAR).mean()), float(gaps[given].mean())
        line = [case.loans.name, case.kind, cell.setting, effort, len(rows), near, 100 * mean]
        improved = np.nan
        if effort == "default":
            better = gap(answers.cost[rows], local[rows], price) > NEAR
            improved = float((better | ~given).mean())
        alone = [float((which[rows] == 1).mean()), float((which[rows] == 2).mean())]
        lines.append(
            [*line, 100 * float(gaps[given].max()), int((~given).sum()), improved, *alone, ms]
        )
        name = f"{case.loans.name} {case.kind} {cell.setting} {effort}"
        share, most = BARS[effort]
        if case.kind not in ASKED:
            bars.add(
                f"{name}: within 1 % on {near:.1%} of the rows (>= {share:.0%})", near >= share
            )
            bars.add(f"{name}: mean gap {mean:.2%} (<= {most:.1%})", mean <= most)
        if effort == "default":
            text = f"{name}: local search improves {improved:.1%} of the rows (<= {IMPROVED:.0%})"
            bars.add(text, improved <= IMPROVED)
    return lines


HEADER = ["data", "model", "setting", "effort", "rows", "within 1 %", "mean gap %", "worst %"]
HEADER += ["lost", "improved", "by local", "by starts", "ms a row"]


def run(args: argparse.Namespace) -> int:
    """Measure the chosen cells; return the exit code."""
    warnings.simplefilter("ignore", UserWarning)  # models may stop short of convergence
    lines: list[list[Any]] = []
    bars = Bars()
    for data in available_loans(args.sets, args.data):
        for kind in args.models:
            case = loan_case(data, kind, args.seed)
            for setting in args.settings:
                start = time.perf_counter()
                cell = Cell(case, setting, args.rows, args.seed)
                found = measure(cell, args.rounds, bars)
                lines += found
                for line in found:
                    figures = [f"{value:.3f}" for value in line[5:7]]
                    seconds = f"({time.perf_counter() - start:.0f} s)"
                    print(*line[:4], *figures, seconds, file=sys.stderr, flush=True)
    print()
    print_table(HEADER, lines)
    return bars.finish(args.check)
