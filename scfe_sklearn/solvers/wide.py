"""Descent over all features at once, where there are too many of them to try moves one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from scfe_sklearn.proximal.feature_sets import INTERVAL, VERTICES, FeatureSets
from scfe_sklearn.solvers.domain import TOLERANCE, Domain
from scfe_sklearn.solvers.pool import Pool
from scfe_sklearn.solvers.problem import Problem
from scfe_sklearn.solvers.subspace import Subspace
from scfe_sklearn.solvers.trade_off import Descent, descend


@dataclass(frozen=True)
class Continuation:
    """How the budget is tightened.

    Parameters
    ----------
    stages : int
        Budgets between no limit and the final one, falling geometrically.
    descent : Descent
        Length of the run at each budget.
    exchanges : tuple of int
        Features that leave and enter the support in each of the rounds that follow.
    clearance : float
        Extra margin that the descent aims at, so that it ends on the valid side.
    """

    stages: int = 5
    descent: Descent = field(default_factory=lambda: Descent(max_iter=10, tol=1e-3, momentum=True))
    exchanges: tuple[int, ...] = (5, 5, 4, 4, 3, 3, 2, 2, 1, 1)
    clearance: float = 1e-2


def descend_wide(
    problem: Problem, anchors: torch.Tensor, settings: Continuation, size: int
) -> Pool:
    """Choose the support by accelerated proximal gradient under a falling budget.

    The proximal map keeps the features whose squared gain is largest, each projected onto its
    own set (interval, lattice or vertices): the exact projection on the budget and the rules
    together. A budget that falls slowly lets features compete before the support is fixed.

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    anchors : Tensor of shape (T, D)
        Training rows that the model calls the target: where rows start again from the nearest
        one if they find nothing from their factual.
    settings : Continuation
        Budgets and lengths.
    size : int
        Size of the pool that is returned.

    Returns
    -------
    Pool
        Valid points within the budget.
    """
    pool = Pool.empty(problem, size)
    if len(problem) == 0:
        return pool
    found = _tighten(problem, problem.domain.factual, settings)
    pool = _judged(problem, pool, found)
    missing = (pool.best == torch.inf).nonzero()[:, 0]
    if len(missing) and len(anchors):
        part = problem.take(missing)
        start = anchors[torch.cdist(part.domain.factual, anchors).argmin(1)]
        again = _judged(part, Pool.empty(part, size), _tighten(part, start, settings))
        pool = pool.scattered(missing, again)
    return pool


def _judged(problem: Problem, pool: Pool, z: torch.Tensor) -> Pool:
    """Return the pool after the points ``z`` (n, D) that are valid and within the budget."""
    found = z[:, None]
    valid = problem.margin(found) >= problem.floor
    valid &= problem.domain.changed(found).sum(-1) <= problem.max_changes[:, None]
    cost = problem.sparse_distance(found) - problem.plausibility(found, valid)
    return pool.merged(problem, found, torch.where(valid, cost, torch.full_like(cost, torch.inf)))


def _tighten(problem: Problem, z: torch.Tensor, settings: Continuation) -> torch.Tensor:
    """Descend from ``z`` (n, D) under a budget that falls from all features to the final one."""
    domain = problem.domain
    sets = feature_sets(domain)
    last = problem.max_changes.clamp_max(domain.n_features)
    for stage in range(settings.stages + 1):
        share = stage / settings.stages
        budget = (domain.n_features ** (1 - share) * last.double() ** share).round().long()
        z = _run(problem, sets, z, torch.maximum(budget, last), settings)
    for count in settings.exchanges:
        z = _exchange(problem, z, count, settings)
    return domain.snap(z)


def _exchange(
    problem: Problem, z: torch.Tensor, count: int, settings: Continuation
) -> torch.Tensor:
    """Swap the numbers of the support that matter least for those that promise most.

    Freeing a coordinate with slope g lowers the quadratic model ``g w + w^2`` of the objective
    by what its minimiser in the interval gains; giving one up costs about its ``w^2``. Where
    the new support is no better after a descent, the old one stays.
    """
    domain = problem.domain
    change = z - domain.factual
    inside = (change.abs() > TOLERANCE) & domain.scalar
    margin, slope = problem.objective.margin_and_grad(z)
    everything = domain.scalar & domain.allowed
    whole = Subspace.around(problem, z, everything)
    rows = torch.arange(len(z), device=z.device)
    _, lift = whole.plausibility_and_grad(whole.start, rows)
    pull = 2 * change - torch.zeros_like(z).scatter(
        1, whole.support.clamp_max(z.shape[1] - 1), lift
    )
    own = slope * inside
    gamma = (pull * own).sum(1) / (own**2).sum(1).clamp_min(1e-12)
    # Without the margin, only the margin counts.
    valid = margin >= problem.floor
    gamma = torch.where(valid, gamma.clamp_min(0), 100 * gamma.abs() + 100)
    force = pull - gamma[:, None] * slope
    target = torch.minimum(
        torch.maximum(-force / 2, domain.lower - domain.factual), domain.upper - domain.factual
    )
    gain = -(force * target + target**2)
    gain = torch.where(everything & ~inside, gain, torch.full_like(gain, -torch.inf))
    enter = gain.topk(min(count, gain.shape[1]), dim=1)
    over = (domain.changed(z).sum(1) + count - problem.max_changes).clamp(0, count)
    loss = torch.where(inside, change**2, torch.full_like(gain, torch.inf))
    leave = loss.topk(min(count, gain.shape[1]), dim=1, largest=False)
    leaves = (torch.arange(leave.indices.shape[1], device=z.device) < over[:, None]) & (
        leave.values < torch.inf
    )
    enters = enter.values > 0
    support = inside.scatter(1, leave.indices, inside.gather(1, leave.indices) & ~leaves)
    support = support.scatter(1, enter.indices, enters)
    start = torch.where(support | ~domain.scalar, z, domain.factual)
    space = Subspace.around(problem, start, support)

    def prox(
        v: torch.Tensor, step: torch.Tensor, index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        box = torch.minimum(torch.maximum(v, space.lower[index]), space.upper[index])
        return box, torch.zeros_like(step)

    x = descend(space, prox, settings.descent, settings.clearance).z
    trial = space.embed(x)
    both = torch.stack([z, trial], 1)
    reached = problem.margin(both)
    cost = problem.sparse_distance(both) - problem.plausibility(both)
    now = (reached >= problem.floor) & (
        problem.domain.changed(both).sum(-1) <= problem.max_changes[:, None]
    )
    # A valid point beats an invalid one, then the cheaper one wins, or the larger margin.
    better = torch.where(
        now[:, 0] == now[:, 1],
        torch.where(now[:, 0], cost[:, 1] < cost[:, 0], reached[:, 1] > reached[:, 0]),
        now[:, 1],
    )
    return torch.where(better[:, None], trial, z)


def _run(
    problem: Problem,
    sets: FeatureSets,
    z: torch.Tensor,
    budget: torch.Tensor,
    settings: Continuation,
) -> torch.Tensor:
    """One descent under one budget, from ``z``."""
    everything = torch.ones_like(z, dtype=torch.bool)
    space = Subspace.around(problem, z, everything)
    factual = problem.domain.factual
    order = space.support

    def prox(
        v: torch.Tensor, step: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        change = torch.empty_like(v).scatter_(1, order[rows], v) - factual[rows]
        kept = sets.take(rows).prox(change, step, problem.beta[rows, None], 0.0, budget[rows])
        count = problem.domain.take(rows).changed(factual[rows] + kept).sum(1)
        point = (factual[rows] + kept).gather(1, order[rows])
        return point, problem.beta[rows] * count

    x = descend(space, prox, settings.descent, settings.clearance).z
    return space.embed(x)


def feature_sets(domain: Domain) -> FeatureSets:
    """Build the admissible sets of the features for the proximal layer."""
    first = torch.cat([domain.groups.new_ones(1), domain.groups.diff()]) > 0
    vertices = ~domain.scalar[first]
    radius = 0.5**0.5
    return FeatureSets(
        domain.groups,
        kinds=torch.where(vertices, VERTICES, INTERVAL),
        lower=domain.lower,
        upper=domain.upper,
        allowed=domain.allowed,
        origin=domain.factual,
        radius=radius,
    )


def too_wide(problem: Problem, limit: int = 400_000) -> bool:
    """Return whether trying every move of a row takes more memory than it is worth."""
    return len(problem.moves) * problem.domain.factual.shape[1] > limit
