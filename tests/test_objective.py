"""Margin and plausibility of rows with a wish each, against their definitions."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import softmax

from scfe_sklearn.densities import GaussianKDE, GaussianMixture, LocalOutlierDensity
from scfe_sklearn.objective import (
    ClassMargin,
    Constraints,
    IntervalMargin,
    PlausibilityTerm,
    ProbabilityLimits,
    RowObjective,
    plausibility,
    rows,
)
from scfe_sklearn.objective.margins import lead
from scfe_sklearn.solvers.problem.moves import Moves

D, C = 5, 4


def row_objective(scores, target, n, density=None, weight=0.0, ceiling=0.0):
    """The objective of n rows that all want one class."""
    codes = torch.full((n,), target)
    part = PlausibilityTerm(density, weight, ceiling)
    return RowObjective([scores], True, [part], torch.zeros_like(codes), ClassMargin(codes))


def make(density=None, weight=0.7, target=2, seed=0, n=6):
    rng = np.random.default_rng(seed)
    A = torch.from_numpy(rng.normal(size=(D, C)))
    b = torch.from_numpy(rng.normal(size=C))
    if density is not None:
        density.fit(rng.normal(size=(60, D)))
    return row_objective(lambda z: (z @ A).tanh() * 3 + b, target, n, density, weight, 1.5)


def scores_of(objective, z):
    (model,) = objective.models
    return model(z)


def points(*shape, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("target", range(C))
def test_margin_is_the_lead_over_the_best_other_class(target):
    objective, z = make(target=target), points(6, 3, D)
    margin = objective.margin(z)
    for i in range(6):
        for k in range(3):
            scores = scores_of(objective, z[i, k][None])[0].tolist()
            lead = scores.pop(target)
            assert float(margin[i, k]) == pytest.approx(lead - max(scores))
    assert bool(
        (
            (margin > 0)
            == (scores_of(objective, z.reshape(-1, D)).argmax(1) == target).reshape(6, 3)
        ).all()
    )


def test_two_classes():
    objective = row_objective(lambda z: torch.stack([-z[:, 0], z[:, 0]], 1), 0, 3)
    z = points(3, 2, D)
    torch.testing.assert_close(objective.margin(z), -2 * z[..., 0])


def test_gradient_of_the_margin():
    objective, z = make(n=7), points(7, D)
    kept = z.clone()
    margin, gradient = objective.margin_and_grad(z)
    assert torch.equal(z, kept) and not z.requires_grad
    assert not margin.requires_grad and not gradient.requires_grad
    torch.testing.assert_close(margin, objective.margin(z[:, None])[:, 0])
    for j in range(D):
        e = torch.zeros(D, dtype=torch.float64)
        e[j] = 1e-6
        slope = (objective.margin((z + e)[:, None]) - objective.margin((z - e)[:, None]))[
            :, 0
        ] / 2e-6
        torch.testing.assert_close(gradient[:, j], slope, rtol=1e-5, atol=1e-6)


def test_gradient_under_no_grad():
    objective, z = make(n=4), points(4, D)
    with torch.no_grad():
        _, gradient = objective.margin_and_grad(z)
    assert bool((gradient != 0).any())


def test_only_what_is_asked_for_is_evaluated():
    seen = []

    def scores(z):
        seen.append(len(z))
        return torch.stack([z[:, 0], -z[:, 0]], 1)

    objective = row_objective(scores, 0, 5)
    z = points(5, 3, D)
    where = torch.from_numpy(np.random.default_rng(2).random((5, 3)) < 0.4)
    margin = objective.margin(z, where)
    assert sum(seen) == int(where.sum())
    torch.testing.assert_close(margin[where], 2 * z[..., 0][where])
    assert bool((margin[~where] == -torch.inf).all())
    seen.clear()
    assert bool((objective.margin(z, torch.zeros_like(where)) == -torch.inf).all())
    assert seen == []


def test_many_points_are_scored_in_pieces(monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 4)
    objective, z = make(n=5), points(5, 3, D)
    sizes = []
    pieces = row_objective(lambda z: (sizes.append(len(z)), scores_of(objective, z))[1], 2, 5)
    torch.testing.assert_close(pieces.margin(z), objective.margin(z))
    assert sizes == [4, 4, 4, 3]


@pytest.mark.parametrize("density", [GaussianKDE(0.5), GaussianMixture(2), LocalOutlierDensity(5)])
def test_plausibility_is_the_weighted_log_density(density):
    objective, z = make(density), points(6, 3, D)
    value = 0.7 * density.score_samples(z.reshape(-1, D).numpy()).reshape(6, 3)
    np.testing.assert_allclose(objective.plausibility(z), value, rtol=1e-10, atol=1e-12)
    where = torch.from_numpy(np.random.default_rng(3).random((6, 3)) < 0.5)
    part = objective.plausibility(z, where).numpy()
    np.testing.assert_allclose(part[where], value[where.numpy()], rtol=1e-10, atol=1e-12)
    assert (part[~where.numpy()] == -np.inf).all()
    best = objective.best_plausibility(torch.arange(4))
    np.testing.assert_allclose(best, [0.7 * 1.5] * 4)


def test_without_weight_the_density_is_not_asked():
    objective, z = make(None, weight=0.0, n=4), points(4, 2, D)
    assert bool((objective.plausibility(z) == 0).all())
    where = torch.tensor([[True, False]] * 4)
    assert objective.plausibility(z, where).tolist() == [[0.0, -np.inf]] * 4
    local = objective.around(z[:, 0], torch.zeros(4, 1, dtype=torch.long))
    own = torch.arange(4)
    assert bool((local.value(points(4, 3, 1), own) == 0).all())
    value, gradient = local.value_and_grad(points(4, 1), own)
    assert bool((value == 0).all() and (gradient == 0).all())


def test_around_is_the_plausibility_along_a_support():
    objective, z = make(GaussianKDE(0.5), n=4), points(4, D)
    support = torch.tensor([[0, 3], [1, D], [D, D], [4, 2]])
    offset = points(4, 6, 2, seed=4) * (support < D)[:, None]
    moved = z[:, None].repeat(1, 6, 1)
    for i in range(4):
        for w in range(2):
            if int(support[i, w]) < D:
                moved[i, :, int(support[i, w])] += offset[i, :, w]
    local, own = objective.around(z, support), torch.arange(4)
    torch.testing.assert_close(local.value(offset, own), objective.plausibility(moved))
    value, gradient = local.value_and_grad(offset[:, 0], own)
    torch.testing.assert_close(value, objective.plausibility(moved)[:, 0])
    _, whole = objective.parts[0].density.log_prob_and_grad(moved[:, 0])
    padded = torch.cat([0.7 * whole, torch.zeros_like(whole[:, :1])], 1)
    torch.testing.assert_close(gradient, padded.gather(1, support))


def test_combinations_of_moves(monkeypatch):
    """Points after one more move each, where the move's feature is still the factual's."""
    objective = make(GaussianKDE(0.8), n=3)
    groups, scalar = torch.tensor([0, 1, 2, 2, 2]), torch.tensor([True, True, False, False, False])
    rng = np.random.default_rng(5)
    levels = np.eye(3) / 2**0.5
    samples = np.column_stack([rng.normal(size=(6, 2)), levels[rng.integers(3, size=6)]])
    moves = Moves.from_samples(torch.from_numpy(samples), groups, scalar, 10)
    factual = torch.from_numpy(samples[:3])
    first = torch.arange(len(moves))
    z = moves.apply(factual[:, None], first)
    got = objective.combined_plausibility(z, factual, moves.target, moves.keeps)
    assert got.shape == (3, len(moves), len(moves))
    both = moves.apply(z[:, :, None], first)
    expected = objective.plausibility(both.reshape(3, -1, D)).reshape(got.shape)
    apart = (moves.group[:, None] != moves.group).expand_as(got)
    torch.testing.assert_close(got[apart], expected[apart], rtol=1e-6, atol=1e-6)
    monkeypatch.setattr(plausibility, "COMBINATIONS", 10)
    assert objective.combined_plausibility(z, factual, moves.target, moves.keeps) is None


def test_pairs_of_changes():
    """A point after any two changes of different coordinates, in both precisions."""
    objective = make(GaussianKDE(0.8), n=3)
    rng = np.random.default_rng(6)
    factual, values = torch.from_numpy(rng.normal(size=(3, D))), rng.normal(size=(3, D, 4))
    both = factual.repeat(4 * D, 4 * D, 1, 1)
    for row, (i, v), (j, w) in product(range(3), *[list(product(range(D), range(4)))] * 2):
        both[4 * i + v, 4 * j + w, row, i] = values[row, i, v]
        both[4 * i + v, 4 * j + w, row, j] = values[row, j, w]
    points = both.permute(2, 0, 1, 3).reshape(3, -1, D)
    expected = objective.plausibility(points).reshape(3, 4 * D, 4 * D)
    coordinate = torch.arange(D).repeat_interleave(4)
    apart = (coordinate[:, None] != coordinate).expand_as(expected)
    for dtype, tol in ((torch.float64, 1e-6), (torch.float32, 1e-3)):
        got = objective.pair_plausibility(factual.to(dtype), torch.from_numpy(values).to(dtype))
        torch.testing.assert_close(got[apart].double(), expected[apart], rtol=tol, atol=tol)
    values = torch.from_numpy(values)
    assert make(LocalOutlierDensity(5), n=3).pair_plausibility(factual, values) is None
    free = make(GaussianKDE(0.5), weight=0.0, n=3)
    assert bool((free.pair_plausibility(factual, values) == 0).all())


def test_combinations_only_of_kernels():
    keeps = torch.ones(2, D, dtype=torch.float64)
    for objective in (make(LocalOutlierDensity(5), n=3), make(GaussianKDE(0.5), weight=0.0, n=3)):
        assert objective.combined_plausibility(points(3, 2, D), points(3, D), keeps, keeps) is None


@pytest.mark.parametrize("order", [[0, 2, 2, 0, 1, 2], [1, 1, 1, 1, 1, 1], [2, 0, 2, 0, 2, 0]])
def test_rows_with_targets_of_their_own(order):
    """Among rows with other wishes a row has the margin, price and gradients that it has alone."""
    alone = [
        make(GaussianKDE(0.5), target=0, n=1),
        make(LocalOutlierDensity(5), target=3, weight=0.4, n=1),
        make(None, target=1, weight=0.0, n=1),
    ]
    owner = torch.tensor(order)
    whole = RowObjective(
        alone[0].models,
        True,
        [one.parts[0] for one in alone],
        owner,
        ClassMargin(torch.tensor([0, 3, 1])[owner]),
    )
    z = points(6, 3, D)
    where = torch.from_numpy(np.random.default_rng(6).random((6, 3)) < 0.6)
    support = torch.tensor([[0, 3]] * 5 + [[1, D]])
    offset = points(6, 4, 2, seed=7) * (support < D)[:, None]
    local, asked = whole.around(z[:, 0], support), torch.tensor([5, 0, 3, 3, 1])
    margin, gradient = whole.margin_and_grad(z[:, 1])
    value, lift = local.value_and_grad(offset[asked, 0], asked)
    wide = local.value(offset[asked], asked)
    for i in range(6):
        part, row = alone[order[i]], slice(i, i + 1)
        for mask in (None, where):
            own = None if mask is None else mask[row]
            for name in ("margin", "plausibility"):
                got = getattr(whole, name)(z, mask)[row]
                torch.testing.assert_close(got, getattr(part, name)(z[row], own))
        one, slope = part.margin_and_grad(z[row, 1])
        torch.testing.assert_close(margin[row], one)
        torch.testing.assert_close(gradient[row], slope)
        near = part.around(z[row, 0], support[row])
        for k in (asked == i).nonzero()[:, 0].tolist():
            first = torch.tensor([0])
            one, slope = near.value_and_grad(offset[row, 0], first)
            torch.testing.assert_close(value[k : k + 1], one)
            torch.testing.assert_close(lift[k : k + 1], slope)
            torch.testing.assert_close(wide[k : k + 1], near.value(offset[row], first))
    some = torch.tensor([4, 1])
    torch.testing.assert_close(whole.take(some).margin(z[some]), whole.margin(z)[some])
    expected = [whole.parts[k].weight * whole.parts[k].ceiling for k in (order[4], order[1])]
    np.testing.assert_allclose(whole.best_plausibility(some), expected, rtol=1e-6)


@pytest.mark.parametrize("own", [-np.inf, np.inf])
def test_margins_of_infinite_scores(own):
    """A probability of 0 or 1 is an infinite score, not an undefined margin."""
    for others in ([0.5], [0.5, -np.inf]):
        scores = torch.tensor([[own, *others]], dtype=torch.float64)
        assert float(lead(scores, torch.tensor([0]))) == own
        assert float(lead(scores, torch.tensor([1]))) == -own


def test_best_plausibility_is_exact_for_mixed_targets():
    parts = [PlausibilityTerm(None, 1 / 3, 0.1 + code) for code in range(2)]
    owner = torch.tensor([0, 1])
    mixed = RowObjective([lambda z: z], True, parts, owner, ClassMargin(owner))
    assert mixed.best_plausibility(torch.tensor([1, 0])).tolist() == [1 / 3 * 1.1, 1 / 3 * 0.1]


def two_scores(z):
    """Log-probabilities of two classes whose log-odds are the first coordinate."""
    return torch.stack([torch.zeros_like(z[:, 0]), z[:, 0]], 1)


@pytest.mark.parametrize("copies", [1, 2])
def test_limits_of_a_probability(copies):
    """The margin is 0 or more exactly where the probability is within its limits.

    With scores twice, the first decide what is predicted, the last are the probabilities.
    """
    rng = np.random.default_rng(0)
    objective, z = make(n=40, target=3), torch.from_numpy(rng.normal(size=(40, 5, D)))
    low = rng.uniform(0.05, 0.5, 40)
    high = (low + rng.uniform(0.1, 0.5, 40)).clip(max=1)
    decide = rng.random(40) < 0.7
    odds = (torch.logit(torch.from_numpy(end)) for end in (low, high))
    limits = ProbabilityLimits(*odds, torch.from_numpy(decide), C)
    asked = replace(objective, criterion=ClassMargin(objective.criterion.target, limits))
    scores = scores_of(objective, z.reshape(-1, D)).numpy().reshape(40, 5, C)
    if copies == 2:
        model = objective.models[0]
        asked = replace(asked, models=[lambda x: torch.cat([-model(x), model(x)], 1)])
    p = softmax(scores, axis=2)[..., 3]
    predicted = (scores if copies == 1 else -scores).argmax(2) == 3
    within = (p >= low[:, None]) & (p <= high[:, None])
    met = np.where(decide[:, None], within, predicted)
    np.testing.assert_array_equal(asked.margin(z).numpy() >= 0, met)
    assert (predicted & ~met).any() and (~predicted & met).any()
    some = torch.tensor([7, 3])
    torch.testing.assert_close(asked.take(some).margin(z[some]), asked.margin(z)[some])
    _, gradient = asked.margin_and_grad(z[:, 0])
    assert not gradient.isnan().any()


@pytest.mark.parametrize("score", [40.0, 400.0, np.inf])
def test_a_certain_class_has_any_level_but_certainty(score):
    scores = torch.tensor([[0.0, score], [score, 0.0]], dtype=torch.float64)
    one, level = torch.tensor([1, 1]), torch.logit(torch.tensor([0.999, 0.999])).double()
    limits = ProbabilityLimits(level, torch.inf * level, one > 0, 2)
    margin = ClassMargin(one, limits).margin(scores, torch.arange(2))
    assert float(margin[0]) > 0 > float(margin[1]) and not margin.isnan().any()


def test_values_of_a_regressor():
    """Distance to the nearer end of each row's interval, in units; checked number by number."""
    low = torch.tensor([0.0, -torch.inf, 2.0], dtype=torch.float64)
    high = torch.tensor([4.0, 1.0, torch.inf], dtype=torch.float64)
    reading = IntervalMargin(low, high, 2.0)
    own = torch.zeros(3, dtype=torch.long)
    objective = RowObjective([lambda z: z], True, [PlausibilityTerm(None, 0.0, 0.0)], own, reading)
    z = torch.tensor([[1.0, 5.0, 4.0], [3.0, 1.0, -5.0], [2.0, 1.0, 9.0]]).double()[..., None]
    expected = [[0.5, -0.5, 0.0], [-1.0, 0.0, 3.0], [0.0, -0.5, 3.5]]
    assert objective.margin(z).tolist() == expected
    some = torch.tensor([2, 0])
    assert objective.take(some).margin(z[some]).tolist() == [expected[2], expected[0]]
    _, gradient = objective.margin_and_grad(z[:, 1])
    assert gradient.tolist() == [[-0.5], [-0.5], [0.5]]


def kept(factual, **options):
    """Constraints without effect, but for the options."""
    n, d = factual.shape
    keeps = Constraints(
        factual, None, (), torch.arange(n), 0.0, torch.ones(d, dtype=torch.bool), 1e-3
    )
    return replace(keeps, **options)


def test_all_models_must_agree():
    one, z = make(n=4), points(4, 3, D)
    other = make(seed=5, n=4)
    both = replace(one, models=[*one.models, *other.models])
    least = torch.minimum(one.margin(z), other.margin(z))
    assert bool((least < one.margin(z)).any() and (least < other.margin(z)).any())
    torch.testing.assert_close(both.margin(z), least)
    margin, gradient = both.margin_and_grad(z[:, 0])
    torch.testing.assert_close(margin, least[:, 0])
    slopes = [objective.margin_and_grad(z[:, 0])[1] for objective in (one, other)]
    first = one.margin(z)[:, :1] <= other.margin(z)[:, :1]
    torch.testing.assert_close(gradient, torch.where(first, *slopes))


def test_a_share_of_the_change_may_be_left_undone():
    """The lesser margin of the point and of one on the way, where only numbers fall short."""
    objective, z, factual = make(n=4), points(4, 3, D), points(4, D, seed=8)
    movable = torch.tensor([True, True, True, False, False])
    short = z.clone()
    short[..., :3] = 0.8 * z[..., :3] + 0.2 * factual[:, None, :3]
    both = replace(objective, constraints=kept(factual, shortfall=0.2, movable=movable))
    least = torch.minimum(objective.margin(z), objective.margin(short))
    assert bool((least < objective.margin(z)).any() and (least < objective.margin(short)).any())
    torch.testing.assert_close(both.margin(z), least)
    check_gradient(both, z[:, 1])
    some = torch.tensor([3, 0, 0])
    torch.testing.assert_close(both.take(some).margin(z[some]), least[some])


def test_what_is_missing_is_told_to_the_model_as_missing():
    """NaN where a row has a hole that is not filled in; a number where it is."""
    seen = []

    def scores(z):
        seen.append(z.clone())
        return two_scores(z.nan_to_num())

    factual = torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    missing = torch.tensor([[True, False], [True, False], [False, False]])
    objective = replace(row_objective(scores, 1, 3), constraints=kept(factual, missing=missing))
    z = factual[:, None].repeat(1, 2, 1)
    z[0, 1, 0], z[1, 1, 1], z[2, 1] = 0.5, 7.0, torch.tensor([0.0, 5.0])
    objective.margin(z)
    nan = np.nan
    expected = [[nan, 1], [0.5, 1], [nan, 2], [nan, 7], [3, 0], [0, 5]]
    np.testing.assert_array_equal(seen.pop().numpy(), expected)
    objective.take(torch.tensor([2, 0])).margin(z[[2, 0]])
    np.testing.assert_array_equal(seen.pop().numpy(), [[3, 0], [0, 5], [nan, 1], [0.5, 1]])
    objective.margin_and_grad(z[:, 0])
    np.testing.assert_array_equal(seen.pop().detach().numpy(), [[nan, 1], [nan, 2], [3, 0]])


class Below:
    """A requirement: the sum of a point is at most the cap of its row."""

    def __init__(self, cap):
        self.cap = torch.as_tensor(cap, dtype=torch.float64)

    def slack(self, z, rows):
        return self.cap[rows] - z.sum(1)


def test_requirements_are_of_the_rows_that_they_were_bound_to():
    """Instances keep the row they stand for, also when some are taken, twice or in turn."""
    z, cap = points(4, 3, D), np.array([-9.0, 9.0, 0.5, 0.0])
    objective = make(n=4)
    bound = replace(objective, constraints=kept(z[:, 0], requirements=[Below(cap)]))
    room = torch.from_numpy(cap)[:, None] - z.sum(2) + 1e-3
    torch.testing.assert_close(bound.margin(z), torch.minimum(objective.margin(z), room))
    assert bool((room < objective.margin(z)).any())
    some = torch.tensor([2, 0, 2, 3])
    torch.testing.assert_close(bound.take(some).margin(z[some]), bound.margin(z)[some])
    again = torch.tensor([1, 1, 3])
    taken = bound.take(some).take(again)
    torch.testing.assert_close(taken.margin(z[some[again]]), bound.margin(z)[some[again]])
    check_gradient(bound, z[:, 2])


def check_gradient(objective, z):
    """Gradient of the margin against differences; the points are at no kink."""
    margin, gradient = objective.margin_and_grad(z)
    torch.testing.assert_close(margin, objective.margin(z[:, None])[:, 0])
    for j in range(z.shape[1]):
        e = torch.zeros(z.shape[1], dtype=torch.float64)
        e[j] = 1e-6
        ends = [objective.margin((z + side * e)[:, None])[:, 0] for side in (1, -1)]
        torch.testing.assert_close(gradient[:, j], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-6)


def test_a_limit_of_plausibility():
    """No point below the limit of its own kind has a margin above the floor, and others keep it."""
    rng = np.random.default_rng(3)
    kinds = [GaussianKDE(0.5).fit(rng.normal(size=(60, D))) for _ in range(2)]
    limits = [-9.0, -np.inf]
    parts = [PlausibilityTerm(kind, 0.7, 0.0, 2.0) for kind in kinds]
    free, z = make(n=6, target=3), points(6, 4, D)
    owner = torch.tensor([0, 1, 0, 0, 1, 0])
    limited = replace(free, parts=parts, owner=owner, constraints=kept(z[:, 0]))
    limited = limited.limited(torch.tensor(limits)[owner])
    dense = torch.from_numpy(kinds[0].score_samples(z.reshape(-1, D).numpy())).reshape(6, 4)
    room = (dense + 9.0) / 2.0 + 1e-3
    expected = torch.where(owner[:, None] == 0, torch.minimum(free.margin(z), room), free.margin(z))
    torch.testing.assert_close(limited.margin(z), expected)
    mine = owner == 0
    assert bool((room < free.margin(z))[mine].any() and (room > free.margin(z))[mine].any())
    fine = (limited.margin(z) >= 1e-3)[mine]
    assert bool((dense[mine][fine] >= -9.0 - 1e-9).all() and fine.any())
    where = torch.from_numpy(rng.random((6, 4)) < 0.5)
    part = limited.margin(z, where)
    torch.testing.assert_close(part[where], expected[where])
    assert bool((part[~where] == -torch.inf).all())
    for k in range(4):
        check_gradient(limited, z[:, k])
    some = torch.tensor([4, 0, 3])
    torch.testing.assert_close(limited.take(some).margin(z[some]), expected[some])


@pytest.mark.parametrize("weight", [0.7, 0.0])
def test_what_is_valid_within_limits(weight):
    objective, z = make(GaussianKDE(), weight=weight, target=3), points(6, 4, D)
    factual = torch.zeros(6, D, dtype=torch.float64)
    (density,) = (part.density for part in objective.parts)
    usual = density.log_prob(z.reshape(-1, D)).reshape(6, 4)
    objective = replace(objective, constraints=kept(factual, min_margin=0.1)).limited(
        torch.where(torch.arange(6) < 3, usual.median(1).values, -torch.inf)
    )
    where = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) < 0.8
    expected = objective.margin(z, where) >= 0.1
    assert expected.any() and not expected[where].all()
    assert torch.equal(objective.valid(z, 0.1, where), expected)
    valid, plausibility = objective.evaluate(z, 0.1, where)
    assert torch.equal(valid, expected)
    torch.testing.assert_close(plausibility[valid], weight * usual[valid])
    accepted, bound = torch.zeros_like(where), objective.plausibility_floor()
    accepted[where] = objective.valid_before_floor(z[where], where.nonzero()[:, 0], 0.1)
    if weight == 0:  # a price of nothing tells nothing of the density
        assert bound is None and torch.equal(accepted, expected)
    else:
        assert torch.equal(accepted & (weight * usual >= bound[:, None]), expected)
