import math

import numpy as np
import pytest
import torch
from torch import nn

from scfe_sklearn.image import AutoFrankWolfe, visual_paths
from scfe_sklearn.image.metrics import lengths


def hard_net():
    """A net on which one short run with a large radius may end below one with a small radius."""
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(50, 30), nn.Tanh(), nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 3)
    ).double()
    for layer in net[1::2]:
        layer.weight.data *= 4
    return net


def some_images():
    return torch.rand(8, 2, 5, 5, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_a_larger_radius_is_never_less_convincing(kind):
    net, x = hard_net(), some_images()
    explainer = AutoFrankWolfe(net, n_iter=2, n_restarts=1, temperature=2.0)
    radii = {1: np.linspace(0.5, 8, 6), 2: np.linspace(0.2, 2, 6), math.inf: [0.02 * k for k in
             range(1, 7)]}  # fmt: skip
    paths = visual_paths(explainer, x if kind == "torch" else x.numpy(), radii)
    replaced = 0
    for p, sizes in radii.items():
        confidence = paths.confidence(p)
        assert (np.diff(confidence, axis=0) >= 0).all()
        for radius, part in zip(sizes, paths.explanations[p], strict=True):
            alone = AutoFrankWolfe(
                net, n_iter=2, n_restarts=1, temperature=2.0, p=p, radius=float(radius)
            ).explain(x)
            kept = part.confidence_after > alone.confidence_after
            replaced += kept.sum()
            answers = torch.as_tensor(part.counterfactuals)
            same = answers == alone.counterfactuals
            assert same[torch.as_tensor(~kept)].all()
            assert (lengths(answers - x, p) <= radius * (1 + 1e-9)).all()
            shown = torch.softmax(net(answers) / 2, 1).detach().numpy()
            np.testing.assert_allclose(
                part.confidence_after, shown[np.arange(len(x)), part.target], rtol=1e-9
            )
            assert part.after.tolist() == shown.argmax(1).tolist()
    assert replaced > 3


def test_paths_of_the_own_class_rise():
    net, x = hard_net(), some_images()
    own = net(x).argmax(1)
    explainer = AutoFrankWolfe(net, n_iter=15, n_restarts=1)
    paths = visual_paths(explainer, x, {2: [0.3, 0.8, 1.5]}, own)
    confidence = paths.confidence(2)
    assert (np.diff(confidence, axis=0) >= 0).all()
    start = torch.softmax(net(x), 1).gather(1, own[:, None])[:, 0].detach().numpy()
    assert (confidence[0] > start).all()
    assert (confidence[-1] > 0.9).all()


@pytest.mark.parametrize(
    ("radii", "words"),
    [
        ([1.0], "must be a dict"),
        ({}, "must be a dict"),
        ({0.5: [1.0]}, r"norms in \[1, inf\]"),
        ({2: []}, "must be positive"),
        ({2: [0.0]}, "must be positive"),
        ({2: [math.inf]}, "must be positive"),
        ({2: ["1"]}, "must be positive"),
        ({2: [2.0, 1.0]}, "must rise"),
        ({2: [1.0], 1: [1.0, 2.0]}, "equally many"),
    ],
)
def test_wrong_radii_are_refused(radii, words):
    with pytest.raises(ValueError, match=f"The 'radii' of visual_paths .*{words}"):
        visual_paths(AutoFrankWolfe(hard_net()), some_images(), radii)
