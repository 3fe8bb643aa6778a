import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from torch import nn

from scfe_sklearn.image import AutoFrankWolfe, GroupSparseExplainer, visual_paths
from scfe_sklearn.image.pictures import plot_panels, plot_radii, radius_page
from scfe_sklearn.image.saliency import (
    activation_map,
    frechet_distance,
    grad_cam,
    interpretability,
    localisation,
    saliency,
)


def linear_net(n_classes=3, values=18):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(values, n_classes)).double()


@pytest.mark.parametrize("signs", ["and", "or", "none"])
def test_the_saliency_of_a_linear_model_is_its_weights(signs):
    net = linear_net()
    x = torch.rand(4, 2, 3, 3).double()
    label, target = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 0, 2])
    weight = net[1].weight.detach()
    up, down = weight[target].numpy(), weight[label].numpy()
    allowed = {"and": (up >= 0) & (down <= 0), "or": (up >= 0) | (down <= 0), "none": True}
    expected = up * np.abs(down) * allowed[signs]
    np.testing.assert_allclose(saliency(net, x, label, target, signs).flatten(1), expected)


def test_the_default_saliency_is_the_papers():
    """An entry counts if the target's slope is not negative or the label's is not positive."""
    weight = torch.tensor([[1.0, 1.0, -1.0, -1.0], [2.0, -2.0, 2.0, -2.0]]).double()
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).double()
    net[1].weight.data = weight
    x = torch.rand(1, 1, 2, 2).double()
    # Slopes of the target (first row) and the label: (+, +), (+, -), (-, +), (-, -).
    found = saliency(net, x, torch.tensor([1]), torch.tensor([0])).flatten()
    assert found.tolist() == [2.0, 2.0, 0.0, -2.0]


@pytest.mark.parametrize("entries", ["all", "nonzero"])
def test_interpretability_by_numpy(entries):
    rng = np.random.default_rng(0)
    asm, w = rng.normal(size=(5, 2, 4, 5)), rng.normal(size=(5, 2, 4, 5))
    asm[rng.random(asm.shape) < 0.4] = 0
    for nu in (10, 35, 50, 60, 77.5, 90, 100):
        given = (torch.from_numpy(asm), torch.from_numpy(w), nu)
        found = interpretability(*given) if entries == "all" else interpretability(*given, entries)
        for k in range(5):
            # The percentile is one of the entries; the paper takes it over all of them.
            some = asm[k].ravel() if entries == "all" else asm[k][asm[k] != 0]
            level = np.percentile(some, nu, method="inverted_cdf")
            share = np.linalg.norm(w[k][asm[k] > level]) / np.linalg.norm(w[k])
            assert found[k] == pytest.approx(share)
    assert (interpretability(*given[:2], 0) == 1).all()
    assert torch.isnan(interpretability(given[0], 0 * given[1], 50)).all()


def test_activation_maps_keep_images_apart():
    activation, weight = torch.randn(2, 4, 3, 3), torch.randn(2, 4)
    both = activation_map(activation, weight, (6, 6))
    one = activation_map(activation[1:], weight[1:], (6, 6))
    torch.testing.assert_close(both[1:], one)
    same = activation_map(activation, weight, (3, 3), positive=True)[0]
    total = np.maximum(np.einsum("kij,k->ij", activation[0], weight[0]), 0)
    expected = (total - total.min()) / (total.max() - total.min())
    np.testing.assert_allclose(same, expected, atol=1e-5)


def test_grad_cam_of_a_net_that_averages_is_cam():
    # The gradient of a logit at averaged activations is the linear layer's row.
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
    linear = nn.Linear(6, 4)
    net = nn.Sequential(
        features, nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear
    ).double()  # fmt: skip
    x, label = torch.rand(3, 3, 7, 9).double(), torch.tensor([0, 3, 1])
    maps = grad_cam(net, features, x, label)
    assert net.training
    assert linear.weight.requires_grad
    assert linear.weight.grad is None
    assert not features._forward_hooks
    with torch.no_grad():
        expected = activation_map(
            features.eval()(x), linear.weight[label], (7, 9), positive=True
        )  # fmt: skip
    torch.testing.assert_close(maps, expected)
    alone = grad_cam(net, features, x[1:2], label[1:2])
    torch.testing.assert_close(alone, maps[1:2])
    for layer in (linear, nn.Conv2d(3, 3, 1)):
        with pytest.raises(ValueError, match="must be a part of the module"):
            grad_cam(net, layer, x, label)


def test_localisation_by_brute_force():
    rng = np.random.default_rng(0)
    w, mask = rng.normal(size=(3, 2, 4, 5)), rng.random((3, 4, 5)) < 0.3
    result = localisation(w, mask, 0.6)
    for k in range(3):
        p = np.abs(w[k]).sum(0) / np.abs(w[k]).sum()
        inside = np.argwhere(mask[k])
        distance = sum(
            p[i, j] * np.hypot(*(inside - (i, j)).T).min() for i in range(4) for j in range(5)
        )
        assert result["distance"][k] == pytest.approx(distance)
        assert result["inside"][k] == pytest.approx(p[mask[k]].sum())
        chosen, total = set(), 0.0
        for place in sorted(np.ndindex(4, 5), key=lambda at: -p[at]):
            if total >= 0.6:
                break
            chosen.add(place)
            total += p[place]
        thing = {tuple(at) for at in inside.tolist()}
        assert result["iou"][k] == pytest.approx(len(chosen & thing) / len(chosen | thing))
    assert np.isnan(localisation(0 * w, mask)["iou"]).all()
    with pytest.raises(ValueError, match="must hold a pixel"):
        localisation(w, mask & False)


def test_frechet_distance_of_gaussians():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, 3))
    a -= a.mean(0)
    a = a @ np.linalg.inv(np.linalg.cholesky(np.cov(a, rowvar=False))).T  # covariance is 1
    scale, shift = np.array([2.0, 0.5, 3.0]), np.array([1.0, 0.0, -2.0])
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a * scale + shift) == pytest.approx(
        (shift**2).sum() + ((scale - 1) ** 2).sum()
    )


def explained(channels=2):
    net = linear_net(values=9 * channels)
    images = torch.rand(3, channels, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    return net, images


def test_a_page_holds_every_picture_and_number():
    net, images = explained(3)
    radii = [0.5, 1.0, 2.0]
    parts = [AutoFrankWolfe(net, radius=r, n_restarts=1).explain(images) for r in radii]
    page = radius_page(parts, radii, title="<b>")
    assert "<b>" not in page
    assert "http:" not in page and "https:" not in page
    data = json.loads(re.search(r"const data = (.*?), norms = \[", page).group(1))
    assert len(data) == 3
    assert [len(steps) for (steps,) in data] == [3, 3, 3]
    for k, part in enumerate(parts):
        for index in range(3):
            step = data[index][0][k]
            assert step["confidence"] == f"{100 * part.confidence_after[index]:.1f} %"
            assert step["status"] == part.status[index]
            imread = pytest.importorskip("matplotlib.image").imread

            raw = base64.b64decode(step["answer"].split(",")[1])
            shown = imread(io.BytesIO(raw), format="png")[..., :3]
            expected = part.counterfactuals[index].permute(1, 2, 0).numpy()
            np.testing.assert_allclose(shown, expected, atol=0.6 / 255)
    with pytest.raises(ValueError, match="The 'radii' of radius_page"):
        radius_page(parts, radii[:2])
    with pytest.raises(ValueError, match="of the same images, by radius"):
        radius_page(parts, radii[::-1])


def test_panels_show_what_changed():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    net, images = explained()
    result = GroupSparseExplainer(net).explain(images)
    figure = plot_panels(result)
    assert len(figure.axes) == 4 * int(result.success.sum())
    titles = [axis.get_title() for axis in figure.axes[:5]]
    assert titles == ["image", "counterfactual", "changed pixels", "change, amplified", ""]
    shown = figure.axes[2].images[0].get_array()
    first = np.flatnonzero(result.success)[0]
    changed = (result.changes[first] != 0).any(0).numpy()
    grey = images[first].mean(0).numpy()
    assert (shown[changed] == (1, 0, 0)).all()
    np.testing.assert_allclose(shown[~changed], np.stack([grey[~changed]] * 3, axis=1))
    doubled = plot_panels(result, [first], factor=6).axes[3].images[0].get_array()
    expected = (0.5 + 3 * result.changes[first].numpy()).clip(0, 1).mean(0)
    np.testing.assert_allclose(doubled[..., 0], expected)
    plt.close("all")
    plt.close(figure)
    with pytest.raises(ValueError, match="must name an image"):
        plot_panels(result, [])
    maps = torch.rand(len(images), *images.shape[2:])
    for given in (maps, torch.stack([maps, maps], dim=1).numpy()):
        figure = plot_panels(result, [first], maps=given)
        assert len(figure.axes) == 5
        drawn = figure.axes[4].images[0].get_array()
        np.testing.assert_allclose(drawn, maps[first] * (2 if given is not maps else 1), rtol=1e-6)
        plt.close(figure)
    with pytest.raises(ValueError, match="'maps' of plot_panels must have shape"):
        plot_panels(result, maps=maps[:, 1:])


def test_radii_are_drawn_side_by_side():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    net, images = explained(3)
    explainer = AutoFrankWolfe(net, n_restarts=1, n_iter=10)
    paths = visual_paths(explainer, images, {2: [0.3, 0.6], 1.5: [0.5, 1.0]})
    figure = plot_radii(paths, 2, [2, 0])
    assert len(figure.axes) == 2 * 3
    for axis, step in zip(figure.axes[4:6], paths.explanations[2], strict=True):
        expected = step.counterfactuals[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(axis.images[0].get_array(), expected)
        assert axis.get_xlabel() == f"{step.confidence_after[0]:.3g}"
    assert figure.axes[1].get_title() == "radius 0.3"
    plt.close(figure)
    with pytest.raises(ValueError, match="The 'p' of plot_radii must be one of the norms"):
        plot_radii(paths, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_changes_that_are_not_finite_have_no_place(bad):
    w, mask = np.ones((2, 1, 4, 4)), np.ones((2, 4, 4), dtype=bool)
    w[1, 0, 2, 2] = bad
    for values in localisation(w, mask).values():
        assert np.isfinite(values[0])
        assert np.isnan(values[1])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: localisation(np.ones((1, 1, 4, 4)), np.ones((1, 5, 4))), "must have shape"),
        (lambda: localisation(np.ones((1, 1, 4, 4)), np.ones((1, 4, 4)), 2), "must be in"),
        (lambda: frechet_distance(np.ones((5, 3)), np.ones((5, 1))), r"shapes \(n, d\) and"),
        (lambda: frechet_distance(np.ones((1, 3)), np.ones((5, 3))), "two rows or more"),
        (lambda: frechet_distance(np.full((5, 3), np.nan), np.ones((5, 3))), "must be finite"),
        (lambda: interpretability(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), 150), "in"),
        (lambda: interpretability(*torch.ones(2, 1, 1, 2, 2), 50, "some"), "a str among"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
