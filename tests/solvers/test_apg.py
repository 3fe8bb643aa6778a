"""Accelerated proximal gradient against closed forms, scikit-learn and scipy."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear
from sklearn.linear_model import Lasso

from scfe_sklearn.proximal import L0, L1
from scfe_sklearn.solvers.gradients.apg import accelerated_proximal_gradient
from scfe_sklearn.solvers.gradients.prox_linear import Evaluation


def boxed(lower, upper):
    lower, upper = torch.as_tensor(lower), torch.as_tensor(upper)

    def prox(v, step, rows):
        return torch.minimum(torch.maximum(v, lower[rows]), upper[rows]), torch.zeros_like(step)

    return prox


def penalised(penalty):
    return lambda v, step, rows: (u := penalty.prox(v, step), penalty.value(u))


def free(v, step, rows):
    return v.clone(), torch.zeros_like(step)


def least_squares(A, b):
    """h_i(z) = 1/2 ||A_i z - b_i||^2 for each row i."""
    A, b = torch.as_tensor(A), torch.as_tensor(b)

    def smooth(z, rows):
        residual = torch.einsum("kmd,kd->km", A[rows], z) - b[rows]
        gradient = torch.einsum("kmd,km->kd", A[rows], residual)
        return Evaluation((residual**2).sum(1) / 2, gradient)

    return smooth


def half_space(z0, weight, bias):
    """||z - z0||^2 with the margin z @ weight + bias, row by row."""
    z0, weight, bias = torch.as_tensor(z0), torch.as_tensor(weight), torch.as_tensor(bias)

    def smooth(z, rows):
        offset = z - z0[rows]
        margin = (z * weight[rows]).sum(1) + bias[rows]
        return Evaluation((offset**2).sum(1), 2 * offset, margin, weight[rows])

    return smooth


def wavy(z, rows):
    """A smooth nonconvex function with many stationary points."""
    value = (z**4 / 8 - z**2 + z / 3).sum(1) + z[:, 0] * z[:, -1] / 2
    gradient = z**3 / 2 - 2 * z + 1 / 3
    first, last = z[:, 0] / 2, z[:, -1] / 2
    gradient[:, 0] += last
    gradient[:, -1] += first
    return Evaluation(value, gradient)


def curved_margin(z, rows):
    """The wavy function with a curved margin."""
    here = wavy(z, rows)
    margin = 1 - (z**2).sum(1) / 9 + z[:, 0]
    slope = -2 * z / 9
    slope[:, 0] += 1
    return Evaluation(here.value, here.gradient, margin, slope)


def run(smooth, prox, start, **options):
    start = torch.as_tensor(start)
    options = {"step": torch.ones(len(start), dtype=start.dtype), "max_iter": 5000, **options}
    return accelerated_proximal_gradient(smooth, prox, start, **{"tol": 1e-10, **options})


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 4), D=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_bounded_least_squares_agrees_with_scipy(n, D, seed):
    rng = np.random.default_rng(seed)
    A, b = rng.normal(size=(n, D + 2, D)), rng.normal(0, 2, (n, D + 2))
    lower, upper = -rng.random((n, D)), rng.random((n, D))
    got = run(least_squares(A, b), boxed(lower, upper), rng.normal(size=(n, D)))
    for i in range(n):
        best = lsq_linear(A[i], b[i], (lower[i], upper[i]), tol=1e-12)
        np.testing.assert_allclose(got.value[i], best.cost, atol=1e-8)
        np.testing.assert_allclose(got.z[i], best.x, atol=1e-4)
    # What it says when it stops: the last step was shorter than the tolerance.
    assert bool((got.residual * got.step <= 1e-10 * (1 + got.z.norm(dim=1))).all())
    assert bool((got.multiplier == 0).all())


def test_separable_quadratic_is_clipped():
    centre = torch.tensor([[3.0, -0.2, 0.4], [-9.0, 0.0, 2.0]], dtype=torch.float64)
    weight = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)

    def smooth(z, rows):
        offset = z - centre[rows]
        return Evaluation((weight * offset**2).sum(1), 2 * weight * offset)

    lower, upper = -torch.ones(2, 3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64)
    got = run(smooth, boxed(lower, upper), torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(got.z, centre.clamp(-1, 1), atol=1e-8, rtol=0)


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5])
def test_l1_agrees_with_the_lasso(alpha):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 8)), rng.normal(size=40)
    y += X[:, 0] * 2 - X[:, 3]
    lasso = Lasso(alpha=alpha, fit_intercept=False, tol=1e-12, max_iter=10**5).fit(X, y)
    scale = 40**0.5
    smooth = least_squares(X[None] / scale, y[None] / scale)
    got = run(smooth, penalised(L1(alpha)), np.zeros((1, 8)))
    np.testing.assert_allclose(got.z[0], lasso.coef_, atol=1e-7)
    assert ((got.z[0].numpy() == 0) == (lasso.coef_ == 0)).all()


@settings(deadline=None, max_examples=15)
@given(D=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_l0_with_hinge_is_optimal_on_its_support(D, seed):
    """On its support the answer is the nearest point of the half space, in closed form."""
    rng = np.random.default_rng(seed)
    n = 5
    weight, beta = rng.normal(size=(n, D)), 0.2
    c = 1 + rng.random(n)
    origin = np.zeros((n, D))
    start = rng.normal(size=(n, D))
    gamma = torch.full((n,), 1e3, dtype=torch.float64)
    got = run(half_space(origin, weight, -c), penalised(L0(beta)), start, gamma=gamma)
    for i in range(n):
        support = got.z[i].numpy() != 0
        assert support.any()
        w = np.where(support, weight[i], 0)
        np.testing.assert_allclose(got.z[i], c[i] * w / (w @ w), atol=1e-6)
        best = min(
            c[i] ** 2 / sum(weight[i, j] ** 2 for j in subset) + beta * len(subset)
            for size in range(1, D + 1)
            for subset in combinations(range(D), size)
        )
        value = float(got.value[i])
        assert value >= best - 1e-6
        np.testing.assert_allclose(value, c[i] ** 2 / (w @ w) + beta * support.sum(), atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 4), D=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_hinge_projects_onto_half_space_in_box(tools, n, D, seed):
    rng = np.random.default_rng(seed)
    z0, weight = rng.normal(size=(n, D)), rng.normal(size=(n, D))
    lower, upper = z0 - 2 * rng.random((n, D)), z0 + 2 * rng.random((n, D))
    far = np.where(weight > 0, upper, lower)
    reach, now = (far * weight).sum(1), (z0 * weight).sum(1)
    bias = -(now + rng.uniform(-0.2, 0.95, n) * (reach - now))
    gamma = torch.full((n,), 1e4, dtype=torch.float64)
    got = run(half_space(z0, weight, bias), boxed(lower, upper), z0, gamma=gamma)
    for i in range(n):
        z, multiplier = tools.nearest_valid(z0[i], weight[i], bias[i], lower[i], upper[i])
        np.testing.assert_allclose(got.z[i], z, atol=1e-6)
        # Stationarity 2 (z - z0) = t w holds on coordinates inside the box only.
        if ((z > lower[i] + 1e-6) & (z < upper[i] - 1e-6) & (abs(weight[i]) > 0.1)).any():
            np.testing.assert_allclose(got.multiplier[i], multiplier, rtol=1e-4, atol=1e-4)


def best_of_active_sets(A, b, weight, bias, limit):
    """Least squares in a box and a half-space: every set of active constraints is solved."""
    best, least = None, np.inf
    for ends in product((-limit, 0.0, limit), repeat=len(weight)):  # 0 is strictly inside
        z, free = np.array(ends), np.array(ends) == 0
        for bound in (False, True):
            Q, rest = A[:, free].T @ A[:, free], A[:, free].T @ (b - A[:, ~free] @ z[~free])
            if bound:
                edge = weight[free][:, None]
                Q = np.block([[Q, edge], [edge.T, np.zeros((1, 1))]])
                rest = np.append(rest, -bias - weight[~free] @ z[~free])
            point = z.copy()
            point[free] = np.linalg.lstsq(Q, rest)[0][: free.sum()]
            value = ((A @ point - b) ** 2).sum() / 2
            inside = (abs(point) <= limit + 1e-9).all() and weight @ point + bias >= -1e-9
            if inside and value < least:
                best, least = point, value
    return best


def test_hinge_agrees_with_every_set_of_active_constraints():
    rng = np.random.default_rng(3)
    A, b = rng.normal(size=(1, 6, 4)), rng.normal(size=(1, 6))
    weight, bias = np.array([1.0, -0.5, 0.8, 0.3]), -3.0
    square = least_squares(A, b)

    def smooth(z, rows):
        here = square(z, rows)
        w = torch.from_numpy(weight)
        return Evaluation(here.value, here.gradient, z @ w + bias, w.repeat(len(z), 1))

    lower, upper = np.full((1, 4), -1.5), np.full((1, 4), 1.5)
    got = run(
        smooth,
        boxed(lower, upper),
        np.zeros((1, 4)),
        gamma=torch.full((1,), 1e3, dtype=torch.float64),
        tol=1e-7,
    )
    best = best_of_active_sets(A[0], b[0], weight, bias, 1.5)
    np.testing.assert_allclose(got.z[0], best, atol=1e-5)
    # The multiplier solves stationarity on the coordinates strictly inside the box.
    inside = abs(best) < 1.5 - 1e-6
    assert inside.any()
    slope = A[0].T @ (A[0] @ best - b[0])
    np.testing.assert_allclose(slope[inside], float(got.multiplier[0]) * weight[inside], rtol=1e-3)


@settings(deadline=None, max_examples=15)
@given(D=st.integers(1, 4), seed=st.integers(0, 10**6), margin=st.booleans())
def test_never_above_the_feasible_start(D, seed, margin):
    rng = np.random.default_rng(seed)
    start = torch.from_numpy(rng.normal(0, 3, (6, D)))
    prox, smooth = penalised(L0(0.3)), curved_margin if margin else wavy
    gamma = torch.full((6,), 1e6, dtype=torch.float64)
    options = {"gamma": gamma} if margin else {}
    rows = torch.arange(6)
    feasible, g = prox(start, torch.ones(6, dtype=torch.float64), rows)
    value = smooth(feasible, rows).merit(gamma if margin else torch.zeros_like(gamma)) + g
    for length in (1, 2, 5, 40):
        got = run(smooth, prox, start, max_iter=length, **options)
        # A larger gamma would be another objective.
        same = got.gamma <= 1e6 if margin else torch.ones_like(gamma, dtype=torch.bool)
        assert bool((got.value <= value + 1e-9 * (1 + value.abs()))[same].all())
        value = got.value  # longer runs repeat the shorter ones: the whole path descends
        here = smooth(got.z, rows).merit(got.gamma) + L0(0.3).value(got.z)
        torch.testing.assert_close(got.value, here, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("margin", [False, True])
def test_a_row_does_not_see_its_batch(margin):
    rng = np.random.default_rng(5)
    start = torch.from_numpy(rng.normal(0, 3, (12, 3)))
    step = torch.from_numpy(rng.uniform(0.01, 2, 12))
    smooth = curved_margin if margin else wavy
    options = {"max_iter": 60, "tol": 1e-6}
    gamma = torch.full_like(step, 2.0)

    def solve(rows):
        weights = {"gamma": gamma[rows]} if margin else {}
        return run(smooth, penalised(L1(0.2)), start[rows], step=step[rows], **weights, **options)

    together = solve(torch.arange(12))
    for i in range(12):
        alone = solve(torch.tensor([i]))
        for name in ("z", "value", "step", "gamma", "multiplier"):
            torch.testing.assert_close(
                getattr(together, name)[i], getattr(alone, name)[0], rtol=1e-9, atol=1e-9
            )


def test_gamma_is_raised_until_the_hinge_holds(tools):
    rng = np.random.default_rng(6)
    z0, weight = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    bias = -(z0 * weight).sum(1) - rng.uniform(0.5, 2, 5)
    wide = np.full((5, 3), 100.0)
    got = run(
        half_space(z0, weight, bias),
        boxed(-wide, wide),
        z0,
        gamma=torch.full((5,), 1e-3, dtype=torch.float64),
    )
    for i in range(5):
        z, multiplier = tools.nearest_valid(z0[i], weight[i], bias[i], -wide[i], wide[i])
        assert float(got.gamma[i]) >= multiplier
        np.testing.assert_allclose(got.z[i], z, atol=1e-5)
    np.testing.assert_array_less(-1e-6, (got.z.numpy() * weight).sum(1) + bias)


def test_gamma_stays_where_it_suffices():
    z0 = np.zeros((1, 2))
    gamma = torch.full((1,), 50.0, dtype=torch.float64)
    got = run(half_space(z0, np.ones((1, 2)), np.array([-1.0])), free, z0, gamma=gamma)
    assert float(got.gamma[0]) == 50.0
    np.testing.assert_allclose(got.z, [[0.5, 0.5]], atol=1e-8)
    np.testing.assert_allclose(got.multiplier, [1.0], atol=1e-6)


def test_finished_rows_leave_the_batch():
    A = np.stack([np.eye(4), np.diag([1, 0.1, 0.03, 0.01])])
    square = least_squares(A, np.ones((2, 4)))
    asked = []

    def smooth(z, rows):
        asked.append(rows.tolist())
        return square(z, rows)

    start = np.stack([np.ones(4), np.zeros(4)])
    got = run(smooth, free, start, tol=1e-7)
    assert got.n_iter > 20
    assert [0, 1] in asked
    first_alone = asked.index([1])
    assert first_alone <= 3
    assert all(0 not in rows for rows in asked[first_alone:])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), D=st.integers(1, 4))
def test_certificate_is_small_at_critical_points(seed, D):
    rng = np.random.default_rng(seed)
    start = rng.normal(0, 2, (5, D))
    penalty = L1(0.3)
    got = run(wavy, penalised(penalty), start, tol=1e-9)
    assert bool((got.residual < 1e-5).all())
    # An independent certificate: the plain proximal gradient step from the answer.
    here = wavy(got.z, None)
    step = 0.01
    moved = penalty.prox(got.z - step * here.gradient, step) - got.z
    assert float(moved.norm(dim=1).max()) / step < 1e-4


def test_points_outside_the_domain_are_backtracked_from():
    """h(z) = c z - log z is not a number left of zero; its minimiser is 1 / c."""
    c = torch.tensor([[0.5], [2.0], [40.0]], dtype=torch.float64)

    def smooth(z, rows):
        return Evaluation((c[rows] * z - z.log()).sum(1), c[rows] - 1 / z)

    start = torch.full((3, 1), 1.0, dtype=torch.float64)
    got = run(smooth, free, start, step=torch.full((3,), 100.0, dtype=torch.float64))
    torch.testing.assert_close(got.z, 1 / c, rtol=1e-6, atol=0)


def test_rows_without_a_finite_value_stay_alone():
    def smooth(z, rows):
        value = (z**2).sum(1)
        value[rows == 1] = torch.nan
        return Evaluation(value, 2 * z)

    got = run(smooth, free, torch.ones(3, 2, dtype=torch.float64))
    assert bool(got.value[1].isnan())
    torch.testing.assert_close(got.z[[0, 2]], torch.zeros(2, 2, dtype=torch.float64))


def test_ill_conditioned_quadratic_needs_few_iterations():
    curvature = torch.logspace(0, -4, 30, dtype=torch.float64)

    def smooth(z, rows):
        return Evaluation((curvature * z**2).sum(1) / 2, curvature * z)

    got = run(smooth, free, torch.ones(1, 30, dtype=torch.float64), max_iter=300, tol=0.0)
    # Plain gradient descent of step 1 / L has the closed form (1 - curvature)^k.
    plain = [(curvature * (1 - curvature) ** (2 * k)).sum() / 2 for k in (300, 3000)]
    assert float(got.value[0]) < float(plain[1]) < float(plain[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_given_is_changed(dtype):
    start = torch.full((2, 2), 3.0, dtype=dtype)
    step, gamma = torch.full((2,), 9.0, dtype=dtype), torch.full((2,), 0.1, dtype=dtype)
    weight = torch.ones(2, 2, dtype=dtype)
    smooth = half_space(torch.zeros(2, 2, dtype=dtype), weight, -weight[:, 0])
    got = run(smooth, free, start, step=step, gamma=gamma, tol=1e-6, max_iter=50)
    assert got.z.dtype == dtype
    assert bool((start == 3).all() and (step == 9).all() and (gamma == 0.1).all())
    assert bool((weight == 1).all())


def test_momentum_that_leads_back_is_no_convergence():
    """Momentum may carry a row beyond the box, from where it is projected onto its last point."""
    curvature = torch.tensor([1.0, 0.01], dtype=torch.float64)
    optimum = torch.linspace(0.9, 0.999, 50, dtype=torch.float64)

    def smooth(z, rows):
        offset = z - torch.stack([torch.zeros(len(rows)), optimum[rows]], 1)
        return Evaluation((curvature * offset**2).sum(1) / 2, curvature * offset)

    box = np.ones((50, 2))
    got = run(smooth, boxed(-box, box), np.zeros((50, 2)), tol=1e-8)
    torch.testing.assert_close(got.z[:, 1], optimum, atol=1e-5, rtol=0)


def test_hinge_pulls_over_the_jump_of_a_penalty():
    """The nearest valid point is 0.6 away: far less than what the l0 norm lets a row start with."""
    smooth = half_space(np.zeros((1, 1)), np.full((1, 1), 2.5), np.array([-1.5]))
    for gamma in (0.01, 1.0, 1e3):  # too little for the price of the change, or more than enough
        got = run(
            smooth,
            penalised(L0(0.2)),
            np.zeros((1, 1)),
            gamma=torch.full((1,), gamma, dtype=torch.float64),
        )
        np.testing.assert_allclose(got.z, [[0.6]], atol=1e-6)
        np.testing.assert_allclose(got.value, [0.56], atol=1e-5)


def test_no_rows():
    empty = torch.zeros(0, 2, dtype=torch.float64)
    got = run(lambda z, rows: Evaluation(z.sum(1), z), free, empty)
    assert got.z.shape == (0, 2)
    assert got.n_iter == 0


def test_a_blocked_row_keeps_its_step():
    """At the end of its box a row meets no curvature; its step does not grow for that."""

    def smooth(z, rows):
        return Evaluation(torch.zeros(len(z)), 0 * z, z[:, 0] - 10, torch.ones_like(z))

    def prox(v, step, rows):
        return v.clamp(0, 1), torch.zeros(len(v))

    run = accelerated_proximal_gradient(
        smooth,
        prox,
        torch.ones(1, 1),
        step=torch.full((1,), 0.5),
        gamma=torch.ones(1),
        max_iter=9,
        momentum=False,
    )
    assert run.z.tolist() == [[1.0]]
    assert float(run.step) == 0.5


def test_a_step_that_fails_is_shortened_and_nothing_else():
    """The margin bends away: a long step makes it worse, and more weight would not help."""

    def smooth(z, rows):
        return Evaluation(torch.zeros(len(z)), 0 * z, -1 - z[:, 0] ** 2, -2 * z)

    def prox(v, step, rows):
        return v.clone(), torch.zeros(len(v))

    def run(step, max_iter):
        start = torch.full((1, 1), 1e-3, dtype=torch.float64)
        return accelerated_proximal_gradient(
            smooth,
            prox,
            start,
            step=torch.full_like(start[0], step),
            gamma=torch.ones_like(start[0]),
            max_iter=max_iter,
            momentum=False,
        )

    once = run(1e5, 1)
    assert float(once.z) == 1e-3 and float(once.gamma) == 1.0
    assert float(once.step) <= 5e4
    # A step that is negligible ends the run of its row.
    assert run(1e-8, 50).n_iter <= 50
    assert abs(float(run(1e5, 60).z)) <= 1e-3
