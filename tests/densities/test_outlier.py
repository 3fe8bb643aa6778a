"""LocalOutlierDensity against scikit-learn's LocalOutlierFactor and finite differences."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.neighbors import LocalOutlierFactor
from sklearn.utils.estimator_checks import parametrize_with_checks

from scfe_sklearn.densities import LocalOutlierDensity, resolve_density


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(3, 60),
    D=st.integers(1, 5),
    k=st.integers(1, 25),
    seed=st.integers(0, 10**6),
)
def test_agrees_with_scikit_learn(n, D, k, seed):
    rng = np.random.default_rng(seed)
    Y, Q = rng.normal(size=(n, D)), rng.normal(0, 2, (20, D))
    density = LocalOutlierDensity(k).fit(Y)
    neighbours = min(k, n - 1)
    judge = LocalOutlierFactor(neighbours, novelty=True).fit(Y)
    far = judge.kneighbors(Q)[0].min(1) > 1e-3  # the floor is far below
    # scikit-learn adds 1e-10 to a reach, which is a millionth of one of 1e-4.
    assume(density.reach_.min() > max(2 * density.floor_, 2e-4))
    expected = -np.log(-judge.score_samples(Q))
    np.testing.assert_allclose(density.score_samples(Q)[far], expected[far], rtol=1e-6, atol=1e-6)
    own = -np.log(-LocalOutlierFactor(neighbours).fit(Y).negative_outlier_factor_)
    np.testing.assert_allclose(density.training_log_prob(Y), own, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 50), D=st.integers(1, 4), k=st.integers(1, 20), seed=st.integers(0, 10**6))
def test_gradient_is_the_slope_of_the_value(n, D, k, seed):
    rng = np.random.default_rng(seed)
    density = LocalOutlierDensity(k).fit(rng.normal(size=(n, D)))
    z = torch.from_numpy(rng.normal(0, 3, (20, D)))
    value, gradient = density.log_prob_and_grad(z)
    torch.testing.assert_close(value, density.log_prob(z), rtol=0, atol=1e-12)
    slopes = []
    for h in (1e-6, -1e-6):
        steps = h * torch.eye(D, dtype=torch.float64)
        moved = [density.log_prob(z + step) for step in steps]
        slopes.append(torch.stack([(m - value) / h for m in moved], 1))
    # Where the set of neighbours or of reached ones changes, the two sides differ.
    smooth = (slopes[0] - slopes[1]).abs().amax(1) < 1e-3
    assert float(smooth.double().mean()) > 0.5
    torch.testing.assert_close(
        gradient[smooth], ((slopes[0] + slopes[1]) / 2)[smooth], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_automatic_differentiation_agrees(dtype):
    """Also at a training row, where the distance has no derivative."""
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(40, 3))
    Y[1] = Y[0]
    density = LocalOutlierDensity(5).fit(Y)
    leaf = torch.from_numpy(np.concatenate([rng.normal(0, 3, (10, 3)), Y[:6]])).to(dtype)
    leaf.requires_grad_(True)
    (slope,) = torch.autograd.grad(density.log_prob(leaf).sum(), leaf)
    assert bool(slope.isfinite().all())
    _, gradient = density.log_prob_and_grad(leaf.detach())
    assert gradient.dtype == dtype
    atol = 1e-3 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(slope[:10], gradient[:10], rtol=1e-3, atol=atol)


@pytest.mark.parametrize("repeats", [2, 30])
def test_repeated_rows_stay_finite(repeats):
    rng = np.random.default_rng(1)
    Y = np.repeat(rng.normal(size=(8, 2)), repeats, axis=0)
    density = LocalOutlierDensity(10).fit(Y)
    z = torch.from_numpy(np.concatenate([Y, Y + 1e-9, rng.normal(0, 3, (50, 2))]))
    value, gradient = density.log_prob_and_grad(z)
    assert bool(value.isfinite().all() and gradient.isfinite().all())
    assert np.isfinite(density.training_log_prob()).all()
    # Where rows repeat, one of them is no outlier; a point far away is.
    np.testing.assert_array_less(-1.0, density.score_samples(Y))
    assert density.score_samples([[50.0, 50.0]])[0] < density.score_samples(Y).min()


def test_all_rows_equal():
    density = LocalOutlierDensity().fit(np.full((30, 2), 3.0))
    value, gradient = density.log_prob_and_grad(torch.tensor([[3.0, 3.0], [4.0, 3.0]]).double())
    np.testing.assert_allclose(value[0], 0, atol=1e-9)
    assert float(value[1]) < -1
    assert bool(gradient.isfinite().all())
    assert float(gradient[1, 0]) < 0 and abs(float(gradient[1, 1])) < 1e-9
    np.testing.assert_allclose(density.training_log_prob(), 0, atol=1e-12)


def test_fewer_rows_than_neighbours():
    rng = np.random.default_rng(2)
    Y, Q = rng.normal(size=(4, 2)), rng.normal(size=(9, 2))
    many, few = LocalOutlierDensity(50).fit(Y), LocalOutlierDensity(3).fit(Y)
    np.testing.assert_array_equal(many.score_samples(Q), few.score_samples(Q))


def test_one_row():
    density = LocalOutlierDensity().fit([[1.0, 2.0]])
    value, gradient = density.log_prob_and_grad(
        torch.tensor([[1.0, 2.0], [1.0, 2.5], [1.0, 2 + np.e]], dtype=torch.float64)
    )
    # The only row reaches one unit far.
    np.testing.assert_allclose(value, [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(gradient, [[0, 0], [0, 0], [0, -1 / np.e]], atol=1e-12)
    assert density.training_log_prob().tolist() == [0.0]
    assert density.scale_ == 2.0


def test_a_subset_of_rows_is_kept():
    rng = np.random.default_rng(3)
    Y = rng.normal(size=(200, 2))
    density = LocalOutlierDensity(5, max_samples=50, random_state=1).fit(Y)
    assert density.samples_.shape == (50, 2)
    assert {tuple(row) for row in density.samples_} <= {tuple(row) for row in Y}
    again = LocalOutlierDensity(5, max_samples=None).fit(density.samples_)
    Q = rng.normal(size=(10, 2))
    np.testing.assert_array_equal(density.score_samples(Q), again.score_samples(Q))


def test_rows_are_independent_and_arguments_stay():
    rng = np.random.default_rng(4)
    density = LocalOutlierDensity(7).fit(rng.normal(size=(80, 3)))
    z = torch.from_numpy(rng.normal(size=(30, 3)))
    kept = z.clone()
    value, gradient = density.log_prob_and_grad(z)
    assert torch.equal(z, kept)
    for i in (0, 13, 29):
        one, slope = density.log_prob_and_grad(z[i : i + 1])
        torch.testing.assert_close(one[0], value[i], rtol=0, atol=1e-12)
        torch.testing.assert_close(slope[0], gradient[i], rtol=0, atol=1e-11)
    assert density.log_prob(z[:0]).shape == (0,)


def test_copies_and_names():
    rng = np.random.default_rng(5)
    Y = rng.normal(size=(40, 2))
    density = LocalOutlierDensity(6).fit(Y)
    value = density.score_samples(Y)
    copy = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(copy.score_samples(Y), value)
    assert not any(isinstance(v, torch.Tensor) for v in vars(copy).values())
    np.testing.assert_array_equal(clone(density).fit(Y).score_samples(Y), value)
    np.testing.assert_allclose(density.scale_, 2 * np.mean(density.reach_**2))
    assert isinstance(resolve_density("lof"), LocalOutlierDensity)


@pytest.mark.parametrize(
    "name, value", [("n_neighbors", 0), ("n_neighbors", 2.5), ("max_samples", 0)]
)
def test_parameters_are_checked(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of LocalOutlierDensity must be"):
        LocalOutlierDensity(**{name: value}).fit([[0.0], [1.0]])


@parametrize_with_checks([LocalOutlierDensity(5)])
def test_estimator_checks(estimator, check):
    check(estimator)


def lattice(rng, n):
    """Whole numbers and levels: most distances are those of many rows."""
    numbers = rng.integers(-2, 3, (n, 2)) * 0.3
    return np.concatenate([numbers, np.eye(3)[rng.integers(0, 3, n)] / 2**0.5], axis=1)


def by_definition(density, Y, z, k):
    """Loop over the definition; ties for the last place are averaged."""
    squared = ((Y - z) ** 2).sum(1).round(9)
    border = np.sort(squared)[k - 1]
    share = (squared < border).astype(float)
    tied = squared == border
    share[tied] = (k - share.sum()) / tied.sum()
    reach = np.maximum(np.sqrt(squared), density.reach_)
    return -np.log(share @ reach / k) - np.log(share @ density.local_density_ / k)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_ties_share_the_last_place(k):
    rng = np.random.default_rng(6)
    density = LocalOutlierDensity(k).fit(lattice(rng, 150))
    Q = lattice(rng, 40)
    expected = [by_definition(density, density.samples_, z, k) for z in Q]
    np.testing.assert_allclose(density.score_samples(Q), expected, atol=1e-9)


def test_ties_do_not_depend_on_the_batch_or_the_order():
    rng = np.random.default_rng(7)
    Y, Q = lattice(rng, 400), torch.from_numpy(lattice(rng, 60))
    density = LocalOutlierDensity(20).fit(Y)
    value, gradient = density.log_prob_and_grad(Q)
    torch.testing.assert_close(density.log_prob(Q), value, rtol=0, atol=1e-12)
    for part in (Q[:1], Q[5:8], Q[:31], Q[20:]):
        start = int((part[0] == Q).all(1).nonzero()[0])
        torch.testing.assert_close(density.log_prob(part)[0], value[start], rtol=0, atol=1e-12)
    for i in range(0, 60, 7):
        one, slope = density.log_prob_and_grad(Q[i : i + 1])
        torch.testing.assert_close(one[0], value[i], rtol=0, atol=1e-12)
        torch.testing.assert_close(slope[0], gradient[i], rtol=0, atol=1e-10)
    order = rng.permutation(400)
    turned = LocalOutlierDensity(20).fit(Y)
    for name in ("samples_", "reach_", "local_density_"):
        setattr(turned, name, getattr(density, name)[order])
    torch.testing.assert_close(turned.log_prob(Q), value, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 80), D=st.integers(1, 4), k=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_equal_distances_share_the_last_places(n, D, k, seed):
    rng = np.random.default_rng(seed)
    Y, Q = rng.integers(0, 4, (n, D)).astype(float), rng.integers(-1, 5, (15, D)).astype(float)
    density = LocalOutlierDensity(k).fit(Y)
    k = min(k, n - 1)
    expected = []
    for q in Q:
        squared = ((Y - q) ** 2).sum(axis=1)
        last = np.sort(squared)[k - 1]
        nearer, tied = squared < last, squared == last
        share = nearer + tied * (k - nearer.sum()) / tied.sum()
        reach = np.maximum(np.sqrt(squared), density.reach_)
        expected.append(
            -np.log((share * reach).sum() / k) - np.log((share * density.local_density_).sum() / k)
        )
    # Shares of places are rounded to single precision.
    np.testing.assert_allclose(density.score_samples(Q), expected, rtol=1e-6, atol=1e-6)
    value, _ = density.log_prob_and_grad(torch.from_numpy(Q))
    np.testing.assert_allclose(value, density.score_samples(Q), rtol=1e-11, atol=1e-11)
