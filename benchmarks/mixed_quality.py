"""Mixed data: Adult and German credit, several models, against NICE (sparsity).

Refused rows, held-out ones first; sex and race immutable, age increasing. Every method is scored
the same way (benchmarks/scoring.py), apart from any solver and with the fitted pipeline itself:

    found     answered, of all rows
    due       answered, of the rows for which some training row that the model gives the target
              obeys the rules
    invalid   answers that the pipeline does not give the target
    broken    answers that break a rule
    usable    answers that are valid and break none, of all rows

and, over the rows that both methods made usable: changes, distance and LOF (20 neighbours) of
both, the share of outliers (LOF above 1.5) and milliseconds per row, fitting apart: of our own the
median of five calls, which take a tenth of a second each. tau is given as a multiple of the
default.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from benchmarks.datasets import add_data_option, loans
from benchmarks.models import MODELS, Case, loan_case
from benchmarks.reporting import Bars, add_check_option, numbers, print_table, words
from benchmarks.rivals import (
    DICE_MISSING,
    NICE_MISSING,
    dice_answers,
    dice_available,
    nice_answers,
    nice_available,
)
from benchmarks.scoring import LoanScores
from scfe_sklearn import CounterfactualExplainer

MEANS = ["changes", "distance", "lof"]
OUTLIER = 1.5
LOF_SLACK = 1.03
"""With the default tau, mean LOF may be this many times that of NICE."""
EQUAL = 1e-9
FEW = 1.3
"""Mean changes that a model without a gradient may need with the defaults."""
FASTER = {"NICE": 20, "DiCE genetic": 500}
"""How many times faster per row, for a model without a gradient."""
REPEATS = 5
"""Calls whose median time is taken."""
ASKED = ("boosting", "forest")
"""Models without a gradient."""


def explain(
    case: Case, queries: pd.DataFrame, factor: float, surrogate: bool
) -> tuple[pd.DataFrame, float]:
    """Return the answers for ``factor`` times the default tau, and the seconds they took.

    A call takes a tenth of a second, so it is made several times: the median is returned.
    """
    explainer = CounterfactualExplainer(FrozenEstimator(case.model), **case.loans.rules)
    explainer.set_params(tau=factor * explainer.tau, surrogate=surrogate, random_state=0)
    explainer.fit(case.X, case.y)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = explainer.explain(queries, target=case.loans.target)
        seconds.append(time.perf_counter() - start)
    return result.counterfactuals, statistics.median(seconds)


def compare(
    case: Case,
    n_rows: int,
    factors: Sequence[float],
    bars: Bars,
    dice_rows: int = 0,
    surrogate: bool = False,
) -> list[list[Any]]:
    """Return a line for each method and tau of one data set and model."""
    cell = f"{case.loans.name} {case.kind}"
    queries = case.refused[:n_rows]
    score = LoanScores(case)
    due = score.reachable(queries)
    tried = {factor: explain(case, queries, factor, surrogate) for factor in factors}
    rival, rival_ms = None, np.nan
    if nice_available():
        answers, seconds = nice_answers(case, queries)
        rival, rival_ms = score(queries, answers), 1000 * seconds / len(queries)
    lines, all_three = [], False
    for factor, (answers, seconds) in tried.items():
        own = score(queries, answers)
        both = own.usable & rival.usable if rival is not None else own.usable
        mean = own[both][MEANS].mean()
        name = f"explain, tau x {factor:g}"
        ms = 1000 * seconds / len(queries)
        lines.append([cell, name, *_figures(own, due, both, ms)])
        wrong = int((own.found & ~own.usable).sum())
        bars.add(f"{cell}, {name}: every answer valid and within the rules", wrong == 0)
        bars.add(f"{cell}, {name}: every row answered that is due", own.found[due].all())
        if rival is None:
            continue
        line = [cell, "NICE, same rows", *_figures(rival, due, both, rival_ms)]
        if line not in lines:  # the rows in common are mostly the same for every tau
            lines.append(line)
        other = rival[both][MEANS].mean()
        all_three |= bool((mean <= other + EQUAL).all())
        if factor == 1:
            leaner = bool((mean <= other + EQUAL)[["changes", "distance"]].all())
            bars.add(f"{cell}, defaults: changes and distance no worse than NICE", leaner)
            text = f"{cell}, defaults: LOF {mean.lof / other.lof - 1:+.1%} of NICE (<= +3 %)"
            bars.add(text, mean.lof <= LOF_SLACK * other.lof)
        if factor == 1 and case.kind in ASKED:
            bars.add(
                f"{cell}, defaults: {mean.changes:.2f} changes (<= {FEW})", mean.changes <= FEW
            )
    if rival is not None:
        bars.add(f"{cell}: all three no worse than NICE at once for some tau", all_three)
    if case.kind in ASKED:
        own_ms = 1000 * tried[factors[0]][1] / len(queries)
        _time(cell, "NICE", rival_ms, own_ms, bars)
        if dice_rows and dice_available():
            answers, seconds = dice_answers(case, queries[:dice_rows])
            dice = score(queries[:dice_rows], answers)
            dice_ms = 1000 * seconds / dice_rows
            every = pd.Series(dice.usable)
            lines.append([cell, "DiCE genetic", *_figures(dice, due[:dice_rows], every, dice_ms)])
            _time(cell, "DiCE genetic", dice_ms, own_ms, bars)
    return lines


def _time(cell: str, rival: str, rival_ms: float, own_ms: float, bars: Bars) -> None:
    """Compare the time per row with that of a rival."""
    if np.isfinite(rival_ms):
        ratio = rival_ms / own_ms
        text = f"{cell}: {ratio:.0f} times faster per row than {rival} (>= {FASTER[rival]})"
        bars.add(text, ratio >= FASTER[rival])


def _figures(scores: pd.DataFrame, due: np.ndarray, rows: pd.Series, ms: float) -> list[Any]:
    found = scores.found
    return [
        float(found.mean()),
        float(found[due].mean()) if due.any() else np.nan,
        int((found & ~scores.valid).sum()),
        int(scores.broken.sum()),
        float(scores.usable.mean()),
        int(rows.sum()),
        *(float(value) for value in scores[rows][MEANS].mean()),
        float((scores[rows].lof > OUTLIER).mean()),
        ms,
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.mixed_quality", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the split and the models")
    parser.add_argument("--sets", type=words, default=["adult", "german"], help="adult,german")
    parser.add_argument(
        "--models",
        type=words,
        default=["logistic", "mlp"],
        help=f"of {','.join(MODELS)} (default logistic,mlp)",
    )
    parser.add_argument("--rows", type=int, default=100, help="refused rows (default 100)")
    parser.add_argument(
        "--taus", type=numbers, default=[1.0, 3.0, 10.0], help="times the default (1,3,10)"
    )
    parser.add_argument(
        "--dice-rows", type=int, default=2, help="rows that DiCE is timed on (0: none; default 2)"
    )
    parser.add_argument(
        "--surrogate", action="store_true", help="start from the answers of a fitted network, too"
    )
    args = parser.parse_args(arguments)
    # Rows without an answer are counted, and models may stop short of convergence.
    warnings.simplefilter("ignore", UserWarning)
    if not nice_available():
        print(NICE_MISSING)
    if args.dice_rows and set(args.models) & set(ASKED) and not dice_available():
        print(DICE_MISSING)
    lines, bars = [], Bars()
    for name in args.sets:
        data = loans(name, args.data)
        for kind in args.models:
            case = loan_case(data, kind, args.seed)
            print(f"{name} {kind}: accuracy {case.accuracy:.3f}", flush=True)
            lines += compare(case, args.rows, args.taus, bars, args.dice_rows, args.surrogate)
    header = ["cell", "method", "found", "due", "invalid", "broken", "usable", "rows"]
    print()
    print_table([*header, *MEANS, "outliers", "ms a row"], lines)
    return bars.finish(args.check)


if __name__ == "__main__":
    raise SystemExit(main())
