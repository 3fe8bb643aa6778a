"""Further changes for the sake of plausibility, against lists of all points."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scfe_sklearn.densities import GaussianKDE, LocalOutlierDensity
from scfe_sklearn.solvers.problem.pool import Pool
from scfe_sklearn.solvers.refinement.enriching import EnrichSettings, enrich

ROWS = np.random.default_rng(0).normal([2.0, 1.0, -1.0], 0.2, (60, 3)).round(1)


def beside_the_crowd(tools, weight, **options):
    """The first number is all that the model asks for; the crowd is elsewhere in all three."""
    density = GaussianKDE(0.3).fit(ROWS)
    options = {"beta": 0.5, "lower": -5, "upper": 5, "has_gradient": False, **options}
    problem = tools.make_problem(
        np.zeros((2, 3)),
        tools.linear_scores([1.0, 0.0, 0.0], -1.0),
        samples=ROWS,
        step=[0.1, 0.1, 0.1],
        density=density,
        weight=weight,
        ceiling=float(density.score_samples(ROWS).max()),
        **options,
    )
    z = torch.zeros(2, 1, 3, dtype=torch.float64)
    z[..., 0] = 2.0
    pool = Pool.empty(problem, 4).merged(
        problem, z, problem.sparse_distance(z) - problem.plausibility(z)
    )
    return problem, pool


def enriched(problem, pool, **options):
    return enrich(problem, pool, torch.from_numpy(ROWS), EnrichSettings(**options))


def test_changes_that_pay_are_added_one_after_the_other(tools):
    problem, pool = beside_the_crowd(tools, 2.0)
    found = [enriched(problem, pool, rounds=k) for k in (1, 2)]
    for got in found:
        tools.check_answers(problem, got)
    assert problem.domain.changed(found[0].z[:, :1]).sum(-1).tolist() == [[2], [2]]
    assert problem.domain.changed(found[1].z[:, :1]).sum(-1).tolist() == [[3], [3]]
    assert bool((found[1].best < found[0].best).all() and (found[0].best < pool.best).all())
    # Among all second changes to a value that occurs, the best one or nearly so.
    single = pool.z[0, 0].numpy()
    values = [np.unique(ROWS[:, j]) for j in (1, 2)]
    pairs = np.array(
        [
            np.where(np.arange(3) == j, v, single)
            for j, column in enumerate(values, 1)
            for v in column
        ]
    )
    cost = tools.exhaustive(problem, pairs)[0]
    assert float(found[0].best[0]) <= np.quantile(cost, 0.2)


def test_nothing_is_added_where_plausibility_is_cheap(tools):
    problem, pool = beside_the_crowd(tools, 1e-3)
    got = enriched(problem, pool)
    torch.testing.assert_close(got.cost, pool.cost)


def test_budget_and_rules_hold(tools):
    problem, pool = beside_the_crowd(tools, 2.0, budget=np.array([1, 2]))
    got = enriched(problem, pool)
    tools.check_answers(problem, got)
    assert problem.domain.changed(got.z[:, :1]).sum(-1).tolist() == [[1], [2]]
    allowed = np.array([[True, False, True], [True, True, False]])
    problem, pool = beside_the_crowd(tools, 2.0, allowed=allowed)
    got = enriched(problem, pool)
    tools.check_answers(problem, got)
    changed = problem.domain.changed(got.z[:, :1])[:, 0]
    assert changed.tolist() == allowed.tolist()


@pytest.mark.parametrize("density", [GaussianKDE(0.7), LocalOutlierDensity(10)])
@pytest.mark.parametrize("seed", range(3))
def test_answers_stay_answers_and_only_improve(tools, density, seed):
    rng = np.random.default_rng(seed)
    mixed = tools.mixed
    # The crowd has a high second number and the last level.
    crowd = mixed.points[(mixed.points[:, 1] > 0.1) & (mixed.points[:, 5] > 0)]
    rows = crowd[rng.permutation(len(crowd))[:60]]
    density.fit(rows + rng.normal(0, 0.05, rows.shape))
    ceiling = float(np.quantile(density.training_log_prob(density.samples_), 0.95))
    problem = mixed.problem(
        rng,
        25,
        tools.curved_scores(rng, 6),
        density=density,
        weight=3.0,
        ceiling=ceiling,
        beta=0.2,
        has_gradient=False,
    )
    cost, points = tools.exhaustive(problem, mixed.points), mixed.points
    # All answers that change one feature, of which the pool keeps the best.
    _, count = tools.admissible(problem, points)
    single = np.where(count == 1, cost, np.inf)
    pool = Pool.empty(problem, 4).merged(
        problem,
        torch.from_numpy(points).expand(25, -1, -1),
        torch.from_numpy(single),
    )
    anchors = torch.from_numpy(points[np.isfinite(cost).any(0)])
    got = enrich(problem, pool, anchors, EnrichSettings())
    tools.check_answers(problem, got)
    assert bool((got.best <= pool.best + 1e-12).all())
    assert bool((got.best < pool.best - 1e-6).any())
    one = enrich(
        problem.take(torch.tensor([7])),
        Pool(pool.z[7:8], pool.cost[7:8]),
        anchors,
        EnrichSettings(),
    )
    torch.testing.assert_close(one.z[0], got.z[7])


def test_no_anchors_and_no_moves_change_nothing(tools):
    problem, pool = beside_the_crowd(tools, 2.0)
    assert enrich(problem, pool, torch.zeros(0, 3, dtype=torch.float64), EnrichSettings()) is pool
    none = replace(problem, moves=problem.moves.subset(torch.zeros(0, dtype=torch.long)))
    assert enrich(none, pool, torch.from_numpy(ROWS), EnrichSettings()) is pool
