"""Plain proximal gradient against its recursion, with the operator by brute force."""

import numpy as np
import pytest
import torch
from torch import nn

from scfe_sklearn.image import ProximalAttack
from scfe_sklearn.image.metrics import n_pixels

POWERS = {"l0": 0.0, "l1/2": 0.5, "l2/3": 2 / 3, "l1": 1.0}


def linear(scale=3.0):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(20, 2)).double()
    net[1].weight.data *= scale
    return net


def some_images(n=4):
    return torch.rand(n, 1, 4, 5, generator=torch.Generator().manual_seed(3)).double()


def brute_prox(v, weight, p, lower, upper):
    """The best of many points between the ends, per coordinate; zero among them."""
    grid = np.linspace(lower, upper, 20001)
    grid = np.concatenate([grid, np.zeros_like(grid[:1])])
    price = np.where(grid == 0, 0.0, np.abs(grid) ** p)
    value = (grid - v) ** 2 / 2 + weight * price
    return np.take_along_axis(grid, value.argmin(axis=0)[None], axis=0)[0]


@pytest.mark.parametrize("penalty", POWERS)
def test_steps_are_those_of_the_formula(penalty):
    net, x = linear(), some_images()
    weight, step = {"l0": 0.003, "l1": 0.2}.get(penalty, 0.03), 0.1
    result = ProximalAttack(net, penalty=penalty, weight=weight, step=step).explain(x)
    slope = (net[1].weight[1] - net[1].weight[0]).detach().numpy()
    sparse = 0
    for image, found, changes in zip(x, result.success, result.changes, strict=True):
        flat = image.numpy().ravel()
        with torch.no_grad():
            logits = net(image[None])[0].numpy()
        # Changes are in units of half the range.
        g = slope / 2 if logits[1] > logits[0] else -slope / 2
        w, lower, upper = np.zeros(20), -2 * flat, 2 * (1 - flat)
        for _ in range(200):
            w = brute_prox(w - step * g, step * weight, POWERS[penalty], lower, upper)
            if np.abs(logits[1] - logits[0]) + g @ w < 0:
                break
        else:
            assert not found
            continue
        assert found
        np.testing.assert_allclose(changes.numpy().ravel(), w / 2, atol=2e-3)
        sparse += (w == 0).sum()
    assert result.success.all()
    assert sparse > 0


@pytest.mark.parametrize("penalty", POWERS)
def test_a_price_that_is_too_high_moves_nothing(penalty):
    result = ProximalAttack(linear(), penalty=penalty, weight=1e3).explain(some_images())
    assert not result.success.any()


def test_a_higher_price_changes_fewer_pixels():
    net, x = linear(), some_images(8)
    counts = [
        n_pixels(ProximalAttack(net, weight=weight, step=0.1).explain(x).changes).double().mean()
        for weight in (0.0, 0.01, 0.04)
    ]
    assert counts[0] > counts[1] > counts[2]
