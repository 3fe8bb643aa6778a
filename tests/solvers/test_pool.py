"""The pool against a dictionary from patterns of change to their cheapest point."""

from itertools import combinations, product

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.solvers.pool import BUCKETS, Pool, feature_key, pattern_key, support_key


def problem_of(tools, n, d):
    return tools.make_problem(np.zeros((n, d)), tools.linear_scores(np.ones(d), 0.0))


def reference(z, cost, size):
    """Cheapest point for each set of directions, cheapest first, by loops."""
    points, costs = [], []
    for row, prices in zip(z, cost, strict=True):
        best = {}
        for point, price in zip(row, prices, strict=True):
            key = tuple(np.sign(point))
            if np.isfinite(price) and price < best.get(key, (np.inf,))[0]:
                best[key] = (price, point)
        kept = sorted(best.values(), key=lambda item: item[0])[:size]
        missing = size - len(kept)
        points.append([point for _, point in kept] + [np.zeros(row.shape[1])] * missing)
        costs.append([price for price, _ in kept] + [np.inf] * missing)
    return np.array(points), np.array(costs)


@settings(deadline=None, max_examples=15)
@given(
    n=st.integers(1, 4),
    d=st.integers(1, 3),  # few enough for every pattern to have a bucket of its own
    K=st.integers(1, 30),
    size=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
def test_merged_keeps_the_cheapest_of_every_pattern(tools, n, d, K, size, seed):
    rng = np.random.default_rng(seed)
    problem = problem_of(tools, n, d)
    z = rng.normal(size=(n, K, d)) * (rng.random((n, K, d)) < 0.5)
    cost = np.where(rng.random((n, K)) < 0.8, rng.random((n, K)), np.inf)
    points, costs = reference(z, cost, size)
    z, cost = torch.from_numpy(z), torch.from_numpy(cost)
    whole = Pool.empty(problem, size).merged(problem, z, cost)
    np.testing.assert_array_equal(whole.cost, costs)
    np.testing.assert_array_equal(whole.z, points)
    assert torch.equal(whole.best, whole.cost[:, 0])
    # Piece by piece, with repetition, is the same.
    pool = Pool.empty(problem, size)
    for part in torch.arange(K).split(7):
        pool = pool.merged(problem, z[:, part], cost[:, part])
        pool = pool.merged(problem, z[:, part], cost[:, part])
    np.testing.assert_array_equal(pool.cost, costs)
    np.testing.assert_array_equal(pool.z, points)


def test_directions_have_keys_of_their_own(tools):
    directions = np.array(list(product([-1.0, 0.0, 1.0], repeat=3)))[None]
    problem = problem_of(tools, 1, 3)
    assert len(pattern_key(problem.domain, torch.from_numpy(directions)).unique()) == 27


def test_levels_of_a_feature_share_a_pattern(tools):
    """A categorical feature is changed or not, whatever the level; a number rises or falls."""
    mixed = tools.mixed
    rng = np.random.default_rng(0)
    problem = mixed.problem(rng, 1, mixed.linear(tools, rng))
    z = torch.from_numpy(mixed.points)[None]
    key = pattern_key(problem.domain, z)[0].numpy()
    factual = problem.domain.factual[0].numpy()
    offset = mixed.points - factual
    levels = (abs(offset[:, 3:]) > 1e-9).any(1)
    pattern = np.column_stack([np.where(abs(offset) > 1e-9, np.sign(offset), 0)[:, :3], levels])
    _, expected = np.unique(pattern, axis=0, return_inverse=True)
    _, got = np.unique(key, return_inverse=True)
    # The same pattern has the same key; different ones very seldom do.
    assert all(len(np.unique(got[expected == p])) == 1 for p in np.unique(expected))
    assert len(np.unique(got)) >= 0.9 * len(np.unique(expected))


def test_empty_pool_holds_the_factual(tools):
    problem = tools.make_problem(np.full((2, 3), 7.0), tools.linear_scores(np.ones(3), 0.0))
    pool = Pool.empty(problem, 4)
    assert pool.z.shape == (2, 4, 3)
    assert bool((pool.z == 7).all() and (pool.cost == torch.inf).all())


def test_scattered_replaces_rows(tools):
    problem = problem_of(tools, 4, 2)
    pool = Pool.empty(problem, 2)
    part = Pool(torch.ones(2, 2, 2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64))
    new = pool.scattered(torch.tensor([3, 1]), part)
    assert new.cost[:, 0].tolist() == [np.inf, 0, np.inf, 0]
    assert bool((new.z[[1, 3]] == 1).all() and (new.z[[0, 2]] == 0).all())
    assert bool((pool.cost == torch.inf).all())


def test_keys_are_additive_and_seldom_shared():
    """No two single features collide, and sets of features hardly do."""
    everything = feature_key(torch.arange(1, BUCKETS))
    assert len(everything.unique()) == BUCKETS - 1
    for d, size in ((12, 2), (20, 2), (20, 3), (40, 2)):
        sets = list(combinations(range(d), size))
        changed = torch.zeros(len(sets), d, dtype=torch.bool)
        for row, members in enumerate(sets):
            changed[row, list(members)] = True
        keys = support_key(changed)
        # Random buckets would leave about N^2 / 2B sets without a bucket of their own.
        lost = len(sets) - len(keys.unique())
        assert lost <= 2 * len(sets) ** 2 / (2 * BUCKETS) + 2
        one = torch.zeros(d, dtype=torch.bool)
        one[sets[0][0]] = True
        rest = changed[0] & ~one
        other = int(rest.nonzero()[0]) + 1
        if size == 2:
            joined = (support_key(one) + feature_key(torch.tensor(other))) % BUCKETS
            assert joined == keys[0]
