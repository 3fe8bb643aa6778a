import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from scfe_sklearn.image.random import _mix, normal, uniform


def mix(z):
    """The finaliser of SplitMix64 on Python's own integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


@given(st.integers(-(2**63), 2**63 - 1))
def test_mixing_is_that_of_splitmix64(z):
    assert _mix(torch.tensor([z])).item() % 2**64 == mix(z % 2**64)


def test_the_published_numbers_of_splitmix64():
    # The first outputs of the reference generator from the state 1234567.
    state, golden, out = 1234567, 0x9E3779B97F4A7C15, []
    for _ in range(3):
        state = (state + golden) % 2**64
        signed = state - 2**64 if state >= 2**63 else state
        out.append(_mix(torch.tensor([signed])).item() % 2**64)
    assert out == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_uniform_and_normal(dtype):
    indices = torch.arange(40)
    u = uniform(3, indices, 0, 500, dtype)
    assert u.dtype == dtype
    assert u.min() >= 0
    assert u.max() < 1
    z = normal(3, indices, 0, 500, dtype)
    assert torch.isfinite(z).all()
    if dtype in (torch.float64, torch.float32):
        assert kstest(u.flatten().numpy(), "uniform").pvalue > 0.01
        assert kstest(z.flatten().numpy(), "norm").pvalue > 0.01


def test_seeds_places_streams_and_entries_are_independent():
    draws = [
        uniform(seed, torch.tensor([place]), stream, 4000, torch.float64)[0].numpy()
        for seed, place, stream in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**80, 0, 0)]
    ]
    draws.append(np.roll(draws[0], 1))
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation[:4, :4]).max() < 0.06
    assert np.abs(correlation[0, 5]) < 0.06
    # Another seed, place or stream is no shift of the same sequence.
    sets = [set(draw) for draw in draws[:4]]
    assert all(not a & b for i, a in enumerate(sets) for b in sets[:i])


@given(st.integers(0, 2**64), st.lists(st.integers(0, 2**40), min_size=2, max_size=5))
def test_an_image_is_drawn_for_by_itself(seed, indices):
    indices = torch.tensor(indices)
    together = normal(seed, indices, 7, 6, torch.float64)
    for row, place in zip(together, indices, strict=True):
        assert torch.equal(normal(seed, place[None], 7, 6, torch.float64)[0], row)
