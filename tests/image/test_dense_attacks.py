"""FGSM and PGD on linear models, whose smallest changes are known."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import nn

from scfe_sklearn.image import FastGradientSign, ProjectedGradient
from scfe_sklearn.image.metrics import lengths
from scfe_sklearn.proximal.balls import lmo_ball_box


def two_classes(size=24, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(size, 2)).double()


def some_images(n=5):
    return torch.rand(n, 2, 4, 3, generator=torch.Generator().manual_seed(2)).double()


def least_radii(net, x, p):
    """The radius from which on some change in ball and box reaches the other class."""
    slope = (net[1].weight[1] - net[1].weight[0]).detach()
    missing = net(x).detach() @ torch.tensor([[1.0], [-1.0]]).double()
    radii = []
    for image, margin in zip(x.flatten(1), missing[:, 0], strict=True):
        towards = slope * torch.sign(margin)

        def left(radius, image=image, towards=towards, margin=margin):
            best = lmo_ball_box(towards[None], p, radius, -image[None], 1 - image[None])
            return float(margin.abs() - (best * towards).sum())

        radii.append(brentq(left, 1e-9, 100))
    return np.array(radii)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, math.inf])
def test_fast_gradient_is_exact_on_linear_models(p):
    net, x = two_classes(), some_images()
    radii = least_radii(net, x, p)
    for factor, expected in ((0.999, False), (1.001, True)):
        for image, radius in zip(x, radii, strict=True):
            attack = FastGradientSign(net, p=p, radius=float(radius) * factor)
            result = attack.explain(image[None])
            assert result.success.tolist() == [expected]
            assert lengths(result.changes, p).item() <= radius * factor * (1 + 1e-9)
            assert result.n_forward.tolist() == [3]
            assert result.n_backward.tolist() == [1]


def test_the_sign_of_the_gradient():
    net, x = two_classes(), some_images()
    net.float()
    image = x.float().requires_grad_(True)
    logits = net(image)
    nn.functional.cross_entropy(logits, logits.argmax(1), reduction="sum").backward()
    result = FastGradientSign(net, radius=0.4).explain(x.float())
    expected = (x.float() + 0.4 * image.grad.sign()).clamp(0, 1)
    found = torch.from_numpy(result.success)
    assert found.sum() >= 3
    torch.testing.assert_close(result.counterfactuals[found], expected[found])


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
@pytest.mark.parametrize(("p", "step"), [(1, "auto"), (2, "auto"), (2, 0.3), (math.inf, 0.05)])
def test_projected_gradients_reach_what_can_be_reached(p, step, loss):
    net, x = two_classes(), some_images(3)
    radii = least_radii(net, x, p)
    # For p = 1 Auto-PGD moves many values by as much, which is not quite the best.
    for factor, expected in ((0.99, False), (1.3 if p == 1 else 1.05, True)):
        for image, radius in zip(x, radii, strict=True):
            step_here = step if step == "auto" else step * radius
            result = ProjectedGradient(
                net, p=p, radius=float(radius) * factor, step=step_here, loss=loss, n_iter=100
            ).explain(image[None])
            assert result.success.tolist() == [expected]
            assert lengths(result.changes, p).item() <= radius * factor * (1 + 1e-9)


def test_iterated_signs_start_at_the_image():
    """I-FGSM against its recursion, until the first point that reaches the goal."""
    net, x = two_classes(), some_images()
    attack = ProjectedGradient(net, radius=0.4, step=0.05, n_iter=8, random_start=False)
    result = attack.explain(x)
    assert torch.equal(result.counterfactuals, attack.set_params(random_state=7).explain(x)
                       .counterfactuals)  # fmt: skip
    label = net(x).argmax(1)
    image = x.clone()
    for _ in range(8):
        image.requires_grad_(True)
        loss = nn.functional.cross_entropy(net(image), label, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, image)
        image = (image + 0.05 * gradient.sign()).detach().clamp(x - 0.4, x + 0.4).clamp(0, 1)
    # A linear loss rises in every step, so the last point is the best.
    reached = net(image).argmax(1) != label
    assert result.success.tolist() == reached.tolist()
    assert reached.any()
    torch.testing.assert_close(result.counterfactuals[reached], image[reached])
    assert (result.n_forward == 8 + 1 + 2).all()


def test_restarts_are_for_images_that_need_them():
    net, x = two_classes(), some_images()
    radius = 1.05 * float(np.median(least_radii(net, x, 2)))
    result = ProjectedGradient(net, p=2, radius=radius, n_iter=30, n_restarts=3).explain(x)
    assert 0 < result.success.sum() < len(x)
    assert (result.n_forward[result.success] == 31 + 2).all()
    assert (result.n_forward[~result.success] == 3 * 31 + 2).all()


def test_of_all_successes_the_surest_is_kept(digits):
    net, x = digits
    short = ProjectedGradient(net, radius=0.5, step=0.02, n_iter=25).explain(x)
    long = ProjectedGradient(net, radius=0.5, step=0.02, n_iter=50).explain(x)
    assert short.success.all()
    assert (long.confidence_after >= short.confidence_after - 1e-6).all()
