"""Where changed numbers end: lists of all lattice points, and the thresholds of real trees."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeClassifier

from scfe_sklearn.densities import GaussianKDE
from scfe_sklearn.solvers.problem.pool import Pool
from scfe_sklearn.solvers.refinement.narrowing import NarrowSettings, narrow


def stairs(thresholds, levels, column=0):
    """Scores of a step function of one number, and a counter of the points asked about."""
    edges = torch.as_tensor(np.sort(thresholds), dtype=torch.float64)
    levels = torch.as_tensor(levels, dtype=torch.float64)
    asked = []

    def scores(z):
        asked.append(len(z))
        margin = levels[torch.searchsorted(edges, z[:, column].contiguous(), right=True)]
        return torch.stack([-margin / 2, margin / 2], 1)

    return scores, asked


def pool_of(problem, z):
    z = torch.as_tensor(z, dtype=torch.float64)[:, None]
    return Pool.empty(problem, 2).merged(
        problem, z, problem.sparse_distance(z) - problem.plausibility(z)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_numbers_end_on_the_last_valid_lattice_point(tools, seed):
    """One step of the model: the answer is the first lattice point beyond it, up or down."""
    rng = np.random.default_rng(seed)
    step, size = float(rng.choice([1.0, 0.013, 37.0])), int(rng.integers(2, 4000))
    sign = rng.choice([-1.0, 1.0])
    threshold = step * rng.uniform(0.01, size)
    scores, asked = stairs([sign * threshold], [-1.0, 1.0] if sign > 0 else [1.0, -1.0])
    start = sign * step * np.arange(np.floor(threshold / step) + 1, size + 3)[:: max(1, size // 5)]
    n = len(start)
    problem = tools.make_problem(
        np.zeros((n, 1)), scores, lower=-1e9, upper=1e9, step=[step], has_gradient=False
    )
    got = narrow(problem, pool_of(problem, start[:, None]), NarrowSettings(), 1)
    nearest = sign * step * (np.floor(threshold / step) + 1)
    np.testing.assert_allclose(got.z[:, 0, 0], nearest, rtol=1e-9)
    # About six questions for every seventh part: not one for every lattice point.
    assert sum(asked) <= n * (14 + 8 * np.log(size + 1) / np.log(5))


@pytest.mark.parametrize("seed", range(4))
def test_continuous_numbers_end_beside_the_threshold_of_a_tree(tools, seed):
    """As near as a millionth of the change, and on the side where the tree says yes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 1)) * 10.0 ** rng.integers(0, 4)
    tree = DecisionTreeClassifier(max_depth=1).fit(X, X[:, 0] > np.median(X))
    threshold = float(tree.tree_.threshold[0])

    def scores(z):
        return torch.from_numpy(tree.predict_proba(z.numpy()))

    factual = X[~tree.predict(X)]
    problem = tools.make_problem(factual, scores, lower=-1e9, upper=1e9, has_gradient=False)
    start = np.full_like(factual, X.max())
    got = narrow(problem, pool_of(problem, start), NarrowSettings(), 1).z[:, 0].numpy()
    assert tree.predict(got).all()
    assert ((got - threshold) <= 2e-6 * abs(start - factual) + 1e-9).all()


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_no_step_back_is_better(tools, density, seed):
    """Several numbers and a level, a curved model: answers are valid, on the lattice, settled."""
    rng = np.random.default_rng(seed)
    mixed, options = tools.mixed, {"beta": 0.2, "has_gradient": False}
    if density:
        kde = GaussianKDE(0.7).fit(mixed.points[::4])
        ceiling = float(kde.score_samples(mixed.points).max())
        options.update(density=kde, weight=0.4, ceiling=ceiling)
    problem = mixed.problem(rng, 20, tools.curved_scores(rng, 6), **options)
    cost, points = tools.exhaustive(problem, mixed.points), mixed.points
    drawn = np.stack([rng.permutation(len(points))[:40] for _ in range(20)])
    start = Pool.empty(problem, 4).merged(
        problem,
        torch.from_numpy(points[drawn]),
        torch.from_numpy(np.take_along_axis(cost, drawn, 1)),
    )
    got = narrow(problem, start, NarrowSettings(), 4)
    tools.check_answers(problem, got)
    assert bool((got.best <= start.best + 1e-12).all())
    assert bool((got.best < start.best - 1e-6).any())
    factual = problem.domain.factual.numpy()
    for i in np.flatnonzero(np.isfinite(got.best.numpy())):
        z = got.z[i, 0].numpy()
        gap = abs(points - z)
        assert gap.max(1).min() < 1e-9
        for j in range(3):
            way = z[j] - factual[i, j]
            if abs(way) < 1.5 * mixed.step[j]:
                continue
            beside = np.delete(gap, j, 1).max(1) < 1e-9
            beside &= abs(points[:, j] - (z[j] - np.sign(way) * mixed.step[j])) < 1e-9
            assert cost[i, beside].min(initial=np.inf) >= float(got.best[i]) - 1e-7


def test_the_best_of_several_valid_stretches(tools):
    """Valid between 2 and 3 and beyond 6: the first round sees both from the start at 9."""
    scores, _ = stairs([2.0, 3.0, 6.0], [-1.0, 1.0, -1.0, 1.0])
    problem = tools.make_problem(
        np.zeros((1, 1)), scores, lower=-99, upper=99, step=[0.125], has_gradient=False
    )
    got = narrow(problem, pool_of(problem, [[9.0]]), NarrowSettings(), 1)
    np.testing.assert_allclose(got.z[0, 0], 2.0)


def test_useless_changes_are_undone_and_the_rest_goes_on(tools):
    """The second number looks useful only as long as the first is beyond what is needed."""

    def scores(z):  # valid beyond 1 if the second number stays, else beyond 2
        margin = z[:, 0] - 1 - 2 * (z[:, 1].abs() > 0.1)
        return torch.stack([-margin / 2, margin / 2], 1)

    problem = tools.make_problem(
        np.zeros((1, 2)), scores, lower=-9, upper=9, step=[0.25, 0.5], beta=0.2, has_gradient=False
    )
    got = narrow(problem, pool_of(problem, [[3.5, 0.5]]), NarrowSettings(), 1)
    tools.check_answers(problem, got)
    np.testing.assert_allclose(got.z[0, 0], [1.25, 0.0])


def test_intervals_hold_and_hopeless_points_are_given_up(tools):
    scores, asked = stairs([1.0], [-1.0, 1.0])
    problem = tools.make_problem(
        np.zeros((1, 1)), scores, lower=2.0, upper=8.0, step=[0.5], has_gradient=False
    )
    got = narrow(problem, pool_of(problem, [[7.0]]), NarrowSettings(), 1)
    np.testing.assert_allclose(got.z[0, 0], 2.0)
    # A point that costs more than its row's best, even without any distance, is left alone.
    scores, asked = stairs([1.0], [-1.0, 1.0])
    problem = tools.make_problem(
        np.zeros((1, 2)), scores, lower=-9, upper=9, step=[0.5, 0.5], beta=1.0, has_gradient=False
    )
    z = torch.tensor([[[1.0, 0.0], [7.0, 0.5]]], dtype=torch.float64)
    pool = Pool.empty(problem, 2).merged(problem, z, torch.tensor([[2.0, 99.0]]).double())
    asked.clear()
    narrow(problem, Pool(pool.z[:, 1:], pool.cost[:, 1:]), NarrowSettings(), 1)
    alone = sum(asked)
    asked.clear()
    narrow(problem, pool, NarrowSettings(), 2)
    assert alone > 0
    assert sum(asked) < 2 * alone


def test_rows_without_an_answer_stay_without(tools):
    scores, _ = stairs([1.0], [-1.0, 1.0])
    problem = tools.make_problem(np.zeros((2, 2)), scores, has_gradient=False)
    pool = narrow(problem, Pool.empty(problem, 2), NarrowSettings(), 2)
    assert bool((pool.cost == torch.inf).all())
