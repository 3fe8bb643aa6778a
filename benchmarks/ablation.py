"""Ablation of the gradient solver, step by step: objective, changes and time without it.

Each line leaves one step out (or, for momentum, adds it) and answers the same rows. "objective" is
the mean over the rows that both answer, relative to the whole solver: positive is worse. "worse"
and "better" are the shares of the rows whose objective differs by more than 1 % of it. Rows that
only the whole solver answers are "lost". Time is processor time of a call, the least of three.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace
from unittest import mock

import numpy as np
from sklearn.frozen import FrozenEstimator

from benchmarks.datasets import LOANS, add_data_option, loans
from benchmarks.models import loan_case
from benchmarks.reporting import print_table, words
from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.solvers.descent import GradientSettings

WHOLE = GradientSettings()
NO_PLANES = replace(WHOLE.planes, most=0)
STEPS: dict[str, GradientSettings] = {
    "no pairs among the starts": replace(WHOLE, pairs=0),
    "no ways with small budgets": replace(WHOLE, sparse=()),
    "all ways to the end": replace(WHOLE, thinned={}),
    "steps of one length": replace(WHOLE, lengths=WHOLE.lengths[:1]),
    "half the steps": replace(WHOLE, steps=WHOLE.steps // 2),
    "with momentum": replace(WHOLE, momentum=True),
    "one round of exchanges": replace(WHOLE, exchanges=1),
    "exchanges at the best point": replace(WHOLE, bases=1),
    "no undone changes": replace(WHOLE, undone=0),
    "no polish": replace(WHOLE, polishing=0),
    "no planes": replace(WHOLE, planes=NO_PLANES),
}
CASES = {"default": {}, "budget 2": {"max_changes": 2, "beta": 0.0}}


def answers(
    explainer: CounterfactualExplainer, rows: object, target: object, settings: GradientSettings
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return objectives (n,), changes (n,) and milliseconds a row."""
    seconds = []
    with mock.patch.object(GradientSettings, "of", lambda effort: settings):
        for _ in range(3):
            start = time.process_time()
            result = explainer.explain(rows, target=target)
            seconds.append(time.process_time() - start)
        engine, _, _ = explainer._prepared(rows, target, None, 1)
    code = int(np.flatnonzero(explainer.classes_ == target)[0])
    price = result.distance**2 + explainer.beta * result.n_changes
    cost = price - engine.plausible(code).weight * result.log_density
    return cost, result.n_changes, 1000 * min(seconds) / len(result.success)


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.ablation", description=__doc__)
    add_data_option(parser)
    parser.add_argument("--sets", type=words, default=["breast", "heloc"], help=",".join(LOANS))
    parser.add_argument("--models", type=words, default=["logistic", "mlp"])
    parser.add_argument("--rows", type=int, default=100)
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore", UserWarning)
    lines = []
    for name in args.sets:
        data = loans(name, args.data)
        for kind in args.models:
            case = loan_case(data, kind, 0)
            rows = case.refused[: args.rows]
            for label, parameters in CASES.items():
                explainer = CounterfactualExplainer(
                    FrozenEstimator(case.model), **data.rules, **parameters
                ).fit(case.X, case.y)
                whole, changes, ms = answers(explainer, rows, data.target, WHOLE)
                lines.append(
                    [name, kind, label, "whole", 0.0, 0.0, 0.0, 0, np.nanmean(changes), ms]
                )
                for step, settings in STEPS.items():
                    cost, changes, ms = answers(explainer, rows, data.target, settings)
                    both = np.isfinite(cost) & np.isfinite(whole)
                    gap = (cost - whole)[both]
                    scale = abs(whole[both]).mean()
                    far = 0.01 * np.maximum(abs(whole[both]), 1)
                    lines.append(
                        [name, kind, label, step, 100 * gap.mean() / scale]
                        + [100 * (gap > far).mean(), 100 * (gap < -far).mean()]
                        + [int((np.isfinite(whole) & ~both).sum()), np.nanmean(changes), ms]
                    )
    header = ["data", "model", "setting", "solver", "objective %", "worse %", "better %", "lost"]
    print_table([*header, "changes", "ms a row"], lines)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
