"""GaussianKDE against scikit-learn, brute force and finite differences."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity

from scfe_sklearn.densities import GaussianKDE
from scfe_sklearn.densities.bandwidth import affine_rank, held_out_bandwidth, neighbour_factors


def brute_force(samples, bandwidths, Q):
    """Mixture of normals, kernel by kernel."""
    D = samples.shape[1]
    terms = [
        multivariate_normal(y, h**2 * np.eye(D)).logpdf(Q).reshape(len(Q))
        for y, h in zip(samples, bandwidths, strict=True)
    ]
    return logsumexp(terms, axis=0) - np.log(len(samples))


def central_differences(density, Q, step=1e-5):
    columns = []
    for unit in np.eye(Q.shape[1]):
        high, low = density.score_samples(Q + step * unit), density.score_samples(Q - step * unit)
        columns.append((high - low) / (2 * step))
    return np.column_stack(columns)


@pytest.mark.parametrize("h", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("D", [1, 7, 784])
def test_agrees_with_sklearn(h, D):
    rng = np.random.default_rng(D)
    Y = rng.normal(3, 1, (60, D))
    Y[20:30] = Y[0]
    far = Y[:5] + np.array([1e1, 1e2, 1e3, 1e4, 1e6])[:, None]
    Q = np.vstack([Y[:15], rng.normal(3, 1, (15, D)), far])
    expected = KernelDensity(bandwidth=h).fit(Y).score_samples(Q)
    np.testing.assert_allclose(GaussianKDE(h).fit(Y).score_samples(Q), expected, rtol=1e-6)


def test_agrees_with_sklearn_when_bandwidth_is_chosen():
    Y = np.random.default_rng(0).normal(size=(200, 3))
    density = GaussianKDE().fit(Y)
    expected = KernelDensity(bandwidth=density.bandwidth_).fit(Y)
    np.testing.assert_allclose(density.score_samples(Y), expected.score_samples(Y), rtol=1e-8)
    assert density.scale_ == pytest.approx(2 * density.bandwidth_**2)
    assert density.score(Y) == pytest.approx(expected.score(Y) / len(Y))


@pytest.mark.parametrize("D", [1, 5, 12])
def test_chosen_bandwidth_is_near_optimal_for_held_out_rows(D):
    Y = np.random.default_rng(D).standard_t(6, size=(250, D))
    grid = GridSearchCV(
        KernelDensity(),
        {"bandwidth": np.geomspace(0.03, 3, 40)},
        cv=KFold(5, shuffle=True, random_state=1),
    ).fit(Y)
    chosen = GridSearchCV(
        KernelDensity(),
        {"bandwidth": [GaussianKDE().fit(Y).bandwidth_]},
        cv=KFold(5, shuffle=True, random_state=1),
    ).fit(Y)
    assert (chosen.best_score_ - grid.best_score_) / 50 > -0.01  # sum over 50 held-out rows


def test_bandwidth_follows_the_unit_of_the_data():
    Y = np.random.default_rng(0).normal(size=(150, 4))
    assert GaussianKDE().fit(1e3 * Y).bandwidth_ == pytest.approx(
        1e3 * GaussianKDE().fit(Y).bandwidth_, rel=1e-2
    )


def test_constant_and_one_hot_columns_do_not_narrow_the_bandwidth():
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(200, 3))
    padded = np.hstack([Y, np.full((200, 20), 7.3)])
    assert affine_rank(padded) == 3
    assert held_out_bandwidth(padded) == pytest.approx(held_out_bandwidth(Y), rel=1e-6)
    assert affine_rank(np.eye(4)[rng.integers(4, size=50)] / np.sqrt(2)) == 3
    density = GaussianKDE().fit(padded)
    expected = KernelDensity(bandwidth=density.bandwidth_).fit(padded).score_samples(padded)
    np.testing.assert_allclose(density.score_samples(padded), expected, rtol=1e-6)


@pytest.mark.parametrize("bandwidth", ["cv", "adaptive"])
@pytest.mark.parametrize("rows", [np.zeros((1, 3)), np.full((9, 3), 0.1), np.eye(3)[:2]])
def test_few_or_equal_rows(rows, bandwidth):
    density = GaussianKDE(bandwidth).fit(rows)
    assert 0 < density.bandwidth_ < 10
    assert np.isfinite(density.score_samples(rows)).all()
    assert np.isfinite(density.training_log_prob(rows)).all()
    if len(rows) != 2:
        assert density.bandwidth_ == 1.0


@pytest.mark.parametrize("bandwidth", [0.4, "adaptive"])
def test_gradient_is_exact(bandwidth):
    rng = np.random.default_rng(0)
    Y, Q = rng.normal(size=(80, 4)), rng.normal(0, 2, (30, 4))
    density = GaussianKDE(bandwidth).fit(Y)
    z = torch.tensor(Q, requires_grad=True)
    automatic = torch.autograd.grad(density.log_prob(z).sum(), z)[0].numpy()
    value, gradient = density.log_prob_and_grad(torch.tensor(Q))
    np.testing.assert_allclose(value, density.score_samples(Q), rtol=1e-12)
    np.testing.assert_allclose(gradient, automatic, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gradient, central_differences(density, Q), rtol=1e-6, atol=1e-6)


def test_gradient_far_away_points_home():
    Y = np.random.default_rng(0).normal(size=(50, 3))
    value, gradient = GaussianKDE(0.2).fit(Y).log_prob_and_grad(torch.full((1, 3), 1e5).double())
    nearest = Y[np.linalg.norm(Y - 1e5, axis=1).argmin()]
    assert torch.isfinite(value).all()
    np.testing.assert_allclose(gradient[0], (nearest - 1e5) / 0.04, rtol=1e-6)


def test_adaptive_is_the_mixture_of_its_kernels():
    rng = np.random.default_rng(0)
    Y = rng.standard_t(3, size=(120, 3))
    Y[:30] = Y[0]
    density = GaussianKDE("adaptive", n_neighbors=7).fit(Y)
    distances = np.sort(np.linalg.norm(Y[:, None] - Y, axis=2), axis=1)[:, 7]
    mean = np.exp(np.log(distances[distances > 1e-12]).mean())
    expected = density.bandwidth_ * np.maximum(distances / mean, 0.1)
    np.testing.assert_allclose(density.bandwidths_, expected, rtol=1e-6)
    Q = np.vstack([Y[:40], rng.normal(0, 5, (20, 3)), np.full((1, 3), 1e4)])
    np.testing.assert_allclose(
        density.score_samples(Q), brute_force(Y, density.bandwidths_, Q), rtol=1e-6
    )
    assert density.scale_ == pytest.approx(2 * np.exp(2 * np.log(density.bandwidths_).mean()))


def test_adaptive_beats_one_bandwidth_on_heavy_tails():
    rng = np.random.default_rng(0)
    Y, new = rng.standard_t(2, size=(400, 2)), rng.standard_t(2, size=(400, 2))
    assert GaussianKDE("adaptive").fit(Y).score(new) > GaussianKDE("cv").fit(Y).score(new) + 0.1


def test_neighbour_factors_of_duplicates_only():
    assert (neighbour_factors(np.ones((6, 2)), 3) == 1).all()


@pytest.mark.parametrize("bandwidth", [0.3, "adaptive"])
def test_training_log_prob_leaves_one_out(bandwidth):
    Y = np.random.default_rng(0).normal(size=(40, 2))
    Y[5] = Y[4]
    density = GaussianKDE(bandwidth).fit(Y)
    rows = np.arange(len(Y))
    expected = [brute_force(Y[rows != i], density.bandwidths_[rows != i], Y[[i]])[0] for i in rows]
    np.testing.assert_allclose(density.training_log_prob(Y), expected, rtol=1e-8)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 10**6))
def test_a_batch_equals_its_rows(n, D, seed):
    rng = np.random.default_rng(seed)
    density = GaussianKDE(0.5).fit(rng.normal(size=(n, D)).round(1))
    z = torch.tensor(rng.normal(0, 3, (6, D)))
    value, gradient = density.log_prob_and_grad(z)
    for i in range(6):
        one = density.log_prob_and_grad(z[i : i + 1])
        torch.testing.assert_close(one[0][0], value[i], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(one[1][0], gradient[i], rtol=1e-11, atol=1e-11)


def test_chunks_do_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    density, z = GaussianKDE("adaptive").fit(rng.normal(size=(50, 3))), torch.randn(23, 3).double()
    whole = (density.log_prob(z), *density.log_prob_and_grad(z), density.training_log_prob())
    monkeypatch.setattr("scfe_sklearn.densities.base._CHUNK_CPU", 120)
    parts = (density.log_prob(z), *density.log_prob_and_grad(z), density.training_log_prob())
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_no_rows():
    density = GaussianKDE(1.0).fit(np.eye(3))
    value, gradient = density.log_prob_and_grad(torch.empty(0, 3))
    assert value.shape == density.log_prob(torch.empty(0, 3)).shape == (0,)
    assert gradient.shape == (0, 3)


def test_float32():
    rng = np.random.default_rng(0)
    Y, z = rng.normal(size=(200, 20)), torch.tensor(rng.normal(size=(50, 20)))
    density = GaussianKDE().fit(Y)
    value, gradient = density.log_prob_and_grad(z.float())
    assert value.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(value.double(), density.log_prob(z), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(
        gradient.double(), density.log_prob_and_grad(z)[1], rtol=1e-3, atol=1e-2
    )
    assert density.log_prob(torch.zeros(1, 20, dtype=torch.int64)).dtype == torch.float64


def test_missing_values_stay_missing_and_alone():
    density = GaussianKDE(1.0).fit(np.eye(3))
    z = torch.tensor([[0.0, torch.nan, 0.0], [0.0, 0.0, 0.0]])
    value, gradient = density.log_prob_and_grad(z)
    assert value.isnan().tolist() == [True, False]
    assert gradient.isnan().any(1).tolist() == [True, False]


def test_max_samples_error_is_as_documented():
    rng = np.random.default_rng(0)
    Y, q = rng.normal(size=(3000, 2)), np.array([[0.5, -0.5]])
    h, m = 0.3, 600
    full = GaussianKDE(h, max_samples=None).fit(Y).score_samples(q)[0]
    errors = [
        GaussianKDE(h, max_samples=m, random_state=s).fit(Y).score_samples(q)[0] - full
        for s in range(100)
    ]
    kept = GaussianKDE(h, max_samples=m).fit(Y).samples_
    assert kept.shape == (m, 2)
    w = np.exp(-((kept - q) ** 2).sum(axis=1) / (2 * h**2))
    w /= w.sum()
    stated = np.sqrt((1 - m / len(Y)) * ((w**2).sum() - 1 / m))
    assert 0.7 * stated < np.std(errors) < 1.4 * stated


@pytest.mark.parametrize("bandwidth", ["cv", "adaptive"])
def test_pickle_clone_and_repeat(bandwidth):
    Y = np.random.default_rng(0).normal(size=(60, 3))
    density = GaussianKDE(bandwidth, max_samples=40).fit(Y)
    expected = density.score_samples(Y)
    assert not any(isinstance(v, torch.Tensor) for v in density.__getstate__().values())
    assert "_tensor_cache" not in density.__getstate__()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(density)).score_samples(Y), expected)
    np.testing.assert_array_equal(clone(density).fit(Y).score_samples(Y), expected)
    fresh = density.fit(2 * Y).score_samples(Y)  # a second fit replaces the tensors, too
    np.testing.assert_array_equal(fresh, clone(density).fit(2 * Y).score_samples(Y))


def test_read_only_training_data():
    Y = np.eye(3)
    Y.flags.writeable = False
    assert np.isfinite(GaussianKDE(1.0).fit(Y).score_samples(Y)).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bandwidth": -1.0}, r"The 'bandwidth' parameter of GaussianKDE must be 'cv', .* Got -1"),
        ({"bandwidth": "scott"}, "Got 'scott' instead"),
        ({"bandwidth": True}, "Got True instead"),
        ({"n_neighbors": 0}, "The 'n_neighbors' parameter"),
        ({"max_samples": 0}, "The 'max_samples' parameter"),
    ],
)
def test_parameters_out_of_their_domain(parameters, message):
    with pytest.raises(ValueError, match=message):
        GaussianKDE(**parameters).fit(np.eye(3))


def test_inputs_of_the_wrong_shape():
    density = GaussianKDE(1.0).fit(np.eye(3))
    with pytest.raises(ValueError, match="fitted on 3 coordinates"):
        density.log_prob(torch.zeros(2, 4))
    with pytest.raises(TypeError, match=r"takes a torch\.Tensor"):
        density.log_prob(np.zeros((2, 3)))
