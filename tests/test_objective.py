"""Margin and plausibility of a target class against their definitions."""

import numpy as np
import pytest
import torch

from scfe_sklearn import objective as module
from scfe_sklearn.densities import GaussianKDE, GaussianMixture, LocalOutlierDensity
from scfe_sklearn.objective import MixedObjective, TargetObjective, margins
from scfe_sklearn.solvers.moves import Moves

D, C = 5, 4


def make(density=None, weight=0.7, target=2, seed=0):
    rng = np.random.default_rng(seed)
    A = torch.from_numpy(rng.normal(size=(D, C)))
    b = torch.from_numpy(rng.normal(size=C))
    if density is not None:
        density.fit(rng.normal(size=(60, D)))
    return TargetObjective(lambda z: (z @ A).tanh() * 3 + b, True, target, density, weight, 1.5)


def points(*shape, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("target", range(C))
def test_margin_is_the_lead_over_the_best_other_class(target):
    objective, z = make(target=target), points(6, 3, D)
    margin = objective.margin(z)
    for i in range(6):
        for k in range(3):
            scores = objective.scores(z[i, k][None])[0].tolist()
            lead = scores.pop(target)
            assert float(margin[i, k]) == pytest.approx(lead - max(scores))
    assert bool(
        (
            (margin > 0) == (objective.scores(z.reshape(-1, D)).argmax(1) == target).reshape(6, 3)
        ).all()
    )


def test_two_classes():
    objective = TargetObjective(
        lambda z: torch.stack([-z[:, 0], z[:, 0]], 1), True, 0, None, 0.0, 0
    )
    z = points(3, 2, D)
    torch.testing.assert_close(objective.margin(z), -2 * z[..., 0])


def test_gradient_of_the_margin():
    objective, z = make(), points(7, D)
    kept = z.clone()
    margin, gradient = objective.margin_and_grad(z)
    assert torch.equal(z, kept) and not z.requires_grad
    assert not margin.requires_grad and not gradient.requires_grad
    torch.testing.assert_close(margin, objective.margin(z[:, None])[:, 0])
    for j in range(D):
        e = torch.zeros(D, dtype=torch.float64)
        e[j] = 1e-6
        slope = (objective.margin((z + e)[None]) - objective.margin((z - e)[None]))[0] / 2e-6
        torch.testing.assert_close(gradient[:, j], slope, rtol=1e-5, atol=1e-6)


def test_gradient_under_no_grad():
    objective, z = make(), points(4, D)
    with torch.no_grad():
        _, gradient = objective.margin_and_grad(z)
    assert bool((gradient != 0).any())


def test_only_what_is_asked_for_is_evaluated():
    seen = []

    def scores(z):
        seen.append(len(z))
        return torch.stack([z[:, 0], -z[:, 0]], 1)

    objective = TargetObjective(scores, True, 0, None, 0.0, 0.0)
    z = points(5, 3, D)
    where = torch.from_numpy(np.random.default_rng(2).random((5, 3)) < 0.4)
    margin = objective.margin(z, where)
    assert sum(seen) == int(where.sum())
    torch.testing.assert_close(margin[where], 2 * z[..., 0][where])
    assert bool((margin[~where] == -torch.inf).all())
    seen.clear()
    assert bool((objective.margin(z, torch.zeros_like(where)) == -torch.inf).all())
    assert seen == []


def test_many_points_are_scored_in_pieces(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    objective, z = make(), points(5, 3, D)
    sizes = []
    scores = objective.scores
    pieces = TargetObjective(
        lambda z: (sizes.append(len(z)), scores(z))[1], True, 2, None, 0.7, 0.0
    )
    torch.testing.assert_close(pieces.margin(z), objective.margin(z))
    assert sizes == [4, 4, 4, 3]


@pytest.mark.parametrize("density", [GaussianKDE(0.5), GaussianMixture(2), LocalOutlierDensity(5)])
def test_plausibility_is_the_weighted_log_density(density):
    objective, z = make(density), points(6, 3, D)
    value = 0.7 * density.score_samples(z.reshape(-1, D).numpy()).reshape(6, 3)
    np.testing.assert_allclose(objective.plausibility(z), value, rtol=1e-10, atol=1e-12)
    where = torch.from_numpy(np.random.default_rng(3).random((6, 3)) < 0.5)
    part = objective.plausibility(z, where).numpy()
    np.testing.assert_allclose(part[where], value[where.numpy()], rtol=1e-10, atol=1e-12)
    assert (part[~where.numpy()] == -np.inf).all()
    best = objective.best_plausibility(torch.arange(4))
    np.testing.assert_allclose(best, [0.7 * 1.5] * 4)


def test_without_weight_the_density_is_not_asked():
    objective, z = make(None, weight=0.0), points(4, 2, D)
    assert bool((objective.plausibility(z) == 0).all())
    where = torch.tensor([[True, False]] * 4)
    assert objective.plausibility(z, where).tolist() == [[0.0, -np.inf]] * 4
    local = objective.around(z[:, 0], torch.zeros(4, 1, dtype=torch.long))
    rows = torch.arange(4)
    assert bool((local.value(points(4, 3, 1), rows) == 0).all())
    value, gradient = local.value_and_grad(points(4, 1), rows)
    assert bool((value == 0).all() and (gradient == 0).all())


def test_around_is_the_plausibility_along_a_support():
    objective, z = make(GaussianKDE(0.5)), points(4, D)
    support = torch.tensor([[0, 3], [1, D], [D, D], [4, 2]])
    offset = points(4, 6, 2, seed=4) * (support < D)[:, None]
    moved = z[:, None].repeat(1, 6, 1)
    for i in range(4):
        for w in range(2):
            if int(support[i, w]) < D:
                moved[i, :, int(support[i, w])] += offset[i, :, w]
    local, rows = objective.around(z, support), torch.arange(4)
    torch.testing.assert_close(local.value(offset, rows), objective.plausibility(moved))
    value, gradient = local.value_and_grad(offset[:, 0], rows)
    torch.testing.assert_close(value, objective.plausibility(moved)[:, 0])
    _, whole = objective.density.log_prob_and_grad(moved[:, 0])
    padded = torch.cat([0.7 * whole, torch.zeros_like(whole[:, :1])], 1)
    torch.testing.assert_close(gradient, padded.gather(1, support))


def test_combinations_of_moves(monkeypatch):
    """Points after one more move each, where the move's feature is still the factual's."""
    objective = make(GaussianKDE(0.8))
    groups, scalar = torch.tensor([0, 1, 2, 2, 2]), torch.tensor([True, True, False, False, False])
    rng = np.random.default_rng(5)
    levels = np.eye(3) / 2**0.5
    rows = np.column_stack([rng.normal(size=(6, 2)), levels[rng.integers(3, size=6)]])
    moves = Moves.from_samples(torch.from_numpy(rows), groups, scalar, 10)
    factual = torch.from_numpy(rows[:3])
    first = torch.arange(len(moves))
    z = moves.apply(factual[:, None], first)
    got = objective.combined_plausibility(z, factual, moves.target, moves.keeps)
    assert got.shape == (3, len(moves), len(moves))
    both = moves.apply(z[:, :, None], first)
    expected = objective.plausibility(both.reshape(3, -1, D)).reshape(got.shape)
    apart = (moves.group[:, None] != moves.group).expand_as(got)
    torch.testing.assert_close(got[apart], expected[apart], rtol=1e-6, atol=1e-6)
    monkeypatch.setattr(module, "COMBINATIONS", 10)
    assert objective.combined_plausibility(z, factual, moves.target, moves.keeps) is None


def test_combinations_only_of_kernels():
    keeps = torch.ones(2, D, dtype=torch.float64)
    for objective in (make(LocalOutlierDensity(5)), make(GaussianKDE(0.5), weight=0.0)):
        assert objective.combined_plausibility(points(3, 2, D), points(3, D), keeps, keeps) is None


@pytest.mark.parametrize("order", [[0, 2, 2, 0, 1, 2], [1, 1, 1, 1, 1, 1], [2, 0, 2, 0, 2, 0]])
def test_rows_with_targets_of_their_own(order):
    """A mixed objective is, row by row, that of the row's class."""
    parts = [
        make(GaussianKDE(0.5), target=0),
        make(LocalOutlierDensity(5), target=3, weight=0.4),
        make(None, target=1, weight=0.0),
    ]
    owner = torch.tensor(order)
    whole = MixedObjective(parts, owner)
    z = points(6, 3, D)
    where = torch.from_numpy(np.random.default_rng(6).random((6, 3)) < 0.6)
    support = torch.tensor([[0, 3]] * 5 + [[1, D]])
    offset = points(6, 4, 2, seed=7) * (support < D)[:, None]
    local, rows = whole.around(z[:, 0], support), torch.tensor([5, 0, 3, 3, 1])
    margin, gradient = whole.margin_and_grad(z[:, 1])
    value, lift = local.value_and_grad(offset[rows, 0], rows)
    wide = local.value(offset[rows], rows)
    for i in range(6):
        part, row = parts[order[i]], slice(i, i + 1)
        for mask in (None, where):
            own = None if mask is None else mask[row]
            for name in ("margin", "plausibility"):
                got = getattr(whole, name)(z, mask)[row]
                torch.testing.assert_close(got, getattr(part, name)(z[row], own))
        one, slope = part.margin_and_grad(z[row, 1])
        torch.testing.assert_close(margin[row], one)
        torch.testing.assert_close(gradient[row], slope)
        near = part.around(z[row, 0], support[row])
        for k in (rows == i).nonzero()[:, 0].tolist():
            first = torch.tensor([0])
            one, slope = near.value_and_grad(offset[row, 0], first)
            torch.testing.assert_close(value[k : k + 1], one)
            torch.testing.assert_close(lift[k : k + 1], slope)
            torch.testing.assert_close(wide[k : k + 1], near.value(offset[row], first))
    some = torch.tensor([4, 1])
    torch.testing.assert_close(whole.take(some).margin(z[some]), whole.margin(z)[some])
    expected = [parts[order[i]].weight * parts[order[i]].ceiling for i in (4, 1)]
    np.testing.assert_allclose(whole.best_plausibility(some), expected, rtol=1e-6)


@pytest.mark.parametrize("own", [-np.inf, np.inf])
def test_margins_of_infinite_scores(own):
    """A probability of 0 or 1 is an infinite score, not an undefined margin."""
    for others in ([0.5], [0.5, -np.inf]):
        scores = torch.tensor([[own, *others]], dtype=torch.float64)
        assert float(margins(scores, torch.tensor([0]))) == own
        assert float(margins(scores, torch.tensor([1]))) == -own


def test_best_plausibility_is_exact_for_mixed_targets():
    parts = [TargetObjective(lambda z: z, True, code, None, 1 / 3, 0.1 + code) for code in range(2)]
    rows = torch.tensor([1, 0])
    mixed = MixedObjective(parts, torch.tensor([0, 1]))
    assert mixed.best_plausibility(rows).tolist() == [1 / 3 * 1.1, 1 / 3 * 0.1]
