import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from scfe_sklearn.proximal.groups import lmo_group_nuclear


def some(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6),
    st.floats(0.01, 10),
)  # fmt: skip
def test_the_maximum_is_the_radius_times_the_largest_spectral_norm(groups, a, b, seed, radius):
    c = some(3, groups, a, b, seed=seed)
    u = lmo_group_nuclear(c, radius)
    spectral = np.linalg.svd(c.numpy(), compute_uv=False)[..., 0].max(axis=1)
    nuclear = np.linalg.svd(u.numpy(), compute_uv=False).sum(axis=(1, 2))
    np.testing.assert_allclose((u * c).sum((1, 2, 3)), radius * spectral, rtol=1e-10)
    np.testing.assert_allclose(nuclear, radius, rtol=1e-10)


def test_no_point_of_the_ball_does_better():
    c = some(2, 3, 2, 3)
    best = (lmo_group_nuclear(c, 1.5) * c).sum((1, 2, 3))
    for seed in range(300):
        u = some(2, 3, 2, 3, seed=seed + 1)
        # Sparse and dense points alike, on the sphere.
        u = u * (some(2, 3, 1, 1, seed=1000 + seed) > (seed % 3 - 1) / 2)
        u = (
            1.5
            * u
            / torch.linalg.matrix_norm(u, ord="nuc").sum(1).clamp(min=1e-12)[:, None, None, None]
        )
        assert ((u * c).sum((1, 2, 3)) <= best + 1e-12).all()


def test_the_group_is_that_of_the_spectral_norm_not_of_the_nuclear_one():
    c = torch.zeros(1, 2, 2, 2)
    c[0, 0] = torch.diag(torch.tensor([3.0, 3.0]))
    c[0, 1] = torch.diag(torch.tensor([0.0, 4.0]))
    u = lmo_group_nuclear(c)
    torch.testing.assert_close(u[0, 1], torch.diag(torch.tensor([0.0, 1.0])))
    assert (u[0, 0] == 0).all()


def test_scale_sign_radii_and_zeros():
    c = some(4, 2, 3, 2)
    radius = torch.tensor([0.0, 1.0, 2.0, 3.0]).double()
    u = lmo_group_nuclear(c, radius)
    for factor in (1e-300, 1e-12, 1e6, 1e300):
        torch.testing.assert_close(lmo_group_nuclear(c * factor, radius), u)
    torch.testing.assert_close(lmo_group_nuclear(-c, radius), -u)
    torch.testing.assert_close(lmo_group_nuclear(c.mT.contiguous(), radius), u.mT)
    assert (u[0] == 0).all()
    assert (lmo_group_nuclear(torch.zeros(2, 3, 2, 2)) == 0).all()
    assert lmo_group_nuclear(c.float()).dtype == torch.float32
    for row in range(4):
        torch.testing.assert_close(lmo_group_nuclear(c[row, None], radius[row, None])[0], u[row])


def test_a_row_that_is_not_finite_stays_alone():
    c = some(3, 2, 3, 2)
    expected = lmo_group_nuclear(c)
    for bad in (torch.nan, torch.inf):
        c[1, 0, 0, 0] = bad
        u = lmo_group_nuclear(c)
        assert torch.isnan(u[1]).any()
        assert torch.equal(u[[0, 2]], expected[[0, 2]])
