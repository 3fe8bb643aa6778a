"""All steps together against lists of all points."""

import numpy as np
import pytest
import torch

from scfe_sklearn.densities import GaussianKDE, LocalOutlierDensity
from scfe_sklearn.solvers.descent import GradientSettings
from scfe_sklearn.solvers.gradient_solver import solve_by_gradient
from scfe_sklearn.solvers.search_solver import SearchSettings, solve_by_search


def solve(problem, anchors, settings=None):
    """Answers by the gradient or, without one, by the search."""
    kinds = [(torch.arange(len(problem)), anchors, problem.moves)]
    if problem.objective.has_gradient:
        return solve_by_gradient(problem, kinds, settings or GradientSettings())
    return solve_by_search(problem, kinds, SearchSettings())


def target_rows(tools, problem, points):
    z = torch.from_numpy(points)
    scores = tools.scores_of(problem, z)
    others = torch.cat([scores[:, :1], scores[:, 2:]], 1).amax(1)
    return z[scores[:, 1] - others >= problem.floor]


def mixed_problem(tools, rng, n, density=None, **options):
    """A random curved model of three classes over the listed points, with random rules."""
    mixed = tools.mixed
    if density is not None:
        weight = 0.3 if isinstance(density, GaussianKDE) else 1.0
        # Noise: which of several neighbours at the same distance count is a matter of rounding.
        rows = mixed.points[rng.permutation(len(mixed.points))[:120]]
        density.fit(rows + rng.normal(0, 0.05, rows.shape))
        ceiling = float(np.quantile(density.training_log_prob(density.samples_), 0.95))
        options.update(density=density, weight=weight, ceiling=ceiling)
    return mixed.problem(rng, n, tools.curved_scores(rng, 6), **options)


@pytest.mark.parametrize("density", [None, GaussianKDE(0.7), LocalOutlierDensity(10)])
@pytest.mark.parametrize("budget", [None, 2])
def test_answers_are_close_to_the_best_of_all_points(tools, density, budget):
    rng = np.random.default_rng(11)
    gaps, wanted, found = [], 0, 0
    for has_gradient in (True, False, True, False):
        problem = mixed_problem(
            tools, rng, 30, density, budget=budget, beta=0.2, has_gradient=has_gradient
        )
        pool = solve(problem, target_rows(tools, problem, tools.mixed.points))
        tools.check_answers(problem, pool)
        cost = tools.exhaustive(problem, tools.mixed.points)
        best, worst = cost.min(1), np.where(np.isfinite(cost), cost, -np.inf).max(1)
        there = np.isfinite(best)
        got = pool.best.numpy()
        assert not np.isfinite(got[~there]).any()
        wanted += there.sum()
        found += np.isfinite(got[there]).sum()
        # Relative to the spread of the costs of all answers of the row.
        spread = np.maximum(worst - best, 0.1)[there]
        gaps.append((np.where(np.isfinite(got[there]), got[there], np.inf) - best[there]) / spread)
    gaps = np.concatenate(gaps)
    assert wanted > 60
    assert (gaps > -1e-6).all()
    assert found >= 0.98 * wanted
    assert (gaps <= 0.01).mean() >= 0.93


@pytest.mark.parametrize("has_gradient", [False, True])
@pytest.mark.parametrize("density", [GaussianKDE(0.7), LocalOutlierDensity(10)])
def test_a_row_does_not_see_its_batch(tools, density, has_gradient):
    rng = np.random.default_rng(3)
    problem = mixed_problem(tools, rng, 10, density, beta=0.2, has_gradient=has_gradient)
    anchors = target_rows(tools, problem, tools.mixed.points)
    pool = solve(problem, anchors)
    for i in range(10):
        alone = solve(problem.take(torch.tensor([i])), anchors)
        torch.testing.assert_close(pool.cost[i], alone.cost[0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(pool.z[i], alone.z[0], rtol=1e-9, atol=1e-9)


def test_order_of_rows_does_not_matter_for_continuous_features(tools):
    rng = np.random.default_rng(5)
    samples = rng.normal(size=(80, 4))
    density = GaussianKDE(0.5).fit(samples)
    scores = tools.curved_scores(rng, 4)
    problem = tools.make_problem(
        rng.normal(size=(10, 4)),
        scores,
        samples=samples,
        lower=-3,
        upper=3,
        density=density,
        weight=0.3,
    )
    anchors = target_rows(tools, problem, samples)
    order = torch.from_numpy(rng.permutation(10))
    one = solve(problem, anchors)
    two = solve(problem.take(order), anchors)
    torch.testing.assert_close(one.best[order], two.best, rtol=1e-6, atol=1e-6)
    tools.check_answers(problem, one)


def test_linear_model_is_answered_in_closed_form(tools):
    """Continuous features, no density: the best support and the projection in it."""
    rng = np.random.default_rng(0)
    n, D, beta = 15, 3, 0.3
    weight, bias = np.array([1.0, -0.6, 0.3]), -2.5
    factual, samples = rng.normal(0, 0.6, (n, D)), rng.normal(0, 1.2, (300, D))
    lower, upper = factual - rng.uniform(1, 4, (n, D)), factual + rng.uniform(1, 4, (n, D))
    problem = tools.make_problem(
        factual,
        tools.linear_scores(weight, bias),
        samples=samples,
        lower=lower,
        upper=upper,
        beta=beta,
    )
    pool = solve(problem, target_rows_linear(samples, weight, bias))
    tools.check_answers(problem, pool)
    answered = close = 0
    for i in range(n):
        best = np.inf
        for bits in range(1, 2**D):
            s = np.array([bits >> j & 1 for j in range(D)], dtype=bool)
            corner = np.where(s, np.where(weight > 0, upper[i], lower[i]), factual[i])
            if corner @ weight + bias <= 1e-6:
                continue
            rest = float(factual[i, ~s] @ weight[~s]) + bias
            z, _ = tools.nearest_valid(factual[i, s], weight[s], rest, lower[i, s], upper[i, s])
            best = min(best, ((z - factual[i, s]) ** 2).sum() + beta * s.sum())
        if np.isfinite(best):
            close += float(pool.best[i]) <= best * 1.02 + 1e-3
            answered += 1
            assert float(pool.best[i]) >= best - 1e-6
        else:
            assert float(pool.best[i]) == np.inf
    assert answered >= 5
    assert close >= 0.85 * answered


def target_rows_linear(samples, weight, bias):
    return torch.from_numpy(samples[samples @ weight + bias > 0])


def test_thorough_settings_are_no_worse_on_average(tools):
    rng = np.random.default_rng(8)
    problem = mixed_problem(tools, rng, 25, GaussianKDE(0.7), beta=0.2)
    anchors = target_rows(tools, problem, tools.mixed.points)
    little, much = solve(problem, anchors), solve(problem, anchors, GradientSettings.of("thorough"))
    both = (little.best < torch.inf) & (much.best < torch.inf)
    assert bool(both.any())
    assert bool((much.best[little.best < torch.inf] < torch.inf).all())
    assert float((much.best - little.best)[both].mean()) <= 1e-9


def test_no_rows(tools):
    rng = np.random.default_rng(0)
    problem = mixed_problem(tools, rng, 3).take(torch.arange(0))
    pool = solve(problem, torch.from_numpy(tools.mixed.points[:5]))
    assert pool.z.shape == (0, GradientSettings().pool, 6)
