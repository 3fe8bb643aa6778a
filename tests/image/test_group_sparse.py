import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from scfe_sklearn.image import GroupSparseExplainer, gse_parameters
from scfe_sklearn.image.group_sparse.neighbourhood import adjust_prices
from scfe_sklearn.image.group_sparse.refine import closure, shorten
from scfe_sklearn.image.group_sparse.search import critical_price
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.metrics import lengths, n_patches, n_pixels
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.proximal.operators import prox_l_half, prox_l_two_thirds


def small_net(channels=3, n_classes=4, seed=0, side=(12, 10)):
    torch.manual_seed(seed)
    height, width = side
    net = nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * height * width, n_classes),
    ).double()
    with torch.no_grad():
        net[4].weight *= 20
        net[4].bias *= 20
    return net.eval()


def some_images(n=4, channels=3, seed=1, side=(12, 10)):
    return torch.rand(n, channels, *side, generator=torch.Generator().manual_seed(seed)).double()


def test_the_critical_price_is_where_the_first_step_vanishes():
    gradient = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    step = torch.tensor([0.005, 0.1, 1.0, 3.0, 0.02]).double()
    v = (step[:, None, None, None] * gradient).flatten(1)
    low, high = torch.zeros(5).double(), torch.full((5,), 1e3).double()
    for _ in range(80):
        middle = (low + high) / 2
        moves = (prox_l_half(v, step, middle[:, None]) != 0).any(dim=1)
        low, high = torch.where(moves, middle, low), torch.where(moves, high, middle)
    torch.testing.assert_close(critical_price(gradient, step), low, rtol=1e-9, atol=0)


@pytest.mark.parametrize("prox", [prox_l_half, prox_l_two_thirds])
@pytest.mark.parametrize("lam", [0.0, 1e-4, 0.3, 2.0, float("inf")])
def test_knowing_that_the_box_holds_zero_changes_nothing(lam, prox):
    v = 3 * torch.randn(2, 20000, generator=torch.Generator().manual_seed(0)).double()
    lower, upper = torch.tensor(-0.4).double(), torch.tensor(0.9).double()
    for bounds in ((None, None), (lower, upper)):
        plain = prox(v, 0.7, lam, *bounds)
        quick = prox(v, 0.7, lam, *bounds, holds_zero=True)
        torch.testing.assert_close(quick, plain, rtol=1e-14, atol=1e-15)


def test_prices_fall_around_a_change_and_rise_elsewhere():
    w = torch.zeros(1, 2, 11, 11).double()
    w[0, 1, 5, 5] = -1
    price = adjust_prices(torch.ones(1, 1, 11, 11).double(), w, 0.25)[0, 0]
    weights = np.exp(-(np.arange(-2, 3) ** 2) / 4.5)
    weights /= weights.sum()
    expected = np.full((11, 11), 4.0)
    expected[3:8, 3:8] = 1 / (1 + np.outer(weights, weights))
    np.testing.assert_allclose(price.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(price[5, 5], 1 / 1.0853, rtol=1e-4)


def test_the_closure_adds_the_pixels_that_cost_no_window():
    generator = torch.Generator().manual_seed(3)
    changed = torch.rand(6, 1, 9, 7, generator=generator) < 0.12
    closed = closure(changed, 3)
    for image, mask in zip(changed, closed, strict=True):
        before = n_patches(image[None].double(), 3)
        for row in range(9):
            for column in range(7):
                more = image.clone()
                more[0, row, column] = True
                free = bool(n_patches(more[None].double(), 3) == before)
                assert free == bool(mask[0, row, column])


def test_windows_of_the_refined_change_are_no_more_and_the_value_is_better():
    net, x = small_net().requires_grad_(False), some_images(6)
    model = ImageModel(net)
    goal = Goal(net(x).argmax(1), False)
    generator = torch.Generator().manual_seed(0)
    w = torch.zeros_like(x)
    w[:, :, 3:8, 3:7] = 2 * torch.rand(6, 3, 5, 4, generator=generator).double() - 1
    w = torch.minimum(
        torch.maximum(30 * w, model.perturbation_box(x)[0]), model.perturbation_box(x)[1]
    )
    reaches = goal.margin_loss(net(model.perturbed(x, w))) < 0
    assert reaches.sum() >= 2
    kept, x, w = goal.take(reaches), x[reaches], w[reaches]
    price = 0.01
    new = shorten(model, x, w, kept, price=price, n_iter=40, patch=4)
    assert (kept.margin_loss(net(model.perturbed(x, new))) < 0).all()
    assert (n_patches(new, 4) <= n_patches(w, 4)).all()
    assert (lengths(new) + price * n_pixels(new) < lengths(w) + price * n_pixels(w)).all()


def test_the_shortest_change_of_a_linear_model_is_found():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).double().requires_grad_(False)
    x = torch.full((1, 1, 6, 6), 0.5).double()
    model, goal = ImageModel(net), Goal(net(x).argmax(1), False)
    weight = net[1].weight[goal.label[0]] - net[1].weight[1 - goal.label[0]]
    best = goal.margin_loss(net(x)) / weight.norm() * 2  # in half ranges
    w = (-weight.sign() * 0.9).reshape(1, 1, 6, 6)
    assert goal.margin_loss(net(model.perturbed(x, w))) < 0
    new = shorten(model, x, w, goal, price=0.0, n_iter=300)
    assert best.item() <= lengths(new).item() <= best.item() * 1.05


@pytest.mark.parametrize("salience", [0.25, 1.0])
def test_steps_weighted_by_slopes_at_the_image_keep_to_their_direction(salience):
    """Of a linear model the shortest change along it closes the margin, and it stays there."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).double().requires_grad_(False)
    x = torch.full((1, 1, 6, 6), 0.5).double()
    model, goal = ImageModel(net), Goal(net(x).argmax(1), False)
    half = (net[1].weight[1 - goal.label[0]] - net[1].weight[goal.label[0]]) / 2
    direction = half.sign() * half.abs() ** (1 + salience)
    shortest = goal.margin_loss(net(x)) * direction.norm() / (half @ direction)
    w = (2 * shortest * direction / direction.norm()).reshape(1, 1, 6, 6)
    assert goal.margin_loss(net(model.perturbed(x, w))) < 0
    new = shorten(model, x, w, goal, price=0.0, n_iter=300, salience=salience).flatten()
    assert shortest.item() <= new.norm().item() <= shortest.item() * 1.05
    torch.testing.assert_close(new / new.norm(), direction / direction.norm())
    # The gradient is another direction, and shorter.
    plain = shorten(model, x, w, goal, price=0.0, n_iter=300)
    assert lengths(plain).item() < shortest.item()


@pytest.mark.parametrize("settings", [{}, gse_parameters("cifar")], ids=["default", "published"])
@pytest.mark.parametrize("targeted", [False, True])
def test_answers_reach_their_goal_within_the_range(settings, targeted):
    net, x = small_net(), some_images(5)
    explainer = GroupSparseExplainer(net, **{**settings, "patch": 4})
    before = net(x).argmax(1)
    target = ((before + 1) % 4) if targeted else None
    result = explainer.explain(x, target)
    found = torch.from_numpy(result.status == "found")
    # The published constants suit larger nets.
    assert found.double().mean() >= (0.8 if settings else 1.0)
    answers, shown = net(result.counterfactuals[found]).argmax(1), result.counterfactuals[found]
    reached = answers == target[found] if targeted else answers != before[found]
    assert reached.all()
    assert result.after[found].tolist() == answers.tolist()
    assert (result.after[~found] == -1).all()
    assert shown.min() >= 0
    assert shown.max() <= 1
    untouched = result.changes[found] == 0
    assert torch.equal(shown[untouched], x[found][untouched])
    assert n_pixels(result.changes).double().mean() < 60


def test_an_image_does_not_feel_its_batch():
    net, x = small_net(), some_images(5)
    explainer = GroupSparseExplainer(net)
    together = explainer.explain(x).counterfactuals
    alone = torch.cat([explainer.explain(image[None]).counterfactuals for image in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = explainer.set_params(batch_size=2).explain(x[order]).counterfactuals
    torch.testing.assert_close(shuffled, together[order], rtol=0, atol=1e-9)


def test_the_range_of_the_pixels_is_a_unit():
    net, x = small_net(), some_images(3)
    wide = nn.Sequential(_Rescale(), *net)
    one = GroupSparseExplainer(net).explain(x)
    other = GroupSparseExplainer(wide, bounds=(-3.0, 7.0)).explain(10 * x - 3)
    torch.testing.assert_close(other.counterfactuals, 10 * one.counterfactuals - 3)
    np.testing.assert_allclose(one.measures()["length"], other.measures()["length"])


class _Rescale(nn.Module):
    def forward(self, x):
        return (x + 3) / 10


def test_normalization_is_part_of_the_model():
    net, x = small_net(), some_images(3)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)

    class Normalized(nn.Module):
        def forward(self, images):
            wide = [torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (mean, std)]
            return net((images - wide[0]) / wide[1])

    one = GroupSparseExplainer(net, normalization=(mean, std)).explain(x)
    other = GroupSparseExplainer(Normalized()).explain(x)
    torch.testing.assert_close(one.counterfactuals, other.counterfactuals, rtol=0, atol=1e-9)


def test_the_module_is_left_as_it_was():
    net, x = small_net().train(), some_images(2)
    net[0].weight.requires_grad_(False)
    net[4].weight.grad = torch.ones_like(net[4].weight)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    GroupSparseExplainer(net).explain(x)
    assert net.training
    assert net[1].training
    assert [p.requires_grad for p in net.parameters()] == [False, *[True] * 5]
    assert torch.equal(net[4].weight.grad, torch.ones_like(net[4].weight))
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_an_image_that_has_its_target_stays_as_it_is():
    net, x = small_net(), some_images(4)
    target = net(x).argmax(1)
    target[0] = (target[0] + 1) % 4
    result = GroupSparseExplainer(net).explain(x, target)
    assert result.status.tolist() == ["found", *["already has the target"] * 3]
    assert torch.equal(result.counterfactuals[1:], x[1:])
    assert result.success.all()


def test_a_model_that_never_changes_its_mind_fails_in_the_open():
    class Stubborn(nn.Module):
        def forward(self, x):
            return torch.stack([x.flatten(1).sum(1) * 0 + 1, x.flatten(1).sum(1) * 0], dim=1)

    result = GroupSparseExplainer(Stubborn()).explain(some_images(2).numpy())
    assert result.status.tolist() == ["budget exhausted"] * 2
    assert np.isnan(result.counterfactuals).all()
    assert (result.changes == 0).all()
    assert result.summary()["success"] == 0


def test_mu_auto_reaches_models_with_small_gradients():
    net, x = small_net(), some_images(4)
    with torch.no_grad():
        net[4].weight *= 1e-4
        net[4].bias *= 1e-4
    stuck = GroupSparseExplainer(net, mu=1.0, refine_iter=0).explain(x)
    assert not stuck.success.any()
    assert GroupSparseExplainer(net, mu="auto").explain(x).success.all()


def test_numpy_in_numpy_out_and_no_images():
    net, x = small_net().float(), some_images(2).float()
    result = GroupSparseExplainer(net).explain(x.numpy())
    assert isinstance(result.counterfactuals, np.ndarray)
    assert result.counterfactuals.dtype == np.float32
    assert "n=2" in repr(result)
    assert len(GroupSparseExplainer(net).explain(x[:0])) == 0


def test_parameters_are_those_of_scikit_learn():
    explainer = GroupSparseExplainer(small_net(), price_growth=0.5)
    assert clone(explainer).get_params()["price_growth"] == 0.5
    assert explainer.set_params(**gse_parameters("imagenet")).step == 0.05


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (
            {"price_growth": 0.0},
            "The 'price_growth' parameter of GroupSparseExplainer must be a float in",
        ),
        ({"momentum": "heavy"}, "The 'momentum' parameter of GroupSparseExplainer must be a str"),
        ({"bounds": (1.0, 0.0)}, "The 'bounds' parameter of GroupSparseExplainer must be two"),
        ({"n_searches": 0}, "The 'n_searches' parameter"),
        ({"model": 3}, "The 'model' parameter of GroupSparseExplainer must be an instance of"),
    ],
)
def test_bad_parameters_are_refused(settings, match):
    explainer = GroupSparseExplainer(**{"model": small_net(), **settings})
    with pytest.raises(ValueError, match=match):
        explainer.explain(some_images(1))


@pytest.mark.parametrize(
    ("images", "target", "match"),
    [
        (torch.zeros(3, 8, 8), None, "must have shape"),
        (2 + torch.zeros(1, 3, 12, 10), None, "must lie within the bounds"),
        (torch.full((1, 3, 12, 10), torch.nan), None, "must lie within the bounds"),
        ([[1.0]], None, "must be a numpy array or a torch tensor"),
        (torch.zeros(1, 3, 12, 10), 4, r"must be classes in \[0, 4\)"),
        (torch.zeros(1, 3, 12, 10), [0, 1], r"must be an int or have shape \(1,\)"),
        (torch.zeros(1, 3, 12, 10), 0.5, "must be an int or one int per image"),
    ],
)
def test_bad_images_and_targets_are_refused(images, target, match):
    with pytest.raises((ValueError, TypeError), match=match):
        GroupSparseExplainer(small_net()).explain(images, target)


def test_unknown_published_settings_are_refused():
    with pytest.raises(ValueError, match="The 'name' parameter of gse_parameters"):
        gse_parameters("mnist")
