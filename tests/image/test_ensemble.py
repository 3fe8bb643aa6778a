"""Several networks as one: the mean of their probabilities is raised."""

import numpy as np
import pytest
import torch
from torch import nn

from scfe_sklearn.image import AutoFrankWolfe, GroupSparseExplainer, MeanProbability


def nets():
    torch.manual_seed(0)
    return [
        nn.Sequential(nn.Flatten(), nn.Linear(50, 20), nn.Tanh(), nn.Linear(20, 4)).double()
        for _ in range(3)
    ]


def some_images(n=5):
    return torch.rand(n, 2, 5, 5, generator=torch.Generator().manual_seed(1)).double()


def mean_probability(parts, x, temperatures=(1, 1, 1)):
    with torch.no_grad():
        shares = [
            torch.softmax(net(x) / t, 1).numpy() for net, t in zip(parts, temperatures, strict=True)
        ]
    return np.mean(shares, axis=0)


def test_the_mean_probability_of_the_second_class_is_raised():
    parts, x, heat = nets(), some_images(), (0.5, 1.0, 2.0)
    ensemble = MeanProbability(parts, heat)
    before = mean_probability(parts, x, heat)
    result = AutoFrankWolfe(ensemble, radius=2.0, n_iter=30).explain(x)
    # The target is the second most likely class of the ensemble.
    np.testing.assert_array_equal(result.target, before.argsort(1)[:, -2])
    after = mean_probability(parts, result.counterfactuals, heat)
    rows = np.arange(len(x))
    np.testing.assert_allclose(result.confidence_before, before[rows, result.target])
    np.testing.assert_allclose(result.confidence_after, after[rows, result.target])
    # More than what one network's own image gives to the mean.
    alone = AutoFrankWolfe(parts[0], radius=2.0, n_iter=30).explain(x, result.target)
    other = mean_probability(parts, alone.counterfactuals, heat)[rows, result.target]
    assert (result.confidence_after > other).all()


def test_networks_are_left_as_they_were():
    parts = nets()
    ensemble = MeanProbability(parts).train()
    result = GroupSparseExplainer(ensemble, patch=2).explain(some_images(2))
    assert result.success.all()
    assert all(net.training for net in parts)
    assert all(p.requires_grad for net in parts for p in net.parameters())


@pytest.mark.parametrize(
    ("modules", "temperatures", "error", "match"),
    [
        ([], None, TypeError, "must be torch modules, one or more"),
        ([1], None, TypeError, "must be torch modules, one or more"),
        ([nn.Identity()], [1, 2], ValueError, "positive numbers, one per module"),
        ([nn.Identity()], [0], ValueError, "positive numbers, one per module"),
    ],
)
def test_what_is_no_ensemble_is_refused(modules, temperatures, error, match):
    with pytest.raises(error, match=match):
        MeanProbability(modules, temperatures)
