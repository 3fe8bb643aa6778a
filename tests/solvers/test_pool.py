"""The pool against a dictionary from patterns of change to their cheapest point."""

from itertools import combinations, product

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.solvers.problem.pool import BUCKETS, Pool, feature_key, pattern_key, support_key


def problem_of(tools, n, d):
    return tools.make_problem(np.zeros((n, d)), tools.linear_scores(np.ones(d), 0.0))


def reference(z, cost, keys, size):
    """Cheapest point of each pattern, cheapest first, by loops."""
    points, costs = [], []
    for row, prices, patterns in zip(z, cost, keys, strict=True):
        best = {}
        for point, price, key in zip(row, prices, patterns.tolist(), strict=True):
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
    d=st.integers(1, 6),
    K=st.integers(1, 30),
    size=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
def test_merged_keeps_the_cheapest_of_every_pattern(tools, n, d, K, size, seed):
    rng = np.random.default_rng(seed)
    problem = problem_of(tools, n, d)
    z = rng.normal(size=(n, K, d)) * (rng.random((n, K, d)) < 0.5)
    cost = np.where(rng.random((n, K)) < 0.8, rng.random((n, K)), np.inf)
    keys = pattern_key(problem.domain, torch.from_numpy(z)).numpy()
    points, costs = reference(z, cost, keys, size)
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


def test_patterns_tell_what_changes_and_which_way(tools):
    """Other supports and other directions have other keys."""
    directions = np.array(list(product([-0.5, 0.0, 0.5], repeat=4)))[None]
    problem = problem_of(tools, 1, 4)
    keys = pattern_key(problem.domain, torch.from_numpy(directions))
    assert len(keys.unique()) == 81
    nearly = directions * (1 + 1e-6)
    assert torch.equal(keys, pattern_key(problem.domain, torch.from_numpy(nearly)))


def test_levels_of_a_feature_share_a_pattern(tools):
    """A categorical feature is changed or not, whatever the level."""
    mixed = tools.mixed
    rng = np.random.default_rng(0)
    problem = mixed.problem(rng, 1, mixed.linear(tools, rng))
    factual = problem.domain.factual[0].numpy()
    z = np.repeat(factual[None, None], 3, axis=1)
    z[0, :, 3:] = mixed.levels
    keys = pattern_key(problem.domain, torch.from_numpy(z))[0]
    stays = torch.from_numpy((abs(z[0] - factual) < 1e-9).all(1))
    assert int(stays.sum()) == 1
    assert len(keys[~stays].unique()) == 1
    assert keys[stays] != keys[~stays][0]


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


def test_no_pattern_is_lost(tools):
    """Hundreds of points, every one of another pattern: the cheapest are kept, whatever comes."""
    d = 14
    pairs = np.array(list(combinations(range(d), 3)))
    z = np.zeros((1, len(pairs), d))
    z[0, np.arange(len(pairs))[:, None], pairs] = 0.5
    cost = np.random.default_rng(0).permutation(len(pairs)).astype(float)[None]
    problem = problem_of(tools, 1, d)
    pool = Pool.empty(problem, 300).merged(problem, torch.from_numpy(z), torch.from_numpy(cost))
    assert pool.cost[0].tolist() == list(range(300))


def test_a_crowd_of_one_pattern_leaves_room_for_others(tools):
    """Hundreds of cheaper points of the same pattern do not crowd out two others."""
    rng = np.random.default_rng(0)
    z = np.zeros((2, 500, 4))
    z[:, :498, 0] = rng.uniform(0.1, 0.9, (2, 498))
    z[:, 498, 1] = 0.5
    z[:, 499, :2] = 0.5
    cost = rng.uniform(0, 1, (2, 500))
    cost[:, 498:] = [5.0, 6.0]
    problem = problem_of(tools, 2, 4)
    pool = Pool.empty(problem, 4).merged(problem, torch.from_numpy(z), torch.from_numpy(cost))
    expected = [[row[:498].min(), 5.0, 6.0, np.inf] for row in cost]
    np.testing.assert_array_equal(pool.cost, expected)


def test_patterns_of_many_features_are_exact(tools):
    """Sums of random numbers are the same in whatever order they are added."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1, 1, 900)) * (rng.random((1, 1, 900)) < 0.9)
    problem = problem_of(tools, 1, 900)
    many = pattern_key(problem.domain, torch.from_numpy(np.repeat(z, 37, axis=1)))
    one = pattern_key(problem.domain, torch.from_numpy(z))
    assert bool((many == one).all())
    assert float(one) == float(one.long())


def test_equal_costs_keep_their_order_however_they_are_rounded(tools):
    """Twin columns have answers of one cost; its last bits depend on the size of the batch."""
    problem = problem_of(tools, 1, 3)
    z = torch.eye(3, dtype=torch.float64)[None]
    for hair in (-3e-14, 0.0, 3e-14):
        cost = torch.tensor([[26.0, 26.0 + hair, 25.0]], dtype=torch.float64)
        pool = Pool.empty(problem, 3).merged(problem, z, cost)
        assert torch.equal(pool.z[0], z[0, [2, 0, 1]])
        again = pool.merged(problem, z[:, [1, 0]], cost[:, [1, 0]])
        assert torch.equal(again.z, pool.z)
