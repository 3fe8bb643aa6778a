"""Pattern search against lists of all points."""

import numpy as np
import pytest
import torch

from scfe_sklearn.densities import GaussianKDE
from scfe_sklearn.solvers.problem.pool import Pool
from scfe_sklearn.solvers.refinement.polishing import Pattern, polish

MANY = Pattern(rounds=60)


def random_pool(tools, problem, points, rng, size=4):
    """A pool of random answers."""
    cost = tools.exhaustive(problem, points)
    n = len(cost)
    drawn = np.stack([rng.permutation(len(points))[:40] for _ in range(n)])
    z = torch.from_numpy(points[drawn])
    return Pool.empty(problem, size).merged(
        problem, z, torch.from_numpy(np.take_along_axis(cost, drawn, 1))
    )


@pytest.mark.parametrize("seed", range(3))
def test_one_number_on_a_lattice_finds_its_best_value(tools, seed):
    """Along one number the objective of a linear model is convex, and valid on one side."""
    rng = np.random.default_rng(seed)
    step, n = 0.2, 20
    factual = np.column_stack([step * rng.integers(-5, 5, n), rng.normal(size=n)])
    weight = rng.choice([-1.0, 1.0]) * np.array([1.0, 0.0])
    bias = -float((factual @ weight).max()) - step / 2
    reach = 8.0
    problem = tools.make_problem(
        factual,
        tools.linear_scores(weight, bias),
        lower=-reach,
        upper=reach,
        step=[step, 0.0],
    )
    start = factual.copy()
    start[:, 0] = weight[0] * step * np.round((-bias + rng.uniform(0.3, 5, n)) / step)
    z = torch.from_numpy(start)[:, None]
    pool = Pool.empty(problem, 1).merged(problem, z, problem.sparse_distance(z))
    got = polish(problem, pool, MANY, 1)
    tools.check_answers(problem, got)
    grid = step * np.arange(-40, 41)
    for i in range(n):
        line = np.column_stack([grid, np.full(len(grid), factual[i, 1])])
        best = tools.exhaustive(problem.take(torch.tensor([i])), line).min()
        np.testing.assert_allclose(got.best[i], best, atol=1e-9)


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_no_lattice_neighbour_is_better(tools, density, seed):
    """The answers are on the lattice, no worse than the start, and locally optimal."""
    rng = np.random.default_rng(seed)
    mixed, options = tools.mixed, {"beta": 0.2, "has_gradient": False}
    if density:
        kde = GaussianKDE(0.7).fit(mixed.points[::4])
        ceiling = float(kde.score_samples(mixed.points).max())
        options.update(density=kde, weight=0.4, ceiling=ceiling)
    problem = mixed.problem(rng, 15, tools.curved_scores(rng, 6), **options)
    start = random_pool(tools, problem, mixed.points, rng)
    got = polish(problem, start, MANY, 4)
    tools.check_answers(problem, got)
    assert bool((got.cost <= start.cost + 1e-12).all())
    assert bool((got.best < start.best - 1e-6).any())
    cost, points = tools.exhaustive(problem, mixed.points), mixed.points
    factual = problem.domain.factual.numpy()
    for i in np.flatnonzero(np.isfinite(got.best.numpy())):
        z = got.z[i, 0].numpy()
        gap = abs(points - z)
        assert gap.max(1).min() < 1e-9  # one of the listed points
        for j in range(3):
            if abs(z[j] - factual[i, j]) < 1e-9:
                continue
            others = np.delete(gap, j, 1).max(1) < 1e-9
            beside = others & (gap[:, j] < mixed.step[j] * 1.01)
            beside |= others & (abs(points[:, j] - factual[i, j]) < 1e-9)
            assert cost[i, beside].min() >= float(got.best[i]) - 1e-7


def test_useless_changes_are_undone(tools):
    """A changed number and a changed level that the margin does not need."""
    mixed = tools.mixed
    factual = np.array([[0.1, -0.2, 0.0, *mixed.levels[0]]] * 3)
    weight = np.array([1.0, 0, 0, 0, 0, 0])
    problem = tools.make_problem(
        factual,
        tools.linear_scores(weight, -0.9),
        lower=-5,
        upper=5,
        groups=mixed.groups,
        scalar=mixed.scalar,
        step=mixed.step,
        offset=mixed.offset,
    )
    start = factual.copy()
    start[:, 0] = 1.1
    start[0, 1] = 0.6
    start[1, 3:] = mixed.levels[2]
    start[2, 1:] = [0.6, 0.8, *mixed.levels[1]]
    z = torch.from_numpy(start)[:, None]
    pool = Pool.empty(problem, 3).merged(problem, z, problem.sparse_distance(z))
    got = polish(problem, pool, Pattern(), 1)
    expected = factual.copy()
    expected[:, 0] = 1.1
    np.testing.assert_allclose(got.z[:, 0], expected)
    np.testing.assert_allclose(got.best, 1.0 + 0.3)


@pytest.mark.parametrize("smooth", [False, True])
def test_what_is_left_after_undoing_is_searched_again(tools, smooth):
    """The second number looks useful only as long as the first is beyond what is needed."""
    factual = np.zeros((1, 2))

    def scores(z):  # valid beyond 1 if the second number stays, else beyond 2
        margin = z[:, 0] - 1 - 2 * (z[:, 1].abs() > 0.1)
        return torch.stack([-margin / 2, margin / 2], 1)

    problem = tools.make_problem(
        factual, scores, lower=-9, upper=9, step=[0.0 if smooth else 0.25, 0.5], beta=0.2
    )
    z = torch.tensor([[[3.5, 0.5]]], dtype=torch.float64)
    pool = Pool.empty(problem, 1).merged(problem, z, problem.sparse_distance(z))
    got = polish(problem, pool, MANY, 1, smooth=smooth)
    tools.check_answers(problem, got)
    assert float(got.z[0, 0, 1]) == 0
    np.testing.assert_allclose(got.z[0, 0, 0], 1.25 if not smooth else 1.0, atol=2e-3)


def test_continuous_numbers_come_close(tools):
    """Steps shrink: one continuous number ends within the finest step of the boundary."""
    rng = np.random.default_rng(0)
    factual = rng.normal(size=(20, 1))
    problem = tools.make_problem(factual, tools.linear_scores([1.0], -4.0), has_gradient=False)
    z = torch.full((20, 1, 1), 9.0, dtype=torch.float64)
    pool = Pool.empty(problem, 1).merged(problem, z, problem.sparse_distance(z))
    got = polish(problem, pool, MANY, 1)
    tools.check_answers(problem, got)
    assert float((got.z[:, 0, 0] - 4.0).abs().max()) < 4e-3


def test_rows_without_an_answer_stay_without(tools):
    problem = tools.make_problem(np.zeros((2, 2)), tools.linear_scores([1.0, 1.0], -9.0))
    pool = polish(problem, Pool.empty(problem, 2), Pattern(), 2)
    assert bool((pool.cost == torch.inf).all())
