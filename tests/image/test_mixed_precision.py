"""Searches in bfloat16 whose answers hold in the model's own precision."""

import pytest
import torch
from torch import nn

from scfe_sklearn.image import AutoFrankWolfe, GroupSparseExplainer
from scfe_sklearn.image.metrics import n_pixels

KINDS = {
    "gse": (GroupSparseExplainer, {"patch": 3}),
    "afw": (AutoFrankWolfe, {"radius": 4.0, "n_iter": 20, "n_restarts": 1}),
}


@pytest.mark.parametrize("name", KINDS)
def test_answers_hold_in_full_precision_and_are_as_good(name, digits):
    net, x = digits
    kind, parameters = KINDS[name]
    seen = []
    handle = net[0].register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    quick = kind(net, autocast=True, **parameters).explain(x)
    handle.remove()
    assert seen.count(torch.bfloat16) > 0.6 * len(seen)  # shortening is left to full precision
    assert seen[-1] is torch.float32  # the judge
    full = kind(net, **parameters).explain(x)
    assert full.success.all() and quick.success.all()
    after = net(quick.counterfactuals).argmax(1)
    assert (after != net(x).argmax(1)).all()
    assert after.tolist() == quick.after.tolist()
    assert quick.counterfactuals.dtype is torch.float32
    if name == "gse":
        pixels = [n_pixels(part.changes).double().mean() for part in (full, quick)]
        assert pixels[1] < 1.3 * pixels[0]
    else:
        assert (quick.confidence_after > full.confidence_after - 0.05).mean() > 0.8


class Liar(nn.Module):
    """In bfloat16 the first class gains far too much."""

    def __init__(self):
        super().__init__()
        self.flat = nn.Sequential(nn.Flatten(), nn.Linear(75, 2))

    def forward(self, x):
        out = self.flat(x)
        if out.dtype is torch.bfloat16:
            out = out + torch.tensor([0.4, 0.0], dtype=out.dtype)
        return out


def test_what_holds_in_low_precision_only_is_searched_again():
    torch.manual_seed(0)
    net = Liar()
    x = torch.rand(8, 3, 5, 5)
    net.flat[1].bias.data -= net(x).mean(0).detach()
    asked = x[net(x).argmax(1) == 1]
    assert len(asked) >= 2
    quick = GroupSparseExplainer(net, autocast=True).explain(asked, 0)
    full = GroupSparseExplainer(net).explain(asked, 0)
    assert full.success.all()
    assert quick.success.all()
    assert (net(quick.counterfactuals).argmax(1) == 0).all()
    # Both searches, and the check between them.
    assert (quick.n_forward > full.n_forward).all()


@pytest.mark.parametrize("kind", [GroupSparseExplainer, AutoFrankWolfe])
def test_autocast_is_a_bool(kind):
    net = nn.Sequential(nn.Flatten(), nn.Linear(75, 2))
    with pytest.raises(ValueError, match="'autocast' parameter"):
        kind(net, autocast="bfloat16").explain(torch.rand(1, 3, 5, 5))
