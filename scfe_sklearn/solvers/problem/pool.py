"""The best valid points so far, a few per row, with distinct patterns of change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from scfe_sklearn._utils import RowBatch, repeated
from scfe_sklearn.solvers.problem.domain import TOLERANCE, Domain
from scfe_sklearn.solvers.problem.problem import Problem

BUCKETS = 4093
"""Prime modulus of the hashes of supports."""

EQUAL = 2.0**30
"""Costs that are equal after scaling by this and rounding count as equal."""

VALLEYS = 4
"""Kinds of change of a number with different hashes."""


@dataclass(frozen=True, eq=False)
class Pool(RowBatch):
    """Up to P valid points a row, cheapest first; ties keep their order.

    Parameters
    ----------
    z : Tensor of shape (n, P, D)
        The points; the factual where there is none.
    cost : Tensor of shape (n, P)
        Their objective values; infinite where there is none.
    """

    z: torch.Tensor
    cost: torch.Tensor

    @classmethod
    def empty(cls, problem: Problem, size: int) -> Pool:
        """Return a pool without points."""
        factual = problem.domain.factual
        cost = torch.full((len(problem), size), torch.inf, dtype=factual.dtype)
        return cls(factual[:, None].expand(-1, size, -1), cost.to(factual.device))

    @classmethod
    def of(cls, problem: Problem, z: torch.Tensor, cost: torch.Tensor, size: int) -> Pool:
        """Return a pool of points ``z`` (n, K, D) of the given ``cost`` (n, K)."""
        if z.shape[1] < size:
            return cls.empty(problem, size).merged(problem, z, cost)
        return cls._best_of(problem, z, cost, size)

    @property
    def best(self) -> torch.Tensor:
        """Least cost of each row, (n,)."""
        return self.cost[:, 0]

    def merged(self, problem: Problem, z: torch.Tensor, cost: torch.Tensor) -> Pool:
        """Return the pool after more points ``z`` (n, K, D) of the given ``cost`` (n, K)."""
        both, costs = torch.cat([self.z, z], 1), torch.cat([self.cost, cost], 1)
        return self._best_of(problem, both, costs, self.cost.shape[1])

    @classmethod
    def _best_of(cls, problem: Problem, z: torch.Tensor, cost: torch.Tensor, size: int) -> Pool:
        """Return the ``size`` best points of each row with distinct patterns."""
        # Equal costs differ by rounding, which depends on the batch: the older point comes first.
        order = (cost * EQUAL).round().argsort(dim=1, stable=True)
        cost = cost.gather(1, order)
        key = pattern_key(problem.domain, z).gather(1, order)
        # The cheapest of each pattern stays.
        cost = torch.where(repeated(key), torch.full_like(cost, torch.inf), cost)
        position = (cost * EQUAL).round().argsort(dim=1, stable=True)[:, :size]
        order, cost = order.gather(1, position), cost.gather(1, position)
        kept = z.gather(1, order[..., None].expand(-1, -1, z.shape[2]))
        factual = problem.domain.factual[:, None]
        return Pool(torch.where(cost[..., None] < torch.inf, kept, factual), cost)

    def joined(self, other: Pool) -> Pool:
        """Return the pool of the rows of both."""
        return Pool(torch.cat([self.z, other.z]), torch.cat([self.cost, other.cost]))

    def scattered(self, index: torch.Tensor, part: Pool) -> Pool:
        """Return the pool with the rows ``index`` replaced by those of ``part``."""
        z, cost = self.z.clone(), self.cost.clone()
        z[index], cost[index] = part.z, part.cost
        return Pool(z, cost)


def pattern_key(domain: Domain, z: torch.Tensor) -> torch.Tensor:
    """Return a number (n, K) for what points (n, K, D) change, and numbers how.

    Up and down, a little and a lot are different valleys of the objective: the best of each
    are worth keeping. Every change of a feature has a random whole number of 40 bits and a
    pattern their sum, which is exact in double precision: two of a million patterns share
    theirs once in a long while.
    """
    offset = z - domain.factual[:, None]
    # Only the few changed coordinates are used.
    row, point, coordinate = (offset.abs() > TOLERANCE).nonzero().T
    moved, number = offset[row, point, coordinate], domain.scalar[coordinate]
    # The level that is left adds nothing to the one that is entered.
    kind = 2 * (moved > 0).long() + ((moved.abs() > 1) & number).long()
    weight = random_weights(VALLEYS * domain.n_features, z.device)
    change = weight[VALLEYS * domain.groups[coordinate] + kind]
    change = torch.where(number | (moved > 0), change, torch.zeros_like(change))
    key = torch.zeros(offset.shape[0] * offset.shape[1], dtype=torch.float64, device=z.device)
    key.index_add_(0, row * offset.shape[1] + point, change)
    return key.reshape(offset.shape[:2])


@lru_cache(maxsize=16)
def random_weights(count: int, device: torch.device) -> torch.Tensor:
    """Return whole numbers (count,) below 2^40, the same in every run, as floats."""
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False):  # it is kept for later calls
        return torch.randint(1, 2**40, (count,), generator=generator).to(device, torch.float64)


def support_key(changed: torch.Tensor) -> torch.Tensor:
    """Return a hash (...) of sets of features (..., d)."""
    index = torch.arange(1, changed.shape[-1] + 1, device=changed.device)
    return (changed * feature_key(index)).sum(-1) % BUCKETS


def feature_key(feature: torch.Tensor) -> torch.Tensor:
    """Return the term of a feature (counted from 1) in the hash of a set.

    Its seventh power modulo the prime: 7 does not divide ``BUCKETS - 1``, so no two single
    features (of fewer than ``BUCKETS``) share a key, and sums of keys are as good as random.
    """
    square = feature * feature % BUCKETS
    return square * square % BUCKETS * square % BUCKETS * feature % BUCKETS
