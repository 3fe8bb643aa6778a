"""Answers from training rows."""

import numpy as np
import pytest
import torch

from scfe_sklearn.solvers.starts.anchors import RecallSettings, recall, undo_changes


def target_rows(tools, problem, points):
    """Points that the model calls the target."""
    z = torch.from_numpy(points)
    scores = tools.scores_of(problem, z)
    others = torch.cat([scores[:, :1], scores[:, 2:]], 1).amax(1)
    return z[scores[:, 1] - others >= problem.floor]


@pytest.mark.parametrize("seed", range(5))
def test_a_reachable_anchor_is_an_answer(tools, seed):
    """`recall` answers exactly the rows that may become an anchor, or better."""
    rng = np.random.default_rng(seed)
    mixed = tools.mixed
    problem = mixed.problem(rng, 40, tools.curved_scores(rng, 6))
    anchors = target_rows(tools, problem, mixed.points[rng.permutation(len(mixed.points))[:60]])
    pool = recall(problem, anchors, RecallSettings(), 4)
    tools.check_answers(problem, pool)
    reachable = tools.admissible(problem, anchors.numpy())[0].any(1)
    assert bool((pool.best[torch.from_numpy(reachable)] < torch.inf).all())


def test_few_tries_still_find_the_one_that_is_allowed(tools):
    """Many anchors are nearer; only one may be reached."""
    rng = np.random.default_rng(0)
    factual = np.zeros((5, 2))

    def scores(z):  # no hybrid is valid: both coordinates have to move, alike
        margin = 0.5 - (z[:, 0] - z[:, 1]).abs() - 4 * (z.abs().amin(1) < 0.9)
        return torch.stack([-margin, margin], 1)

    near = np.repeat(rng.uniform(1, 2, (200, 1)), 2, axis=1)
    anchors = torch.from_numpy(np.concatenate([near, [[-5.0, -5.0]]]))
    problem = tools.make_problem(factual, scores, lower=-6.0, upper=[0.0, 6.0])
    pool = recall(problem, anchors, RecallSettings(anchors=2), 3)
    np.testing.assert_array_equal(pool.z[:, 0], np.full((5, 2), -5.0))


def test_hybrids_take_only_what_is_permitted(tools):
    """The second number and one level are out of bounds; what remains of the anchor suffices."""
    levels = np.eye(3) / 2**0.5
    factual = np.array([[0.0, 0.0, *levels[0]]])
    anchors = torch.tensor([[2.0, 2.0, *levels[1]]])
    problem = tools.make_problem(
        factual,
        tools.linear_scores([1.0, 1.0, 0, 0, 0], -1.0),
        lower=-3.0,
        upper=[3.0, 1.0, 1, 1, 1],
        allowed=[[True, True, True, False, True]],
        groups=[0, 1, 2, 2, 2],
        scalar=[True, True, False, False, False],
    )
    pool = recall(problem, anchors, RecallSettings(), 2)
    np.testing.assert_allclose(pool.z[0, 0], [2.0, 0.0, *levels[0]])
    tools.check_answers(problem, pool)


def test_an_allowed_level_replaces_the_whole_feature(tools):
    levels = np.eye(3) / 2**0.5
    factual = np.array([[0.0, *levels[0]], [0.0, *levels[2]]])
    anchors = torch.tensor([[5.0, *levels[1]]])
    problem = tools.make_problem(
        factual,
        tools.linear_scores([0.0, -1.0, 1.0, -1.0], 0.0),
        lower=-1.0,
        upper=1.0,
        groups=[0, 1, 1, 1],
        scalar=[True, False, False, False],
    )
    pool = recall(problem, anchors, RecallSettings(), 2)
    np.testing.assert_allclose(pool.z[:, 0], [[0.0, *levels[1]]] * 2)
    np.testing.assert_allclose(pool.best, 1.3)


@pytest.mark.parametrize("seed", range(4))
def test_undoing_keeps_validity_and_never_costs(tools, seed):
    rng = np.random.default_rng(seed)
    mixed = tools.mixed
    problem = mixed.problem(rng, 40, tools.curved_scores(rng, 6))
    valid = target_rows(tools, problem, mixed.points)
    z = valid[torch.from_numpy(rng.integers(len(valid), size=40))]
    lean, cost = undo_changes(problem, z)
    assert bool((problem.margin(lean[:, None]) >= problem.floor).all())
    before, after = problem.sparse_distance(z[:, None]), problem.sparse_distance(lean[:, None])
    assert bool((after <= before + 1e-12).all())
    torch.testing.assert_close(cost[:, None], after - problem.plausibility(lean[:, None]))
    changed, had = problem.domain.changed(lean), problem.domain.changed(z)
    assert bool((changed <= had).all())
    for i in range(40):
        # Whole features go back or stay, and no single change is left that could be undone.
        own = changed[i][problem.domain.groups]
        assert torch.equal(lean[i], torch.where(own, z[i], problem.domain.factual[i]))
        for feature in changed[i].nonzero()[:, 0]:
            if int(changed[i].sum()) > 1:
                group = problem.domain.groups == feature
                less = torch.where(group, problem.domain.factual[i], lean[i])
                margin = problem.take(torch.tensor([i])).margin(less[None, None])
                assert float(margin) < problem.floor
    assert bool((changed.sum(1) < had.sum(1)).any())


@pytest.mark.parametrize("seed", range(4))
def test_equal_changes_are_undone_alike_in_any_company(tools, seed):
    """All changes are worth the same, so only their order decides which of them go."""
    rng = np.random.default_rng(seed)
    factual = np.zeros((6, 24))
    problem = tools.make_problem(
        factual, tools.linear_scores([1.0] * 24, -2.5), lower=-3.0, upper=3.0
    )
    chosen = [rng.permutation(24)[:k] for k in (4, 5, 7, 11, 16, 23)]
    z = torch.zeros(6, 24, dtype=torch.float64)
    for i, features in enumerate(chosen):
        z[i, features] = 1.0
    lean, _ = undo_changes(problem, z)
    assert bool((problem.domain.changed(lean).sum(1) == 3).all())
    for i in range(6):
        alone, _ = undo_changes(problem.take(torch.tensor([i])), z[[i]])
        assert torch.equal(alone[0], lean[i])


def test_budget_is_respected(tools):
    rng = np.random.default_rng(1)
    mixed = tools.mixed
    problem = mixed.problem(rng, 40, tools.curved_scores(rng, 6), budget=2)
    pool = recall(problem, target_rows(tools, problem, mixed.points), RecallSettings(), 4)
    tools.check_answers(problem, pool)
    found = pool.cost < torch.inf
    assert bool(found.any())
    assert int(problem.domain.changed(pool.z).sum(-1).max()) <= 2


def test_no_anchors_no_rows(tools):
    problem = tools.make_problem(np.zeros((2, 2)), tools.linear_scores([1.0, 1.0], -1.0))
    none = torch.zeros(0, 2, dtype=torch.float64)
    assert bool((recall(problem, none, RecallSettings(), 3).cost == torch.inf).all())
    some = torch.ones(4, 2, dtype=torch.float64)
    assert recall(problem.take(torch.arange(0)), some, RecallSettings(), 3).z.shape == (0, 3, 2)


def test_tries_reach_beyond_the_nearest(tools):
    """The nearest two hundred lead to one and the same refused point; one in ten does not."""
    rng = np.random.default_rng(1)
    near = np.column_stack([np.full(200, 0.2), rng.uniform(1, 2, 200)])
    far = np.column_stack([np.full(60, 0.9), rng.uniform(3, 4, 60)])
    problem = tools.make_problem(
        np.zeros((4, 2)), tools.linear_scores([1.0, 0.1], -0.5), lower=0.0, upper=[1.0, 0.5]
    )
    anchors = torch.from_numpy(np.concatenate([near, far]))
    pool = recall(problem, anchors, RecallSettings(), 3)
    tools.check_answers(problem, pool)
    assert bool((pool.best < torch.inf).all())
