import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.densities import LocalOutlierDensity
from scfe_sklearn.densities.topk import TwoSteps


@settings(deadline=None, max_examples=40)
@given(
    m=st.integers(1000, 1500),
    D=st.integers(1, 8),
    k=st.integers(1, 60),
    shift=st.sampled_from([0.0, 1e3, 1e6]),
    tail=st.booleans(),
    decimals=st.sampled_from([0, 1, 12]),
    seed=st.integers(0, 10**6),
)
def test_nothing_nearer_is_overlooked(m, D, k, shift, tail, decimals, seed):
    """Against all distances in double precision, whatever the size and spread of the numbers."""
    rng = np.random.default_rng(seed)
    points = (rng.standard_cauchy((m, D)) if tail else rng.normal(size=(m, D))).round(decimals)
    rows = np.concatenate([points[:4], points[:4] + rng.normal(0, 1e-3, (4, D))])
    found = TwoSteps(torch.from_numpy(points + shift)).nearest(torch.from_numpy(rows + shift), k)
    if found is None:  # ties, or rows far out
        assert decimals < 12 or tail or shift
        return
    near, place = (part.numpy() for part in found)
    expected = (((points + shift)[None] - (rows + shift)[:, None]) ** 2).sum(-1)
    np.testing.assert_allclose(near, np.sort(expected, axis=1)[:, :k], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        np.take_along_axis(expected, place, axis=1), near, rtol=1e-9, atol=1e-9
    )


def test_numbers_beyond_single_precision_take_the_long_way():
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(1200, 2)))
    assert TwoSteps(points * 1e30).nearest(points[:3] * 1e30, 5) is None
    assert TwoSteps(points).nearest(points[:3] * 1e30, 5) is None


@pytest.mark.parametrize("whole", [False, True])
def test_the_density_is_that_of_one_step(monkeypatch, whole):
    rng = np.random.default_rng(1)
    Z = rng.normal(0, 3, (2500, 3))
    Z = Z.round() if whole else Z
    density = LocalOutlierDensity().fit(Z)
    z = torch.from_numpy(np.concatenate([Z[:50], rng.normal(0, 5, (50, 3))]))
    value, slope = density.log_prob_and_grad(z)
    single = torch.stack([density.log_prob(row[None])[0] for row in z])
    assert torch.equal(single, value)
    monkeypatch.setattr(TwoSteps, "nearest", lambda *_: None)
    other, other_slope = density.log_prob_and_grad(z)
    torch.testing.assert_close(other, value, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(other_slope, slope, rtol=1e-6, atol=1e-6)
