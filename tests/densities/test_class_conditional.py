"""ClassConditionalDensity and the short names."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.neighbors import KernelDensity

from scfe_sklearn.densities import (
    ClassConditionalDensity,
    GaussianKDE,
    GaussianMixture,
    NearestNeighbours,
    resolve_density,
)
from tests.densities.own_density import OwnDensity

DENSITIES = [
    GaussianKDE(0.5),
    GaussianKDE("adaptive"),
    GaussianMixture(),
    NearestNeighbours(3),
    OwnDensity(),
]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(91, 3))
    y = np.array(["b", "a", "c"], dtype=object)[rng.integers(3, size=91)]
    y[-1] = "lonely"
    return Z, y


@pytest.mark.parametrize("density", DENSITIES)
def test_each_row_sees_the_density_of_its_class(data, density):
    Z, y = data
    joint = ClassConditionalDensity(density).fit(Z, y)
    assert joint.classes_.tolist() == ["a", "b", "c", "lonely"]
    z, index = torch.tensor(Z), torch.tensor(np.random.default_rng(1).integers(4, size=len(Z)))
    value, gradient = joint.log_prob_and_grad(z, index)
    torch.testing.assert_close(joint.log_prob(z, index), value)
    for c, label in enumerate(joint.classes_):
        alone, rows = clone(density, safe=False).fit(Z[y == label]), index == c
        expected = alone.log_prob_and_grad(z[rows])
        torch.testing.assert_close(value[rows], expected[0])
        torch.testing.assert_close(gradient[rows], expected[1])
        one_class = joint.log_prob(z, torch.full((len(z),), c))
        torch.testing.assert_close(one_class, alone.log_prob(z))
    assert joint.log_prob_and_grad(z[:0], index[:0])[1].shape == (0, 3)
    assert not any(name in vars(density) for name in ("n_features_in_", "mean"))  # not fitted


def test_gradient_flows_through_mixed_classes(data):
    joint = ClassConditionalDensity("kde").fit(*data)
    z, index = torch.tensor(data[0][:8], requires_grad=True), torch.arange(8) % 4
    automatic = torch.autograd.grad(joint.log_prob(z, index).sum(), z)[0]
    torch.testing.assert_close(joint.log_prob_and_grad(z.detach(), index)[1], automatic)


def test_quantile_ranks_among_the_other_rows_of_the_class(data):
    Z, y = data
    joint = ClassConditionalDensity(GaussianKDE(0.5)).fit(Z, y)
    A = Z[y == "a"]
    reference = [
        KernelDensity(bandwidth=0.5).fit(np.delete(A, i, 0)).score_samples(A[[i]])[0]
        for i in range(len(A))
    ]
    values = np.array([-1e3, np.median(reference), 0.0, np.nan])
    expected = [np.mean(np.array(reference) <= v) for v in values[:3]]
    got = joint.quantile(torch.tensor(values), torch.zeros(4, dtype=torch.long))
    np.testing.assert_allclose(got[:3], expected, atol=1 / len(A))
    assert np.isnan(got[3])
    assert got[0] == 0.0
    assert got[2] == 1.0
    mixed = joint.quantile([-1e3, 0.0], [3, 1])
    assert mixed.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("density", DENSITIES)
def test_new_rows_rank_uniformly(density):
    rng = np.random.default_rng(0)
    Z, new = rng.normal(size=(500, 3)), rng.normal(size=(500, 3))
    joint = ClassConditionalDensity(density).fit(Z, np.zeros(500))
    index = torch.zeros(500, dtype=torch.long)
    rank = joint.quantile(joint.log_prob(torch.tensor(new), index), index)
    assert abs(rank.mean() - 0.5) < 0.05


def test_pickle_clone(data):
    joint = ClassConditionalDensity(GaussianKDE(0.5)).fit(*data)
    z, index = torch.tensor(data[0]), torch.zeros(len(data[0]), dtype=torch.long)
    expected = joint.log_prob(z, index)
    assert torch.equal(pickle.loads(pickle.dumps(joint)).log_prob(z, index), expected)
    assert torch.equal(clone(joint).fit(*data).log_prob(z, index), expected)


def test_errors(data):
    joint = ClassConditionalDensity().fit(*data)
    z = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"ints in \[0, 4\)"):
        joint.log_prob(z, torch.tensor([0, 4]))
    with pytest.raises(ValueError, match=r"ints in \[0, 4\)"):
        joint.log_prob(z, torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        joint.log_prob(z, torch.tensor([0]))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        joint.fit(data[0], data[1][:-1])
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        joint.fit(data[0], data[1][:, None])


def test_resolve_density():
    kinds = {"kde": GaussianKDE, "gmm": GaussianMixture, "knn": NearestNeighbours}
    for name, kind in kinds.items():
        assert type(resolve_density(name)) is kind
    for own in (GaussianKDE(2.0), OwnDensity()):
        assert resolve_density(own) is own
    for wrong in ("flow", 3, GaussianKDE, KernelDensity()):
        with pytest.raises(ValueError, match="The 'density' parameter must be one of 'kde'"):
            resolve_density(wrong)
