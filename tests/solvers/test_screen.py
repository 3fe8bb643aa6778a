"""The screen against all single moves and all pairs of moves."""

import numpy as np
import pytest
import torch

from scfe_sklearn.densities import GaussianKDE
from scfe_sklearn.solvers.problem.moves import Moves
from scfe_sklearn.solvers.problem.pool import pattern_key
from scfe_sklearn.solvers.starts import screening
from scfe_sklearn.solvers.starts.screening import ScreenSettings, screen

WIDE = ScreenSettings(width=2000, parents=2000, evaluations=5000, shortlist=5000, pool=30)


def best_of_moves(tools, problem, mixed):
    """Cheapest answer that changes at most two features, listed without the table of moves."""
    cost = tools.exhaustive(problem, mixed.points)
    count = tools.admissible(problem, mixed.points)[1]
    return np.where(count <= 2, cost, np.inf).min(1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [1, 2])
def test_wide_screen_of_a_linear_model_is_exhaustive(tools, seed, budget):
    rng = np.random.default_rng(seed)
    scores = tools.mixed.linear(tools, rng)
    problem = tools.mixed.problem(rng, 25, scores, budget=budget)
    pool = screen(problem, WIDE)
    tools.check_answers(problem, pool)
    best = best_of_moves(tools, problem, tools.mixed)
    assert np.isfinite(best).any()
    np.testing.assert_allclose(pool.best, best, rtol=1e-9)


def test_wide_screen_with_density_is_exhaustive(tools):
    """With enough evaluations every pair is tried, whatever the model and the density."""
    rng = np.random.default_rng(7)
    mixed = tools.mixed
    density = GaussianKDE(0.7).fit(mixed.points[::5])
    options = {"density": density, "weight": 0.5, "beta": 0.1, "budget": 2}
    ceiling = float(density.score_samples(mixed.points).max())
    problem = mixed.problem(rng, 12, tools.curved_scores(rng, 6), ceiling=ceiling, **options)
    wide = ScreenSettings(width=2000, parents=2000, evaluations=5000, shortlist=5000)
    pool = screen(problem, wide)
    tools.check_answers(problem, pool)
    np.testing.assert_allclose(pool.best, best_of_moves(tools, problem, mixed), rtol=1e-6)


@pytest.mark.parametrize("settings", [ScreenSettings(), ScreenSettings(width=3, evaluations=8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_points_are_answers_made_of_permitted_moves(tools, settings, seed):
    rng = np.random.default_rng(seed)
    budget = rng.integers(0, 5, 30)
    problem = tools.mixed.problem(rng, 30, tools.curved_scores(rng, 6), budget=budget, beta=0.05)
    pool = screen(problem, settings)
    tools.check_answers(problem, pool)
    moves, domain = problem.moves, problem.domain
    permitted = moves.permitted(domain)
    found = pool.cost < torch.inf
    assert bool(found.any())
    for i, p in found.nonzero().tolist():
        z = pool.z[i, p]
        changed = domain.changed(pool.z)[i, p]
        assert 1 <= int(changed.sum()) <= budget[i]
        for feature in changed.nonzero()[:, 0].tolist():
            own = moves.group == feature
            hits = own & permitted[i] & ((z[moves.coordinate] - moves.value).abs() < 1e-12)
            assert bool(hits.any())
    assert bool((pool.best[torch.from_numpy(budget) == 0] == torch.inf).all())


def test_points_of_a_pool_differ_in_what_they_change(tools):
    rng = np.random.default_rng(2)
    problem = tools.mixed.problem(rng, 20, tools.curved_scores(rng, 6), beta=0.01)
    pool = screen(problem, ScreenSettings())
    keys = pattern_key(problem.domain, pool.z)
    for i in range(20):
        there = keys[i][pool.cost[i] < torch.inf]
        assert len(there.unique()) == len(there)


def test_nothing_to_try(tools):
    scores = tools.linear_scores(np.ones(2), -1.0)
    problem = tools.make_problem(np.zeros((3, 2)), scores, allowed=False, samples=np.ones((4, 2)))
    assert bool((screen(problem, ScreenSettings()).cost == torch.inf).all())
    assert screen(problem.take(torch.arange(0)), ScreenSettings()).z.shape == (
        0,
        ScreenSettings().pool,
        2,
    )
    none = Moves.from_values(
        torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.float64), torch.arange(2)
    )
    assert len(none) == 0


@pytest.mark.parametrize("seed", range(4))
def test_rise_respects_levels_lattices_and_budgets(tools, monkeypatch, seed):
    """Additive over features: the best single moves add up to the best point of the moves."""
    monkeypatch.setattr(screening, "too_wide", lambda problem: True)
    rng = np.random.default_rng(seed)
    mixed, budget = tools.mixed, int(rng.integers(2, 5))
    problem = mixed.problem(rng, 40, mixed.linear(tools, rng), budget=budget)
    pool = screen(problem, ScreenSettings())
    tools.check_answers(problem, pool)
    moves, factual = problem.moves, problem.domain.factual[:, None]
    margin = problem.margin(moves.apply(factual, torch.arange(len(moves)).expand(40, -1)))
    gain = margin - problem.margin(factual)
    gain = torch.where(moves.permitted(problem.domain), gain, 0.0).clamp_min(0)
    best = torch.zeros(40, problem.domain.n_features, dtype=gain.dtype)
    best = best.scatter_reduce(1, moves.group.expand_as(gain), gain, "amax")
    most = best.topk(min(budget, best.shape[1]), dim=1).values.sum(1)
    highest = problem.margin(factual)[:, 0] + most
    clear = (highest - problem.floor).abs() > 1e-9
    assert torch.equal((pool.best < torch.inf)[clear], (highest >= problem.floor)[clear])
    for i in range(0, 40, 9):
        alone = screen(problem.take(torch.tensor([i])), ScreenSettings())
        torch.testing.assert_close(alone.cost[0], pool.cost[i])
