"""Exchanging one feature of the support: against enumeration of all exchanges."""

import numpy as np
import pytest
import torch

from scfe_sklearn.solvers.problem.pool import Pool
from scfe_sklearn.solvers.refinement.swapping import swap


def start(problem, rng, count=2):
    """One point per row with ``count`` permitted moves of different features, as a pool."""
    moves, z = problem.moves, problem.domain.factual.clone()
    permitted = moves.permitted(problem.domain)
    for i in range(len(z)):
        features = rng.permutation(problem.domain.n_features)
        done = 0
        for feature in features:
            own = (permitted[i] & (moves.group == feature)).nonzero()[:, 0]
            if len(own) and done < count:
                z[i] = moves.apply(z[i], own[int(rng.integers(len(own)))])
                done += 1
    return Pool(z[:, None], torch.zeros(len(z), 1, dtype=z.dtype))


@pytest.mark.parametrize("seed", range(3))
def test_best_exchange_is_that_of_enumeration(tools, seed):
    rng = np.random.default_rng(seed)
    problem = tools.mixed.problem(rng, 12, tools.curved_scores(rng, 6))
    pool = start(problem, rng)
    found = swap(problem, pool, 6, 10_000)
    permitted = problem.moves.permitted(problem.domain)
    for i in range(12):
        row = problem.take(torch.tensor([i]))
        best, changed = np.inf, problem.domain.changed(pool.z)[i, 0]
        for feature in changed.nonzero()[:, 0]:
            group = problem.domain.groups == feature
            less = torch.where(group, problem.domain.factual[i], pool.z[i, 0])
            for move in permitted[i].nonzero()[:, 0]:
                if changed[problem.moves.group[move]]:
                    continue
                z = problem.moves.apply(less, move)[None, None]
                if float(row.margin(z)) >= problem.floor:
                    best = min(best, float(row.sparse_distance(z) - row.plausibility(z)))
        assert float(found.best[i]) == pytest.approx(best)
    kept = found.cost < torch.inf
    assert bool((problem.margin(found.z)[kept] >= problem.floor).all())
    assert bool((problem.domain.changed(found.z).sum(-1)[kept] <= 2).all())


def test_nothing_to_exchange(tools):
    rng = np.random.default_rng(0)
    problem = tools.mixed.problem(rng, 3, tools.curved_scores(rng, 6))
    assert bool((swap(problem, Pool.empty(problem, 2), 2, 100).cost == torch.inf).all())
