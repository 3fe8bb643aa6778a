"""Wide rows: budgets and prices, against closed forms and enumeration over supports."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from scfe_sklearn.densities import GaussianKDE
from scfe_sklearn.solvers.starts.reach import ReachSettings, _ends, _exchanged, reach
from scfe_sklearn.solvers.starts.wide import (
    StrideSettings,
    WideSettings,
    descend_wide,
    feature_sets,
    too_wide,
)

SETTINGS = WideSettings()


def solve(problem, anchors=None, settings=SETTINGS, size=2):
    anchors = problem.domain.factual[:0] if anchors is None else anchors
    return descend_wide(problem, anchors, settings, size)


def by_enumeration(tools, z0, weight, bias, lower, upper, beta, budget):
    """Least cost of a valid point of a box with a linear margin, over all supports."""
    least = np.inf
    for count in range(1, budget + 1):
        for support in combinations(range(len(z0)), count):
            own = np.zeros(len(z0), dtype=bool)
            own[list(support)] = True
            low, high = np.where(own, lower, z0), np.where(own, upper, z0)
            if np.where(weight > 0, high, low) @ weight + bias < 0:
                continue
            z, _ = tools.nearest_valid(z0, weight, bias, low, high)
            least = min(least, ((z - z0) ** 2).sum() + beta * count)
    return least


@pytest.mark.parametrize("budget", [1, 3, 25])
def test_unbounded_linear_margin_in_closed_form(tools, budget):
    """The steepest coordinates share the way, each in proportion to its weight."""
    rng = np.random.default_rng(budget)
    D = 300
    weight = rng.normal(size=D)
    z0 = rng.normal(size=(6, D))
    bias = -(z0 @ weight).max() - 4.0
    problem = tools.make_problem(z0, tools.linear_scores(weight, bias), beta=0.0, budget=budget)
    pool = solve(problem)
    tools.check_answers(problem, pool)
    top = np.argsort(-abs(weight))[:budget]
    steep = (weight[top] ** 2).sum()
    short = -(z0 @ weight + bias)
    assert ((pool.z[:, 0].numpy() != z0)[:, top]).all()
    # Valid beyond the floor by the overshoot of the last strides, and no further.
    expected = short**2 / steep
    assert (pool.best.numpy() >= expected * (1 - 1e-6)).all()
    assert (pool.best.numpy() <= expected * 1.04).all()


@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_box_against_enumeration_of_supports(tools, beta):
    rng = np.random.default_rng(1)
    D, n, budget = 8, 12, 3
    weight, z0 = rng.normal(size=D), rng.normal(0, 0.5, (n, D))
    lower, upper = np.full(D, -1.0), np.full(D, 1.5)
    z0 = z0.clip(lower, upper)
    reachable = np.sort(np.where(weight > 0, upper - z0, lower - z0) * weight)[:, -budget:].sum(1)
    bias = -(z0 @ weight) - 0.7 * reachable
    for i in range(n):
        problem = tools.make_problem(
            z0[i : i + 1],
            tools.linear_scores(weight, bias[i]),
            lower=lower,
            upper=upper,
            beta=beta,
            budget=budget,
        )
        pool = solve(problem)
        tools.check_answers(problem, pool)
        least = by_enumeration(tools, z0[i], weight, bias[i], lower, upper, beta, budget)
        assert least * (1 - 1e-9) <= float(pool.best[0]) <= 1.06 * least


def test_every_row_that_the_budget_allows_is_answered(tools):
    """Rows for which all of the best numbers have to go to their bounds, and rows beyond."""
    rng = np.random.default_rng(2)
    D, budget = 200, 10
    weight = rng.normal(size=D)
    z0 = np.zeros((8, D))
    best = np.sort(abs(weight))[-budget:].sum()
    share = np.array([0.5, 0.8, 0.95, 0.999, 1.001, 1.05, 2.0, 0.1])
    for part in range(8):
        scores = tools.linear_scores(weight, -share[part] * best)
        problem = tools.make_problem(
            z0[part : part + 1], scores, lower=-1.0, upper=1.0, beta=0.0, budget=budget
        )
        pool = solve(problem)
        tools.check_answers(problem, pool)
        assert bool(torch.isfinite(pool.best).all()) == (share[part] < 1)


def test_penalty_form_buys_what_pays(tools):
    """Without a budget, the number of changes is that of the least total cost."""
    rng = np.random.default_rng(3)
    D, beta = 300, 0.5
    weight, z0 = rng.normal(size=D), rng.normal(size=(5, D))
    bias = -(z0 @ weight).max() - 3.0
    problem = tools.make_problem(z0, tools.linear_scores(weight, bias), beta=beta)
    pool = solve(problem)
    tools.check_answers(problem, pool)
    steep = np.cumsum(np.sort(weight**2)[::-1])
    short = -(z0 @ weight + bias)
    least = (short[:, None] ** 2 / steep + beta * np.arange(1, D + 1)).min(1)
    assert (pool.best.numpy() >= least * (1 - 1e-6)).all()
    # Changes whose number a price decides are found to within about one change.
    assert (pool.best.numpy() <= 1.03 * least + beta).all()


def test_budgets_differ_between_rows_and_rows_are_independent(tools):
    rng = np.random.default_rng(4)
    D, budget = 60, np.array([1, 2, 5, 60, 3])
    z0 = rng.normal(0, 0.2, (5, D))
    problem = tools.make_problem(
        z0, tools.curved_scores(rng, D), lower=-3.0, upper=3.0, budget=budget, beta=0.1
    )
    pool = solve(problem)
    tools.check_answers(problem, pool)
    for i in range(5):
        alone = solve(problem.take(torch.tensor([i])))
        # Rounding, which depends on the size of the batch, may decide between two strides.
        torch.testing.assert_close(alone.cost[0], pool.cost[i], atol=1e-4, rtol=1e-3)
        moved = problem.take(torch.tensor([i])).domain.changed
        assert bool((moved(alone.z[:, :1]) == moved(pool.z[i, :1][None])).all())


def test_mixed_features_near_the_exhaustive_optimum(tools):
    """Lattices, levels, rules: every answer is admissible, most are near the best point."""
    rng = np.random.default_rng(5)
    gaps, missed, found = [], 0, 0
    for _ in range(12):
        problem = tools.mixed.problem(rng, 10, tools.mixed.linear(tools, rng), budget=2)
        pool = solve(problem)
        tools.check_answers(problem, pool)
        least = tools.exhaustive(problem, tools.mixed.points).min(1)
        got = pool.best.numpy()
        assert (got >= least - 1e-9).all()
        missed += int((np.isfinite(least) & ~np.isfinite(got)).sum())
        both = np.isfinite(least) & np.isfinite(got)
        found += int(both.sum())
        gaps += list(got[both] - least[both])
    assert found > 30
    assert missed <= found / 4
    assert np.median(gaps) <= 1e-6


def test_plausibility_pulls_the_support_towards_the_data(tools):
    rng = np.random.default_rng(6)
    D = 40
    samples = rng.normal(0, 0.3, (200, D))
    samples[:, :20] += 1.0
    weight = np.ones(D)
    z0 = np.zeros((4, D))
    density = GaussianKDE(0.5).fit(samples)
    options = {"beta": 0.0, "budget": 10, "lower": -3.0, "upper": 3.0}
    scores = tools.linear_scores(weight, -5.0)
    plain = solve(tools.make_problem(z0, scores, **options))
    problem = tools.make_problem(z0, scores, density=density, weight=1.0, **options)
    pulled = solve(problem)
    tools.check_answers(problem, pulled)
    assert bool((pulled.z[:, 0, 20:] == 0).all())
    before = density.log_prob(plain.z[:, 0])
    assert bool((density.log_prob(pulled.z[:, 0]) > before).all())


def network(D, rng, hidden=24, against=4.0):
    """Scores of a random network with kinks, in favour of classes 0 and 2."""
    first = torch.from_numpy(rng.normal(size=(D, hidden)))
    bias = torch.from_numpy(rng.normal(size=hidden))
    second = torch.from_numpy(rng.normal(size=(hidden, 3)))
    shift = torch.tensor([against, -against, against], dtype=torch.float64)
    return lambda z: torch.relu(z @ first + bias) @ second + shift


def test_reach_raises_the_margin_within_the_budget(tools):
    rng = np.random.default_rng(7)
    D, budget = 50, 4
    problem = tools.make_problem(
        rng.normal(0, 0.1, (20, D)),
        network(D, rng, against=14.0),
        lower=-1.0,
        upper=1.0,
        budget=budget,
    )
    sets, nobody = feature_sets(problem.domain), problem.domain.factual[:0]

    def margin(settings):
        z = reach(problem, sets, nobody, settings)
        ok, count = tools.admissible(problem, z.numpy())
        assert ok.diagonal().all() and (count.diagonal() <= budget).all()
        return problem.margin(z[:, None])[:, 0]

    start = problem.margin(problem.domain.factual[:, None])[:, 0]
    one = ReachSettings(rises=((8.0, 0.4, 0.5),), swaps=0)
    plain, swapped, whole = margin(one), margin(replace(one, swaps=10)), margin(ReachSettings())
    assert bool((plain > start).all())
    assert bool((swapped >= plain - 1e-9).all()) and bool((swapped > plain + 1e-6).any())
    valid = (whole >= problem.floor).sum(), (plain >= problem.floor).sum()
    assert 0 < int(valid[1]) <= int(valid[0])


def test_reach_finds_the_largest_margin_of_small_problems(tools):
    """A linear model of three classes whose best corner, of any support, is found by listing."""
    rng = np.random.default_rng(9)
    D, budget, n = 8, 2, 30
    weight = torch.from_numpy(rng.normal(size=(D, 3)))
    shift = torch.tensor([3.0, 0.0, 3.0], dtype=torch.float64)
    z0 = np.zeros((n, D)) + rng.normal(0, 0.1, (n, D))
    problem = tools.make_problem(
        z0, lambda z: z @ weight + shift, lower=-1.0, upper=1.0, budget=budget, floor=100.0
    )
    z = reach(problem, feature_sets(problem.domain), problem.domain.factual[:0], ReachSettings())
    got = problem.margin(z[:, None])[:, 0].numpy()
    values = np.linspace(-1, 1, 41)
    least = np.full(n, -np.inf)
    for i, j in combinations(range(D), 2):
        trial = torch.from_numpy(np.repeat(z0[:, None], 41 * 41, axis=1))
        a, b = np.meshgrid(values, values)
        trial[..., i], trial[..., j] = torch.from_numpy(a.ravel()), torch.from_numpy(b.ravel())
        least = np.maximum(least, problem.margin(trial).amax(1).numpy())
    assert np.mean(got >= least - 0.05) >= 0.8


def test_the_best_exchange_is_that_of_enumeration(tools):
    """One number goes to one of its ends, and another one back to its factual or not."""
    rng = np.random.default_rng(10)
    D, n, budget = 6, 12, 3
    problem = tools.make_problem(
        rng.normal(0, 0.1, (n, D)),
        network(D, rng, hidden=12),
        lower=-1.0,
        upper=2.0,
        budget=budget,
    )
    factual = problem.domain.factual
    spent = torch.arange(n)[:, None] % 2 == 0
    z = factual.clone()
    z[:, :2] += 0.5
    z[:, 2:3] = torch.where(spent, z[:, 2:3] - 0.4, z[:, 2:3])
    everything = ReachSettings(leaves=D, pairs=2 * D * D)
    got, margin = _exchanged(problem, z, _ends(problem, z), everything)
    torch.testing.assert_close(margin, problem.margin(got[:, None])[:, 0])
    assert bool((problem.domain.changed(got).sum(1) <= budget).all())
    for row in range(n):
        best = -np.inf
        for into in range(D):
            for end in (-1.0, 2.0):
                for out in range(D):
                    trial = z[row].clone()
                    trial[out] = factual[row, out]
                    trial[into] = end
                    single = z[row].clone()
                    single[into] = end
                    for point in (trial, single):
                        if int((point != factual[row]).sum()) <= budget:
                            part = problem.take(torch.tensor([row]))
                            best = max(best, float(part.margin(point[None, None])))
        assert float(margin[row]) == pytest.approx(best)


def test_reach_sees_numbers_without_a_slope(tools):
    """The largest of each pair counts: the slope shows the one that has little room.

    The best margin is known: the pairs that gain most go to the far end of their other number.
    """
    rng = np.random.default_rng(11)
    pairs, budget = 10, 3
    gain = torch.from_numpy(0.5 + rng.random(pairs))
    first = torch.zeros(pairs, dtype=torch.float64)
    best = float((2 * gain).topk(budget).values.sum())

    def scores(z):
        margin = (gain * torch.maximum(z[:, :pairs], z[:, pairs:])).sum(1) - 0.99 * best
        return torch.stack([-margin / 2, margin / 2], 1)

    z0 = torch.cat([first, first - 1])[None]
    upper = np.r_[np.full(pairs, 0.1), np.full(pairs, 2.0)]
    problem = tools.make_problem(z0, scores, lower=-1.0, upper=upper, budget=budget)
    sets, nobody = feature_sets(problem.domain), problem.domain.factual[:0]

    def margin(settings):
        return float(problem.margin(reach(problem, sets, nobody, settings)[:, None]))

    # All slopes at once point to the first numbers, which gain a twentieth of the others.
    assert margin(replace(ReachSettings(), swaps=0)) < -0.5 * best
    assert margin(ReachSettings()) == pytest.approx(0.01 * best)
    tools.check_answers(problem, solve(problem))


def test_a_valid_point_found_by_reach_is_made_cheaper(tools):
    """Where the walk from the factual is cut short, the second one starts at a valid point."""
    rng = np.random.default_rng(8)
    D = 50
    problem = tools.make_problem(
        rng.normal(0, 0.1, (10, D)),
        network(D, rng, against=8.0),
        lower=-1.0,
        upper=1.0,
        budget=8,
        beta=0.0,
    )
    nothing = StrideSettings(count=0)
    start = solve(problem, settings=WideSettings(first=nothing, again=nothing))
    walked = solve(problem, settings=WideSettings(first=nothing))
    assert bool(torch.isfinite(start.best).all())
    assert bool((walked.best < start.best / 2).all())
    whole = solve(problem)
    assert bool((whole.best <= 1.5 * walked.best).all())
    tools.check_answers(problem, walked)


def test_nothing_to_do(tools):
    problem = tools.make_problem(np.zeros((3, 5)), tools.linear_scores(np.zeros(5), -1.0))
    assert len(solve(problem.take(torch.tensor([], dtype=torch.long))).cost) == 0
    # No slope: no answer, and no NaN on the way.
    pool = solve(problem)
    assert not bool(torch.isfinite(pool.cost).any())
    assert bool((pool.z == 0).all())


def test_too_wide_counts_moves_and_coordinates(tools):
    problem = tools.make_problem(np.zeros((1, 3)), tools.linear_scores(np.ones(3), -1.0))
    cells = len(problem.moves) * 3
    assert too_wide(problem, cells - 1) and not too_wide(problem, cells)
