"""The best valid points seen so far, a few per row, no two of them changing the same way."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.domain import TOLERANCE, Domain
from scfe_sklearn.solvers.problem import Problem

BUCKETS = 4093
"""Supports are told apart by a hash below this prime."""

VALLEYS = 4
"""Kinds of change of a number that are told apart."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Up to P valid points a row, cheapest first.

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
        return cls(factual[:, None].repeat(1, size, 1), cost.to(factual.device))

    @property
    def best(self) -> torch.Tensor:
        """Least cost of each row, (n,)."""
        return self.cost[:, 0]

    def merged(self, problem: Problem, z: torch.Tensor, cost: torch.Tensor) -> Pool:
        """Return the pool after more points ``z`` (n, K, D) of the given ``cost`` (n, K)."""
        size = self.cost.shape[1]
        both, cost = torch.cat([self.z, z], 1), torch.cat([self.cost, cost], 1)
        # Only the cheapest point of every pattern stays; equal ones are told apart below.
        key = pattern_key(problem.domain, both)
        best = torch.full((len(cost), BUCKETS), torch.inf, dtype=cost.dtype, device=cost.device)
        best = best.scatter_reduce(1, key, cost, "amin").gather(1, key)
        cost = torch.where(cost <= best, cost, torch.full_like(cost, torch.inf))
        cost, order = cost.topk(min(2 * size, cost.shape[1]), dim=1, largest=False)
        cost, position = cost.sort(dim=1, stable=True)
        order = order.gather(1, position)
        key = key.gather(1, order)
        earlier = torch.ones(key.shape[1], key.shape[1], dtype=torch.bool, device=z.device)
        twin = ((key[:, :, None] == key[:, None, :]) & earlier.tril(-1)).any(-1)
        cost = torch.where(twin, torch.full_like(cost, torch.inf), cost)
        cost, position = cost.sort(dim=1, stable=True)
        order, cost = order.gather(1, position)[:, :size], cost[:, :size]
        kept = both.gather(1, order[..., None].expand(-1, -1, both.shape[2]))
        factual = problem.domain.factual[:, None]
        return Pool(torch.where(cost[..., None] < torch.inf, kept, factual), cost)

    def scattered(self, index: torch.Tensor, part: Pool) -> Pool:
        """Return the pool with the rows ``index`` replaced by those of ``part``."""
        z, cost = self.z.clone(), self.cost.clone()
        z[index], cost[index] = part.z, part.cost
        return Pool(z, cost)


def pattern_key(domain: Domain, z: torch.Tensor) -> torch.Tensor:
    """Return a bucket (n, K) for what points (n, K, D) change, and numbers how.

    Up and down, a little and a lot are different valleys of the objective: the best of each
    are worth keeping.
    """
    offset = z - domain.factual[:, None]
    moved = (offset > TOLERANCE) | ((offset < -TOLERANCE) & domain.scalar)
    code = VALLEYS * (domain.groups + 1) + torch.where(domain.scalar, valleys(offset), 0)
    return (moved * feature_key(code)).sum(-1) % BUCKETS


def valleys(offset: torch.Tensor) -> torch.Tensor:
    """Return which valley a change of a number lies in: down or up, a little or a lot."""
    return 2 * (offset > 0).long() + (offset.abs() > 1).long()


def support_key(changed: torch.Tensor) -> torch.Tensor:
    """Return a bucket (...) for sets of features (..., d): equal sets share it, others hardly."""
    index = torch.arange(1, changed.shape[-1] + 1, device=changed.device)
    return (changed * feature_key(index)).sum(-1) % BUCKETS


def feature_key(feature: torch.Tensor) -> torch.Tensor:
    """Return what a feature (counted from 1) adds to the bucket of a set.

    Its seventh power modulo the prime: 7 does not divide ``BUCKETS - 1``, so no two single
    features (of fewer than ``BUCKETS``) share a key, and sums of keys are as good as random.
    """
    square = feature * feature % BUCKETS
    return square * square % BUCKETS * square % BUCKETS * feature % BUCKETS
