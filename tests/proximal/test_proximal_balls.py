"""Projections and linear oracles of balls and boxes against certificates of optimality.

u is the projection of v on a convex set C iff <v - u, x> <= <v - u, u> for all x in C: the
support function of C decides, which for a ball is the dual norm. An oracle's answer is checked
against linear programming where the set is a polytope, else against a dual bound.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize, minimize_scalar

from scfe_sklearn.proximal import Box, LpBall, Simplex
from scfe_sklearn.proximal.balls import _fill_by_newton, _fill_by_sorting

INF = np.inf
quick = settings(deadline=None, max_examples=20)
few = settings(deadline=None, max_examples=8)


def dual(p):
    return INF if p == 1 else 1.0 if p == INF else p / (p - 1)


def lp_bound(c, p, radius, low, high):
    """max <c, u> over a polytope ball and a box, by linear programming on u = a - b."""
    width = len(c)
    if p == INF:
        low, high = np.maximum(low, -radius), np.minimum(high, radius)
    bounds = [(0, h) for h in high] + [(0, -x) for x in low]
    rows = np.ones((1, 2 * width)) if p == 1 else None
    answer = linprog(-np.r_[c, -c], rows, [radius] if p == 1 else None, bounds=bounds)
    return -answer.fun


def dual_bound(c, p, radius, low, high):
    """Smallest upper bound mu r^p + sum max_{0 <= e <= room} (|c| e - mu e^p) over mu >= 0."""
    size, room = np.abs(c), np.minimum(np.where(c > 0, high, -low), radius)

    def bound(log_mu):
        mu = np.exp(log_mu)
        eta = np.minimum(room, (size / (p * mu)) ** (1 / (p - 1)))
        return mu * radius**p + (size * eta - mu * eta**p).sum()

    grid = np.linspace(-30, 15, 451)
    with np.errstate(over="ignore"):
        values = [bound(x) for x in grid]
        k = int(np.argmin(values))
        span = grid[max(k - 1, 0)], grid[min(k + 1, 450)]
        fine = minimize_scalar(bound, bounds=span, method="bounded", options={"xatol": 1e-12})
    # mu -> 0 is the case in which the whole room fits into the ball.
    fits = (room**p).sum() <= radius**p
    return min(fine.fun, min(values), (size * room).sum() if fits else INF)


def draw_box(rng, shape):
    low, high = -rng.uniform(0, 1.5, shape), rng.uniform(0, 1.5, shape)
    return low * (rng.random(shape) < 0.8), high * (rng.random(shape) < 0.8)


@pytest.mark.parametrize("p", [1, 1.01, 1.05, 1.3, 1.5, 2, 3, 7.5, 40, INF])
@quick
@given(seed=st.integers(0, 2**32 - 1), radius=st.floats(0.01, 4))
def test_ball_projection_has_a_certificate(p, seed, radius):
    v = np.random.default_rng(seed).standard_t(2, (4, 6)).round(2)
    u = LpBall(p, radius).project(torch.tensor(v)).numpy()
    assert (np.linalg.norm(u, p, axis=1) <= radius * (1 + 1e-12)).all()
    residual = v - u
    support = radius * np.linalg.norm(residual, dual(p), axis=1)
    scale = 1 + np.abs(v).max(1) ** 2
    assert (support - (residual * u).sum(1) <= 1e-9 * scale).all()


@pytest.mark.parametrize("p", [1, 2, INF])
@few
@given(seed=st.integers(0, 2**32 - 1), radius=st.floats(0.05, 3))
def test_projection_on_ball_and_box_has_a_certificate(p, seed, radius):
    rng = np.random.default_rng(seed)
    v = rng.normal(0, 2, (4, 5)).round(1)
    low, high = draw_box(rng, (4, 5))
    u = LpBall(p, radius).project(*map(torch.tensor, (v, low, high))).numpy()
    assert ((u >= low) & (u <= high)).all()
    assert (np.linalg.norm(u, p, axis=1) <= radius * (1 + 1e-12)).all()
    bound = dual_bound if p == 2 else lp_bound
    for i in range(4):
        residual = v[i] - u[i]
        support = bound(residual, p, radius, low[i], high[i])
        assert support - residual @ u[i] <= 2e-7 * (1 + np.abs(v).max() ** 2)


@pytest.mark.parametrize("p", [1, 1.1, 1.25, 1.5, 2, 3, INF])
@few
@given(seed=st.integers(0, 2**32 - 1), radius=st.floats(0.05, 3))
def test_lmo_on_ball_and_box_reaches_the_dual_bound(p, seed, radius):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(4, 5)).round(1)  # with zeros and ties
    low, high = draw_box(rng, (4, 5))
    u = LpBall(p, radius).lmo(*map(torch.tensor, (c, low, high))).numpy()
    assert ((u >= low) & (u <= high)).all()
    assert (np.linalg.norm(u, p, axis=1) <= radius * (1 + 1e-12)).all()
    bound = lp_bound if p in (1, INF) else dual_bound
    for i in range(4):
        best = bound(c[i], p, radius, low[i], high[i])
        assert c[i] @ u[i] == pytest.approx(best, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("p", [1.5, 2])
def test_lmo_on_ball_and_box_against_slsqp(p):
    rng = np.random.default_rng(4)
    c, (low, high) = rng.normal(size=5), draw_box(rng, 5)
    ball = {"type": "ineq", "fun": lambda u: 0.8 - (np.abs(u) ** p).sum() ** (1 / p)}
    free = [(x, y) for x, y in zip(low, high, strict=True)]
    start = 0.01 * (low + high)
    other = minimize(lambda u: -c @ u, start, bounds=free, constraints=ball, method="SLSQP")
    u = LpBall(p, 0.8).lmo(*(torch.tensor(x)[None] for x in (c, low, high)))[0].numpy()
    assert c @ u == pytest.approx(-other.fun, abs=1e-5)


@pytest.mark.parametrize("p", [1, 1.01, 1.5, 2, 5, INF])
def test_lmo_of_a_ball_is_the_dual_norm(p):
    c = np.random.default_rng(0).normal(size=(5, 8))
    radius = np.linspace(0.1, 3, 5)
    u = LpBall(p, torch.tensor(radius)).lmo(torch.tensor(c)).numpy()
    np.testing.assert_allclose((c * u).sum(1), radius * np.linalg.norm(c, dual(p), axis=1))
    np.testing.assert_allclose(np.linalg.norm(u, p, axis=1), radius)


@pytest.mark.parametrize("p", [1.0001, 1.01, 1.05])
def test_lmo_close_to_one_spends_what_is_left_on_small_gradients(p):
    # In plain powers the second weight underflows and would be left at zero.
    c = torch.tensor([[1.0, 1e-6, 0.0]], dtype=torch.float64)
    upper = torch.tensor([0.1, 5.0, 5.0], dtype=torch.float64)
    u = LpBall(p, 1.0).lmo(c, upper=upper)
    left = (1 - 0.1**p) ** (1 / p)
    np.testing.assert_allclose(u, [[0.1, left, 0.0]], rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1.0, 1e6])
@pytest.mark.parametrize("p", [1, 1.05, 1.1, 1.5, 2, 4, INF])
def test_lmo_in_single_precision_at_any_gradient_scale(p, scale):
    rng = np.random.default_rng(2)
    c, (low, high) = rng.normal(size=(3, 200)), draw_box(rng, (3, 200))
    box = torch.tensor(low), torch.tensor(high)
    exact = LpBall(p, 2.0).lmo(torch.tensor(c), *box)
    single = LpBall(p, 2.0).lmo(torch.tensor(c * scale, dtype=torch.float32), *box)
    np.testing.assert_allclose(single.double(), exact, atol=2e-5)


@pytest.mark.parametrize("p", [1, 1.5, 2, INF])
def test_degenerate_rows(p):
    zero = torch.zeros(2, 3, dtype=torch.float64)
    ones = torch.ones(2, 3, dtype=torch.float64)
    assert torch.equal(LpBall(p, 1.0).lmo(zero), zero)
    assert torch.equal(LpBall(p, 1.0).project(zero), zero)
    assert torch.equal(LpBall(p, 0.0).lmo(ones), zero)
    assert torch.equal(LpBall(p, 0.0).project(ones), zero)
    assert torch.equal(LpBall(p, 1.0).lmo(ones, zero, zero), zero)
    # A ball around the whole box: the corner.
    assert torch.equal(LpBall(p, 9.0).lmo(ones, -ones, ones), ones)
    large = 1e150 * ones
    assert torch.isfinite(LpBall(p, 1.0).project(large)).all()
    assert torch.isfinite(LpBall(p, 1.0).lmo(large)).all()


@quick
@given(seed=st.integers(0, 2**32 - 1))
def test_lmo_of_box_and_simplex_against_their_vertices(seed):
    rng = np.random.default_rng(seed)
    c, low = rng.normal(size=(4, 3)), rng.normal(size=3)
    high = low + rng.uniform(0, 1, 3)
    corner = Box(low, high).lmo(torch.tensor(c)).numpy()
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1)
    np.testing.assert_allclose((c * corner).sum(1), (c @ corners).max(1))
    vertex = Simplex(2.0).lmo(torch.tensor(c)).numpy()
    np.testing.assert_allclose((c * vertex).sum(1), 2 * c.max(1))
    np.testing.assert_allclose(vertex.sum(1), 2.0)


def test_wrong_constraints_are_refused():
    v = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"'p' parameter of LpBall must be .* Got 0.5 instead"):
        LpBall(0.5).project(v)
    with pytest.raises(ValueError, match="'radius' parameter of LpBall"):
        LpBall(2, -1.0).lmo(v)
    with pytest.raises(ValueError, match="must hold zero"):
        LpBall(2, 1.0).lmo(v, lower=torch.tensor(0.1))
    with pytest.raises(ValueError, match="1, 2 or inf for a projection on ball and box"):
        LpBall(1.5, 1.0).project(v, lower=-v)
    with pytest.raises(ValueError, match="'radius' parameter of Simplex"):
        Simplex(torch.tensor([1.0, -1.0])).project(v)
    with pytest.raises(ValueError, match="needs bounds"):
        Box(0.0).lmo(v)
    with pytest.raises(ValueError, match="'lower' parameter of Box"):
        Box(1.0, 0.0).project(v)


@pytest.mark.parametrize("p", [1.0001, 1.01, 1.5, 3, 100])
@pytest.mark.parametrize("share", [1e-6, 0.3, 0.999, 1.5])
def test_the_two_ways_to_fill_a_ball_agree(p, share):
    rng = np.random.default_rng(3)
    room = rng.uniform(0, 1, (4, 40))
    size = np.exp(rng.normal(size=(4, 40)) * np.array([[0.0], [0.1], [1.0], [5.0]]))
    radius = share * np.linalg.norm(room, p, axis=1, keepdims=True)
    log_a = np.log(size / size.max(axis=1, keepdims=True)) / (p - 1)
    room = np.minimum(room, radius) / radius
    log_mass, scaled = (torch.tensor(part) for part in (p * np.log(room), p * log_a))
    scaled[torch.tensor(rng.random((4, 40)) < 0.1)] = -torch.inf  # entries that cannot move
    whole = torch.where(torch.isfinite(scaled), torch.tensor(room) ** p, 0.0).sum(dim=1)
    level, full = _fill_by_sorting(log_mass, scaled)

    def norms(level, full):
        mass = torch.where(full, log_mass, torch.minimum(scaled + level, log_mass))
        return torch.where(torch.isfinite(scaled), torch.exp(mass), 0.0).sum(dim=1)

    np.testing.assert_allclose(norms(level, full), whole.clamp(max=1), rtol=1e-9)
    other = _fill_by_newton(log_mass, scaled)
    if other is not None:
        np.testing.assert_allclose(norms(*other), norms(level, full), rtol=1e-9)


def test_lmo_of_many_entries_that_fill_up_one_by_one():
    # Newton's method would take one step per entry, each as long as the row.
    size = torch.exp(torch.linspace(0, 40, 100_000, dtype=torch.float64))[None]
    ones = torch.ones_like(size)
    u = LpBall(1.0001, 60_000.0).lmo(size, -ones, ones)
    assert torch.equal(u[0, -59_000:], ones[0, -59_000:])
    assert float((u**1.0001).sum() ** (1 / 1.0001)) == pytest.approx(60_000, rel=1e-9)


@pytest.mark.parametrize("p", [1, 1.5, 2, INF])
def test_a_radius_beyond_single_precision_is_no_limit(p):
    ones = torch.ones(1, 3)
    assert torch.equal(LpBall(p, 1e60).lmo(ones, -ones, ones), ones)
    if p != 1.5:
        assert torch.equal(LpBall(p, 1e60).project(2 * ones, -ones, ones), ones)
