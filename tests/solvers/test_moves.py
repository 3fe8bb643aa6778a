"""The table of single-feature moves against loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.solvers.problem.moves import Moves, typical_values


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_moves_agree_with_brute_force(tools, n, seed):
    rng = np.random.default_rng(seed)
    problem = tools.mixed.problem(rng, n, tools.linear_scores(np.ones(6), 0.0))
    domain, moves = problem.domain, problem.moves
    factual, groups = domain.factual.numpy(), domain.groups.numpy()
    everything = torch.arange(len(moves))
    z = moves.apply(domain.factual[:, None], everything).numpy()
    distance, permitted = moves.distance(domain), moves.permitted(domain)
    # A move is permitted where the point that it leads to is admissible and another one.
    reached, count = tools.admissible(problem, z.reshape(-1, 6))
    for i in range(n):
        for m in range(len(moves)):
            j, value = int(moves.coordinate[m]), float(moves.value[m])
            point = factual[i].copy()
            point[groups == groups[j]] = 0
            point[j] = value
            np.testing.assert_array_equal(z[i, m], point)
            np.testing.assert_allclose(
                distance[i, m], ((point - factual[i]) ** 2).sum(), atol=1e-12
            )
            p = i * len(moves) + m
            assert bool(permitted[i, m]) == bool(reached[i, p] and count[i, p] == 1)
            assert int(moves.group[m]) == groups[j]


def test_apply_combines_moves(tools):
    rng = np.random.default_rng(0)
    problem = tools.mixed.problem(rng, 1, tools.linear_scores(np.ones(6), 0.0))
    moves, factual = problem.moves, problem.domain.factual
    first = int((moves.group == 0).nonzero()[2])
    second = int((moves.group == 3).nonzero()[1])
    z = moves.apply(moves.apply(factual, torch.tensor([first])), torch.tensor([second]))[0]
    expected = factual[0].clone()
    expected[0] = moves.value[first]
    expected[3:] = 0
    expected[int(moves.coordinate[second])] = 0.5**0.5
    torch.testing.assert_close(z, expected)


def test_from_samples_lists_what_occurs(tools):
    mixed = tools.mixed
    samples = mixed.points[mixed.points[:, 4] == 0]  # the second level does not occur
    moves = Moves.from_samples(
        torch.from_numpy(samples),
        torch.from_numpy(mixed.groups),
        torch.from_numpy(mixed.scalar),
        99,
    )
    listed = sorted(zip(moves.coordinate.tolist(), moves.value.tolist(), strict=True))
    expected = [(j, v) for j in range(3) for v in np.unique(samples[:, j])]
    expected += [(j, mixed.levels[0, 0]) for j in (3, 5)]
    np.testing.assert_allclose(listed, sorted(expected))
    assert len(moves) == len(expected)


@settings(deadline=None, max_examples=40)
@given(values=st.lists(st.integers(-20, 20), min_size=1, max_size=60), count=st.integers(3, 20))
def test_typical_values(values, count):
    column = torch.tensor(values, dtype=torch.float64)
    got = typical_values(column, count)
    distinct = np.unique(values)
    assert set(got.tolist()) <= set(distinct.tolist())
    assert got.tolist() == sorted(set(got.tolist()))
    assert got[0] == distinct[0]
    assert got[-1] == distinct[-1]
    if len(distinct) <= count:
        np.testing.assert_array_equal(got, distinct)
    else:
        assert len(got) == max(count, 4) or len(got) == count


@pytest.mark.parametrize("count", [4, 7, 24])
def test_typical_values_fill_up_where_all_are_distinct(count):
    """Without repetition ranks and rows agree; the places are filled with ranks between."""
    column = torch.arange(1000, dtype=torch.float64) ** 2
    got = typical_values(column, count)
    assert len(got) == count
    ranks = got.sqrt()
    assert ranks[0] == 0 and ranks[-1] == 999
    assert float(ranks.diff().max()) < 3 * 1000 / count


def test_typical_values_follow_rows_and_ranks():
    """Half by rows: the crowded end gets its share. Half by rank: so does the heavy tail."""
    tail = torch.linspace(2, 100, 99, dtype=torch.float64)
    crowd = torch.linspace(0, 1, 901, dtype=torch.float64)
    assert int((typical_values(torch.cat([crowd, tail]), 20) <= 1).sum()) >= 9
    repeated = torch.zeros(900, dtype=torch.float64)
    assert int((typical_values(torch.cat([repeated, tail]), 20) > 1).sum()) >= 9
