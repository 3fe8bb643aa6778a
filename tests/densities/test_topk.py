import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.densities.topk import smallest


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(0, 6),
    size=st.integers(1, 900),
    share=st.floats(0.0, 1.0),
    whole=st.booleans(),
    single=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_agrees_with_sorting(n, size, share, whole, single, seed):
    values = np.random.default_rng(seed).normal(0, 3, (n, size))
    values = (values.round() if whole else values).astype(np.float32 if single else np.float64)
    k = max(1, round(share * size))
    near, place = smallest(torch.from_numpy(values), k)
    np.testing.assert_array_equal(near, np.sort(values, axis=1)[:, :k])
    np.testing.assert_array_equal(np.take_along_axis(values, place.numpy(), 1), near)
    assert all(len(set(row)) == k for row in place.tolist())


def test_a_row_does_not_depend_on_its_batch():
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 40, (30, 700)) / 7)
    values[3] = 1.0
    whole, _ = smallest(values, 20)
    for i in range(len(values)):
        assert torch.equal(smallest(values[i : i + 1], 20)[0][0], whole[i])


@pytest.mark.parametrize("size", [40, 600])
def test_values_without_order_come_last(size):
    values = torch.arange(float(size)).repeat(3, 1)
    values[1] = torch.nan
    values[2] = torch.inf
    near, _ = smallest(values, 5)
    assert near[0].tolist() == [0, 1, 2, 3, 4]
    assert bool(near[1].isnan().all()) and bool(near[2].isinf().all())


def test_it_can_be_differentiated():
    values = torch.arange(500.0).flip(0)[None].requires_grad_()
    near, place = smallest(values, 3)
    near.sum().backward()
    assert values.grad.nonzero()[:, 1].sort().values.tolist() == place[0].sort().values.tolist()
