"""The published settings are the published algorithm: image by image, as a plain loop finds."""

from pathlib import Path

import pytest
import torch
from torch import nn

from scfe_sklearn.image import GroupSparseExplainer, gse_parameters

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("magnitude", ["squared", "norm"])
@pytest.mark.parametrize("targeted", [False, True])
def test_published_settings_against_a_plain_loop(targeted, magnitude, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.image_textbook import Constants, plain_group_sparse

    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 120, 4)
    ).double()  # fmt: skip
    net[3].weight.data *= 12
    x = 2 * torch.rand(6, 3, 12, 10, generator=torch.Generator().manual_seed(1)).double() - 1
    # Some pixels are at the end of their range, where a prox that knows it differs.
    x = (1.1 * x).clamp(-1, 1)
    label = net(x).argmax(1)
    label = (label + 1) % 4 if targeted else label
    settings = gse_parameters("cifar", targeted)
    assert settings["exact_box"] is False
    both = []
    for exact_box in (False, True):
        constants = Constants(
            n_gather=settings["n_gather"], exact_box=exact_box, squared=magnitude == "squared"
        )
        changes, reached = plain_group_sparse(net, x, label, targeted, constants, patch=4)
        explainer = GroupSparseExplainer(
            net,
            bounds=(-1, 1),
            magnitude=magnitude,
            **{**settings, "patch": 4, "exact_box": exact_box},
        )
        result = explainer.explain(x, label if targeted else None)
        assert result.success.tolist() == reached.tolist()
        assert reached.sum() >= 4
        assert (changes != 0).any(1).flatten(1).sum(1)[reached].median() < 60  # of 120 pixels
        torch.testing.assert_close(result.changes, changes, rtol=0, atol=1e-6)
        assert torch.equal(result.changes != 0, changes != 0)
        both.append(changes)
    assert (both[0] - both[1]).abs().max() > 1e-3
