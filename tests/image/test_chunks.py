"""Chunks of images that fit into memory."""

import pytest
import torch
from torch import nn

from scfe_sklearn.image import AutoFrankWolfe, GroupSparseExplainer
from scfe_sklearn.image.batches import VALUES, chunk_size


class Narrow(nn.Module):
    """A net whose memory holds a few images."""

    def __init__(self, holds, words=None):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(75, 3)).double()
        self.holds, self.words = holds, words
        self.largest = 0

    def forward(self, x):
        if len(x) > self.holds:
            if self.words:
                raise RuntimeError(self.words)
            raise torch.cuda.OutOfMemoryError("no memory left")
        self.largest = max(self.largest, len(x))
        return self.net(x)


def images(n=11):
    return torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("words", [None, "MPS backend out of memory (allocated 9 GB)"])
@pytest.mark.parametrize(
    ("kind", "short"),
    [
        (GroupSparseExplainer, {"max_iter": 20, "n_searches": 2, "refine_iter": 5}),
        (AutoFrankWolfe, {"n_iter": 15, "n_restarts": 2}),
    ],
)
def test_chunks_are_halved_until_they_fit(kind, short, words):
    roomy, narrow = Narrow(10**9), Narrow(3, words)
    expected = kind(roomy, **short).explain(images())
    result = kind(narrow, **short).explain(images())
    assert result.success.any()
    assert narrow.largest in (2, 3)
    torch.testing.assert_close(
        result.counterfactuals, expected.counterfactuals, rtol=0, atol=1e-9, equal_nan=True
    )
    assert result.status.tolist() == expected.status.tolist()
    assert result.n_forward.tolist() == expected.n_forward.tolist()


def test_one_image_that_does_not_fit_and_other_errors_are_told():
    with pytest.raises(torch.cuda.OutOfMemoryError, match="no memory left"):
        GroupSparseExplainer(Narrow(0)).explain(images(2))
    net = Narrow(3, "the layer is broken")
    with pytest.raises(RuntimeError, match="the layer is broken"):
        GroupSparseExplainer(net).explain(images())
    assert net.training


def test_large_images_come_in_small_chunks_on_a_processor():
    cpu, other = torch.device("cpu"), torch.device("meta")
    large = torch.empty(0, 3, 512, 512)
    assert chunk_size(large, 512, cpu) * 3 * 512 * 512 <= VALUES
    assert chunk_size(large, 512, other) == 512
    assert chunk_size(torch.empty(0, 3, 4000, 4000), 512, cpu) == 1
    assert chunk_size(torch.empty(0, 1, 8, 8), 7, cpu) == 7
