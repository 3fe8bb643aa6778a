"""Time and quality beside NICE (sparsity) and DiCE (random): default settings, one thread.

Refused rows of pipelines on mixed data (Adult, German) and on numbers (breast cancer, generated
credit histories); where fewer rows are refused, they repeat. Three tables:

1. Processor time a row of `explain` (median of some calls) and of its rivals on some of the
   same rows, and the ratio. "one row" is a call with one row.
2. Quality of the rivals' rows (benchmarks/scoring.py): "usable" answers are valid and break no
   rule; changes, distance and LOF are means over the rows that both made usable; "all three" is the
   share of these rows on which the rival has fewer changes, a shorter distance and a lower LOF
   at once.
3. Roofline: the processor time of the bare model and density calls that a run makes, made again
   alone with the recorded inputs (benchmarks/roofline.py), and the whole run relative to it.
   The inputs are recorded in a run of their own.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from benchmarks.datasets import LOANS, available_loans
from benchmarks.models import Case, loan_case
from benchmarks.reporting import Bars, print_table
from benchmarks.rivals import (
    DICE_MISSING,
    NICE_MISSING,
    dice_answers,
    dice_available,
    nice_answers,
    nice_available,
)
from benchmarks.roofline import KINDS, recorded
from benchmarks.scoring import LoanScores
from scfe_sklearn import CounterfactualExplainer

MEANS = ["changes", "distance", "lof"]
FASTER = 20
"""How many times faster than NICE a cell must be."""
FASTER_HERE = {("adult", "mlp", "NICE"): 40, ("adult", "mlp", "DiCE random"): 150}
"""The same for cells that have a bar of their own."""
BETTER = 0.03
"""Share of the rows on which NICE may be better in all three."""
ROW_MS = 20.0
"""Processor time of a call with one row."""
ABOVE = 2.5
"""How many times the bare calls the whole run may take."""
SINGLE_ROWS = 15
"""Calls with one row whose median is taken."""
ROOF_ROWS = 256
"""Rows of the roofline at most: all inputs of the bare calls are kept."""
EQUAL = 1e-9


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, float, Any]:
    """Return the median processor time and wall time of a call in seconds, and its last result."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        result = call()
        seconds.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    processor, wall = np.median(seconds, axis=0)
    return float(processor), float(wall), result


def better_in_all(rival: pd.DataFrame, own: pd.DataFrame) -> float:
    """Return the share of the rows on which a rival has fewer changes, distance and LOF at once."""
    both = rival.usable & own.usable
    better = (rival[both][MEANS] < own[both][MEANS] - EQUAL).all(axis=1)
    return float(better.mean()) if len(better) else np.nan


class Comparison:
    """One data set and model, with the lines of the three tables."""

    def __init__(self, case: Case, args: argparse.Namespace, bars: Bars) -> None:
        self.case, self.args, self.bars = case, args, bars
        self.name = f"{case.loans.name} {case.kind}"
        repeated = np.arange(args.cell_rows) % len(case.refused)
        self.queries = case.refused.iloc[repeated].reset_index(drop=True)
        explainer = CounterfactualExplainer(FrozenEstimator(case.model), **case.loans.rules)
        self.explainer = explainer.fit(case.X, case.y)
        self.score = LoanScores(case)
        self.times: list[list[Any]] = []
        self.quality: list[list[Any]] = []
        self.roof: list[list[Any]] = []

    def run(self) -> None:
        """Fill the tables."""
        self._explain(self.queries[:2])
        processor, wall, result = timed(lambda: self._explain(self.queries), self.args.repeats)
        n = len(self.queries)
        own_ms, wall_ms = 1000 * processor / n, 1000 * wall / n
        self.times.append([self.name, "explain", n, own_ms, wall_ms, 1.0, self.one_row()])
        answers = result.counterfactuals
        scores = self.score(self.queries, answers)
        wrong = int((scores.found & ~scores.usable).sum())
        self.bars.add(
            f"{self.name}: {wrong} answers that are not valid or break a rule", wrong == 0
        )
        if self.args.nice_rows and nice_available():
            self._rival("NICE", nice_answers, self.args.nice_rows, answers, own_ms)
        if self.args.dice_rows and dice_available():
            self._rival("DiCE random", _dice_random, self.args.dice_rows, answers, own_ms)
        self.roofline()

    def _explain(self, queries: pd.DataFrame) -> Any:
        return self.explainer.explain(queries, target=self.case.loans.target)

    def _rival(
        self,
        name: str,
        answer: Callable[..., tuple[pd.DataFrame, float]],
        count: int,
        answers: pd.DataFrame,
        own_ms: float,
    ) -> None:
        """Compare with a rival on the first rows."""
        part = self.queries[:count]
        start = time.perf_counter()
        theirs, seconds = answer(self.case, part, clock=time.process_time)
        wall_ms = 1000 * (time.perf_counter() - start) / len(part)
        ms = 1000 * seconds / len(part)
        self.times.append([self.name, name, len(part), ms, wall_ms, ms / own_ms, np.nan])
        least = FASTER_HERE.get((self.case.loans.name, self.case.kind, name))
        if least or name == "NICE":
            text = f"{self.name}: {ms / own_ms:.1f} times as fast as {name}"
            self.bars.add(f"{text} (>= {least or FASTER})", ms / own_ms >= (least or FASTER))
        own, rival = self.score(part, answers[:count]), self.score(part, theirs)
        both = own.usable & rival.usable
        share = better_in_all(rival, own)
        for method, scores in (("explain", own), (name, rival)):
            figures = [float(scores[both][mean].mean()) for mean in MEANS]
            beaten = share if scores is rival else better_in_all(own, rival)
            line = [self.name, method, len(part), float(scores.usable.mean())]
            self.quality.append(
                [*line, int(scores.broken.sum()), int(both.sum()), *figures, beaten]
            )
        if name == "NICE":
            text = f"{self.name}: NICE is better in all three on {share:.1%} of the rows"
            self.bars.add(f"{text} (<= {BETTER:.0%})", share <= BETTER)

    def one_row(self) -> float:
        """Return the median processor time of calls with one row, in milliseconds."""
        rows = range(min(SINGLE_ROWS, len(self.queries)))
        calls = [lambda k=k: self._explain(self.queries[k : k + 1]) for k in rows]
        calls[0]()  # not the time of a first call
        ms = 1000 * float(np.median([timed(call, 1)[0] for call in calls]))
        self.bars.add(f"{self.name}: one row in {ms:.1f} ms (<= {ROW_MS:g})", ms <= ROW_MS)
        return ms

    def roofline(self) -> None:
        """Compare a run with the bare calls that it makes, made again alone."""
        queries = self.queries[:ROOF_ROWS]
        with recorded(self.case.model) as calls:
            self._explain(queries)
        processor, _, _ = timed(lambda: self._explain(queries), self.args.repeats)
        seconds = calls.again()
        n, ratio = len(queries), processor / sum(seconds.values())
        parts = [1000 * seconds[kind] / n for kind in KINDS]
        self.roof.append(
            [self.name, n, 1000 * processor / n, *parts]
            + [len(calls.made[kind]) for kind in KINDS]
            + [ratio]
        )
        text = f"{self.name}: {ratio:.2f} times the bare model and density calls (<= {ABOVE:g})"
        self.bars.add(text, ratio <= ABOVE)


ROOF = ["cell", "rows", "ms a row", "model ms", "density ms", "model calls", "density calls"]
"""Header of the third table, without the ratio."""


def _dice_random(
    case: Case, queries: pd.DataFrame, clock: Callable[[], float]
) -> tuple[pd.DataFrame, float]:
    return dice_answers(case, queries, method="random", clock=clock)


def comparisons(args: argparse.Namespace, sets: Sequence[str], bars: Bars) -> Iterator[Comparison]:
    """Yield the cells of some data sets and all models."""
    for data in available_loans(sets, args.data):
        for kind in args.models:
            yield Comparison(loan_case(data, kind, args.seed), args, bars)


def one_row(args: argparse.Namespace, bars: Bars) -> None:
    """Print the time of one row, and the roofline of more, for all data sets and models."""
    lines = []
    for cell in comparisons(args, LOANS, bars):
        single = cell.one_row()
        cell.roofline()
        lines.append([cell.name, single, *cell.roof[0][1:]])
    print_table(["cell", "one row, ms", *ROOF[1:], "whole / bare"], lines)


def run(args: argparse.Namespace) -> int:
    """Measure the chosen cells; return the exit code."""
    warnings.simplefilter("ignore")  # rows without an answer are counted; rivals warn a lot
    for wanted, there, reason in (
        (args.nice_rows, nice_available(), NICE_MISSING),
        (args.dice_rows, dice_available(), DICE_MISSING),
    ):
        if wanted and not there:
            print(reason)
    bars = Bars()
    cells = list(comparisons(args, args.sets, bars))
    for cell in cells:
        cell.run()
    header = ["cell", "method", "rows", "ms a row", "wall ms", "ratio", "one row"]
    print_table(header, [line for cell in cells for line in cell.times])
    header = ["cell", "method", "rows", "usable", "broken", "both", *MEANS, "all three"]
    print_table(header, [line for cell in cells for line in cell.quality])
    print_table([*ROOF, "whole / bare"], [line for cell in cells for line in cell.roof])
    return bars.finish(args.check)
