"""Input and output of a search: encoded rows, and candidates for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scfe_sklearn.rules import Actionability
from scfe_sklearn.targets import ClassTarget, IntervalTarget


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows with their bounds and targets.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
        Coordinates, with a stand-in for missing values.
    missing : ndarray of shape (n, D), bool
        Values without coordinates: missing numbers, unseen levels, infinity.
    bounds : Actionability
        Permitted points of each row.
    targets : ClassTarget or IntervalTarget
        Targets of the rows.
    origin : ndarray of shape (n,), int
        Position of each row in the query.
    strange : ndarray of shape (n,), bool
        Rows with an unseen level or infinity, which only the model itself accepts.
    """

    Z: np.ndarray
    missing: np.ndarray
    bounds: Actionability
    targets: ClassTarget | IntervalTarget
    origin: np.ndarray = field(default=None)  # type: ignore[arg-type]
    strange: np.ndarray = field(default=None)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        """Default to the whole query, without strange rows."""
        if self.origin is None:
            object.__setattr__(self, "origin", np.arange(len(self.Z)))
        if self.strange is None:
            object.__setattr__(self, "strange", np.zeros(len(self.Z), dtype=bool))

    def take(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(
            self.Z[rows],
            self.missing[rows],
            self.bounds.take(rows),
            self.targets.take(rows),
            self.origin[rows],
            self.strange[rows],
        )

    def __len__(self) -> int:
        return len(self.Z)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Up to P answers a row, cheapest first.

    Parameters
    ----------
    z : ndarray of shape (n, P, D)
        Points.
    cost : ndarray of shape (n, P)
        Objective values, infinite where there is no point.
    code : ndarray of shape (n, P), int
        The kind of answer (class of a classifier) that each point is meant for.
    """

    z: np.ndarray
    cost: np.ndarray
    code: np.ndarray

    @classmethod
    def empty(cls, codes: np.ndarray, size: int, width: int) -> Candidates:
        """Return ``size`` places without a point for each of the kinds ``codes`` (n,)."""
        z, cost = np.zeros((len(codes), size, width)), np.full((len(codes), size), np.inf)
        return cls(z, cost, np.repeat(codes[:, None], size, axis=1))

    def take(self, rows: np.ndarray) -> Candidates:
        """Return the candidates of some of the rows."""
        return Candidates(self.z[rows], self.cost[rows], self.code[rows])


def joined(n: int, parts: Sequence[tuple[np.ndarray, Candidates]]) -> Candidates:
    """Join the candidates of parts of n rows, each with its positions (m,)."""
    width = max(found.cost.shape[1] for _, found in parts)
    d = parts[0][1].z.shape[2]
    z, cost = np.zeros((n, width, d)), np.full((n, width), np.inf)
    code = np.zeros((n, width), dtype=np.intp)
    for rows, found in parts:
        own = slice(found.cost.shape[1])
        z[rows, own], cost[rows, own], code[rows, own] = found.z, found.cost, found.code
    return Candidates(z, cost, code)


def gathered(n: int, rows: np.ndarray, found: Candidates) -> Candidates:
    """Join the candidates of all classes of a row, cheapest first."""
    size, d = found.cost.shape[1], found.z.shape[2]
    rank = np.zeros(len(rows), dtype=np.intp)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered)
    rank[order] = np.arange(len(rows)) - first
    width = (int(rank.max()) + 1 if len(rows) else 1) * size
    z, cost = np.zeros((n, width, d)), np.full((n, width), np.inf)
    code = np.zeros((n, width), dtype=np.intp)
    columns = rank[:, None] * size + np.arange(size)
    z[rows[:, None], columns] = found.z
    cost[rows[:, None], columns] = found.cost
    code[rows[:, None], columns] = found.code
    best = np.argsort(cost, axis=1, kind="stable")
    return Candidates(
        np.take_along_axis(z, best[..., None], axis=1),
        np.take_along_axis(cost, best, axis=1),
        np.take_along_axis(code, best, axis=1),
    )
