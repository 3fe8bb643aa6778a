import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from scfe_sklearn.image.metrics import lengths, n_clusters, n_patches, n_pixels


def random_change(seed, share, shape=(5, 2, 11, 9)):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=shape) * (rng.random(shape) < share))


@given(st.integers(0, 10**6), st.floats(0, 0.6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_clusters_are_those_of_scipy(seed, share, diagonal):
    w = random_change(seed, share)
    structure = np.ones((3, 3)) if diagonal else None
    expected = [ndimage.label((image != 0).any(0), structure)[1] for image in w.numpy()]
    assert n_clusters(w, diagonal).tolist() == expected


@given(st.integers(0, 10**6), st.floats(0, 0.2), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_windows_are_counted_as_they_are_defined(seed, share, size):
    w = random_change(seed, share)
    windows = w.unfold(2, size, 1).unfold(3, size, 1)
    expected = (windows.square().sum(dim=(1, 4, 5)) > 0).sum(dim=(1, 2))
    assert n_patches(w, size).tolist() == expected.tolist()


def test_a_small_image_is_one_window():
    assert n_patches(torch.ones(1, 1, 4, 9), 8).tolist() == [2]
    assert n_patches(torch.ones(1, 1, 4, 4), 8).tolist() == [1]


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, np.inf])
def test_lengths_and_pixels(p):
    w = random_change(0, 0.3)
    flat = w.reshape(len(w), -1).numpy()
    expected = abs(flat).max(1) if np.isinf(p) else (abs(flat) ** p).sum(1) ** (1 / p)
    np.testing.assert_allclose(lengths(w, p), expected)
    assert n_pixels(w).tolist() == (np.abs(w.numpy()).sum(1) > 0).sum((1, 2)).tolist()
