"""StrAttack and FWnucl on linear models of two classes, whose optima are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from torch import nn

from scfe_sklearn.image import NuclearFrankWolfe, StrAttack
from scfe_sklearn.image.attacks.nuclear_frank_wolfe import golden_section
from scfe_sklearn.image.attacks.tiles import from_tiles, sliding_tilings, tile_of_values, to_tiles
from scfe_sklearn.image.metrics import lengths

SHAPE = (2, 6, 5)


def two_classes(gap=0.4):
    """A linear model, and the gap of its logits at a grey image."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(60, 2)).double()
    with torch.no_grad():
        net[1].bias.zero_()
        net[1].bias[:] = -net(torch.full((1, *SHAPE), 0.5).double())[0]
        net[1].bias[0] += gap
    return net


def grey_images(n=5):
    """Images in the middle of the range, which no small change leaves."""
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(2)).double()
    return 0.5 + 0.02 * (x - 0.5)


def slopes(net, x):
    """How the margin of each image falls with its pixels, and the margin."""
    logits = net(x).detach()
    slope = (net[1].weight[1] - net[1].weight[0]).detach().reshape(SHAPE)
    sign = torch.where(logits[:, 0] > logits[:, 1], 1.0, -1.0).double()
    return sign[:, None, None, None] * slope, (logits[:, 0] - logits[:, 1]).abs()


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(1, 8)
)
def test_tiles_are_a_way_to_cut_images(n, channels, height, width, side):
    x = torch.arange(1.0, 1 + n * channels * height * width).reshape(n, channels, height, width)
    tiles = to_tiles(x, side)
    assert torch.equal(from_tiles(tiles, x.shape), x)
    groups, n_groups = tile_of_values(channels, height, width, side)
    assert n_groups == tiles.shape[1] == int(groups.max()) + 1
    # The values of each group are those of its matrix, but for the padding.
    for group in range(n_groups):
        own = x[0].flatten()[groups == group].tolist()
        matrix = tiles[0, group].flatten()
        assert sorted(own) == sorted(matrix[matrix != 0].tolist())


@given(st.floats(-0.5, 1.5), st.floats(0.5, 4))
def test_golden_sections_find_the_minimum(at, power):
    calls = []

    def value(step):
        calls.append(step)
        return (step - at).abs() ** power

    found = golden_section(value, torch.ones(3, dtype=torch.float64), 25)
    assert len(calls) == 26
    assert (found - min(max(at, 0), 1)).abs().max() < 2e-5


def least_length(tile_slopes, margin, gamma, tau):
    """Exact: min gamma |w|^2 + tau sum_g |w_g| over the w that close the margin.

    Each tile moves along its slope, by (mu |a_g| - tau)+ / (2 gamma); mu closes the margin.
    """

    def moves(mu):
        return np.clip(mu * tile_slopes - tau, 0, None) / (2 * gamma)

    mu = brentq(lambda mu: (moves(mu) * tile_slopes).sum() - margin, 0, 1e6, xtol=1e-14)
    return gamma * (moves(mu) ** 2).sum() + tau * moves(mu).sum(), moves(mu)


@pytest.mark.parametrize("tau", [0.0, 0.05, 2.0])
def test_the_group_lasso_comes_close_to_its_optimum_and_never_below(tau):
    net, x = two_classes(), grey_images()
    # Pixels from 0 to 1; the attack's unit is half of that.
    slope, margin = slopes(net, x)
    groups, n_groups = tile_of_values(*SHAPE, 2)
    result = StrAttack(net, tau=tau, n_searches=12, n_iter=300, n_retrain=0).explain(x)
    assert result.success.all()
    w = 2 * result.changes.flatten(1).numpy()
    half = slope.flatten(1).numpy() / 2
    for row, a, missing in zip(w, half, margin.numpy(), strict=True):
        norms = np.array([np.linalg.norm(a[groups == g]) for g in range(n_groups)])
        own = np.array([np.linalg.norm(row[groups == g]) for g in range(n_groups)])
        least, moves = least_length(norms, missing, 1.0, tau)
        value = (own**2).sum() + tau * own.sum()
        assert least * (1 - 1e-6) <= value <= least * 1.1
        if tau == 2.0:
            # Tiles that the optimum leaves alone are left alone.
            assert (own > 0).sum() <= (moves > 0).sum() + 1
    if tau == 2.0:
        assert 0 < (w != 0).mean() < 0.9


@pytest.mark.parametrize(("side", "stride"), [(2, 1), (4, 2), (3, 1), (3, 3), (8, 2)])
def test_sliding_tiles_are_all_windows_of_that_stride(side, stride):
    channels, height, width = SHAPE
    cells = np.arange(height * width).reshape(height, width)
    expected = [
        cells[max(top, 0) : top + side, max(left, 0) : left + side].ravel().tolist()
        for top in range(stride - side, height, stride)
        for left in range(stride - side, width, stride)
    ]
    found = []
    for tiles, n_tiles in sliding_tilings(channels, height, width, side, stride):
        grid = tiles.reshape(channels, height * width)
        assert (grid == grid[0]).all()
        found += [(grid[0] == tile).nonzero()[:, 0].tolist() for tile in range(n_tiles)]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("tau", [0.02, 0.5])
def test_sliding_tiles_come_close_to_the_optimum(tau):
    net, x = two_classes(), grey_images(3)
    slope, margin = slopes(net, x)
    windows = np.array(
        [
            tiles.numpy() == tile
            for tiles, n_tiles in sliding_tilings(*SHAPE, 2, 1)
            for tile in range(n_tiles)
        ]
    )
    settings = {"side": 2, "tau": tau, "n_searches": 12, "n_iter": 300, "n_retrain": 0}
    result = StrAttack(net, stride=1, **settings).explain(x)
    assert result.success.all()

    def objective(w, smooth=0.0):
        return w @ w + tau * np.sqrt(windows @ w**2 + smooth).sum()

    def gradient(w, smooth):
        return 2 * w + tau * w * (windows.T @ (1 / np.sqrt(windows @ w**2 + smooth)))

    for row, a, missing in zip(
        2 * result.changes.flatten(1).numpy(),
        slope.flatten(1).numpy() / 2,
        margin.numpy(),
        strict=True,
    ):
        # A local solver of the smoothed convex program, from its answer without tiles.
        best = minimize(
            objective,
            missing * a / (a @ a),
            args=(1e-8,),
            jac=gradient,
            constraints={
                "type": "eq",
                "fun": lambda w, a=a, m=missing: a @ w - m,
                "jac": lambda w, a=a: a,
            },
            method="SLSQP",
            options={"maxiter": 200},
        ).x
        least = objective(best)
        assert least * (1 - 2e-3) <= objective(row) <= least * 1.1
        # What stays is a union of windows.
        empty = np.zeros(60, dtype=bool)
        for inside in windows:
            empty |= inside & (row[inside] == 0).all()
        np.testing.assert_array_equal(row == 0, empty)


def test_tiles_side_by_side_are_those_that_slide_by_their_side():
    net, x = two_classes(), grey_images(2)
    settings = {"side": 3, "n_searches": 4, "n_iter": 50, "n_retrain": 20, "tau": 0.5}
    plain = StrAttack(net, **settings).explain(x)
    slid = StrAttack(net, stride=3, **settings).explain(x)
    assert torch.equal(plain.counterfactuals, slid.counterfactuals)
    with pytest.raises(ValueError, match="'stride' parameter of StrAttack must be a divisor"):
        StrAttack(net, stride=2, **settings).explain(x)


def test_retraining_shortens_on_the_same_values():
    net, x = two_classes(), grey_images()
    settings = {"n_searches": 8, "n_iter": 100, "tau": 2.0}
    first = StrAttack(net, n_retrain=0, **settings).explain(x)
    second = StrAttack(net, n_retrain=300, quantile=0.0, **settings).explain(x)
    assert ((second.changes != 0) <= (first.changes != 0)).all()
    assert (lengths(second.changes) <= lengths(first.changes)).all()
    # The shortest change on given values: along their slopes.
    slope, margin = slopes(net, x)
    on = (slope * (first.changes != 0)).flatten(1)
    shortest = margin / on.norm(dim=1)
    ratio = lengths(second.changes) / shortest
    assert ratio.min() >= 1 - 1e-9
    assert ratio.max() <= 1.15
    fewer = StrAttack(net, n_retrain=300, quantile=0.2, **settings).explain(x)
    share = (fewer.changes != 0).flatten(1).sum(1) / (first.changes != 0).flatten(1).sum(1)
    assert (share <= 0.85).all()


@pytest.mark.parametrize("side", [3, 6])
def test_one_tile_of_rank_one_is_enough_from_the_known_radius_on(side):
    net, x = two_classes(gap=0.1), grey_images(3)
    slope, margin = slopes(net, x)
    spectral = np.linalg.svd(to_tiles(slope, side).numpy(), compute_uv=False)[..., 0]
    # In the attack's unit, half the range.
    radii = margin.numpy() / spectral.max(axis=1) * 2
    for image, radius, best in zip(x, radii, spectral.argmax(axis=1), strict=True):
        attack = NuclearFrankWolfe(net, side=side, radius=float(radius) * 0.98)
        missed = attack.explain(image[None])
        assert not missed.success.any()
        # One pass and a line search each, a last pass, and the two of every image.
        assert missed.n_forward.tolist() == [200 * (1 + 16) + 1 + 2]
        assert missed.n_backward.tolist() == [201]
        attack.set_params(radius=float(radius) * 1.02)
        found = attack.explain(image[None])
        assert found.success.all()
        tiles = to_tiles(found.changes, side)[0]
        changed = (tiles.abs() > 0).flatten(1).any(1).nonzero()[:, 0]
        assert changed.tolist() == [best]
        values = np.linalg.svd(2 * tiles[best].numpy(), compute_uv=False)
        assert values[1] <= 1e-9 * values[0]
        assert values[0] <= radius * 1.02 * (1 + 1e-9)


def test_going_on_makes_surer_and_denser(digits):
    net, x = digits
    brief = NuclearFrankWolfe(net, radius=8.0, n_iter=40).explain(x)
    long = NuclearFrankWolfe(net, radius=8.0, n_iter=40, stop_early=False).explain(x)
    np.testing.assert_array_equal(brief.success, long.success)
    assert brief.success.sum() > 6
    assert (long.confidence_after >= brief.confidence_after - 1e-6)[brief.success].all()
    assert brief.summary()["pixels"] < long.summary()["pixels"]
    assert (brief.n_forward <= long.n_forward).all()
    assert brief.n_forward[brief.success].mean() < long.n_forward[brief.success].mean() / 2
