"""Speed: against the textbook schedule, per number of rows, and memory.

1. Housing and Wine (as in published_tables): ``explain`` on the 100 test rows against the
   textbook schedule of S-CFE (10 weight steps of 200 iterations, benchmarks/textbook.py) on the
   same rows, model, density, box and budget, in one run. "objective" is the mean over the rows
   that both answered.
2. Adult: refused rows of a pipeline with one-hot encoding and an MLP, sex and race immutable,
   age increasing. The time includes encoding, decoding and the check by the pipeline.
3. The peak memory of such calls, each in a process of its own.
4. Adult, German, breast cancer and generated credit histories, logistic and MLP pipelines:
   processor time of a call with one row, and a roofline: the bare model and density calls of a
   run, made again alone with the recorded inputs, beside the run.

``--nice`` compares time and quality with NICE and DiCE instead: see benchmarks/rival_speed.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from benchmarks import rival_speed
from benchmarks.datasets import LOANS, Table, add_data_option, loans, published_table
from benchmarks.memory_probe import probe
from benchmarks.models import loan_case, published_network
from benchmarks.problems import TableProblem
from benchmarks.reporting import Bars, add_check_option, print_table, words
from benchmarks.scoring import table_scores
from benchmarks.textbook import Rows, Schedule, solve
from scfe_sklearn import CounterfactualExplainer, TorchClassifier
from scfe_sklearn.densities import Density
from scfe_sklearn.recourse.threads import one_thread

MAX_CHANGES = 2
RATIO = 20
SECONDS, ROWS = 5.0, 1000
LINEAR = 1.3
"""A row may cost this much more in the largest batch than in the smallest."""
GROWTH = 64.0
"""Mebibytes by which the peak may grow from 500 to 4,000 rows: about what the answers hold."""


def best_time(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the shortest time of some calls and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def curvature(density: Density) -> float:
    """Bound the second derivatives of minus a log-density: the largest precision of a Gaussian."""
    factors = getattr(density, "precisions_cholesky_", None)
    if factors is None:
        return 2 / density.scale_  # a KDE, whose scale_ is 2 h^2, or minus a squared distance
    full = factors.ndim == 3
    return float((np.linalg.norm(factors, 2, axis=(1, 2)) if full else factors).max() ** 2)


def textbook(
    explainer: CounterfactualExplainer, asked: TableProblem, schedule: Schedule
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the textbook schedule on the explainer's own model, densities, boxes and budget."""
    space, target = explainer.space_, asked.target
    center, scale = torch.from_numpy(space.center_), torch.from_numpy(space.scale_)
    module = explainer.estimator_.module
    weight = torch.tensor([o.weight for o in asked.parts], dtype=torch.float64)[target]
    bend = torch.tensor([curvature(o.density) for o in asked.parts], dtype=torch.float64)
    parts = [(part, (target == code).nonzero()[:, 0]) for code, part in enumerate(asked.parts)]

    def logits(z: torch.Tensor) -> torch.Tensor:
        return module(center + scale * z)[:, 0]

    def plausibility(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value, slope = torch.empty_like(weight), torch.empty_like(z)
        for part, index in parts:
            value[index], slope[index] = part.density.log_prob_and_grad(z[index])
        return weight * value, weight[:, None] * slope

    rows = Rows(
        asked.factual,
        2.0 * target.double() - 1,
        asked.lower,
        asked.upper,
        MAX_CHANGES,
    )
    with one_thread():
        return solve(rows, logits, plausibility, weight * bend[target], schedule=schedule)


def against_textbook(
    table: Table, model: TorchClassifier, density: str, tau: float, repeats: int, schedule: Schedule
) -> tuple[list[list[Any]], float]:
    """Return a row of figures for each method, and how many times faster ``explain`` is."""
    explainer = CounterfactualExplainer(
        model, density=density, tau=tau, beta=0.0, max_changes=MAX_CHANGES
    )
    explainer.fit(table.X, table.y)
    asked = TableProblem.of(explainer, table)
    rows = asked.rows
    queries, targets = table.queries[rows], table.targets[rows]
    part = Table(table.name, table.X, table.y, queries, table.query_labels[rows])
    explainer.explain(queries[:2], target=targets[:2])  # warm: not the time of a first call
    fast, result = best_time(lambda: explainer.explain(queries, target=targets), repeats)
    slow, (points, value) = best_time(lambda: textbook(explainer, asked, schedule), repeats)
    points[value == torch.inf] = torch.nan
    ours = np.asarray(result.counterfactuals)
    theirs = (points * torch.from_numpy(explainer.space_.scale_)).numpy()
    theirs = np.where(
        points.numpy() == asked.factual.numpy(), queries, theirs + explainer.space_.center_
    )
    costs = [
        asked.costs(torch.from_numpy(explainer.space_.encode(answers))).numpy()
        for answers in (ours, theirs)
    ]
    both = np.isfinite(costs).all(axis=0)
    lines = []
    for name, answers, cost, seconds in (
        ("explain", ours, costs[0], fast),
        ("textbook", theirs, costs[1], slow),
    ):
        scores = table_scores(part, model.predict(np.nan_to_num(answers)), answers)
        figures = [100 * scores.valid.mean(), scores.norm.mean(), scores.changes.max()]
        figures += [scores.lof.mean(), cost[both].mean(), seconds]
        lines.append([table.name, density, tau, name, len(rows), *map(float, figures)])
    return lines, slow / fast


def fitted_adult(folder: str | None) -> tuple[CounterfactualExplainer, Any, int]:
    """Return a fitted explainer, refused rows and the target."""
    case = loan_case(loans("adult", folder), "mlp")
    explainer = CounterfactualExplainer(FrozenEstimator(case.model), **case.loans.rules)
    return explainer.fit(case.X, case.y), case.refused, case.loans.target


def adult(folder: str | None, counts: list[int], repeats: int, bars: Bars) -> None:
    """Print time and memory per number of rows."""
    explainer, refused, target = fitted_adult(folder)
    explainer.explain(refused[:2], target=target)
    lines, each = [], {}
    for count in counts:
        rows = refused[:count]
        seconds, result = best_time(partial(explainer.explain, rows, target=target), repeats)
        each[len(rows)] = 1000 * seconds / len(rows)
        found = 100 * float(result.success.mean())
        lines.append([len(rows), found, seconds, each[len(rows)]])
        if count == ROWS:
            bars.add(f"Adult, MLP: {ROWS} refused rows in <= {SECONDS:g} s", seconds <= SECONDS)
    print_table(["Adult rows", "found %", "seconds", "ms a row"], lines)
    few, many = min(each), max(each)
    text = f"time per row grows at most {LINEAR:g} times from {few} to {many} rows"
    bars.add(text, each[many] <= LINEAR * each[few])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "adult.joblib"
        joblib.dump((explainer, refused[:4000], target), path)
        lines = [[count, *probe(path, count)] for count in (500, 4000)]
    for line in lines:
        line.append(line[2] - line[1])
    print_table(["Adult rows", "peak before, MiB", "peak after", "growth"], lines)
    growth = lines[1][2] - lines[0][2]
    bars.add(f"peak memory of 4000 rows within {GROWTH:g} MiB of that of 500", growth <= GROWTH)


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_data_option(parser)
    add_check_option(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle and the network")
    parser.add_argument(
        "--sets", type=words, help=f"housing,wine,adult,one_row; with --nice {','.join(LOANS)}"
    )
    parser.add_argument("--density", default="kde", help="kde, gmm or knn (default kde)")
    parser.add_argument("--tau", type=float, default=20.0, help="of Housing and Wine (default 20)")
    parser.add_argument("--repeats", type=int, default=3, help="of every timing; the best counts")
    parser.add_argument("--weight-steps", type=int, default=10, help="of the textbook")
    parser.add_argument("--iterations", type=int, default=200, help="per weight step")
    parser.add_argument(
        "--look-every",
        type=int,
        default=1,
        help="iterations of the textbook between two looks at validity (10 is cheapest)",
    )
    parser.add_argument(
        "--rows",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[250, 500, 1000, 2000],
        help="of Adult (default 250,500,1000,2000)",
    )
    rivals = parser.add_argument_group("with --nice")
    rivals.add_argument("--nice", action="store_true", help="compare with NICE and DiCE")
    rivals.add_argument(
        "--models", type=words, default=["logistic", "mlp"], help="default logistic,mlp"
    )
    rivals.add_argument("--cell-rows", type=int, default=1000, help="rows of explain (1000)")
    rivals.add_argument("--nice-rows", type=int, default=50, help="rows of NICE (50; 0: none)")
    rivals.add_argument("--dice-rows", type=int, default=10, help="rows of DiCE (10; 0: none)")
    args = parser.parse_args(arguments)
    args.sets = args.sets or (list(LOANS) if args.nice else ["housing", "wine", "adult", "one_row"])
    if args.nice:
        return rival_speed.run(args)
    warnings.simplefilter("ignore", UserWarning)  # rows without an answer are in the tables
    schedule = Schedule(args.weight_steps, args.iterations, look_every=args.look_every)
    lines, bars = [], Bars()
    for name in args.sets:
        if name in ("adult", "one_row"):
            continue
        table = published_table(name, args.data, args.seed)
        model = published_network(table, args.seed)
        pair, ratio = against_textbook(table, model, args.density, args.tau, args.repeats, schedule)
        lines += pair
        text = f"{name}: {ratio:.1f} times as fast as the textbook schedule (>= {RATIO})"
        bars.add(text, ratio >= RATIO)
    if lines:
        header = ["data", "density", "tau", "method", "rows", "valid %", "2-norm", "max 0-norm"]
        print_table([*header, "LOF", "objective", "seconds"], lines)
    if "one_row" in args.sets:
        rival_speed.one_row(args, bars)
    if "adult" in args.sets:
        adult(args.data, args.rows, args.repeats, bars)
    return bars.finish(args.check)


if __name__ == "__main__":
    raise SystemExit(main())
