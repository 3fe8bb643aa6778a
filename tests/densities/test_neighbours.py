"""NearestNeighbours against a loop over rows."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from scfe_sklearn.densities import NearestNeighbours


def brute_force_anchor(Y, k, q, left_out=None):
    """Sort, share the last places among ties, weigh by local density."""
    sums = np.array(
        [np.sort(np.linalg.norm(np.delete(Y, i, 0) - y, axis=1))[:k].sum() for i, y in enumerate(Y)]
    )
    sums[sums < 1e-12] = 0
    positive = sums[sums > 0]
    if len(positive):
        sums = np.maximum(sums, 0.1 * np.exp(np.log(positive).mean()))
    else:
        sums[:] = 1
    rows = [i for i in range(len(Y)) if i != left_out]
    distance = np.linalg.norm(Y[rows] - q, axis=1)
    k = min(k, len(rows))
    last = np.sort(distance)[k - 1]
    inside, tied = distance < last - 1e-7, abs(distance - last) <= 1e-7
    weights = (inside + tied * (k - inside.sum()) / tied.sum()) / sums[rows]
    return weights @ Y[rows] / weights.sum()


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 25),
    D=st.integers(1, 4),
    k=st.integers(1, 8),
    lattice=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_anchor_agrees_with_brute_force(n, D, k, lattice, seed):
    rng = np.random.default_rng(seed)
    Y, Q = rng.normal(0, 2, (n, D)), rng.normal(0, 3, (5, D))
    if lattice:  # many ties and duplicates
        Y, Q = Y.round(), Q.round()
    density = NearestNeighbours(k).fit(Y)
    expected = np.array([brute_force_anchor(Y, k, q) for q in Q])
    np.testing.assert_allclose(density.anchor(torch.tensor(Q)), expected, atol=1e-7)
    score = -((Q - expected) ** 2).sum(axis=1)
    np.testing.assert_allclose(density.score_samples(Q), score, atol=1e-7)
    value, gradient = density.log_prob_and_grad(torch.tensor(Q))
    np.testing.assert_allclose(value, score, atol=1e-7)
    np.testing.assert_allclose(gradient, 2 * (expected - Q), atol=1e-7)
    if n > 1:
        own = [brute_force_anchor(Y, k, y, i) for i, y in enumerate(Y)]
        left_out = -((Y - own) ** 2).sum(axis=1)
        np.testing.assert_allclose(density.training_log_prob(Y), left_out, atol=1e-7)


def test_gradient_where_the_neighbours_do_not_change():
    rng = np.random.default_rng(0)
    density, Q = NearestNeighbours(4).fit(rng.normal(size=(60, 3))), rng.normal(size=(20, 3))
    gradient, step = density.log_prob_and_grad(torch.tensor(Q))[1].numpy(), 1e-6
    for j, unit in enumerate(np.eye(3)):
        high, low = density.score_samples(Q + step * unit), density.score_samples(Q - step * unit)
        np.testing.assert_allclose(gradient[:, j], (high - low) / (2 * step), atol=1e-6)
    z = torch.tensor(Q, requires_grad=True)
    automatic = torch.autograd.grad(density.log_prob(z).sum(), z)[0]
    np.testing.assert_allclose(gradient, automatic, atol=1e-12)


def test_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 3, (50, 3)).astype(float)
    z = torch.tensor(rng.integers(-1, 4, (30, 3))).double()
    a, b = (NearestNeighbours(5).fit(rows).anchor(z) for rows in (Y, Y[::-1].copy()))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_batch_equals_its_rows(monkeypatch):
    rng = np.random.default_rng(0)
    density = NearestNeighbours(5).fit(rng.integers(0, 4, (200, 3)) / 3.0)
    z = torch.tensor(rng.integers(0, 4, (40, 3)) / 3.0)
    anchor, own = density.anchor(z), density.training_log_prob()
    for i in range(len(z)):
        torch.testing.assert_close(density.anchor(z[i : i + 1])[0], anchor[i], rtol=0, atol=1e-12)
    monkeypatch.setattr("scfe_sklearn.densities.base._CHUNK_CPU", 1000)
    torch.testing.assert_close(density.anchor(z), anchor, rtol=0, atol=1e-12)
    np.testing.assert_allclose(density.training_log_prob(), own, atol=1e-12)
    assert density.log_prob_and_grad(z[:0])[1].shape == (0, 3)


@pytest.mark.parametrize("rows", [np.ones((1, 2)), np.ones((7, 2)), np.eye(2)])
def test_few_or_equal_rows(rows):
    density = NearestNeighbours(5).fit(rows)
    np.testing.assert_allclose(density.anchor(torch.zeros(1, 2))[0], rows.mean(axis=0))
    assert np.isfinite(density.training_log_prob()).all()


def test_high_dimension_and_float32():
    rng = np.random.default_rng(0)
    Y, z = rng.uniform(size=(60, 784)), torch.tensor(rng.uniform(size=(9, 784)))
    density = NearestNeighbours(3).fit(Y)
    expected = np.array([brute_force_anchor(Y, 3, q) for q in z.numpy()])
    np.testing.assert_allclose(density.anchor(z), expected, atol=1e-9)
    single = density.anchor(z.float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, atol=1e-4)


def test_pickle_clone_and_state():
    Y = np.random.default_rng(0).normal(size=(60, 3))
    density = NearestNeighbours(max_samples=30).fit(Y)
    expected = density.score_samples(Y)
    assert density.samples_.shape == (30, 3)
    assert density.scale_ == 1.0
    assert not any(isinstance(v, torch.Tensor) for v in density.__getstate__().values())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(density)).score_samples(Y), expected)
    np.testing.assert_array_equal(clone(density).fit(Y).score_samples(Y), expected)


@pytest.mark.parametrize("parameters", [{"n_neighbors": 0}, {"max_samples": -3}])
def test_parameters_out_of_their_domain(parameters):
    with pytest.raises(ValueError, match=f"'{next(iter(parameters))}' parameter of NearestNeigh"):
        NearestNeighbours(**parameters).fit(np.eye(3))
