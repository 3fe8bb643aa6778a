"""Move answers to the shortest numbers that still reach the target."""

from __future__ import annotations

import numpy as np

from scfe_sklearn.recourse.answers import Answers
from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.judge import Judge
from scfe_sklearn.recourse.ladders import LEVELS
from scfe_sklearn.recourse.query import Query
from scfe_sklearn.recourse.short_points import CELLS, Block, continuous_features


def shorten(engine: Engine, judge: Judge, query: Query, answers: Answers) -> None:
    """Replace the new values of continuous features by short numbers nearby.

    A moved answer is judged like any other one: the models give it the target, every rule holds
    and it keeps the plausibility that was promised. An answer near which no short numbers pass
    stays as it is. Answers that were found with short numbers are left out.

    Parameters
    ----------
    engine : Engine
        Feature space, densities and prices.
    judge : Judge
        The user's models and rules.
    query : Query
        The rows.
    answers : Answers
        Their answers, changed in place.
    """
    rows, slots = np.nonzero((answers.code >= 0) & ~answers.short)
    features = continuous_features(engine)
    if len(rows) == 0 or len(features) == 0:
        return
    size = max(1, CELLS // (LEVELS * query.Z.shape[1]))
    parts = [slice(start, start + size) for start in range(0, len(rows), size)]
    code, Z = answers.code[rows, slots], answers.Z[rows, slots]
    blocks = [Block(engine, query, rows[p], code[p], Z[p], features, judge) for p in parts]
    for block in blocks:
        block.shorten()
    moved = np.concatenate([block.is_short for block in blocks])
    after = np.concatenate([block.after for block in blocks])
    if answers.code.shape[1] > 1:
        before = np.concatenate([block.start for block in blocks])
        moved &= ~_coincide(rows, before, after)
    probability = np.concatenate([block.probability for block in blocks])
    at = rows[moved], slots[moved]
    answers.Z[at] = answers.after[at] = after[moved]
    answers.probability[at], answers.judged[at] = probability[moved], True
    if moved.any():
        answers.frame = None


def _coincide(rows: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Whether an answer (m, D) has become the same as another one of its row."""
    new = _identified(rows, after)
    pairs = np.unique(np.column_stack([new, _identified(rows, before)]), axis=0)
    several = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    return np.isin(new, several)


def _identified(rows: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Number the distinct points (m, D) of each row."""
    together = np.column_stack([rows, Z])
    return np.unique(together, axis=0, return_inverse=True)[1].reshape(-1)
