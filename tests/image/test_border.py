"""What comes in and goes out: types, ranges, modules and images that are no such thing."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from scfe_sklearn.image import (
    AutoFrankWolfe,
    FastGradientSign,
    GroupSparseExplainer,
    SparseRandomSearch,
    visual_paths,
)


def convolution(channels=3, n_classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(), nn.Linear(16, n_classes),
        )  # fmt: skip


def images(n=6, side=(8, 8), channels=3):
    return torch.rand(n, channels, *side, generator=torch.Generator().manual_seed(0))


class Saying(nn.Module):
    """Says something about images."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        return self.what(x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_answers_hold_as_they_are_returned(dtype):
    # The shortest changes end at the boundary: rounding them would undo many.
    net = convolution()
    x, bounds = images(40).to(dtype), (0.0, 1.0)
    if dtype == torch.uint8:
        x, bounds = (255 * images(40)).to(dtype), (0.0, 255.0)
    result = GroupSparseExplainer(net, bounds=bounds).explain(x)
    assert result.success.mean() > 0.9
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert result.counterfactuals.dtype == wanted
    with torch.no_grad():
        after = net(result.counterfactuals.float()).argmax(1).numpy()
    np.testing.assert_array_equal(after[result.success], result.after[result.success])
    same = result.changes == 0
    assert torch.equal(result.counterfactuals[same], x.to(wanted)[same])


@pytest.mark.parametrize("bounds", [(-0.1, 0.1), (-2.1179, 2.64)])
def test_answers_keep_to_bounds_that_the_model_cannot_write(bounds):
    low, high = bounds
    x = low + (high - low) * images().double().numpy()
    explainer = AutoFrankWolfe(
        convolution(), bounds=bounds, p=2, radius=99.0, n_iter=3, n_restarts=1
    )
    answer = explainer.explain(x).counterfactuals
    assert answer.dtype == np.float64
    assert low <= answer.min() < low + 1e-6
    assert high - 1e-6 < answer.max() <= high
    # So that it may be asked about again.
    explainer.explain(answer)


@pytest.mark.parametrize("kind", [FastGradientSign, GroupSparseExplainer, SparseRandomSearch])
def test_callers_may_work_without_gradients(kind):
    net, x = convolution(), images()
    expected = kind(net).explain(x)
    with torch.inference_mode():
        result = kind(net).explain(images())
    assert torch.equal(
        torch.nan_to_num(result.counterfactuals), torch.nan_to_num(expected.counterfactuals)
    )


@pytest.mark.parametrize("side", [(3, 3), (3, 30), (5, 7), (9, 4)])
@pytest.mark.parametrize("channels", [1, 2])
def test_images_of_any_size(side, channels):
    x = images(3, side, channels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3, bias=False))
    result = GroupSparseExplainer(net).explain(x)
    assert result.success.all()
    assert (result.measures()["patches"] <= max(side[0] - 7, 1) * max(side[1] - 7, 1)).all()


REFUSED = [
    (lambda: np.zeros((2, 8, 8, 3)), {}, ValueError, "are the channels last"),
    (lambda: np.zeros((2, 8, 8, 3)), {"normalization": ((0.5,) * 3, (0.2,) * 3)}, ValueError,
     r"one for each channel of images \(2, 8, 8, 3\)"),
    (lambda: np.array([[[[None]]]]), {}, TypeError, "Got ndarray of object instead"),
    (lambda: [1], {}, TypeError, "Got list instead"),
    (lambda: images()[0], {}, ValueError, r"must have shape \(n, channels, height, width\)"),
    (lambda: images() * math.nan, {}, ValueError, "must lie within the bounds"),
    (lambda: 2 * images(), {}, ValueError, "must lie within the bounds"),
    (images, {"normalization": (0.5, 0.0)}, ValueError, "std > 0"),
    (images, {"normalization": (math.nan, 1.0)}, ValueError, "must be None or finite"),
    (images, {"normalization": (0.5,)}, ValueError, "must be None or finite"),
    (images, {"normalization": ("a", "b")}, ValueError, "must be None or finite"),
    (images, {"normalization": ((0.5, 0.5), 1.0)}, ValueError, "one for each channel"),
    (images, {"p": 0.99}, ValueError, r"must be a float in the range \[1.0, inf\]. Got 0.99"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "parameters", "error", "match"), REFUSED)
def test_bad_input_is_refused(given, parameters, error, match):
    with pytest.raises(error, match=match):
        FastGradientSign(convolution(), **parameters).explain(given())


@pytest.mark.parametrize(
    ("what", "error", "match"),
    [
        (lambda x: x, ValueError, r"Got \(6, 3, 8, 8\) for 6 images"),
        (lambda x: x.flatten(1)[:, :1], ValueError, "two classes or more"),
        (lambda x: x.flatten(1)[1:], ValueError, r"Got \(5, 192\) for 6 images"),
        (lambda x: {"logits": x}, TypeError, "Got dict"),
        (lambda x: (x.flatten(1) > 0.5).long(), TypeError, "Got numbers of torch.int64"),
        (lambda x: x.detach().flatten(1), ValueError, "must be differentiable"),
    ],
)
def test_modules_that_return_no_logits_are_refused(what, error, match):
    with pytest.raises(error, match=match):
        FastGradientSign(Saying(what)).explain(images())


def test_other_errors_of_the_model_are_not_explained_away():
    def fail(x):
        raise RuntimeError("the layer is broken")

    with pytest.raises(RuntimeError, match="the layer is broken"):
        FastGradientSign(Saying(fail)).explain(images())


def test_modules_without_gradients_can_be_searched():
    net = convolution()
    blind = Saying(lambda x: net(x).detach())
    x = images()
    expected = SparseRandomSearch(net, n_queries=50).explain(x)
    result = SparseRandomSearch(blind, n_queries=50).explain(x)
    np.testing.assert_array_equal(result.status, expected.status)


def test_pages_need_a_name_for_every_class():
    paths = visual_paths(AutoFrankWolfe(convolution(), n_iter=2, n_restarts=1), images(), {2: [1]})
    with pytest.raises(ValueError, match="must name all classes up to 2"):
        paths.to_html(labels=["one"])
