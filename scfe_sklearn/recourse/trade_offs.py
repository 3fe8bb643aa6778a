"""Pareto fronts: answers to one query for several prices and budgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.recourse.answers import Answers, answer
from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.judge import Judge
from scfe_sklearn.recourse.query import Query

FACTORS = (0.0, 0.3, 1.0, 3.0, 10.0)
"""Multiples of the price of plausibility."""

BUDGETS = (1, 2, 3, None)
"""Budgets of changed features."""

_CLOSE = 1e-9


def collect(
    engine: Engine,
    judge: Judge,
    query: Query,
    factors: Sequence[float],
    budgets: Sequence[int | None],
) -> Answers:
    """Answer all rows for every price and budget."""
    found = []
    for budget in budgets:
        for factor in factors:
            # The floor holds only for the setting that `explain` itself uses.
            compared = engine.compared and factor == 1 and budget is None
            priced = replace(engine, tau=factor * engine.tau, max_changes=budget, compared=compared)
            # The price of plausibility does not change which rows are reachable.
            priced = replace(priced, systematic=factor == factors[0], shortens=False)
            found.append(answer(priced, replace(judge, max_changes=budget), query))
    code = np.concatenate([one.code for one in found], axis=1)
    # Answers first, so that the first entry of a row shows whether there is any.
    order = np.argsort(code < 0, axis=1, kind="stable")
    Z = np.concatenate([one.Z for one in found], axis=1)
    return Answers(
        np.take_along_axis(Z, order[..., None], axis=1),
        np.take_along_axis(code, order, axis=1),
        found[-1].proof,
        found[-1].closest,
        np.full(code.shape, np.nan),
    )


def undominated(explanation: Explanation, n: int) -> Explanation:
    """Keep the entries of each of n rows that no other one dominates.

    Parameters
    ----------
    explanation : Explanation
        As many entries for every row, one row after the other.
    n : int
        Number of rows.

    Returns
    -------
    Explanation
        At least one entry per row, the fewest changes first.
    """
    if n == 0:
        return dataclasses.replace(explanation, front=True)
    k = len(explanation) // n
    success = explanation.success.reshape(n, k)
    price = np.stack(
        [explanation.n_changes, explanation.distance, -explanation.density_quantile], axis=-1
    ).reshape(n, k, 3)
    price = np.where(success[..., None], price, np.inf)
    no_worse = (price[:, :, None] <= price[:, None] + _CLOSE).all(axis=3)
    better = (price[:, :, None] < price[:, None] - _CLOSE).any(axis=3)
    first = np.arange(k)[:, None] < np.arange(k)
    beaten = (no_worse & (better | first)).any(axis=1)
    keep = success & ~beaten
    keep[:, 0] |= ~success.any(axis=1)
    row, entry = np.nonzero(keep)
    order = np.lexsort((price[row, entry, 1], price[row, entry, 0], row))
    row, entry = row[order], entry[order]
    kept = explanation[row * k + entry]
    return dataclasses.replace(
        kept, front=True, option=np.arange(len(row)) - np.searchsorted(row, row)
    )


def check_trade_offs(factors: Sequence[float], budgets: Sequence[int | None]) -> None:
    """Raise if factors or budgets are empty or negative."""
    if len(factors) == 0 or not all(factor >= 0 for factor in factors):
        raise ValueError(
            "The 'factors' parameter of pareto must hold floats in [0, inf). "
            f"Got {factors!r} instead."
        )
    if len(budgets) == 0 or not all(one is None or one >= 1 for one in budgets):
        raise ValueError(
            "The 'budgets' parameter of pareto must hold ints in [1, inf) or None. "
            f"Got {budgets!r} instead."
        )
