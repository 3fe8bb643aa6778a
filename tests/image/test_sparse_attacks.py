"""Sparse attacks on linear models of two classes, where few pixels are known to be enough."""

import numpy as np
import pytest
import torch
from torch import nn

import scfe_sklearn.image.noise as noise
from scfe_sklearn.image import (
    PGD0,
    ReparameterizedAttack,
    SparseAutoAttack,
    SparsePGD,
    noise_scores,
)
from scfe_sklearn.image.active_batch import top_pixels
from scfe_sklearn.image.attacks.sigmoid_mask import pruned
from scfe_sklearn.image.attacks.sparse_projected import SparsePGDSettings, _State, _step
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.metrics import changed_pixels, n_pixels
from scfe_sklearn.image.model import ImageModel

SHAPE = (2, 6, 5)


def two_classes(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(60, 2)).double()


def some_images(n=6):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(2)).double()


def fewest_pixels(net, x):
    """Exact: a pixel gains what its channels gain in the best corner, and the best go first."""
    slope = (net[1].weight[1] - net[1].weight[0]).detach().reshape(SHAPE)
    logits = net(x).detach()
    out = []
    for image, (zero, one) in zip(x, logits, strict=True):
        towards = slope if zero > one else -slope
        gains = torch.maximum(towards * (1 - image), -towards * image).sum(0).flatten()
        total = gains.sort(descending=True).values.cumsum(0)
        out.append(int((total <= (zero - one).abs()).sum()) + 1)
    return np.array(out)


@pytest.mark.parametrize("kind", ["unprojected", "projected", "cascade", "pgd0"])
def test_pixels_that_are_enough_are_found_and_fewer_are_not(kind):
    net, x = two_classes(), some_images()
    least = fewest_pixels(net, x)
    assert least.max() > 2
    for image, k in zip(x, least, strict=True):
        for budget, expected in ((int(k) - 1, False), (int(k) + 1, True)):
            if budget == 0:
                continue
            attack = (
                PGD0(net, n_pixels=budget, step=3.0, n_restarts=3)
                if kind == "pgd0"
                else SparseAutoAttack(net, n_pixels=budget, n_iter=200, n_queries=100)
                if kind == "cascade"
                else SparsePGD(net, n_pixels=budget, n_iter=400, backward=kind)
            )
            result = attack.explain(image[None])
            assert result.success.tolist() == [expected]
            assert n_pixels(result.changes).item() <= budget


def test_the_cascade_asks_later_attacks_only_about_what_is_left():
    net, x = two_classes(), some_images()
    budget = int(np.sort(fewest_pixels(net, x))[2])
    first = SparsePGD(net, n_pixels=budget, n_iter=50).explain(x)
    whole = SparseAutoAttack(net, n_pixels=budget, n_iter=50, n_queries=40).explain(x)
    assert 0 < first.success.sum() < len(x)
    assert (whole.success >= first.success).all()
    assert torch.equal(whole.counterfactuals[first.success], first.counterfactuals[first.success])
    assert (whole.n_forward[first.success] == first.n_forward[first.success]).all()
    never = ~whole.success
    # Both of the first two to the end, and all queries of the third.
    assert (whole.n_backward[never] == 100).all()
    assert (whole.n_forward[never] == 2 + 100 + 40).all()
    alone = SparseAutoAttack(net, n_pixels=budget, n_iter=50, n_queries=0).explain(x)
    assert (alone.n_forward[~alone.success] == 2 + 100).all()


def test_a_mask_is_drawn_anew_for_the_image_that_is_stuck_alone():
    size, k = 12, 3
    rows = torch.arange(2)
    logit = torch.randn(2, size, generator=torch.Generator().manual_seed(0)).double()
    gradient = torch.zeros(2, 1, size).double()
    # The second image's mask moves all the time: its weakest pixels are pushed most.
    active = _State(
        rows=rows, x=torch.zeros(2, 1, 3, 4).double(), goal=Goal(rows, True), indices=rows,
        lower=-torch.ones(2, 1, size).double(), upper=torch.ones(2, 1, size).double(),
        colour=torch.ones(2, 1, size).double(), logit=logit, mask=top_pixels(logit, k),
        same=torch.zeros(2, dtype=torch.long), done=rows < 0, gradient=gradient,
    )  # fmt: skip
    settings = SparsePGDSettings(k, 1, projected=False, mask_step=40.0, patience=3)
    seen, counts = [active.logit], []
    for turn in range(3):
        gradient[1, 0] = torch.where(active.mask[1], -1.0, 1.0)
        active.gradient = gradient.clone()
        _step(active, k, 2 + turn, settings)
        seen.append(active.logit)
        counts.append(active.same.tolist())
    assert [count[0] for count in counts] == [1, 2, 0]
    assert [count[1] for count in counts] == [0, 0, 0]
    assert torch.equal(seen[1][0], seen[0][0])
    assert torch.equal(seen[2][0], seen[0][0])
    assert not torch.equal(seen[3][0], seen[0][0])
    assert torch.equal(active.mask, top_pixels(active.logit, k))


def test_colours_and_masks_move_as_the_paper_says():
    """One step against the formulas on plain numpy."""
    rng = np.random.default_rng(0)
    logit, colour = rng.normal(size=8), rng.uniform(-1, 1, size=(3, 8))
    gradient = rng.normal(size=(3, 8))
    lower, upper = -rng.uniform(0.2, 1, size=(3, 8)), rng.uniform(0.2, 1, size=(3, 8))
    row = torch.tensor([0])

    def tensor(array):
        return torch.from_numpy(array)[None]

    for projected in (False, True):
        active = _State(
            rows=row, x=torch.zeros(1, 3, 2, 4), goal=Goal(row, True), indices=row,
            lower=tensor(lower), upper=tensor(upper), colour=tensor(colour),
            logit=tensor(logit), mask=top_pixels(tensor(logit), 2),
            same=torch.tensor([0]), done=row < 0, gradient=tensor(gradient),
        )  # fmt: skip
        _step(active, 2, 2, SparsePGDSettings(2, 1, projected, step=0.1, mask_step=0.3))
        soft = 1 / (1 + np.exp(-logit))
        hard = np.isin(np.arange(8), np.argsort(logit)[-2:])
        weight = hard if projected else soft
        moved = np.clip(colour + 0.1 * np.sign(gradient * weight), lower, upper)
        slope = (gradient * colour).sum(0) * soft * (1 - soft)
        np.testing.assert_allclose(active.colour[0], moved)
        np.testing.assert_allclose(
            active.logit[0], logit + 0.3 * 8**0.5 * slope / np.linalg.norm(slope)
        )


def test_a_mask_changes_hardly_more_pixels_than_are_needed():
    net, x = two_classes(), some_images(12)
    result = ReparameterizedAttack(net).explain(x)
    assert result.success.all()
    least, found = fewest_pixels(net, x), n_pixels(result.changes).numpy()
    assert (found >= least).all()
    assert found.mean() <= least.mean() + 0.5
    # No single pixel could go back.
    for image, changed, label in zip(x, result.counterfactuals, result.before, strict=True):
        for i, j in changed_pixels((changed - image)[None])[0].nonzero().tolist():
            restored = changed.clone()
            restored[:, i, j] = image[:, i, j]
            assert net(restored[None]).argmax() == label


def test_pixels_go_back_one_by_one_from_the_smallest():
    """Against a plain loop over images."""
    net, x = two_classes(), some_images(5)
    model, goal = ImageModel(net, unit=1.0), Goal(net(x).argmax(1), False)
    lower, upper = model.perturbation_box(x)
    slope = torch.autograd.functional.jacobian(lambda v: goal.margin_loss(net(v)).sum(), x)
    w = torch.where(slope < 0, upper, lower) * 0.8
    w[4] = 0
    found, count = pruned(model, x, goal, w)
    assert count.tolist() == [30, 30, 30, 30, 0]
    for k in range(5):
        expected = w[k].clone()
        for place in w[k].square().sum(0).flatten().argsort().tolist():
            trial = expected.clone()
            trial.view(2, -1)[:, place] = 0
            if net((x[k] + trial)[None]).argmax() != goal.label[k]:
                expected = trial
        assert torch.equal(found[k], expected)
    assert n_pixels(found[:4]).max() < 30


def test_scripted_changes_follow_the_signs_of_the_gradient():
    net, x = two_classes(), some_images()
    result = ReparameterizedAttack(net, mask="tanh", threshold=0.2, rate=1e4).explain(x)
    found = torch.from_numpy(result.success)
    assert found.sum() >= 4
    slope = (net[1].weight[1] - net[1].weight[0]).detach().reshape(SHAPE)
    away = torch.where(torch.from_numpy(result.before == 0).reshape(-1, 1, 1, 1), slope, -slope)
    moved = result.changes != 0
    assert (torch.sign(result.changes) == torch.sign(away))[moved].all()
    # No value moves by more than its room on the nearer side.
    assert (result.changes.abs() <= torch.minimum(x, 1 - x) + 1e-9).all()


def test_scripted_changes_leave_values_at_an_end_of_the_range():
    net, x = two_classes(), some_images().round()
    scripted = ReparameterizedAttack(net, mask="tanh", threshold=0.2, rate=1e4).explain(x)
    assert not scripted.success.any()
    assert ReparameterizedAttack(net).explain(x).success.all()


def restored_one_by_one(net, x, changed, before, after):
    hidden, led = np.zeros((len(x), *SHAPE[1:])), np.zeros((len(x), *SHAPE[1:]))
    with torch.no_grad():
        for n, i, j in changed_pixels(changed - x).nonzero().tolist():
            image = changed[n].clone()
            image[:, i, j] = x[n, :, i, j]
            now, then = net(changed[n, None])[0], net(image[None])[0]
            hidden[n, i, j] = then[before[n]] - now[before[n]]
            led[n, i, j] = now[after[n]] - then[after[n]]
    return hidden, led


@pytest.mark.parametrize("curved", [False, True])
def test_noise_scores(curved):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [nn.Linear(60, 20), nn.Tanh(), nn.Linear(20, 3)] if curved else [nn.Linear(60, 3)]
        net = nn.Sequential(nn.Flatten(), *parts).double()
    x = some_images(4)
    result = SparsePGD(net, n_pixels=9).explain(x)
    changed = result.counterfactuals.clone()
    changed[3] = x[3]
    before, after = (torch.from_numpy(part) for part in (result.before, result.after))
    assert result.success.all()
    scores = noise_scores(net, x, changed, before, after)
    hidden, led = restored_one_by_one(net, x, changed, before, after)
    np.testing.assert_allclose(scores.obscuring, hidden, atol=1e-12)
    np.testing.assert_allclose(scores.leading, led, atol=1e-12)
    linear = noise_scores(net, x, changed, before, after, first_order=True)
    exact = np.allclose(linear.obscuring, hidden) and np.allclose(linear.leading, led)
    assert exact is not curved
    summary = scores.summary()
    assert (scores.hides & scores.leads).sum() == 0
    both = np.maximum(hidden, led) > 0
    np.testing.assert_array_equal(summary["n_obscuring"] + summary["n_leading"], both.sum((1, 2)))
    np.testing.assert_allclose(
        summary["obscuring"], (hidden * ((hidden > 0) & (hidden >= led))).sum((1, 2)), atol=1e-12
    )
    np.testing.assert_allclose(
        summary["ratio"][:3],
        hidden[:3].clip(min=0).sum((1, 2)) / led[:3].clip(min=0).sum((1, 2)),
    )
    assert summary["n_obscuring"][3] == summary["n_leading"][3] == 0
    # Linear models: all scores together are what the change did to the two logits.
    if not curved:
        with torch.no_grad():
            gap = net(changed) - net(x)
        np.testing.assert_allclose(
            scores.leading.sum((1, 2)), gap.gather(1, after[:, None])[:, 0], atol=1e-12
        )


@pytest.mark.parametrize("first_order", [False, True])
def test_noise_scores_of_failures_are_missing(first_order):
    net, x = two_classes(), some_images()
    budget = int(np.sort(fewest_pixels(net, x))[2])
    result = SparsePGD(net, n_pixels=budget, n_iter=50).explain(x)
    found = result.success
    assert 0 < found.sum() < len(x)
    before, after = (torch.from_numpy(part) for part in (result.before, result.after))
    scores = noise_scores(net, x, result.counterfactuals, before, after, first_order)
    assert torch.isnan(scores.obscuring[~found]).all()
    assert torch.isnan(scores.summary()["leading"][~found]).all()
    alone = noise_scores(
        net, x[found], result.counterfactuals[found], before[found], after[found], first_order
    )
    torch.testing.assert_close(scores.leading[found], alone.leading)
    torch.testing.assert_close(scores.obscuring[found], alone.obscuring)


@pytest.mark.parametrize("first_order", [False, True])
def test_noise_scores_do_not_depend_on_how_many_images_are_shown_at_once(first_order, monkeypatch):
    net, x = two_classes(), some_images()
    label = torch.zeros(len(x), dtype=torch.long)
    whole = noise_scores(net, x, x.flip(0), label, 1 - label, first_order)
    monkeypatch.setattr(noise, "CHUNK", 2)
    parts = noise_scores(net, x, x.flip(0), label, 1 - label, first_order)
    torch.testing.assert_close(parts.obscuring, whole.obscuring)
    torch.testing.assert_close(parts.leading, whole.leading)


def test_noise_scores_of_nothing():
    net, x = two_classes(), some_images(2)
    label = torch.zeros(2, dtype=torch.long)
    for some in (x, x[:0]):
        scores = noise_scores(net, some, some, label[: len(some)], label[: len(some)])
        assert scores.obscuring.shape == (len(some), *SHAPE[1:])
        assert (scores.leading == 0).all()
