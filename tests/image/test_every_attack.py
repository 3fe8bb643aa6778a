"""What is true of every image explainer, whatever it searches for."""

import math
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from scfe_sklearn.image import (
    PGD0,
    AutoFrankWolfe,
    FastGradientSign,
    GroupSparseExplainer,
    NuclearFrankWolfe,
    ProjectedGradient,
    ProximalAttack,
    ReparameterizedAttack,
    SigmaZero,
    SparseAutoAttack,
    SparsePGD,
    SparseRandomSearch,
    StrAttack,
)
from scfe_sklearn.image.metrics import n_pixels

# Class, parameters, and those whose unit is that of the pixels.
EVERY = {
    "afw": (AutoFrankWolfe, {"n_iter": 20, "n_restarts": 2, "radius": 9.0}, ("radius",)),
    "afw, as an attack": (
        AutoFrankWolfe,
        {"n_iter": 20, "n_restarts": 2, "radius": 9.0, "stop_at_target": True},
        ("radius",),
    ),
    "fgsm": (FastGradientSign, {"radius": 0.5}, ("radius",)),
    "fgm": (FastGradientSign, {"p": 1.5, "radius": 9.0}, ("radius",)),
    "pgd": (ProjectedGradient, {"radius": 0.4, "step": 0.1, "n_iter": 15}, ("radius", "step")),
    "apgd": (
        ProjectedGradient, {"p": 2, "radius": 4.0, "n_iter": 15, "n_restarts": 2}, ("radius",)
    ),
    "gse": (GroupSparseExplainer, {}, ()),
    "sigma-zero": (SigmaZero, {"n_iter": 60}, ()),
    "random": (SparseRandomSearch, {"n_pixels": 9, "n_queries": 150}, ()),
    "spgd": (SparsePGD, {"n_pixels": 9, "n_iter": 60}, ()),
    "spgd, projected": (
        SparsePGD, {"n_pixels": 9, "n_iter": 60, "backward": "projected", "patience": 1}, ()
    ),
    "proximal": (ProximalAttack, {"weight": 0.002, "step": 0.05}, ()),
    "pgd0": (PGD0, {"n_pixels": 9, "step": 1.0, "n_iter": 60, "n_restarts": 2}, ()),
    "saa": (SparseAutoAttack, {"n_pixels": 4, "n_iter": 20, "n_queries": 60}, ()),
    "mask": (ReparameterizedAttack, {"n_iter": 60}, ()),
    "scripted": (ReparameterizedAttack, {"mask": "tanh", "threshold": 0.2, "rate": 1e4}, ()),
    "strattack": (StrAttack, {"n_searches": 5, "n_iter": 40, "n_retrain": 40}, ()),
    "strattack, sliding": (
        StrAttack, {"side": 2, "stride": 1, "n_searches": 5, "n_iter": 40, "n_retrain": 40}, ()
    ),
    "fwnucl": (NuclearFrankWolfe, {"n_iter": 60, "radius": 9.0}, ()),
    "fwnucl, to the end": (NuclearFrankWolfe, {"n_iter": 20, "stop_early": False}, ()),
}  # fmt: skip
DRAW = {
    "afw",
    "afw, as an attack",
    "pgd0",
    "pgd",
    "apgd",
    "random",
    "spgd",
    "spgd, projected",
    "saa",
}
AT_MOST = {"pgd0": 9, "random": 9, "spgd": 9, "spgd, projected": 9, "saa": 4}


def explainer(name, model, **more):
    kind, parameters, _ = EVERY[name]
    return kind(model, **{**parameters, **more})


def colour_net(side=(10, 8), n_classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(),
            nn.Linear(6 * side[0] * side[1], n_classes),
        ).double()  # fmt: skip
    with torch.no_grad():
        net[4].weight *= 5
    return net


def colour_images(n=4, side=(10, 8)):
    return torch.rand(n, 3, *side, generator=torch.Generator().manual_seed(1)).double()


def same(a, b, **tolerance):
    torch.testing.assert_close(a, b, equal_nan=True, **tolerance)


@pytest.mark.parametrize("name", EVERY)
def test_digits_become_others(name, digits):
    net, x = digits
    result = explainer(name, net).explain(x)
    least = 0.25 if name in ("saa", "fwnucl, to the end") else 0.75
    assert result.success.mean() >= least
    found = torch.from_numpy(result.success)
    shown = result.counterfactuals[found]
    assert shown.dtype == x.dtype
    assert shown.min() >= 0
    assert shown.max() <= 1
    with torch.no_grad():
        before, after = net(x).argmax(1)[found], net(shown).argmax(1)
    assert (before != after).all()
    np.testing.assert_array_equal(after, result.after[result.success])
    assert (n_pixels(result.changes) <= AT_MOST.get(name, 64)).all()
    # A failure is told, and has no image.
    lost = ~found & torch.from_numpy(result.status != "closest, but not valid")
    assert torch.isnan(result.counterfactuals[lost]).all()
    assert (result.after[lost.numpy()] == -1).all()
    measures = result.measures(3)
    assert all(np.isnan(value[lost.numpy()]).all() for value in measures.values())


@pytest.mark.parametrize("name", EVERY)
def test_colours_are_reached_and_passes_are_counted(name):
    net, x = colour_net(), colour_images()
    passes = []
    net.register_forward_hook(lambda module, args, out: passes.append(len(args[0])))
    with torch.no_grad():
        # The class that is likeliest but for the own one.
        target = net.eval()(x).topk(2).indices[:, 1]
    passes.clear()
    result = explainer(name, net).explain(x, target)
    if name not in ("fwnucl, to the end", "saa"):
        assert result.success.all()
    with torch.no_grad():
        reached = net(torch.nan_to_num(result.counterfactuals)).argmax(1) == target
    np.testing.assert_array_equal(reached, result.success)
    # One pass of one image tells how many classes there are; the last one is this test's.
    assert sum(passes[:-1]) == result.n_forward.sum() + 1
    assert (result.n_backward <= result.n_forward).all()
    untouched = result.changes == 0
    assert torch.equal(result.counterfactuals[untouched & ~result.counterfactuals.isnan()],
                       x[untouched & ~result.counterfactuals.isnan()])  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_an_image_does_not_feel_its_batch(name):
    net, x = colour_net(), colour_images(5)
    whole = explainer(name, net).explain(x).counterfactuals
    parts = explainer(name, net, batch_size=2).explain(x).counterfactuals
    same(whole, parts, rtol=0, atol=1e-8)
    if name not in DRAW:
        order = torch.tensor([3, 0, 4, 2, 1])
        same(
            explainer(name, net).explain(x[order]).counterfactuals, whole[order], rtol=0, atol=1e-8
        )
    else:
        again = explainer(name, net).explain(x).counterfactuals
        other = explainer(name, net, random_state=5).explain(x).counterfactuals
        assert torch.equal(torch.nan_to_num(again), torch.nan_to_num(whole))
        assert not torch.equal(torch.nan_to_num(other), torch.nan_to_num(whole))


class Rescaled(nn.Module):
    """The same function of images whose pixels go from -1 to 3."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net((x + 1) / 4)


@pytest.mark.parametrize("name", EVERY)
def test_the_unit_of_the_pixels_does_not_matter(name):
    net, x = colour_net(), colour_images(3)
    _, parameters, lengths = EVERY[name]
    wider = {key: 4 * parameters[key] for key in lengths}
    plain = explainer(name, net).explain(x)
    scaled = explainer(name, Rescaled(net), bounds=(-1, 3), **wider).explain(4 * x - 1)
    np.testing.assert_array_equal(plain.status, scaled.status)
    same((scaled.counterfactuals + 1) / 4, plain.counterfactuals, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(plain.n_forward, scaled.n_forward)


class Stubborn(nn.Module):
    """Always the first class, by far; the gradient is not zero."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        lean = self.weight * x.flatten(1).mean(1)
        return torch.stack([1e3 + lean, lean.square(), -lean], dim=1)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("target", [None, 2])
def test_what_cannot_be_reached_is_told_and_not_lost(name, target):
    x = colour_images(3).float()
    result = explainer(name, Stubborn()).explain(x, target)
    assert not result.success.any()
    if name in ("afw", "afw, as an attack"):
        assert (result.status == "closest, but not valid").all()
        return
    assert (result.status == "budget exhausted").all()
    assert torch.isnan(result.counterfactuals).all()
    assert torch.equal(result.changes, torch.zeros_like(x))
    assert result.images is x
    assert (result.n_forward > 2).all()


@pytest.mark.parametrize("name", sorted({*EVERY} - {"afw"}))
def test_what_is_there_already_comes_back_and_is_not_searched_for(name):
    net, x = colour_net(), colour_images()
    with torch.no_grad():
        own = net.eval()(x).argmax(1)
    target = torch.where(torch.arange(4) < 2, own, (own + 1) % 3)
    result = explainer(name, net).explain(x, target)
    assert (result.status[:2] == "already has the target").all()
    assert torch.equal(result.counterfactuals[:2], x[:2])
    assert result.n_forward[:2].tolist() == [2, 2]
    assert result.n_backward[:2].tolist() == [0, 0]
    assert (result.n_forward[2:] > 2).all()
    nothing = explainer(name, net).explain(x, own)
    assert torch.equal(nothing.counterfactuals, x)


@pytest.mark.parametrize("name", EVERY)
def test_the_model_is_left_as_it_was(name, digits):
    net, x = digits
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()
    net[0].weight.requires_grad_(False)
    try:
        result = explainer(name, net).explain(x[:2].numpy())
        assert isinstance(result.counterfactuals, np.ndarray)
        assert net.training
        assert net[1].training
        flags = [parameter.requires_grad for parameter in net.parameters()]
        assert flags == [False, *[True] * (len(flags) - 1)]
        assert all(parameter.grad is None for parameter in net.parameters())
        assert torch.is_grad_enabled()
    finally:
        net.eval()
        net[0].weight.requires_grad_(True)
    after = net.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


class Broken(nn.Module):
    """NaN where the first pixel is white."""

    def forward(self, x):
        flat = x.flatten(1)
        logits = torch.stack([flat.mean(1), 1 - flat.mean(1), flat[:, 0]], dim=1)
        return torch.where(flat[:, :1] == 1, torch.nan, logits)


@pytest.mark.parametrize("name", EVERY)
def test_images_that_the_model_fails_on_are_named(name):
    x = colour_images(3)
    x[1, 0, 0, 0] = 1
    result = explainer(name, Broken()).explain(x)
    assert result.status[1] == "model failed"
    assert torch.isnan(result.counterfactuals[1]).all()
    assert (result.status[[0, 2]] != "model failed").all()


class Kinked(nn.Module):
    """Logits are finite, the gradient is not where the first pixel is black."""

    def __init__(self):
        super().__init__()
        self.net = colour_net()

    def forward(self, x):
        return self.net(x) + 0 * x[:, 0, 0, :1].sqrt()


@pytest.mark.parametrize("name", EVERY)
def test_a_gradient_that_is_not_finite_spoils_no_other_image(name):
    x = colour_images(3)
    expected = explainer(name, Kinked()).explain(x)
    x[1, 0, 0, 0] = 0
    result = explainer(name, Kinked()).explain(x)
    same(result.counterfactuals[[0, 2]], expected.counterfactuals[[0, 2]], rtol=0, atol=1e-8)
    np.testing.assert_array_equal(result.status[[0, 2]], expected.status[[0, 2]])
    assert result.success[1] or torch.isnan(result.counterfactuals[1]).all()


@pytest.mark.parametrize("name", EVERY)
def test_parameters_are_those_of_scikit_learn(name):
    net = colour_net()
    made = explainer(name, net)
    told = made.get_params(deep=False)
    assert list(told)
    assert told["model"] is net
    assert {"bounds", "normalization", "batch_size"} <= set(told)
    copy = clone(made)
    assert copy.get_params(deep=False).keys() == told.keys()
    assert {key: told[key] for key in told if key != "model"} == {
        key: value for key, value in copy.get_params(deep=False).items() if key != "model"
    }
    assert repr(made).startswith(type(made).__name__ + "(")
    assert made.set_params(batch_size=7) is made
    assert made.batch_size == 7
    with pytest.raises(ValueError, match="Invalid parameter 'radios'"):
        made.set_params(radios=1)
    with pytest.raises(TypeError):
        type(made)(net, (0, 1))
    assert "Images at a time" in type(made).__doc__
    for key in told:
        assert re.search(rf"\n(\w+, )*{key}(, \w+)* : ", type(made).__doc__), key


REFUSED = [
    ("fgsm", {"p": 0.5}, "The 'p' parameter of FastGradientSign must be a float in"),
    ("fgsm", {"radius": math.inf}, "The 'radius' parameter of FastGradientSign must be"),
    ("fgsm", {"radius": 0}, "The 'radius' parameter of FastGradientSign must be"),
    ("pgd", {"p": 3}, "The 'p' parameter of ProjectedGradient must be 1, 2 or inf. Got 3"),
    ("pgd", {"p": 1}, "The 'step' parameter of ProjectedGradient must be 'auto' for p=1"),
    ("pgd", {"step": "fast"}, "The 'step' parameter of ProjectedGradient must be"),
    ("pgd", {"loss": "dlr"}, "The 'loss' parameter of ProjectedGradient must be a str among"),
    (
        "proximal",
        {"penalty": "l2"},
        "The 'penalty' parameter of ProximalAttack must be a str among",
    ),
    ("spgd", {"n_pixels": 0}, "The 'n_pixels' parameter of SparsePGD must be an int in"),
    ("spgd", {"backward": "none"}, "The 'backward' parameter of SparsePGD must be a str among"),
    ("pgd0", {"step": 0.0}, "The 'step' parameter of PGD0 must be a float in"),
    ("saa", {"n_queries": -1}, "The 'n_queries' parameter of SparseAutoAttack must be an int"),
    ("mask", {"threshold": 1.0}, "The 'threshold' parameter of Reparameterized"),
    ("mask", {"mask": "relu"}, "The 'mask' parameter of ReparameterizedAttack must be a str"),
    ("strattack", {"side": 0}, "The 'side' parameter of StrAttack must be an int in"),
    ("strattack", {"quantile": 1}, "The 'quantile' parameter of StrAttack must be a float in"),
    ("fwnucl", {"radius": -1}, "The 'radius' parameter of NuclearFrankWolfe must be a float"),
    ("fwnucl", {"stop_early": 3}, "The 'stop_early' parameter of NuclearFrankWolfe must be"),
    ("fwnucl", {"bounds": (1, 0)}, "The 'bounds' parameter of NuclearFrankWolfe must be two"),
]


@pytest.mark.parametrize(("name", "settings", "match"), REFUSED)
def test_bad_parameters_are_refused(name, settings, match):
    with pytest.raises(ValueError, match=match):
        explainer(name, colour_net(), **settings).explain(colour_images(1))
