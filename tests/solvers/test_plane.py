"""Planes of two numbers: their grids, their predictions and the answers that these lead to."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.densities import GaussianKDE, LocalOutlierDensity
from scfe_sklearn.solvers.descent import GradientSettings
from scfe_sklearn.solvers.gradient_solver import solve_by_gradient
from scfe_sklearn.solvers.planes import PlaneSettings, predict_pairs
from scfe_sklearn.solvers.planes.grid import grid_values


def network(rng, samples, width=8):
    """Scores of a random network with kinks that accepts a third of the samples."""
    first = torch.from_numpy(rng.normal(size=(samples.shape[1], width)))
    shift = torch.from_numpy(rng.normal(size=width))
    last = torch.from_numpy(rng.normal(size=width))

    def raw(z):
        return (z @ first + shift).relu() @ last

    border = raw(torch.from_numpy(samples)).quantile(2 / 3)

    def scores(z):
        margin = raw(z) - border
        return torch.stack([-margin / 2, margin / 2], 1)

    return scores


def world(tools, rng, n=6, D=4, weight=0.3, **options):
    """Rows of numbers that a network refuses, a density of those that it accepts."""
    samples = rng.normal(size=(300, D))
    scores = network(rng, samples)
    accepted = scores(torch.from_numpy(samples)).numpy()[:, 1] > 0
    good, bad = samples[accepted], samples[~accepted]
    density = GaussianKDE(0.6).fit(good) if weight else None
    lower, upper = np.full((n, D), -3.5), np.full((n, D), 3.5)
    problem = tools.make_problem(
        bad[:n],
        scores,
        samples=good,
        lower=lower,
        upper=upper,
        density=density,
        weight=weight,
        **{"budget": 2, "beta": 0.0, **options},
    )
    return problem, torch.from_numpy(good)


def best_of_pairs(problem, row, grid=81, zooms=16):
    """Cheapest answer of a row with two changes, on zooming grids in every plane."""
    part = problem.take(torch.tensor([row]))
    factual, best = part.domain.factual[0], np.inf
    ticks = torch.linspace(-1, 1, grid, dtype=torch.float64)
    for i, j in combinations(range(len(factual)), 2):
        lower, upper = part.domain.lower[0], part.domain.upper[0]
        centres, half = torch.zeros(1, 2, dtype=torch.float64), torch.full((2,), 3.5).double()
        for zoom in range(zooms):
            if zoom == 1:
                ticks_here, half = ticks[::8], half * 2 / (grid - 1) * 1.5
            ticks_here = ticks if zoom == 0 else ticks[::8]
            shift = torch.cartesian_prod(ticks_here, ticks_here) * half
            at = (centres[:, None] + shift).flatten(0, 1)
            z = factual.repeat(len(at), 1)
            z[:, i] = at[:, 0].clamp(lower[i], upper[i])
            z[:, j] = at[:, 1].clamp(lower[j], upper[j])
            cost = part.sparse_distance(z[None]) - part.plausibility(z[None])
            cost = torch.where(part.margin(z[None]) >= part.floor, cost, torch.inf)[0]
            least = cost.topk(min(6, len(cost)), largest=False)
            if not bool((least.values < torch.inf).any()):
                break
            best = min(best, float(least.values[0]))
            centres = z[least.indices][:, [i, j]]
            half = half * (1 if zoom == 0 else 0.6)
    return best


def predicted(problem, anchors, **options):
    kinds = [(torch.arange(len(problem)), anchors, problem.moves)]
    return predict_pairs(problem, kinds, PlaneSettings(**options))


def solve(problem, anchors):
    kinds = [(torch.arange(len(problem)), anchors, problem.moves)]
    return solve_by_gradient(problem, kinds, GradientSettings())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_answers_are_near_the_best_of_all_pairs(tools, seed, weight):
    problem, anchors = world(tools, np.random.default_rng(seed), weight=weight)
    pool = solve(problem, anchors)
    tools.check_answers(problem, pool)
    assert bool((problem.domain.changed(pool.z).sum(-1) <= 2).all())
    for row in range(len(problem)):
        best = best_of_pairs(problem, row)
        assert float(pool.best[row]) <= best + 0.01 * max(1.0, abs(best))


def test_linear_models_without_density_have_a_closed_form(tools):
    """The nearest valid point of every pair by bisection: found but for a row in a hundred."""
    ratios = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        D = 3 + seed % 4
        z0, weight = rng.normal(size=(5, D)), rng.normal(size=D)
        bias = -float((z0 @ weight).max()) - 0.5 - rng.random()
        lower, upper = z0 - 4 * rng.random((5, D)), z0 + 4 * rng.random((5, D))
        problem = tools.make_problem(
            z0,
            tools.linear_scores(weight, bias),
            lower=lower,
            upper=upper,
            samples=rng.normal(0, 2, size=(60, D)),
            beta=0.0,
            budget=2,
            floor=0.0,
        )
        anchors = torch.from_numpy(rng.normal(0, 2, size=(60, D)))
        pool = solve(problem, anchors)
        tools.check_answers(problem, pool)
        for i in range(5):
            best = np.inf
            for pair in combinations(range(D), 2):
                own = list(pair)
                rest = float(np.delete(z0[i], own) @ np.delete(weight, own)) + bias
                corner = np.where(weight[own] > 0, upper[i, own], lower[i, own])
                if corner @ weight[own] + rest > 1e-6:
                    z, _ = tools.nearest_valid(
                        z0[i, own], weight[own], rest, lower[i, own], upper[i, own]
                    )
                    best = min(best, float(((z - z0[i, own]) ** 2).sum()))
            assert (float(pool.best[i]) < np.inf) == (best < np.inf)
            if best < np.inf:
                ratios.append(float(pool.best[i]) / best)
    ratios = np.array(ratios)
    assert len(ratios) > 100
    assert (ratios > 1 - 1e-6).all()
    assert (ratios <= 1.001).mean() >= 0.99, np.sort(ratios)[-8:]


def test_corner_between_two_pieces_of_the_margin_is_found(tools):
    """min(x - 1, 1 + y - x / 2, ...): the nearest valid point is where the pieces meet."""

    def scores(z):
        margin = torch.minimum(z[:, 0] + 2 * z[:, 1] - 3, 2 * z[:, 0] + z[:, 1] - 3)
        return torch.stack([-margin, margin], 1)

    rng = np.random.default_rng(0)
    problem = tools.make_problem(
        np.zeros((1, 2)), scores, lower=-4.0, upper=4.0, beta=0.0, budget=2, floor=0.0
    )
    pool = solve(problem, torch.from_numpy(rng.normal(0, 2, (40, 2))))
    np.testing.assert_allclose(pool.z[0, 0], [1, 1], atol=1e-5)


def test_single_change_wins_where_a_change_has_a_price(tools):
    """The nearest point has two changes, the cheapest one."""
    scores = tools.linear_scores([1.0, 0.5, 0.1], -2.0)
    problem = tools.make_problem(
        np.zeros((1, 3)), scores, lower=-4.0, upper=4.0, beta=2.0, budget=2, floor=0.0
    )
    anchors = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (50, 3)))
    pool = solve(problem, anchors)
    np.testing.assert_allclose(pool.z[0, 0], [2, 0, 0], atol=1e-4)
    assert float(pool.best[0]) == pytest.approx(4 + 2, abs=1e-3)


def test_fine_lattices_are_kept(tools):
    lattice = {"step": np.full(4, 0.05), "offset": np.full(4, 0.01)}
    problem, anchors = world(tools, np.random.default_rng(1), **lattice)
    pool = solve(problem, anchors)
    assert bool((pool.best < torch.inf).any())
    tools.check_answers(problem, pool)
    moved = problem.domain.changed(pool.z)
    place = (pool.z - 0.01) / 0.05
    assert bool(((place - place.round()).abs() < 1e-6)[moved].all())


def test_a_row_is_answered_the_same_alone(tools):
    problem, anchors = world(tools, np.random.default_rng(1))
    whole = solve(problem, anchors)
    for row in range(len(problem)):
        part = problem.take(torch.tensor([row]))
        alone = solve_by_gradient(
            part, [(torch.arange(1), anchors, part.moves)], GradientSettings()
        )
        torch.testing.assert_close(alone.z[0, 0], whole.z[row, 0], rtol=1e-6, atol=1e-6)


def test_only_problems_of_two_numbers_are_predicted(tools):
    problem, anchors = world(tools, np.random.default_rng(1))
    assert predicted(problem, anchors) is not None
    assert predicted(problem, anchors, most=10) is None
    flat = replace(problem, objective=replace(problem.objective, has_gradient=False))
    assert predicted(flat, anchors) is None
    assert predicted(problem.take(torch.arange(0)), anchors) is None
    three = replace(problem, max_changes=problem.max_changes + 1)
    assert predicted(three, anchors) is None
    rng = np.random.default_rng(0)
    mixed = tools.mixed.problem(rng, 3, tools.curved_scores(rng, 6), budget=2)
    assert predicted(mixed, anchors) is None
    density = LocalOutlierDensity(5).fit(anchors.numpy())
    other, anchors = world(tools, np.random.default_rng(1))
    part = replace(other.objective.parts[0], density=density)
    other = replace(other, objective=replace(other.objective, parts=[part]))
    assert predicted(other, anchors) is None
    assert bool((solve(other, anchors).best < torch.inf).any())


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.integers(2, 9))
def test_grid_reaches_from_end_to_end_in_order(values, count):
    column = torch.tensor(values, dtype=torch.float64)
    grid, doubled = grid_values(torch.stack([column, column.flip(0)]), count)
    assert len(grid) == count
    torch.testing.assert_close(grid[0], column.min())
    torch.testing.assert_close(grid[-1], column.max())
    assert bool((grid.diff() >= -1e-9).all())
    torch.testing.assert_close(grid, doubled, rtol=0, atol=0)


@settings(deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=30), st.integers(2, 9))
def test_grid_interpolates_between_distinct_values(values, count):
    """By numpy, from the mean rank and the place of each distinct value."""
    grid = grid_values(torch.tensor([values], dtype=torch.float64), count)[0]
    distinct, times = np.unique(values, return_counts=True)
    if len(distinct) == 1:
        expected = np.full(count, distinct[0])
    else:
        rank = np.cumsum(times) - times / 2
        share = (
            np.interp(rank, rank[[0, -1]], [0, 1]) + np.interp(distinct, distinct[[0, -1]], [0, 1])
        ) / 2
        expected = np.interp(np.linspace(0, 1, count), share, distinct)
    np.testing.assert_allclose(grid, expected, atol=1e-9)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_predict_handles_rows_with_one_free_number(tools, count):
    rng = np.random.default_rng(count)
    problem, anchors = world(tools, rng, D=count)
    domain = problem.domain
    fixed = torch.arange(count) > 0
    domain = replace(
        domain,
        allowed=domain.allowed & ~fixed,
        lower=torch.where(fixed, domain.factual, domain.lower),
        upper=torch.where(fixed, domain.factual, domain.upper),
    )
    problem = replace(problem, domain=domain, beta=torch.full_like(problem.beta, 0.1))
    pool = solve(problem, anchors)
    found = pool.z[pool.cost < torch.inf]
    changed = (pool.z != domain.factual[:, None])[pool.cost < torch.inf]
    assert len(found) and not changed[:, 1:].any()
