"""The separable operators against dense search, and against the published constants."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfe_sklearn.proximal import L0, L1, LHalf, LTwoThirds
from scfe_sklearn.proximal.operators import per_row, prox_l0, prox_l1, prox_l_half
from scfe_sklearn.proximal.operators import prox_l_two_thirds as prox_l23

# A new operator is tested by adding a line.
REGISTRY = [(prox_l0, 0.0), (prox_l_half, 0.5), (prox_l23, 2 / 3), (prox_l1, 1.0)]
IDS = ["l0", "half", "two_thirds", "l1"]
INF = np.inf
quick = settings(deadline=None, max_examples=25)


def objective(u, v, lam, p):
    size = np.abs(u)
    return 0.5 * (u - v) ** 2 + lam * (np.where(size > 0, 1.0, 0.0) if p == 0 else size**p)


def dense_minimum(v, lam, p, low, high):
    """Smallest objective over a fine grid of the interval, its ends, zero and v."""
    left, right = np.maximum(low, -np.abs(v) - 1), np.minimum(high, np.abs(v) + 1)
    left, right = np.minimum(left, high), np.maximum(right, low)
    grid = left + (right - left) * np.linspace(0, 1, 4001)[:, None, None]
    more = [np.clip(x, low, high) for x in (np.zeros_like(v), v)]
    grid = np.concatenate([grid, np.stack(more)])
    return objective(grid, v, lam, p).min(axis=0)


@pytest.mark.parametrize("prox, p", REGISTRY, ids=IDS)
@pytest.mark.parametrize("dtype, tol", [(torch.float64, 1e-11), (torch.float32, 3e-6)])
@pytest.mark.parametrize("box", ["none", "around zero", "touching", "anywhere"])
@quick
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.01, 0.3, 1.0, 4.0]))
def test_no_point_of_a_dense_search_is_better(prox, p, dtype, tol, box, seed, scale):
    rng = np.random.default_rng(seed)
    v, lam = rng.normal(0, 2, (4, 5)), scale * rng.uniform(0, 1, (4, 5))
    step = rng.uniform(0.5, 2, 4)
    low, high = -rng.uniform(0, 3, (4, 5)), rng.uniform(0, 3, (4, 5))
    if box == "none":
        low, high = np.full((4, 5), -INF), np.full((4, 5), INF)
    if box == "touching":
        low, high = low * (rng.random((4, 5)) < 0.5), high * (rng.random((4, 5)) < 0.5)
    if box == "anywhere":
        shift = rng.normal(0, 3, (4, 5))
        low, high = low + shift, high + shift
    t = [torch.tensor(x, dtype=dtype) for x in (v, step, lam, low, high)]
    u = (prox(*t[:3]) if box == "none" else prox(*t)).double().numpy()
    v, step, lam, low, high = (x.double().numpy() for x in t)
    assert ((u >= low) & (u <= high)).all()
    best = dense_minimum(v, step[:, None] * lam, p, low, high)
    assert (objective(u, v, step[:, None] * lam, p) <= best + tol * (1 + v**2)).all()


@quick
@given(seed=st.integers(0, 2**32 - 1))
def test_l0_stay_or_jump_in(seed):
    rng = np.random.default_rng(seed)
    v, low = rng.normal(0, 2, (4, 5)), rng.normal(0, 2, (4, 5))
    high, lam = low + rng.uniform(0, 2, (4, 5)), 0.4
    u = prox_l0(torch.tensor(v), lam, 1.0, torch.tensor(low), torch.tensor(high), stay=True)
    choices = np.stack([np.zeros_like(v), np.clip(v, low, high)])
    np.testing.assert_allclose(
        objective(u.numpy(), v, lam, 0), objective(choices, v, lam, 0).min(axis=0), atol=1e-12
    )


@pytest.mark.parametrize("prox, p", REGISTRY, ids=IDS)
def test_limits_of_the_strength(prox, p):
    v = torch.tensor([[-3.0, -1e-30, 0.0, 1e-20, 2.0, 1e12]])
    assert torch.equal(prox(v, 0.0), v)
    for huge in (torch.inf, 3e38):
        assert torch.equal(prox(v, huge), torch.zeros_like(v))
    box = torch.tensor([1.0]), torch.tensor([2.0])
    away = prox(v, torch.inf, 1.0, *box)
    assert torch.equal(away, v.clamp(1, 2) if p == 0 else torch.ones_like(v))
    assert torch.isfinite(prox(v, 1e-38)).all()


@pytest.mark.parametrize(
    "prox, threshold, value",
    [
        (prox_l0, lambda t: np.sqrt(2 * t), lambda t: np.sqrt(2 * t)),
        (prox_l_half, lambda t: 54 ** (1 / 3) / 4 * (2 * t) ** (2 / 3), lambda t: t ** (2 / 3)),
        (
            prox_l23,
            lambda t: 2 / 3 * (3 * (2 * t) ** 3) ** 0.25,
            lambda t: (2 * t / 3) ** 0.75,
        ),
        (prox_l1, lambda t: t, lambda t: 0.0),
    ],
    ids=IDS,
)
@pytest.mark.parametrize("lam", [1e-4, 0.3, 7.0])
def test_published_thresholds_and_jumps(prox, threshold, value, lam):
    at = threshold(lam)
    v = torch.tensor([[at * (1 - 1e-9), at * (1 + 1e-9), -at * (1 + 1e-9)]], dtype=torch.float64)
    u = prox(v, lam).numpy()[0]
    assert u[0] == 0
    np.testing.assert_allclose(u[1:], [value(lam), -value(lam)], rtol=1e-6, atol=1e-8 * at)


@pytest.mark.parametrize("prox, p", REGISTRY, ids=IDS)
def test_gradients_are_finite_everywhere(prox, p):
    v = torch.linspace(-3, 3, 61, dtype=torch.float64)[None].requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        prox(v, 1.0, 0.7).sum().backward()
    assert torch.isfinite(v.grad).all()


@pytest.mark.parametrize("prox, p", REGISTRY, ids=IDS)
def test_weights_of_every_shape_mean_the_same(prox, p):
    v = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    full = torch.full((3, 4), 0.6, dtype=torch.float64)
    expected = prox(v, 0.5, full)
    for weight in (0.6, full[0], full[:, :1]):
        assert torch.equal(prox(v, 0.5, weight), expected)
    for step in (0.5, torch.tensor(0.5), torch.full((3,), 0.5), torch.full((3, 1), 0.5)):
        assert torch.equal(prox(v, step, full), expected)


def test_clip_after_prox_is_not_the_prox():
    # Keeping 0.1 costs more than 0 although the free minimiser is large.
    u = LHalf(1.0).prox(torch.tensor([[1.6]]), 1.0, upper=torch.tensor(0.1))
    assert u.item() == 0


@pytest.mark.parametrize("cls, p", [(L0, 0), (LHalf, 0.5), (LTwoThirds, 2 / 3), (L1, 1)])
def test_values(cls, p):
    w = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, -2.0]], dtype=torch.float64)
    plain = [sum(abs(x) ** p for x in row if x) for row in w.tolist()]
    np.testing.assert_allclose(cls(2.0).value(w), 2 * np.array(plain))
    grouped = cls(2.0, groups=[0, 0, 1]).value(w, torch.tensor([1.0, 3.0]))
    np.testing.assert_allclose(grouped, [2 * 5.0**p, 6 * 2.0**p])


def test_wrong_arguments_are_refused():
    v = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"'beta' parameter of L0 must be .* Got -1 instead"):
        L0(-1).prox(v, 1.0)
    with pytest.raises(ValueError, match="'beta' parameter of L1"):
        L1("a").value(v)
    with pytest.raises(ValueError, match=r"shape \(2,\). Got shape \(3,\)"):
        per_row(torch.ones(3), v)
    with pytest.raises(ValueError, match="no exact prox over a box"):
        LHalf(groups=[0, 0, 1]).prox(v, 1.0, lower=-torch.ones(3))


def test_penalties_are_estimators():
    from sklearn.base import clone

    twin = clone(L1(0.5, groups=[0, 1])).set_params(beta=2.0)
    assert twin.get_params() == {"beta": 2.0, "groups": [0, 1]}
