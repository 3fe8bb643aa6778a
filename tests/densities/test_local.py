"""Densities along a few coordinates against the whole densities."""

import numpy as np
import pytest
import torch

from scfe_sklearn.densities import (
    GaussianKDE,
    GaussianMixture,
    LocalOutlierDensity,
    NearestNeighbours,
)
from scfe_sklearn.densities.local import distances_to, embed, near

D = 4
DENSITIES = [
    GaussianKDE(0.6),
    GaussianKDE("adaptive"),
    LocalOutlierDensity(7),
    GaussianMixture(2),
    NearestNeighbours(4),
]
IDS = ["kde", "adaptive", "lof", "gmm", "knn"]


@pytest.fixture(params=DENSITIES, ids=IDS)
def density(request):
    return request.param.fit(np.random.default_rng(0).normal(size=(90, D)))


def instances(rng, n=6, width=3):
    """Points, supports of up to ``width`` coordinates padded with D, flags of the real ones."""
    z = torch.from_numpy(rng.normal(size=(n, D)))
    count = rng.integers(1, width + 1, n)
    count[0], count[1] = width, 0  # one instance has nothing to move
    support = np.array([rng.permutation(D)[:width] for _ in range(n)])
    there = np.arange(width) < count[:, None]
    return z, torch.from_numpy(np.where(there, support, D)), torch.from_numpy(there)


def applied(z, support, offset):
    """Move a point by offsets, coordinate by coordinate."""
    out = z.clone()
    for j, change in zip(support.tolist(), offset.tolist(), strict=True):
        if j < D:
            out[j] += change
    return out


def test_near_agrees_with_the_whole_density(density):
    rng = np.random.default_rng(1)
    z, support, there = instances(rng)
    local = near(density, z, support, size=90)
    rows = torch.tensor([4, 0, 1, 4, 5, 2, 3])
    offset = torch.from_numpy(rng.normal(size=(7, 5, 3))) * there[rows][:, None]
    expected = torch.stack(
        [
            density.log_prob(torch.stack([applied(z[i], support[i], o) for o in offsets]))
            for i, offsets in zip(rows.tolist(), offset, strict=True)
        ]
    )
    torch.testing.assert_close(local.log_prob(offset, rows), expected, rtol=1e-9, atol=1e-9)


def test_gradients_agree_with_the_whole_density(density):
    rng = np.random.default_rng(2)
    z, support, there = instances(rng)
    local = near(density, z, support, size=90)
    rows = torch.tensor([0, 3, 3, 1, 5])
    offset = torch.from_numpy(rng.normal(size=(5, 3))) * there[rows]
    points = torch.stack(
        [applied(z[i], support[i], o) for i, o in zip(rows.tolist(), offset, strict=True)]
    )
    value, gradient = density.log_prob_and_grad(points)
    got, slope = local.log_prob_and_grad(offset, rows)
    torch.testing.assert_close(got, value, rtol=1e-9, atol=1e-9)
    for k, i in enumerate(rows.tolist()):
        for w, j in enumerate(support[i].tolist()):
            expected = gradient[k, j] if j < D else torch.zeros((), dtype=torch.float64)
            torch.testing.assert_close(slope[k, w], expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("density", [GaussianKDE(0.15), LocalOutlierDensity(7)], ids=["kde", "lof"])
def test_few_points_suffice_for_small_moves(density):
    rng = np.random.default_rng(3)
    density = density.fit(rng.normal(size=(600, 2)))
    z = torch.from_numpy(rng.normal(size=(20, 2)))
    support = torch.zeros(20, 1, dtype=torch.long)
    offset = torch.from_numpy(rng.uniform(-0.2, 0.2, (20, 4, 1)))
    rows = torch.arange(20)
    local = near(density, z, support, size=128).log_prob(offset, rows)
    points = z[:, None].repeat(1, 4, 1)
    points[..., 0] += offset[..., 0]
    whole = density.log_prob(points.reshape(-1, 2)).reshape(20, 4)
    difference = (local - whole).abs()
    assert float(difference.median()) < 1e-3
    assert float(difference.max()) < 0.1


def test_nothing_is_changed(density):
    rng = np.random.default_rng(4)
    z, support, there = instances(rng)
    before = z.clone(), support.clone()
    offset = torch.from_numpy(rng.normal(size=(6, 3))) * there
    kept = offset.clone()
    local = near(density, z, support)
    local.log_prob_and_grad(offset, torch.arange(6))
    local.log_prob(offset[:, None], torch.arange(6))
    assert torch.equal(z, before[0]) and torch.equal(support, before[1])
    assert torch.equal(offset, kept)


def test_no_instances(density):
    z = torch.zeros(0, D, dtype=torch.float64)
    support = torch.zeros(0, 2, dtype=torch.long)
    rows = torch.zeros(0, dtype=torch.long)
    local = near(density, z, support)
    assert local.log_prob(torch.zeros(0, 3, 2, dtype=torch.float64), rows).shape == (0, 3)
    value, slope = local.log_prob_and_grad(torch.zeros(0, 2, dtype=torch.float64), rows)
    assert value.shape == (0,) and slope.shape == (0, 2)


def test_embed():
    z = torch.arange(8.0).reshape(2, 4)
    support, offset = torch.tensor([[2, 0], [4, 1]]), torch.tensor([[1.0, 10.0], [99.0, 5.0]])
    expected = torch.tensor([[10.0, 1.0, 3.0, 3.0], [4.0, 10.0, 6.0, 7.0]])
    assert torch.equal(embed(z, support, offset), expected)


def test_distances_and_nearest():
    rng = np.random.default_rng(5)
    z, samples = rng.normal(size=(7, 3)) + 50, rng.normal(size=(30, 3)) + 50
    expected = ((z[:, None] - samples) ** 2).sum(-1)
    relative, own = distances_to(torch.from_numpy(samples))(torch.from_numpy(z))
    np.testing.assert_allclose(relative + own, expected, atol=1e-10)
    index, squares = LocalOutlierDensity().fit(samples).nearest(torch.from_numpy(z), 4)
    np.testing.assert_array_equal(
        np.sort(index.numpy(), 1), np.sort(np.argsort(expected, 1)[:, :4], 1)
    )
    np.testing.assert_allclose(squares, np.take_along_axis(expected, index.numpy(), 1), atol=1e-10)


@pytest.mark.parametrize("bandwidth", [0.6, "adaptive"])
def test_sums_of_kernels_agree_with_moved_points(bandwidth):
    """Points after moves along coordinates that they have not changed."""
    rng = np.random.default_rng(6)
    density = GaussianKDE(bandwidth).fit(rng.normal(size=(40, D)))
    samples = torch.from_numpy(density.samples_)
    factual = torch.from_numpy(rng.normal(size=(3, D)))
    points = factual[:, None].repeat(1, 4, 1)
    points[..., :2] = torch.from_numpy(rng.normal(size=(3, 4, 2)))
    goals = torch.from_numpy(rng.normal(size=(5, 2)))
    squared = ((points[:, :, None] - samples) ** 2).sum(-1)
    after = ((goals[:, None] - samples[:, 2:]) ** 2).sum(-1)
    before = ((factual[:, None, 2:] - samples[:, 2:]) ** 2).sum(-1)
    got = density.from_sums(squared, after[None] - before[:, None])
    moved = points[:, :, None].repeat(1, 1, 5, 1)
    moved[..., 2:] = goals
    expected = density.log_prob(moved.reshape(-1, D)).reshape(3, 4, 5)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("away", [0.0, 4.0])
def test_pairs_of_moves_agree_with_moved_points(dtype, away):
    """Also where most kernels are below the normal numbers of single precision."""
    rng = np.random.default_rng(8)
    density = GaussianKDE(0.35).fit(rng.normal(size=(40, D)))
    samples = torch.from_numpy(density.samples_)
    factual = torch.from_numpy(rng.normal(size=(3, D)))
    factual[:, 0] += away
    values = torch.from_numpy(rng.normal(size=(3, D, 4)))
    index = torch.arange(40).expand(3, 40)
    squared = (factual[:, None] - samples) ** 2
    change = (values[..., None] - samples.T[None, :, None]) ** 2 - squared.mT[:, :, None]
    got = density.from_pairs(squared.sum(-1).to(dtype), change.flatten(1, 2).to(dtype), index)
    error = []
    for first in range(4 * D):
        for second in range(4 * D):
            i, j = first // 4, second // 4
            if i == j:
                continue
            moved = factual.clone()
            moved[:, i], moved[:, j] = values[:, i, first % 4], values[:, j, second % 4]
            expected = density.log_prob(moved)
            error.append((got[:, first, second].double() - expected) / (1 + expected.abs()))
    error = torch.cat(error)
    if dtype == torch.float64:
        assert bool((error.abs() <= 1e-9).all())
        return
    # Kernels that single precision does not hold are left out: that only lowers the sum.
    assert bool((error <= 1e-4).all())
    assert float((error >= -1e-4).double().mean()) > 0.8


def test_sums_of_kernels_underflow_to_nothing():
    density = GaussianKDE(0.1).fit(np.array([[0.0, 100.0], [100.0, 0.0]]))
    squared = torch.tensor([[[0.0, 1e4]]], dtype=torch.float64)
    change = torch.tensor([[[1e4, 0.0]]], dtype=torch.float64)
    assert density.from_sums(squared, change).tolist() == [[[-np.inf]]]


def test_padded_places_have_no_effect(density):
    rng = np.random.default_rng(7)
    z, support, there = instances(rng)
    local, rows = near(density, z, support), torch.arange(6)
    offset = torch.from_numpy(rng.normal(size=(6, 3)))
    value, slope = local.log_prob_and_grad(offset, rows)
    expected, gradient = local.log_prob_and_grad(offset * there, rows)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(slope, gradient, rtol=0, atol=1e-12)
    assert bool((slope[~there] == 0).all())
    many = local.log_prob(offset[:, None], rows)[:, 0]
    torch.testing.assert_close(many, expected, rtol=0, atol=1e-12)


def test_enough_points_for_many_neighbours():
    rng = np.random.default_rng(8)
    density = LocalOutlierDensity(200).fit(rng.normal(size=(400, 2)))
    z = torch.from_numpy(rng.normal(size=(5, 2)))
    local = near(density, z, torch.zeros(5, 1, dtype=torch.long))
    value = local.log_prob(torch.zeros(5, 1, 1, dtype=torch.float64), torch.arange(5))
    torch.testing.assert_close(value[:, 0], density.log_prob(z), rtol=0, atol=1e-9)
