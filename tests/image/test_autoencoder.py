import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch.autograd.functional import jacobian

from scfe_sklearn.densities import ClassConditionalDensity
from scfe_sklearn.image import AutoencoderDensity

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X / 8 - 1, y


@pytest.fixture(scope="module")
def density(digits):
    X, y = digits
    return AutoencoderDensity(SHAPE, epochs=25).fit(X[:1000][y[:1000] == 3])


def test_value_and_gradient_against_the_formula_and_differences(density, digits):
    z = torch.from_numpy(digits[0][1000:1004])
    value, gradient = density.log_prob_and_grad(z)
    error = (z - density.reconstruct(z)).square().sum(1)
    exact = -error / (2 * density.variance_) - 32 * np.log(2 * np.pi * density.variance_)
    torch.testing.assert_close(value, exact)
    torch.testing.assert_close(density.log_prob(z), value)
    whole = jacobian(lambda x: density._log(density._error(x)), z)
    torch.testing.assert_close(gradient, whole[range(4), range(4)])
    # Central differences: the net is piecewise smooth.
    way = torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).double()
    ahead, behind = (density.log_prob(z + h * way) for h in (1e-6, -1e-6))
    torch.testing.assert_close((ahead - behind) / 2e-6, (gradient * way).sum(1), rtol=1e-4, atol=0)


def test_a_row_does_not_feel_its_batch(density, digits):
    z = torch.from_numpy(digits[0][:300])
    together, slope = density.log_prob_and_grad(z)
    alone = [density.log_prob_and_grad(row[None]) for row in z[::60]]
    torch.testing.assert_close(together[::60], torch.cat([a for a, _ in alone]), rtol=1e-9, atol=0)
    torch.testing.assert_close(slope[::60], torch.cat([b for _, b in alone]), rtol=1e-8, atol=1e-8)
    assert density.log_prob(z[:0]).shape == (0,)
    assert density.log_prob_and_grad(z[:0])[1].shape == (0, 64)
    single = density.log_prob(z.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), together, rtol=1e-3, atol=0.1)


def test_it_knows_its_own_digits_from_others(density, digits):
    X, y = digits
    score = density.score_samples(X[1000:])
    assert roc_auc_score(y[1000:] == 3, score) > 0.9
    assert density.scale_ == pytest.approx(2 * density.variance_)


def test_one_seed_one_density_and_no_trace(digits):
    X = digits[0][:80]
    state = torch.random.get_rng_state()
    one = AutoencoderDensity(SHAPE, epochs=2, random_state=3).fit(X)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(7)
    two = clone(one).fit(X)
    other = clone(one).set_params(random_state=4).fit(X)
    np.testing.assert_array_equal(one.score_samples(X), two.score_samples(X))
    assert (one.score_samples(X) != other.score_samples(X)).all()
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(one.score_samples(X), again.score_samples(X))
    assert "_tensor_cache" not in again.__dict__ or again._tensor_cache.keys() == {
        ("module_", torch.float64, torch.device("cpu"))
    }


def test_one_per_class_for_colour_images_of_any_side():
    generator = np.random.default_rng(0)
    Z = generator.uniform(-1, 1, (60, 3 * 7 * 9)) * 0.1
    Z[:30, ::3] += 0.8  # red ones
    Z[30:, 2::3] += 0.8  # blue ones
    y = np.repeat(["red", "blue"], 30)
    both = ClassConditionalDensity(AutoencoderDensity((3, 7, 9), channels=(4, 8), epochs=30))
    both.fit(Z, y)
    z, red = torch.from_numpy(Z), torch.ones(60, dtype=torch.long)
    as_red, as_blue = both.log_prob(z, red), both.log_prob(z, 0 * red)
    assert (as_red[:30] > as_blue[:30]).all()
    assert (as_red[30:] < as_blue[30:]).all()


def test_rows_without_a_shape_are_lines():
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, (120, 1))
    waves = 0.8 * np.sin(np.linspace(0, 4 * np.pi, 24) + phase)
    density = AutoencoderDensity(channels=(8,), latent=3, epochs=60).fit(waves[:100])
    assert density.shape_ == (1, 1, 24)
    assert density.n_features_in_ == 24
    shuffled = np.random.default_rng(1).permuted(waves[100:], axis=1)
    assert density.score_samples(waves[100:]).min() > density.score_samples(shuffled).max()
    with pytest.raises(ValueError, match="24 features"):
        density.score_samples(waves[:, :20])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"shape": (8, 8)}, "'shape' parameter of AutoencoderDensity must be three positive"),
        ({"channels": ()}, "'channels' parameter of AutoencoderDensity must be a tuple"),
        ({"channels": (4, 4, 4, 4)}, "must be at most 3 for this shape"),
        ({"latent": 0}, "'latent' parameter"),
        ({"epochs": 2.5}, "'epochs' parameter"),
        ({"kl_weight": 0.0}, "'kl_weight' parameter"),
        ({"learning_rate": float("inf")}, "'learning_rate' parameter"),
        ({"random_state": -1}, "'random_state' parameter"),
        ({"shape": (3, 8, 8)}, "must have 192 values"),
    ],
)
def test_wrong_parameters_are_refused(parameters, words, digits):
    with pytest.raises(ValueError, match=words):
        AutoencoderDensity(**{"shape": SHAPE, **parameters}).fit(digits[0][:20])
