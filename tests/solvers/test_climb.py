"""Greedy pushes against the corners of the boxes."""

from itertools import product

import numpy as np
import pytest
import torch

from scfe_sklearn.solvers.descent import GradientSettings
from scfe_sklearn.solvers.gradient_solver import solve_by_gradient
from scfe_sklearn.solvers.starts.climbing import climb


def boxes(rng, factual):
    """Narrow intervals, half of which exclude the factual: stay or jump in."""
    near = factual + rng.uniform(-1.5, 1.5, factual.shape)
    lower = np.where(rng.random(factual.shape) < 0.5, near, factual - rng.random(factual.shape))
    upper = np.maximum(lower, factual) + rng.random(factual.shape)
    return lower, upper


def largest_margins(weight, bias, factual, lower, upper, budget):
    """The largest margin of a linear model within boxes and budget: its largest pushes."""
    push = np.maximum(np.maximum(lower * weight, upper * weight), factual * weight)
    gain = np.sort(push - factual * weight, axis=1)[:, ::-1]
    return factual @ weight + bias + gain[:, :budget].sum(axis=1)


@pytest.mark.parametrize("budget", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_linear_models_are_answered_wherever_that_is_possible(tools, seed, budget):
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=5), -1.0
    factual = rng.normal(size=(60, 5))
    factual = factual[factual @ weight + bias < 0]
    lower, upper = boxes(rng, factual)
    problem = tools.make_problem(
        factual,
        tools.linear_scores(weight, bias),
        lower=lower,
        upper=upper,
        budget=budget,
        floor=1e-3,
    )
    best = largest_margins(weight, bias, factual, lower, upper, budget)
    pool = climb(problem, 3)
    tools.check_answers(problem, pool)
    answered = (pool.best < torch.inf).numpy()
    clear = abs(best - 1e-3) > 1e-9
    assert 0 < answered.sum() < len(answered)
    np.testing.assert_array_equal(answered[clear], best[clear] > 1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_monotone_models_are_answered_where_the_corner_is_valid(tools, seed):
    """Nonlinear, but increasing in every number: the upper corner has the largest margin."""
    rng = np.random.default_rng(seed)

    def scores(z):
        margin = torch.tanh(z[:, 0]) + z[:, 1] ** 3 / 9 + torch.exp(z[:, 2] / 2) - 2.2
        return torch.stack([-margin / 2, margin / 2], 1)

    factual = rng.normal(size=(60, 3))
    lower, upper = factual - 1, factual + rng.uniform(0, 2, factual.shape)
    upper[rng.random(factual.shape) < 0.2] = -9
    upper, lower = np.maximum(upper, factual), np.minimum(lower, factual)
    table = scores(torch.from_numpy(factual))
    refused = (table[:, 1] - table[:, 0] < 0).numpy()
    factual, lower, upper = factual[refused], lower[refused], upper[refused]
    problem = tools.make_problem(factual, scores, lower=lower, upper=upper)
    pool = climb(problem, 2)
    tools.check_answers(problem, pool)
    corner = problem.margin(torch.from_numpy(upper)[:, None])[:, 0] >= problem.floor
    assert int(corner.sum()) > 0
    assert torch.equal(pool.best < torch.inf, corner)


@pytest.mark.parametrize("seed", range(6))
def test_levels_lattices_and_immutables_are_respected(tools, seed):
    """Additive over features, so that the best single pushes add up to the best point."""
    rng = np.random.default_rng(seed)
    mixed = tools.mixed
    budget = int(rng.integers(1, 5))
    problem = mixed.problem(rng, 40, mixed.linear(tools, rng), budget=budget)
    pool = climb(problem, 3)
    tools.check_answers(problem, pool)
    ok, _ = tools.admissible(problem, mixed.points)
    scores = tools.scores_of(problem, torch.from_numpy(mixed.points))
    valid = ok & (scores[:, 1] - scores[:, 0] >= problem.floor).numpy()
    np.testing.assert_array_equal((pool.best < torch.inf).numpy(), valid.any(axis=1))


def test_open_intervals_are_no_goal(tools):
    """There is no way to an infinite end; nothing breaks."""
    problem = tools.make_problem(
        np.zeros((2, 2)),
        tools.linear_scores([1.0, 1.0], -1.0),
        lower=-3,
        upper=[[np.inf, np.inf], [2, 0]],
    )
    pool = climb(problem, 2)
    tools.check_answers(problem, pool)
    assert (pool.best < torch.inf).tolist() == [False, True]


def test_three_large_moves_within_tight_boxes(tools):
    """No training value lies in the boxes, and all three numbers have to move."""
    weight, bias = np.array([1.0, -0.6, 0.3]), -2.5
    corners = np.array(list(product([-1.0, 1.0], repeat=3)))
    factual = 0.3 * corners
    end = np.array([1.9, -1.2, 1.1])
    lower = np.minimum(end, end - 0.01 * np.sign(weight))
    upper = np.maximum(end, end - 0.01 * np.sign(weight))
    samples = np.random.default_rng(0).integers(-3, 4, (200, 3)) * 1.0
    problem = tools.make_problem(
        factual, tools.linear_scores(weight, bias), samples=samples, lower=lower, upper=upper
    )
    anchors = torch.from_numpy(samples[samples @ weight + bias > 0])
    kinds = [(torch.arange(len(problem)), anchors, problem.moves)]
    pool = solve_by_gradient(problem, kinds, GradientSettings())
    tools.check_answers(problem, pool)
    assert bool((pool.best < torch.inf).all())
