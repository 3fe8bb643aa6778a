"""Nothing changes outside a region, and inside it what has to change is found."""

import numpy as np
import pytest
import torch
from torch import nn

from scfe_sklearn.image import (
    PGD0,
    AutoFrankWolfe,
    FastGradientSign,
    PlausibleImageExplainer,
    SparseRandomSearch,
    visual_paths,
)
from scfe_sklearn.proximal.balls import lmo_ball_box
from tests.image.test_every_attack import EVERY, colour_images, colour_net, explainer


def halves(n, side=(10, 8)):
    """A region of its own for each image: half of the columns, then half of the rows."""
    mask = torch.zeros(n, *side, dtype=torch.bool)
    mask[0::2, :, : side[1] // 2] = True
    mask[1::2, side[0] // 2 :] = True
    return mask


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("batch", [2, 512])
def test_nothing_changes_outside(name, batch):
    net, x = colour_net(), colour_images(4)
    region = halves(4)
    result = explainer(name, net, batch_size=batch).explain(x, region=region)
    outside = ~region[:, None].expand_as(x)
    assert (result.changes[outside] == 0).all()
    found = torch.from_numpy(result.success)
    if name != "fwnucl, to the end":
        assert found.any()
    with torch.no_grad():
        after = net.eval()(result.counterfactuals[found]).argmax(1)
    assert (after.numpy() != result.before[result.success]).all()
    whole = explainer(name, net).explain(x, region=torch.ones(10, 8, dtype=torch.bool))
    free = explainer(name, net).explain(x)
    torch.testing.assert_close(
        whole.counterfactuals, free.counterfactuals, equal_nan=True, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", EVERY)
def test_an_empty_region_has_no_answer(name):
    x = colour_images(2)
    result = explainer(name, colour_net()).explain(x, region=np.zeros((10, 8), dtype=bool))
    assert not result.success.any()
    assert (torch.nan_to_num(result.changes) == 0).all()


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_the_best_image_within_a_region_is_that_of_the_region_alone(p):
    """A linear model of two classes: the oracle over the pixels of the region is the answer."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 80, 2)).double()
    x, region = colour_images(4), halves(4)
    result = AutoFrankWolfe(net, p=p, radius=1.0, n_iter=60).explain(x, region=region)
    other = 1 - net(x).argmax(1)
    slope = (net[1].weight[1] - net[1].weight[0]).detach().reshape(3, 10, 8)
    for k in range(4):
        inside = region[k].expand(3, 10, 8)
        c = (slope if other[k] == 1 else -slope)[inside][None]
        flat = x[k][inside][None]
        best = x[k].clone()
        best[inside] = (flat + lmo_ball_box(c, p, 1.0, -flat, 1 - flat))[0]
        expected = torch.softmax(net(best[None]), 1)[0, other[k]].item()
        assert result.confidence_after[k] == pytest.approx(expected, rel=1e-4)
    gradient = FastGradientSign(net, p=p, radius=1.0).explain(x, region=region)
    np.testing.assert_allclose(
        gradient.confidence_after[gradient.success],
        result.confidence_after[gradient.success],
        rtol=1e-4,
    )


@pytest.mark.parametrize("kind", [SparseRandomSearch, PGD0])
def test_pixels_are_spent_inside(kind):
    """All pixels of the budget fit the region, so all of them lie there."""
    net, x, region = colour_net(), colour_images(4), halves(4)
    result = kind(net, n_pixels=12).explain(x, region=region)
    found = torch.from_numpy(result.success)
    assert found.any()
    changed = (result.changes != 0).any(1)
    assert (changed & ~region).sum() == 0
    assert (changed[found].flatten(1).sum(1) >= 11).all()


def test_plausible_images_keep_to_a_region():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double()
    images = torch.rand(60, 1, 4, 4).double()
    model = PlausibleImageExplainer(net, max_pixels=4, density="kde")
    model.fit(images, net(images).argmax(1))
    region = torch.zeros(4, 4, dtype=torch.bool)
    region[:, :2] = True
    result = model.explain(images[:6], region=region)
    assert result.success.mean() > 0.5
    assert (result.changes[:, :, :, 2:] == 0).all()
    assert (result.measures()["pixels"][result.success] <= 4).all()


def test_paths_keep_to_a_region():
    net, x, region = colour_net(), colour_images(3), halves(3)
    paths = visual_paths(
        AutoFrankWolfe(net, n_iter=5, n_restarts=1), x, {2: [0.5, 1.0]}, region=region
    )
    for step in paths.explanations[2]:
        assert (step.changes[~region[:, None].expand_as(x)] == 0).all()


@pytest.mark.parametrize(
    "region", [np.ones((10, 8)), np.ones((9, 8), dtype=bool), np.ones((2, 10, 8), dtype=bool)]
)
def test_what_is_no_region_is_refused(region):
    with pytest.raises(ValueError, match="The 'region' of FastGradientSign must be bool, of shape"):
        FastGradientSign(colour_net()).explain(colour_images(3), region=region)
