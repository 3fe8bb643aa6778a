import math

import numpy as np
import pytest
import torch
from torch import nn

from scfe_sklearn.image import AutoFrankWolfe, SigmaZero
from scfe_sklearn.image.calibration import calibration_error, temperature
from scfe_sklearn.image.metrics import lengths
from scfe_sklearn.proximal.balls import lmo_ball_box, project_ball_box
from scfe_sklearn.solvers.gradients.auto_projected import auto_projected_gradient
from scfe_sklearn.solvers.gradients.frank_wolfe import StepControl, auto_frank_wolfe, checkpoints


def linear_net(seed=0, side=5, n_classes=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * side * side, n_classes)).double()


def curved_net(seed=0, side=5, n_classes=3):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(2 * side * side, 20), nn.Tanh(), nn.Linear(20, n_classes)
    ).double()


def some_images(n=4, side=5):
    return torch.rand(n, 2, side, side, generator=torch.Generator().manual_seed(1)).double()


def test_checkpoints_are_those_of_auto_pgd():
    assert checkpoints(75) == [16, 30, 42, 52, 60, 66, 70, 74]
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == [1]


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, math.inf])
def test_a_linear_objective_is_maximal_after_one_oracle(p):
    c = torch.randn(3, 12, generator=torch.Generator().manual_seed(0)).double()
    lower, upper = torch.full_like(c, -0.3), torch.full_like(c, 0.5)

    def lmo(direction):
        return lmo_ball_box(direction, p, 0.8, lower, upper)

    best = (lmo(c) * c).sum(1)
    start = lmo(-c)
    ascent = auto_frank_wolfe(lambda u: ((u * c).sum(1), c), lmo, start, 60)
    torch.testing.assert_close(ascent.value, best, rtol=1e-6, atol=0)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_both_solvers_find_the_projection_of_a_point(p):
    centre = 2 * torch.randn(4, 10, generator=torch.Generator().manual_seed(0)).double()
    lower, upper = torch.full_like(centre, -0.4), torch.full_like(centre, 0.6)

    def evaluate(u):
        return -(u - centre).square().sum(1), -2 * (u - centre)

    def lmo(c):
        return lmo_ball_box(c, p, 1.2, lower, upper)

    def project(v):
        return project_ball_box(v, p, 1.2, lower, upper)

    best = evaluate(project(centre))[0]
    for ascent in (
        auto_frank_wolfe(evaluate, lmo, lmo(centre), 300),
        auto_projected_gradient(evaluate, project, torch.zeros_like(centre), p, 1.2, 300),
    ):
        assert (ascent.value <= best + 1e-9).all()
        torch.testing.assert_close(ascent.value, best, rtol=4e-2, atol=0)
        torch.testing.assert_close(evaluate(ascent.u)[0], ascent.value)


def test_step_control_by_hand():
    control = StepControl(torch.zeros(2))
    for _ in range(4):
        control.saw(torch.zeros(2), torch.tensor([1.0, -1.0]))
    assert control.halve(torch.tensor([1.0, 0.0])).tolist() == [False, True]
    for _ in range(4):
        control.saw(torch.zeros(2), torch.ones(2))
    # All rise, but the best of the first has not improved since; the second was just halved.
    assert control.halve(torch.tensor([1.0, 0.0])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("solver", "p"),
    [("afw", 1.0), ("afw", 1.3), ("afw", 2), ("afw", math.inf), ("apgd", 1), ("apgd", 2.0),
     ("apgd", math.inf)],
)  # fmt: skip
def test_answers_are_in_ball_and_box_and_gain(solver, p):
    net, x = curved_net(), some_images()
    radius = {1: 4.0, math.inf: 0.3}.get(p, 1.2)
    result = AutoFrankWolfe(net, p=p, radius=radius, solver=solver, n_iter=30).explain(x)
    assert (lengths(result.changes, p) <= radius * (1 + 1e-9)).all()
    assert result.counterfactuals.min() >= 0
    assert result.counterfactuals.max() <= 1
    assert (result.confidence_after > result.confidence_before).all()
    logits = net(x)
    assert result.target.tolist() == logits.topk(2).indices[:, 1].tolist()
    shown = torch.softmax(net(result.counterfactuals), 1).detach().numpy()
    np.testing.assert_allclose(
        result.confidence_after, shown[np.arange(len(x)), result.target], rtol=1e-9
    )
    reached = shown.argmax(1) == result.target
    assert (result.status == np.where(reached, "found", "closest, but not valid")).all()


def test_an_image_is_made_more_convincing_of_its_own_class():
    """Against the maximum of a linear model of two classes over ball and box, in closed form."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(50, 2)).double()
    x = some_images(6)
    own = net(x).argmax(1)
    result = AutoFrankWolfe(net, radius=1.5, n_iter=60).explain(x, own)
    assert (result.status == "found").all()
    assert result.after.tolist() == own.tolist()
    assert (lengths(result.changes, 1.5) <= 1.5 * (1 + 1e-9)).all()
    slope = (net[1].weight[0] - net[1].weight[1]).detach() * torch.where(own == 0, 1, -1)[:, None]
    flat = x.flatten(1)
    best = flat + lmo_ball_box(slope, 1.5, 1.5, -flat, 1 - flat)
    expected = torch.softmax(net(best), 1).gather(1, own[:, None])[:, 0].detach()
    np.testing.assert_allclose(result.confidence_after, expected, rtol=1e-5)
    assert (result.confidence_after > result.confidence_before + 0.01).all()


def test_an_image_that_nothing_makes_more_convincing_keeps_its_status():
    net, x = linear_net(), some_images(3)
    own = net(x).argmax(1)
    # Saturated: a probability of one cannot rise.
    with torch.no_grad():
        net[1].weight *= 1e5
    result = AutoFrankWolfe(net, radius=1e-3, n_iter=5, n_restarts=1).explain(x, own)
    assert (result.status == "already has the target").all()
    assert torch.equal(result.counterfactuals, x)
    assert (result.confidence_after == result.confidence_before).all()


def test_restarts_help_and_batches_do_not_matter():
    net, x = curved_net(), some_images(6)
    one = AutoFrankWolfe(net, radius=1.0, n_restarts=1, n_iter=10).explain(x)
    five = AutoFrankWolfe(net, radius=1.0, n_restarts=5, n_iter=10)
    many = five.explain(x)
    assert (many.confidence_after >= one.confidence_after).all()
    parts = five.set_params(batch_size=4).explain(x)
    torch.testing.assert_close(parts.counterfactuals, many.counterfactuals, rtol=0, atol=1e-9)
    assert (many.n_forward == 5 * 11 + 2).all()


def test_projections_need_an_exact_formula():
    with pytest.raises(ValueError, match="The 'p' parameter of AutoFrankWolfe must be 1, 2 or inf"):
        AutoFrankWolfe(linear_net(), p=1.5, solver="apgd").explain(some_images())


def test_temperature_recovers_the_scale_of_the_logits():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=generator).double()
    labels = torch.multinomial(torch.softmax(logits, 1), 1, generator=generator)[:, 0]
    assert temperature(logits, labels) == pytest.approx(1, abs=0.06)
    assert temperature(3 * logits, labels) == pytest.approx(
        3 * temperature(logits, labels), rel=1e-6
    )
    assert temperature(3 * logits, labels, "ece") == pytest.approx(3, rel=0.15)
    assert calibration_error(logits, labels) < 0.03
    assert calibration_error(3 * logits, labels) > 0.1
    with pytest.raises(ValueError, match="The 'criterion' parameter"):
        temperature(logits, labels, "brier")


def test_calibration_error_by_hand():
    probabilities = torch.tensor([[0.62, 0.38], [0.63, 0.37], [0.1, 0.9]]).double()
    labels = torch.tensor([0, 1, 1])
    expected = 2 / 3 * abs(0.5 - 0.625) + 1 / 3 * 0.1
    assert calibration_error(probabilities.log(), labels).item() == pytest.approx(expected)


def test_sigma_zero_changes_few_values_of_a_linear_model():
    net, x = linear_net(), some_images(6)
    result = SigmaZero(net).explain(x)
    assert (result.status == "found").all()
    counts = (result.changes != 0).flatten(1).sum(1)
    weight, bias = net[1].weight.detach(), net[1].bias.detach()
    for image, count in zip(x.flatten(1), counts, strict=True):
        # Exact: towards one class, the largest gains within the range first.
        logits = weight @ image + bias
        least = []
        for other in set(range(3)) - {int(logits.argmax())}:
            slope = weight[other] - weight[logits.argmax()]
            gains = torch.maximum(slope * (1 - image), -slope * image).sort(descending=True).values
            missing = logits.max() - logits[other]
            least.append(int((gains.cumsum(0) <= missing).sum()) + 1)
        assert min(least) <= count <= min(least) + 1
