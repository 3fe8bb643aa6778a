"""Proximal gradient inside of supports against closed forms and dense grids."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scfe_sklearn.densities import GaussianKDE
from scfe_sklearn.solvers.descent import GradientSettings
from scfe_sklearn.solvers.gradient_solver import improve_by_gradient
from scfe_sklearn.solvers.problem.pool import Pool

LONG = GradientSettings(settled=1, settling=200, polishing=60, points=400)


def pool_of(problem, z):
    """A pool of one point a row, priced afresh."""
    z = torch.as_tensor(z)[:, None]
    return Pool.empty(problem, 2).merged(
        problem, z, problem.sparse_distance(z) - problem.plausibility(z)
    )


@settings(deadline=None, max_examples=15)
@given(D=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_linear_model_is_projected_onto_its_half_space(tools, D, seed):
    rng = np.random.default_rng(seed)
    n = 6
    z0, weight = rng.normal(size=(n, D)), rng.normal(size=D)
    lower, upper = z0 - 2 * rng.random((n, D)), z0 + 2 * rng.random((n, D))
    support = rng.random((n, D)) < 0.6
    support[:, 0] = True
    corner = np.where(support, np.where(weight > 0, upper, lower), z0)
    bias = -float(np.median((0.3 * z0 + 0.7 * corner) @ weight))
    possible = corner @ weight + bias > 1e-3
    missing = z0 @ weight + bias < -1e-3
    rows = np.flatnonzero(possible & missing)
    assume(len(rows) > 0)
    problem = tools.make_problem(
        z0[rows],
        tools.linear_scores(weight, bias),
        lower=lower[rows],
        upper=upper[rows],
        beta=0.2,
        floor=0.0,
    )
    pool = improve_by_gradient(problem, pool_of(problem, corner[rows]), LONG)
    tools.check_answers(problem, pool)
    for k, i in enumerate(rows):
        s = support[i]
        rest = float(z0[i, ~s] @ weight[~s]) + bias
        best, _ = tools.nearest_valid(z0[i, s], weight[s], rest, lower[i, s], upper[i, s])
        np.testing.assert_allclose(pool.z[k, 0].numpy()[s], best, atol=2e-3)
        moved = (abs(best - z0[i, s]) > 1e-6).sum()
        price = ((best - z0[i, s]) ** 2).sum() + 0.2 * moved
        # Numbers that a full-length corner moves in vain may return to the factual.
        assert float(pool.best[k]) <= price + 0.2 * (s.sum() - moved) + 2e-3
        np.testing.assert_array_equal(pool.z[k, 0].numpy()[~s], z0[i, ~s])


@pytest.mark.parametrize("curved", [False, True])
def test_kde_agrees_with_a_dense_grid(tools, curved):
    """Two free numbers, one that stays: the best point of a fine grid is no better."""
    rng = np.random.default_rng(4)
    density = GaussianKDE(0.4).fit(rng.normal(0.5, 1, (60, 3)))
    scores = tools.curved_scores(rng, 3) if curved else tools.linear_scores([1.0, 0.7, 0.2], -1.2)
    factual = rng.normal(-0.7, 0.5, (6, 3))
    problem = tools.make_problem(
        factual, scores, lower=-2.5, upper=2.5, beta=0.2, density=density, weight=0.3, floor=1e-6
    )

    def grid(points):
        x, y = np.meshgrid(np.linspace(-2.5, 2.5, points), np.linspace(-2.5, 2.5, points))
        flat = torch.from_numpy(np.column_stack([x.ravel(), y.ravel()]))
        z = problem.domain.factual[:, None].repeat(1, len(flat), 1)
        z[..., :2] = flat
        margin = problem.margin(z)
        cost = problem.sparse_distance(z) - problem.plausibility(z)
        cost = torch.where(margin >= problem.floor, cost, torch.inf)
        least, position = cost.min(1)
        return z[torch.arange(6), position], least

    start, _ = grid(16)
    _, best = grid(251)
    pool = improve_by_gradient(problem, pool_of(problem, start), LONG)
    tools.check_answers(problem, pool)
    assert bool((pool.best <= best + 5e-3).all())
    torch.testing.assert_close(pool.z[:, 0, 2], problem.domain.factual[:, 2])


def test_lattices_are_kept_at_little_cost(tools):
    """By the best of all points of the first two lattices, the third number making up the sum."""
    rng = np.random.default_rng(3)
    problem = tools.make_problem(
        np.zeros((4, 3)),
        tools.linear_scores([1.0, 1.0, 1.0], -1.0),
        step=[0.5, 0.01, 0.0],
        floor=1e-6,
    )
    start = np.column_stack([np.full(4, 0.5), 0.01 * rng.integers(80, 120, 4), rng.random(4)])
    pool = improve_by_gradient(problem, pool_of(problem, start), LONG)
    tools.check_answers(problem, pool)
    z = pool.z[:, 0].numpy()
    for column, step in ((0, 0.5), (1, 0.01)):
        np.testing.assert_allclose(z[:, column] / step, (z[:, column] / step).round(), atol=1e-9)
    first, second = np.meshgrid([0.5, 1.0], 0.01 * np.arange(1, 101))
    best = (first**2 + second**2 + (1 - first - second) ** 2).min()
    assert ((z**2).sum(axis=1) <= 1.05 * best).all()


def test_settling_never_loses(tools):
    rng = np.random.default_rng(9)
    scores = tools.curved_scores(rng, 4)
    density = GaussianKDE(0.5).fit(rng.normal(size=(40, 4)))
    problem = tools.make_problem(
        rng.normal(size=(40, 4)), scores, lower=-3, upper=3, density=density, weight=0.2
    )
    z = rng.uniform(-3, 3, (40, 30, 4))
    z = np.where(rng.random((40, 30, 4)) < 0.5, z, problem.domain.factual.numpy()[:, None])
    z = torch.from_numpy(z)
    valid = problem.margin(z) >= problem.floor
    cost = problem.sparse_distance(z) - problem.plausibility(z)
    start = Pool.empty(problem, 5).merged(problem, z, torch.where(valid, cost, torch.inf))
    for length in (0, 1, 25):
        pool = improve_by_gradient(problem, start, GradientSettings(settling=length))
        tools.check_answers(problem, pool)
        assert bool((pool.cost <= start.cost + 1e-12).all())
    assert float((start.best - pool.best)[start.best < torch.inf].mean()) > 0.1
