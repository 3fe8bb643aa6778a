"""Sparse and plausible counterfactual images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import LocalOutlierFactor
from torch import nn

from scfe_sklearn.image import AutoencoderDensity, PlausibleImageExplainer
from scfe_sklearn.image.metrics import n_pixels
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.image.plausible.pixel_problem import PixelRows, pixel_problem
from scfe_sklearn.objective import PlausibilityTerm
from scfe_sklearn.solvers.starts.reach import ReachSettings, _swap


@pytest.fixture(scope="module")
def known():
    X, y = load_digits(return_X_y=True)
    return torch.from_numpy((X / 16).astype(np.float32).reshape(-1, 1, 8, 8)), torch.from_numpy(y)


def linear_net(channels=3, side=5, n_classes=2, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, n_classes))
    return net.double()


def some_images(n=6, channels=3, side=5, spread=0.2):
    generator = torch.Generator().manual_seed(1)
    return 0.5 + spread * (torch.rand(n, channels, side, side, generator=generator).double() - 0.5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("budget", [1, 4, None])
def test_a_linear_model_has_a_closed_form(channels, budget):
    """The m pixels with the largest weights, along the weights: length gap / ||those weights||."""
    net, x = linear_net(channels), some_images(channels=channels)
    # Small gaps, so that the range of the pixels does not bind.
    with torch.no_grad():
        net[1].bias -= net(x).mean(0)
    explainer = PlausibleImageExplainer(net, tau=0.0, max_pixels=budget).fit(x, [0, 1] * 3)
    before = net(x).argmax(1)
    result = explainer.explain(x, 1 - before)
    assert (result.status == "found").all()
    slope = (net[1].weight[1] - net[1].weight[0]).detach().reshape(channels, -1)
    strength = slope.square().sum(0).sort(descending=True).values[: budget or 25].sum().sqrt()
    gap = (net(x)[:, 1] - net(x)[:, 0]).abs().detach()
    exact = gap / strength * 2  # half the range is one
    length = torch.from_numpy(result.measures()["length"])
    assert (length >= exact * (1 - 1e-9)).all()
    assert (length <= exact * 1.01 + 3e-3 / strength).all()
    assert (n_pixels(result.changes) <= (budget or 25)).all()


def test_channels_of_a_pixel_are_one_change_and_batches_do_not_matter():
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(5 * 16, 3, bias=False)
    ).double()
    net[3].weight.data *= 6
    x = some_images(12, side=6, spread=0.9)
    labels = torch.arange(12) % 3
    explainer = PlausibleImageExplainer(net, density="knn", max_pixels=5).fit(x, labels)
    target = (net(x).argmax(1) + 1) % 3
    result = explainer.explain(x, target)
    found = result.status == "found"
    assert found.mean() > 0.6
    assert n_pixels(result.changes).max() <= 5
    assert (result.changes != 0).flatten(1).sum(1).max() > 5  # more values than pixels
    shown = result.counterfactuals[torch.from_numpy(found)]
    assert (net(shown).argmax(1) == target[torch.from_numpy(found)]).all()
    assert shown.min() >= 0 and shown.max() <= 1
    # Rounding may decide which pixels are taken; here it does not.
    alone = torch.cat([
        explainer.explain(x[k : k + 1], target[k : k + 1]).counterfactuals for k in range(12)
    ])  # fmt: skip
    torch.testing.assert_close(result.counterfactuals, alone, rtol=0, atol=1e-4, equal_nan=True)
    parts = explainer.set_params(batch_size=5).explain(x, target)
    torch.testing.assert_close(
        result.counterfactuals, parts.counterfactuals, rtol=0, atol=1e-4, equal_nan=True
    )
    assert (parts.n_forward == result.n_forward).mean() > 0.8


@pytest.mark.parametrize("density", ["gmm", "knn", "kde", "autoencoder"])
def test_plausibility_makes_images_that_an_outlier_factor_accepts(density, digits, known):
    net, asked = digits
    x, y = known
    if density == "autoencoder":
        density = AutoencoderDensity((1, 8, 8), epochs=25)
    before = net(asked).argmax(1)
    target = (before + 1) % 10
    factors = {}
    for label in target.unique().tolist():
        rows = x[:1200][y[:1200] == label].flatten(1).numpy()
        factors[label] = LocalOutlierFactor(20, novelty=True).fit(rows)
    means = []
    for tau in (0.0, 20.0):
        explainer = PlausibleImageExplainer(net, density=density, tau=tau)
        result = explainer.fit(x[:1200], y[:1200]).explain(asked, target)
        assert result.success.all()
        scores = [
            -factors[int(label)].score_samples(image.reshape(1, -1).numpy())[0]
            for label, image in zip(target, result.counterfactuals, strict=True)
        ]
        means.append(np.mean(scores))
    assert means[1] < 0.92 * means[0]


def test_passes_are_counted_as_the_net_sees_them():
    net, x = linear_net(), some_images()
    explainer = PlausibleImageExplainer(net, density="kde", max_pixels=3)
    explainer.fit(x, [0, 1] * 3)
    target = 1 - net(x).argmax(1)
    seen = []
    handle = net.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    result = explainer.explain(x, target)
    handle.remove()
    # One image is shown to learn the number of classes.
    assert sum(seen) == result.n_forward.sum() + 1
    assert (result.n_backward < result.n_forward).all()
    assert net.training and all(p.requires_grad for p in net.parameters())


def test_without_a_target_the_nearest_fitted_class_is_asked_for():
    net, x = linear_net(n_classes=4), some_images(8)
    fitted = torch.tensor([0, 2] * 4)
    explainer = PlausibleImageExplainer(net, tau=0.0).fit(x, fitted)
    result = explainer.explain(x)
    logits = net(x)
    for own, label, row in zip(logits.argmax(1), result.target, logits, strict=True):
        others = [k for k in (0, 2) if k != own]
        assert label == max(others, key=lambda k: row[k])
    with pytest.raises(ValueError, match=r"must be classes that were fitted, \[0, 2\]. Got \[3\]"):
        explainer.explain(x, 3)
    with pytest.raises(ValueError, match=r"that was fitted. Got \(2, 3, 6, 5\)"):
        explainer.explain(torch.rand(2, 3, 6, 5))
    with pytest.raises(NotFittedError):
        PlausibleImageExplainer(net).explain(x)
    with pytest.raises(ValueError, match="'max_pixels' parameter"):
        PlausibleImageExplainer(net, max_pixels=0).fit(x, fitted)
    with pytest.raises(ValueError, match="The 'density' parameter must be one of"):
        PlausibleImageExplainer(net, density="flow").fit(x, fitted)
    with pytest.raises(ValueError, match=r"The images of PlausibleImageExplainer.fit"):
        PlausibleImageExplainer(net).fit(x[:0], fitted[:0])


def test_rows_are_images_of_one_line():
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).double()
    rows = np.random.default_rng(0).random((90, 12))
    labels = net(torch.from_numpy(rows)).argmax(1).numpy()
    assert set(labels) == {0, 1}
    one, other = (
        PlausibleImageExplainer(net, density="kde", max_pixels=4).fit(X, y)
        for X, y in ((rows, labels.astype(float)), (rows[:, None, None], labels))
    )
    assert one.n_features_in_ == other.n_features_in_ == 12
    assert one.image_shape_ == (1, 1, 12)
    answers = [
        one.explain(rows[:5].tolist()),
        one.explain(torch.from_numpy(rows[:5])),
        other.explain(rows[:5, None, None]),
    ]
    for answer in answers:
        assert answer.success.all()
        np.testing.assert_array_equal(answer.counterfactuals, answers[-1].counterfactuals)
    with pytest.raises(ValueError, match="X has 11 features"):
        one.explain(rows[:2, :11])
    with pytest.raises(TypeError, match="must be an int or one int per image"):
        one.fit(rows, labels + 0.5)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_the_range_of_the_pixels_is_a_unit(bounds):
    low, high = bounds
    net, x = linear_net(), some_images()
    scale = high - low

    class Shown(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, image):
            return self.net((image - low) / scale)

    labels, target = [0, 1] * 3, 1 - net(x).argmax(1)
    usual = PlausibleImageExplainer(net, density="kde", max_pixels=4).fit(x, labels)
    other = PlausibleImageExplainer(Shown(), bounds=bounds, density="kde", max_pixels=4)
    answer = other.fit(low + scale * x, labels).explain(low + scale * x, target)
    expected = usual.explain(x, target).counterfactuals
    torch.testing.assert_close((answer.counterfactuals - low) / scale, expected, rtol=0, atol=1e-6)


def test_rows_put_the_channels_of_a_pixel_together():
    images = torch.arange(24.0).reshape(1, 3, 2, 4)
    rows = PixelRows((3, 2, 4), (0.0, 23.0))
    flat = rows.rows(images)
    np.testing.assert_allclose((flat[0, :3] + 1) * 11.5, [0, 8, 16])
    torch.testing.assert_close(rows.images(flat).float(), images)
    domain = rows.domain(flat)
    moved = flat[:, None].clone()
    moved[0, 0, 3:6] += 0.1
    assert domain.changed(moved)[0, 0].nonzero()[:, 0].tolist() == [1]
    assert domain.n_features == 8


def test_a_row_that_swaps_on_keeps_its_own_objective():
    """The first row is done after a swap; the second goes on to the best pixels of all."""
    net = linear_net(channels=1, side=4)
    net[1].bias.data = torch.tensor([100.0, 0.0]).double()
    slope = (net[1].weight[1] - net[1].weight[0]).detach()
    pixels, target = PixelRows((1, 4, 4), (-1.0, 1.0)), torch.tensor([0, 1])
    nothing = [PlausibilityTerm(None, 0.0, 0.0)]
    counts = torch.zeros(2, 2, dtype=torch.long)
    model = ImageModel(net, (-1.0, 1.0))
    rows = torch.zeros(2, 16).double()
    problem = pixel_problem(model, pixels, rows, target, nothing, 0 * target, 3, 0.0, counts)
    worst = slope.abs().argsort()[:3]
    start = rows.clone()
    start[0, worst], start[1, worst] = -slope[worst].sign(), slope[worst].sign()
    margin = problem.margin(start[:, None])[:, 0]
    z, _ = _swap(problem, start, margin, ReachSettings(leaves=2, enters=4, swaps=9))
    best = slope.abs().argsort(descending=True)[:3]
    expected = torch.zeros(16).double()
    expected[best] = slope[best].sign()
    torch.testing.assert_close(z[1], expected)
    assert counts[0, 1] > counts[0, 0] > 0
    torch.testing.assert_close(start[1, worst], slope[worst].sign())


def test_a_number_that_leaves_a_changed_pixel_frees_no_budget():
    net = linear_net(channels=3, side=3)
    pixels, target = PixelRows((3, 3, 3), (-1.0, 1.0)), torch.tensor([0, 1])
    counts = torch.zeros(2, 2, dtype=torch.long)
    rows = torch.zeros(2, 27).double()
    problem = pixel_problem(
        ImageModel(net, (-1.0, 1.0)), pixels, rows, target, [PlausibilityTerm(None, 0.0, 0.0)],
        0 * target, 2, 0.0, counts,
    )  # fmt: skip
    start = rows.clone()
    start[:, [0, 1, 3, 4]] = 0.1
    margin = problem.margin(start[:, None])[:, 0]
    z, _ = _swap(replace(problem, floor=1e9), start, margin, ReachSettings(swaps=6))
    assert (problem.domain.changed(z[:, None])[:, 0].sum(1) <= 2).all()
    gain = problem.margin(z[:, None]) - problem.margin(start[:, None])
    assert (gain >= 0).all() and (gain > 0).any()
