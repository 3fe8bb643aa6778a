"""GaussianMixture against scikit-learn, closed forms and automatic differentiation."""

import pickle

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.mixture import GaussianMixture as EMGaussianMixture

from scfe_sklearn.densities import GaussianMixture


def blobs(n=150, D=3, seed=0):
    rng = np.random.default_rng(seed)
    half = n // 2
    return np.vstack([rng.normal(-3, 1, (half, D)), rng.normal(3, 0.5, (n - half, D))]) + 10


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_agrees_with_sklearn(covariance_type):
    Z = blobs()
    density = GaussianMixture(3, covariance_type=covariance_type).fit(Z)
    reference = EMGaussianMixture(3, covariance_type=covariance_type)
    reference.weights_, reference.means_ = density.weights_, density.means_
    reference.precisions_cholesky_ = density.precisions_cholesky_
    Q = np.vstack([Z, Z[:4] + np.array([1e1, 1e2, 1e3, 1e5])[:, None]])
    expected = reference.score_samples(Q)
    np.testing.assert_allclose(density.score_samples(Q), expected, rtol=1e-6)
    assert density.score(Q) == pytest.approx(expected.mean())


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_one_component_is_the_normal_distribution(covariance_type):
    Z = np.random.default_rng(0).normal(size=(90, 3)) @ np.array(
        [[1, 0.5, 0], [0, 1, 0], [0, 0, 2]]
    )
    density = GaussianMixture(1, covariance_type=covariance_type, reg_covar=1e-6).fit(Z)
    covariance = np.cov(Z.T, bias=True)
    if covariance_type == "diag":
        covariance = np.diag(np.diag(covariance))
    expected = multivariate_normal(Z.mean(axis=0), covariance + 1e-6 * np.eye(3))
    np.testing.assert_allclose(density.score_samples(Z), expected.logpdf(Z), rtol=1e-6)
    assert density.scale_ == pytest.approx(2 * np.trace(covariance) / 3, rel=1e-4)
    gradient = density.log_prob_and_grad(torch.tensor(Z))[1].numpy()
    closed = -np.linalg.solve(expected.cov, (Z - Z.mean(axis=0)).T).T
    np.testing.assert_allclose(gradient, closed, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("D", [1, 4])
def test_gradient_is_exact(covariance_type, D):
    Z = blobs(D=D)
    density = GaussianMixture(3, covariance_type=covariance_type).fit(Z)
    z = torch.tensor(np.random.default_rng(1).normal(10, 4, (40, D)), requires_grad=True)
    automatic = torch.autograd.grad(density.log_prob(z).sum(), z)[0]
    value, gradient = density.log_prob_and_grad(z.detach())
    torch.testing.assert_close(value, density.log_prob(z.detach()))
    torch.testing.assert_close(gradient, automatic, rtol=1e-9, atol=1e-9)


def test_bic_finds_the_number_of_blobs():
    density = GaussianMixture().fit(blobs(400, 2))
    assert density.n_components_ == 2
    assert set(density.bic_) == {1, 2, 3, 4, 5, 6}
    assert min(density.bic_, key=density.bic_.get) == 2


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_candidates_leave_enough_rows(covariance_type):
    Z = np.random.default_rng(0).normal(size=(17, 4))
    density = GaussianMixture(covariance_type=covariance_type).fit(Z)
    assert set(density.bic_) == {1, 2, 3}


@pytest.mark.parametrize("parameters", [{}, {"n_components": 3}, {"covariance_type": "diag"}])
@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((1, 3)),
        np.full((8, 3), 2.0),
        np.eye(3)[:2],
        np.hstack([np.random.default_rng(0).normal(size=(30, 1)), np.full((30, 2), 5.0)]),
        np.eye(4)[np.random.default_rng(0).integers(4, size=60)] / np.sqrt(2),
    ],
    ids=["one", "equal", "two", "constant", "one-hot"],
)
def test_degenerate_rows(rows, parameters):
    density = GaussianMixture(**parameters).fit(rows)
    z = torch.tensor(rows + 0.1, requires_grad=True)
    value, gradient = density.log_prob_and_grad(z.detach())
    assert torch.isfinite(value).all()
    automatic = torch.autograd.grad(density.log_prob(z).sum(), z)[0]
    torch.testing.assert_close(gradient, automatic, rtol=1e-8, atol=1e-8)
    assert 0 < density.scale_ <= 4
    assert density.n_components_ <= len(np.unique(rows, axis=0))


def test_more_coordinates_than_rows():
    Z = np.random.default_rng(0).normal(size=(60, 784))
    density = GaussianMixture(2).fit(Z)
    assert density.covariance_type_ == "diag"
    expected = logsumexp(
        [
            np.log(w) + multivariate_normal(mean, np.diag(p**-2.0)).logpdf(Z)
            for w, mean, p in zip(
                density.weights_, density.means_, density.precisions_cholesky_, strict=True
            )
        ],
        axis=0,
    )
    np.testing.assert_allclose(density.score_samples(Z), expected, rtol=1e-6)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_a_batch_equals_its_rows(covariance_type, monkeypatch):
    density = GaussianMixture(2, covariance_type=covariance_type).fit(blobs())
    z = torch.tensor(blobs(20, seed=3))
    value, gradient = density.log_prob_and_grad(z)
    for i in range(len(z)):
        one = density.log_prob_and_grad(z[i : i + 1])
        torch.testing.assert_close(one[0][0], value[i], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(one[1][0], gradient[i], rtol=1e-10, atol=1e-10)
    monkeypatch.setattr("scfe_sklearn.densities.base._CHUNK_CPU", 18)
    torch.testing.assert_close(density.log_prob(z), value)
    torch.testing.assert_close(density.log_prob_and_grad(z)[1], gradient)
    assert density.log_prob_and_grad(z[:0])[1].shape == (0, 3)


def test_float32():
    density, z = GaussianMixture().fit(blobs()), torch.tensor(blobs(20, seed=3))
    value, gradient = density.log_prob_and_grad(z.float())
    assert value.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(value.double(), density.log_prob(z), rtol=1e-3, atol=1e-3)


def test_pickle_clone_and_repeat():
    Z = blobs()
    density = GaussianMixture(max_samples=100).fit(Z)
    expected = density.score_samples(Z)
    assert not any(isinstance(v, torch.Tensor) for v in density.__getstate__().values())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(density)).score_samples(Z), expected)
    np.testing.assert_array_equal(clone(density).fit(Z).score_samples(Z), expected)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter of GaussianMixture must be 'bic' or an"),
        ({"n_components": "aic"}, "Got 'aic' instead"),
        ({"covariance_type": "tied"}, "must be 'full' or 'diag'"),
        ({"reg_covar": 0.0}, "'reg_covar' parameter"),
        ({"max_components": 0}, "'max_components' parameter"),
        ({"max_samples": 1.5}, "'max_samples' parameter"),
    ],
)
def test_parameters_out_of_their_domain(parameters, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**parameters).fit(np.eye(3))
