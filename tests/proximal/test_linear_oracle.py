"""The linear oracle of lp-ball and box against a convex solver, 50 digits, and its symmetries."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from scfe_sklearn.proximal.balls import lmo_ball_box

few = settings(deadline=None, max_examples=12)


def draw(seed, shape, still=0.2):
    """Directions with zeros and ties, and boxes that some coordinates touch with zero."""
    rng = np.random.default_rng(seed)
    c = rng.standard_t(3, shape).round(1)
    low, high = -rng.uniform(0, 1.5, shape), rng.uniform(0, 1.5, shape)
    return c, low * (rng.random(shape) > still), high * (rng.random(shape) > still)


def oracle(c, p, radius, low, high):
    return lmo_ball_box(*_tensors(c, p, radius, low, high)).numpy()


def _tensors(c, p, radius, low, high):
    c, low, high = (torch.as_tensor(np.array(part, ndmin=2)) for part in (c, low, high))
    return c, p, radius, low, high


def by_convex_solver(c, p, radius, low, high):
    """Largest <c, u>, by a convex solver that knows nothing of the structure."""
    room = np.where(c > 0, high, -low)
    used = (c != 0) & (room > 0)
    size, room = np.abs(c[used]), room[used]
    if not used.any():
        return 0.0
    if p in (1, math.inf):
        rows = np.ones((1, len(size))) if p == 1 else None
        top = np.minimum(room, radius)
        found = linprog(-size, rows, [radius] if p == 1 else None, bounds=np.c_[0 * top, top])
        return -found.fun
    # In t = u^p the ball is a half space and the objective is concave and smooth.
    scale = size.max()
    size = size / scale
    top = np.minimum(room, radius) ** p
    found = minimize(
        lambda t: -size @ t ** (1 / p),
        0.9 * top / max(1, top.sum() / radius**p),
        jac=lambda t: -size / p * t ** (1 / p - 1),
        bounds=[(1e-15 * end, end) for end in top],
        constraints={"type": "ineq", "fun": lambda t: 1 - t.sum() / radius**p,
                     "jac": lambda t: -np.ones_like(t) / radius**p},
        method="SLSQP",
        options={"ftol": 1e-16, "maxiter": 2000},
    )  # fmt: skip
    return -found.fun * scale


# scipy before 1.15 warns where its steps leave the box by rounding.
@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
@pytest.mark.parametrize("p", [1, 1.25, 1.5, 2, 3, math.inf])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_convex_solver(p, seed):
    n = (3, 8, 15)[seed]
    c, low, high = draw(seed, n)
    radius = (0.4, 1.0, 2.0)[seed]
    u = oracle(c, p, radius, low, high)[0]
    best = by_convex_solver(c, p, radius, low, high)
    assert c @ u == pytest.approx(best, rel=1e-8, abs=1e-10)
    assert np.linalg.norm(u, p) <= radius * (1 + 1e-12)
    assert ((u >= low) & (u <= high)).all()


def in_fifty_digits(c, p, radius, low, high):
    """The maximiser from its optimality conditions, by bisection on log s in decimal numbers."""
    with localcontext() as context:
        context.prec = 50
        p, radius = Decimal(p), Decimal(radius)
        size = [abs(Decimal(x)) for x in c]
        room = [Decimal(h) if x > 0 else -Decimal(low_) if x < 0 else Decimal(0)
                for x, low_, h in zip(c, low, high, strict=True)]  # fmt: skip
        used = [k for k in range(len(size)) if size[k] > 0 and room[k] > 0]
        if sum(room[k] ** p for k in used) <= radius**p:
            eta = {k: room[k] for k in used}
        else:
            log_a = {k: size[k].ln() / (p - 1) for k in used}
            log_room = {k: room[k].ln() for k in used}
            down = min(log_room[k] - log_a[k] for k in used) + min(Decimal(0), radius.ln()) - 60
            up = max(log_room[k] - log_a[k] for k in used)
            for _ in range(190):
                middle = (down + up) / 2
                total = sum((p * min(log_room[k], middle + log_a[k])).exp() for k in used)
                down, up = (middle, up) if total < radius**p else (down, middle)
            eta = {k: min(log_room[k], up + log_a[k]).exp() for k in used}
        return [float(eta.get(k, 0)) * np.sign(c[k]) for k in range(len(c))]


@pytest.mark.parametrize("p", [1.001, 1.05, 1.25, 1.5, 2.0, 7.5])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
def test_agrees_with_fifty_digits(p, scale):
    c, low, high = draw(int(10 * p), (3, 12))
    for radius, row in zip((0.2, 1.1, 3.0), range(3), strict=True):
        one = c[row] * scale, p, radius, low[row], high[row]
        np.testing.assert_allclose(oracle(*one)[0], in_fifty_digits(*one), rtol=1e-9, atol=1e-12)


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    p=st.sampled_from([1, 1.02, 1.3, 1.5, 2, 5, math.inf]),
    power=st.integers(-40, 20),
)
def test_the_scale_of_the_direction_changes_nothing(seed, p, power):
    c, low, high = draw(seed, (4, 30))
    plain = oracle(c, p, 1.3, low, high)
    # A power of two changes no digit, any other scale the last one of each entry.
    np.testing.assert_array_equal(oracle(2.0**power * c, p, 1.3, low, high), plain)
    np.testing.assert_allclose(
        (c * oracle(0.7 * 10.0 ** (power // 3) * c, p, 1.3, low, high)).sum(1),
        (c * plain).sum(1),
        rtol=1e-12,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [1, 1.001, 1.1, 1.5, 2, 3, math.inf])
def test_from_tiny_to_large_gradients(p, dtype):
    c, low, high = (torch.tensor(part, dtype=dtype) for part in draw(5, (3, 200)))
    plain = (lmo_ball_box(c, p, 2.0, low, high) * c).double().sum(1)
    for scale in 10.0 ** torch.arange(-12, 7, dtype=torch.float64):
        u = lmo_ball_box(c * scale.to(dtype), p, 2.0, low, high)
        rtol = 1e-12 if dtype is torch.float64 else 2e-6
        torch.testing.assert_close((u * c).double().sum(1), plain, rtol=rtol, atol=0)


@few
@given(seed=st.integers(0, 2**32 - 1), p=st.sampled_from([1, 1.02, 1.5, 2, 5, math.inf]))
def test_signs_and_order_of_coordinates_carry_over(seed, p):
    rng = np.random.default_rng(seed)
    c, low, high = draw(seed, (4, 20))
    plain = oracle(c, p, 0.9, low, high)
    sign = rng.choice([-1.0, 1.0], 20)
    mirrored = oracle(c * sign, p, 0.9, np.where(sign > 0, low, -high),
                      np.where(sign > 0, high, -low))  # fmt: skip
    np.testing.assert_array_equal(mirrored, plain * sign)
    if p != 1:  # ties are filled in their order
        order = rng.permutation(20)
        moved = oracle(c[:, order], p, 0.9, low[:, order], high[:, order])
        np.testing.assert_allclose(moved, plain[:, order], rtol=1e-9, atol=1e-12)


def test_close_to_one_it_is_a_knapsack():
    c, low, high = draw(7, (5, 25))
    knapsack = (c * oracle(c, 1, 1.7, low, high)).sum(1)
    gaps = []
    for p in (1 + 1e-2, 1 + 1e-4, 1 + 1e-6):
        value = (c * oracle(c, p, 1.7, low, high)).sum(1)
        # The ball of p > 1 holds that of p = 1, and is at most n^(1 - 1/p) times as large.
        assert (value >= knapsack * (1 - 1e-12)).all()
        gaps.append((value / knapsack - 1).max())
        assert gaps[-1] <= 25 ** (1 - 1 / p) - 1 + 1e-12
    assert gaps[0] > 1e-3


@pytest.mark.parametrize("p", [1.05, 1.5, 2.0, 4.0])
def test_a_box_that_does_not_bind_leaves_hoelder(p):
    c = np.random.default_rng(1).standard_normal((4, 30))
    u = oracle(c, p, 0.3, np.full_like(c, -5), np.full_like(c, 5))
    dual = p / (p - 1)
    direction = np.sign(c) * np.abs(c) ** (dual - 1)
    exact = 0.3 * direction / np.linalg.norm(direction, p, axis=1, keepdims=True)
    np.testing.assert_allclose(u, exact, rtol=1e-11, atol=1e-15)
    if p == 2:
        np.testing.assert_allclose(u, 0.3 * c / np.linalg.norm(c, axis=1, keepdims=True))


@pytest.mark.parametrize("p", [1.001, 1.1, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("radius", [1.0, 30.0, 2000.0])
def test_no_duality_gap_with_many_coordinates(p, radius):
    """For every mu, mu radius^p + sum max_eta (|c| eta - mu eta^p) bounds <c, u> from above."""
    c, low, high = draw(3, 100_000, still=0.05)
    u = oracle(c, p, radius, low, high)[0]
    size, eta = np.abs(c), np.abs(u)
    room = np.where(c > 0, high, np.where(c < 0, -low, 0.0))
    assert (eta <= room).all()
    # From an entry in the middle: |c| = mu p eta^(p-1); the whole room fits otherwise.
    inner = (eta > 0) & (eta < room * (1 - 1e-9)) & (eta < radius)
    mu = 0.0
    if inner.any():
        k = np.flatnonzero(inner)[np.argmax(eta[inner])]
        log_mu = np.log(size[k]) - np.log(p) - (p - 1) * np.log(eta[k])
        mu = np.exp(log_mu)
        with np.errstate(divide="ignore", over="ignore"):
            free = np.exp((np.log(size) - np.log(p) - log_mu) / (p - 1))
        best = np.minimum(room, free)
    else:
        best = room
    bound = mu * (radius**p - (best**p).sum()) + (size * best).sum()
    assert bound - c @ u == pytest.approx(0, abs=1e-9 * abs(bound))
    assert np.linalg.norm(u, p) <= radius * (1 + 1e-12)


def test_it_ends_where_entries_fill_up_one_after_the_other():
    # Each entry leaves a bit less for the next, over a range that no power can hold; below 1e-16
    # of the radius nothing is left to share.
    width, p = 80, 1.01
    log_c = -np.arange(width) * (p - 1) * 1.2 / p
    left, share = 1.0, []
    for _ in range(width):
        share.append(0.98 * left * (1 - math.exp(-1.2)))
        left -= share[-1]
    room = np.array(share) ** (1 / p)
    c = np.exp(log_c)
    u = oracle(c, p, 1.0, np.zeros(width), room)[0]
    exact = in_fifty_digits(c, p, 1.0, np.zeros(width), room)
    np.testing.assert_allclose(u, exact, rtol=1e-9, atol=1e-15)
