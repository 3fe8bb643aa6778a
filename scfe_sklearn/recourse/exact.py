"""Provably cheapest answers: one mixed-integer program per row, started from the search."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from scfe_sklearn.data import VERTEX, FeatureSpace
from scfe_sklearn.exact import (
    ExactAnswer,
    Options,
    Requirement,
    cheapest,
    class_wins,
    probability_between,
    row_options,
    value_between,
)
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.models import TreeEnsemble
from scfe_sklearn.recourse.answers import Answers, answer
from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.judge import Judge
from scfe_sklearn.recourse.proofs import PROOF_BY_PROGRAM
from scfe_sklearn.recourse.query import Query, unset
from scfe_sklearn.rules import RowRules, column_bounds
from scfe_sklearn.targets import IntervalTarget

ATTEMPTS = 20
"""Most points per row that the judge refuses before the program stops."""


def refuse_unknown(used: dict[str, bool]) -> None:
    """Raise for the first option in use; the program supports none of them."""
    for name in (name for name, present in used.items() if present):
        raise ValueError(
            "The 'solver' parameter of CounterfactualExplainer must not be 'milp' with "
            f"{name}, which the exact program does not support. Use 'search'."
        )


@dataclass(frozen=True, eq=False)
class ExactSolver:
    """Settings of a program per row.

    Parameters
    ----------
    trees : TreeEnsemble
        The model.
    fewest : bool
        Whether the number of changes counts first, and the distance second; else the squared
        distance plus the price of the changes.
    seconds : float or None
        Time limit of a row.
    """

    trees: TreeEnsemble
    fewest: bool
    seconds: float | None

    def within(self, seconds: float) -> ExactSolver:
        """Return a solver with a time limit of at most ``seconds`` per row."""
        limit = seconds if self.seconds is None else min(self.seconds, seconds)
        return self if np.isinf(limit) else replace(self, seconds=max(limit, 0.01))

    def answer(self, engine: Engine, judge: Judge, query: Query) -> Answers:
        """Search first, then prove the answer the cheapest, improve it, or prove there is none."""
        probability = query.targets.uses_probability and self.trees.kind == "scores"
        refuse_unknown({"a Probability of boosting of three or more classes": probability})
        # Provably cheapest answers stay as they are.
        engine = replace(engine, tau=0.0, shortens=False)
        answers = answer(engine, judge, query)
        joint = query.bound_rules(judge) if query.rows.bounds.requirements else None
        for row in np.flatnonzero(unset(query.status)).tolist():
            rules = None if joint is None else RowRules.of(joint, row)
            self._improve(engine, judge, query, answers, row, rules)
        return answers

    def _improve(
        self,
        engine: Engine,
        judge: Judge,
        query: Query,
        answers: Answers,
        row: int,
        rules: RowRules | None,
    ) -> None:
        """Settle one row."""
        space, at = engine.space, np.array([row])
        options = self._options(engine, query, row, rules)
        known = self._known_cost(engine, query, answers, row)
        best, bound, proven = known, np.inf, True
        for code in np.flatnonzero(query.targets.wanted[row]):
            requirement = self._requirement(query, row, int(code))
            refused: list[np.ndarray] = []
            for _ in range(ATTEMPTS):
                found = self._solve(engine, options, requirement, best, refused)
                if found.u is None:
                    break
                z = to_points(space, found.u[None])
                verdict = judge(
                    z, query.Z[at], take_rows(query.X, at), at, np.array([code]), query.targets
                )
                if verdict.good[0]:
                    break
                refused.append(found.u)
            if found.u is None:
                # Proved, unless time ran out or points were refused.
                sure = found.status == "unreachable" and not refused
                proven &= sure
                bound = min(bound, best if sure else found.bound)
            elif verdict.good[0]:
                answers.Z[row, 0], answers.code[row, 0] = z[0], code
                answers.drop_verdicts(at)
                proven &= found.status == "optimal"
                best, bound = min(best, found.cost), min(bound, found.bound)
            else:
                proven, bound = False, min(bound, found.bound)
        if answers.code[row, 0] < 0:
            answers.proof[row] = PROOF_BY_PROGRAM if proven else ""
            return
        answers.proof[row] = ""
        gap = 0.0 if proven else (best - bound) / max(best, 1e-12)
        answers.gap[row, 0] = max(gap, 0.0) if np.isfinite(gap) else 1.0

    def _solve(
        self,
        engine: Engine,
        options: Options,
        requirement: Requirement,
        best: float,
        refused: list[np.ndarray],
    ) -> ExactAnswer:
        return cheapest(
            self.trees,
            options,
            requirement,
            objective="changes" if self.fewest else "cost",
            beta=0.0 if self.fewest else engine.beta,
            max_changes=engine.max_changes,
            at_most=best,
            refused=refused,
            time_limit=self.seconds,
        )

    def _requirement(self, query: Query, row: int, code: int) -> Requirement:
        """Return the condition on the output for one kind of target."""
        targets = query.targets
        if isinstance(targets, IntervalTarget):
            return value_between(self.trees, float(targets.low[row]), float(targets.high[row]))
        if code < targets.n_classes:
            return class_wins(self.trees, code)
        low, high = float(targets.low[row, code]), float(targets.high[row, code])
        return probability_between(self.trees, int(targets.about[code]), low, high)

    def _known_cost(self, engine: Engine, query: Query, answers: Answers, row: int) -> float:
        """Objective of the answer of the search; infinity without one."""
        if answers.code[row, 0] < 0:
            return np.inf
        at = slice(row, row + 1)
        z, z0 = answers.Z[at, 0], query.Z[at]
        if self.fewest:
            return float(engine.space.changed(z, z0).sum())
        return float(engine.price(z, z0, query.rows.bounds.cost[at])[0])

    def _options(self, engine: Engine, query: Query, row: int, rules: RowRules | None) -> Options:
        """Return the options of one row, in raw units, with their costs."""
        space, bounds = engine.space, query.rows.bounds
        u = space.exact_columns()(torch.from_numpy(query.Z[row : row + 1])).numpy()[0]
        box = column_bounds(space, bounds.take(np.array([row])))
        unit = np.array(
            [
                np.nan if k == "categorical" else s
                for k, s in zip(space.kinds_, space.scale_, strict=True)
            ]
        )
        numbers = np.array([j for j, levels in enumerate(space.levels_) if levels is None], int)
        options = row_options(
            self.trees,
            u,
            lower=box.lower[0],
            upper=box.upper[0],
            allowed=box.allowed[0],
            unit=unit,
            values=space.lattice(numbers),
            rules=rules,
        )
        if self.fewest:
            return options
        cost = bounds.cost[row, options.column]
        price = engine.beta * (cost - 1) * options.changed
        return replace(
            options, distance=cost * options.distance + price, curve=cost * options.curve
        )


def to_points(space: FeatureSpace, u: np.ndarray) -> np.ndarray:
    """Solver coordinates (n, D) of points of column space (n, U) that are rows of the data."""
    z = np.empty((len(u), len(space.groups_)))
    at = 0
    for j, part in enumerate(space.slices_):
        levels = space.levels_[j]
        width = 1 if levels is None else len(levels)
        block = u[:, at : at + width]
        at += width
        if space.kinds_[j] == "categorical":
            z[:, part] = np.where(block > 0.5, VERTEX, 0.0)
            continue
        value = block[:, 0] if levels is None else block.argmax(axis=1)
        z[:, part.start] = (value - space.center_[j]) / space.scale_[j]
    return z
