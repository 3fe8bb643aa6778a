"""Group operators against dense search in the plane, and simplices against optimality."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.proximal import L0, L1, LHalf, LTwoThirds, Simplex
from scfe_sklearn.proximal.groups import segment_argmax, segment_sum
from scfe_sklearn.proximal.simplices import project_simplices

GROUPS = torch.tensor([0, 1, 0, 1])
quick = settings(deadline=None, max_examples=20)


def plane_minimum(v, lam, p, low, high):
    """Smallest 1/2||u - v||^2 + lam ||u||^p over a grid of a rectangle, refined twice."""
    left, right = np.maximum(low, -np.abs(v) - 0.5), np.minimum(high, np.abs(v) + 0.5)
    left, right = np.minimum(left, high), np.maximum(right, low)
    best = np.inf
    zero = np.clip(0, low, high)
    for point in (zero, np.clip(v, low, high)):
        best = min(best, value(point[None], v, lam, p)[0])
    for _ in range(4):
        axes = [np.linspace(left[i], right[i], 121) for i in (0, 1)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
        costs = value(grid, v, lam, p)
        best, centre = min(best, costs.min()), grid[costs.argmin()]
        width = (right - left) / 20
        left, right = np.maximum(left, centre - width), np.minimum(right, centre + width)
    return best


def value(u, v, lam, p):
    norm = np.linalg.norm(u, axis=1)
    return 0.5 * ((u - v) ** 2).sum(1) + lam * np.where(norm > 0, norm**p if p else 1.0, 0.0)


# A new group operator is tested by adding a line: penalty, p, does it take boxes.
REGISTRY = [(L0, 0, True), (L1, 1, True), (LHalf, 0.5, False), (LTwoThirds, 2 / 3, False)]


@pytest.mark.parametrize("cls, p, boxed", REGISTRY)
@pytest.mark.parametrize("box", ["none", "around zero", "touching", "anywhere"])
@quick
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.05, 0.5, 2.0]))
def test_no_point_of_the_plane_is_better(cls, p, boxed, box, seed, scale):
    if box != "none" and not boxed:
        return
    rng = np.random.default_rng(seed)
    v, weight = rng.normal(0, 1.5, (2, 4)), rng.uniform(0.2, 1, (2, 2))
    low, high = -rng.uniform(0, 2, (2, 4)), rng.uniform(0, 2, (2, 4))
    if box == "touching":
        low = low * (rng.random((2, 4)) < 0.5)
    if box == "anywhere":
        shift = rng.normal(0, 1, (2, 4))
        low, high = low + shift, high + shift
    bounds = () if box == "none" else (torch.tensor(low), torch.tensor(high))
    if box == "none":
        low, high = np.full((2, 4), -np.inf), np.full((2, 4), np.inf)
    step = torch.tensor([scale, 2 * scale], dtype=torch.float64)
    prox = cls(1.5, groups=GROUPS).prox(torch.tensor(v), step, *bounds, weight=torch.tensor(weight))
    u = prox.numpy()
    assert ((u >= low) & (u <= high)).all()
    for i, g in itertools.product(range(2), range(2)):
        own = (g == GROUPS).numpy()
        lam = 1.5 * weight[i, g] * float(step[i])
        mine = value(u[i, own][None], v[i, own], lam, p)[0]
        assert mine <= plane_minimum(v[i, own], lam, p, low[i, own], high[i, own]) + 1e-10


@pytest.mark.parametrize("cls, p, boxed", REGISTRY)
def test_groups_of_one_are_the_separable_prox(cls, p, boxed):
    v = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    bounds = -torch.ones(4), torch.full((4,), 0.7)
    single = cls(0.4, groups=torch.arange(4)).prox(v, 1.0, *bounds)
    assert torch.equal(single, cls(0.4).prox(v, 1.0, *bounds))


@pytest.mark.parametrize("cls, p, boxed", REGISTRY)
def test_limits_of_the_strength(cls, p, boxed):
    v = torch.tensor([[1.0, -2.0, 0.0, 0.5]])
    bounds = (torch.full((4,), -1.0), torch.full((4,), 1.0)) if boxed else ()
    clipped = v.clamp(-1, 1) if boxed else v
    penalty = cls(1.0, groups=GROUPS)
    torch.testing.assert_close(penalty.prox(v, 0.0, *bounds), clipped)
    assert (penalty.prox(v, torch.inf, *bounds) == 0).all()
    assert (penalty.prox(0 * v, 1.0, *bounds) == 0).all()


def test_group_soft_threshold_in_a_box_gives_exact_zeros():
    # The first coordinate may not move; what is left of v is shorter than the threshold.
    v = torch.tensor([[3.0, 1.0, -0.4, 1.0]], dtype=torch.float64)
    upper = torch.tensor([0.0, 5.0, 5.0, 5.0])
    u = L1(0.5, groups=GROUPS).prox(v, 1.0, -upper, upper)
    assert (u[:, GROUPS == 0] == 0).all()
    assert (u[:, GROUPS == 1] > 0).all()


@quick
@given(seed=st.integers(0, 2**32 - 1))
def test_group_soft_threshold_with_a_box_that_does_not_bind(seed):
    v = torch.tensor(np.random.default_rng(seed).normal(size=(3, 4)))
    penalty, wide = L1(0.7, groups=GROUPS), torch.full((4,), 9.0)
    expected = penalty.prox(v, 1.0)
    torch.testing.assert_close(penalty.prox(v, 1.0, -wide, wide), expected, atol=1e-14, rtol=1e-13)


@quick
@given(seed=st.integers(0, 2**32 - 1), radius=st.floats(0.01, 5), width=st.integers(1, 9))
def test_simplex_projection_satisfies_the_optimality_conditions(seed, radius, width):
    v = np.random.default_rng(seed).normal(0, 2, (4, width)).round(1)  # with ties
    u = Simplex(radius).project(torch.tensor(v)).numpy()
    assert (u >= 0).all()
    np.testing.assert_allclose(u.sum(1), radius, atol=1e-12)
    # <v - u, x - u> <= 0 for every vertex x of the simplex.
    residual = v - u
    slack = radius * residual.max(1) - (residual * u).sum(1)
    assert (slack <= 1e-11).all()


def test_simplices_of_groups_equal_simplices_alone():
    rng = np.random.default_rng(0)
    y, groups = torch.tensor(rng.normal(size=(6, 7))), torch.tensor([0, 2, 0, 1, 2, 2, 1])
    radius = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    whole = project_simplices(y, radius, groups)
    for g in range(3):
        own = groups == g
        alone = Simplex(float(radius[g])).project(y[:, own])
        assert torch.equal(whole[:, own], alone)


def test_segments():
    x = torch.tensor([[1.0, 5.0, 3.0, 5.0]])
    assert segment_sum(x, GROUPS, 2).tolist() == [[4, 10]]
    assert segment_argmax(x, GROUPS, 2).tolist() == [[False, True, True, False]]
    blocked = x.masked_fill(GROUPS == 0, -torch.inf)
    assert segment_argmax(blocked, GROUPS, 2).tolist() == [[False, True, False, False]]
