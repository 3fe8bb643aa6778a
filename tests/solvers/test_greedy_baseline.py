"""The plain walk, against one that takes a row at a time."""

import numpy as np
import pytest
import torch

from scfe_sklearn.solvers.starts.baseline import TRIED, greedy_baseline


def walked(tools, problem, anchors, row):
    """Take over the features of the nearest valid training row of one row, best first."""
    own = problem.take(torch.tensor([row]))
    domain = own.domain
    groups, scalar = domain.groups.numpy(), domain.scalar.numpy()
    factual, lower, upper, allowed = (
        part[0].numpy() for part in (domain.factual, domain.lower, domain.upper, domain.allowed)
    )

    def margin(z):
        return float(own.margin(torch.from_numpy(z)[None, None])[0, 0])

    free = allowed & (upper > lower)
    apart = ((anchors - factual) ** 2 * free).sum(axis=1)
    ends = []
    for anchor in anchors[np.argsort(apart, kind="stable")[:TRIED]]:
        end = factual.copy()
        for j in np.unique(groups):
            mine = groups == j
            if scalar[mine][0]:
                if allowed[mine][0] and abs(anchor[mine] - factual[mine])[0] > 1e-9:
                    end[mine] = np.clip(anchor[mine], lower[mine], upper[mine])
            elif allowed[mine][anchor[mine].argmax()]:
                end[mine] = anchor[mine]
        distance = ((end - factual) ** 2).sum()
        if distance > 1e-9 and margin(end) >= own.floor:
            ends.append((distance, end))
    if not ends:
        return None
    end = min(ends, key=lambda pair: pair[0])[1]
    here, left = (
        factual.copy(),
        [j for j in np.unique(groups) if (end != factual)[groups == j].any()],
    )
    while left:
        options = [np.where(groups == j, end, here) for j in left]
        best = int(np.argmax([margin(z) for z in options]))
        here = options[best]
        left.pop(best)
        if margin(here) >= own.floor:
            return here
    return None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("has_gradient", [True, False])
def test_it_is_that_of_single_rows(tools, seed, has_gradient):
    rng = np.random.default_rng(seed)
    mixed = tools.mixed
    scores = tools.curved_scores(rng, 6) if seed % 2 else mixed.linear(tools, rng)
    problem = mixed.problem(rng, 30, scores, has_gradient=has_gradient)
    anchors = mixed.points[rng.permutation(len(mixed.points))[:50]].copy()
    anchors[:, :3] += rng.normal(scale=1e-3, size=(50, 3))  # no two are as near
    margin = scores(torch.from_numpy(anchors))
    anchors = anchors[(margin[:, 1] > margin[:, 0]).numpy()]
    z, valid, _ = greedy_baseline(problem, torch.from_numpy(anchors))
    expected = [walked(tools, problem, anchors, row) for row in range(30)]
    assert valid.tolist() == [one is not None for one in expected]
    assert int(valid.sum()) > 0
    for row in valid.nonzero()[:, 0].tolist():
        np.testing.assert_allclose(z[row].numpy(), expected[row])
    assert bool((problem.margin(z[:, None])[valid] >= problem.floor).all())


def test_without_training_rows_or_rows_nobody_walks(tools):
    rng = np.random.default_rng(0)
    problem = tools.mixed.problem(rng, 4, tools.mixed.linear(tools, rng))
    z, valid, _ = greedy_baseline(problem, torch.zeros(0, 6, dtype=torch.float64))
    assert not valid.any() and torch.equal(z, problem.domain.factual)
    z, valid, _ = greedy_baseline(problem.take(torch.arange(0)), problem.domain.factual)
    assert z.shape == (0, 6) and len(valid) == 0
