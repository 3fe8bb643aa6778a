import numpy as np
import torch
from torch import nn

from scfe_sklearn.image import SparseRandomSearch
from scfe_sklearn.image.attacks.random_search import moving_share
from scfe_sklearn.image.metrics import n_pixels


class Counting(nn.Module):
    """A linear model that counts what it is shown and refuses gradients."""

    def __init__(self, values=70, n_classes=3):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(values, n_classes).double()
        self.shown = 0

    def forward(self, x):
        assert not torch.is_grad_enabled()
        self.shown += len(x)
        return self.linear(x.flatten(1))


def some_images(n=5):
    return torch.rand(n, 2, 7, 5, generator=torch.Generator().manual_seed(2)).double()


def test_few_pixels_at_corners_without_gradients():
    net, x = Counting(), some_images()
    result = SparseRandomSearch(net, n_pixels=6, n_queries=400).explain(x)
    assert (result.status == "found").all()
    assert (n_pixels(result.changes) <= 6).all()
    moved = result.counterfactuals[result.changes != 0]
    assert set(moved.unique().tolist()) <= {0.0, 1.0}
    assert (result.n_backward == 0).all()
    assert (result.n_forward - 2 <= 400).all()
    # Two of the passes of each image are the first look and the judge's.
    assert net.shown == result.n_forward.sum()


def test_an_image_does_not_feel_its_batch():
    x = some_images()
    search = SparseRandomSearch(Counting(), n_pixels=4, n_queries=300)
    together = search.explain(x).counterfactuals
    parts = search.set_params(batch_size=2).explain(x).counterfactuals
    assert torch.equal(torch.nan_to_num(together), torch.nan_to_num(parts))


def test_every_pixel_may_be_needed():
    x = some_images()
    result = SparseRandomSearch(Counting(), n_pixels=99, n_queries=200).explain(x)
    assert (n_pixels(result.changes) <= 35).all()
    assert result.success.any()


def test_the_share_of_moving_pixels_falls_as_published():
    shares = [moving_share(query, 10_000, 0.3) for query in (0, 1, 50, 51, 8000, 8001)]
    np.testing.assert_allclose(shares, [0.3, 0.15, 0.15, 0.075, 0.02, 0.015])
