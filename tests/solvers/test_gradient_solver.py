"""Proximal gradient over all features: what runs, how near it comes, and that rows are apart."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize
from sklearn.datasets import load_breast_cancer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.densities import GaussianKDE, GaussianMixture, LocalOutlierDensity
from scfe_sklearn.densities.around import around
from scfe_sklearn.proximal.feature_sets import FeatureSets
from scfe_sklearn.solvers import gradient_solver
from scfe_sklearn.solvers.descent import GradientSettings
from scfe_sklearn.solvers.descent.proximal_gradient import prox_linear_step


def cancer(model):
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), model).fit(X, y)
    return X, y, model, X[model.predict(X) == 0]


@pytest.fixture(scope="module")
def asked():
    return cancer(LogisticRegression(C=0.1))


def test_default_explain_runs_proximal_gradient_with_the_l0_prox(asked, monkeypatch):
    X, y, model, refused = asked
    calls, best = [], []
    prox, descend = FeatureSets.prox, gradient_solver.descend

    def spied(self, v, step=0.0, weight=1.0, exponent=0.0, max_groups=None):
        steps = torch.as_tensor(step)
        calls.append((float(steps.min()), float(steps.max()), weight, exponent))
        return prox(self, v, step, weight, exponent, max_groups)

    def noted(*arguments, **named):
        z, cost = descend(*arguments, **named)
        best.append(cost.amin(1))
        return z, cost

    monkeypatch.setattr(FeatureSets, "prox", spied)
    monkeypatch.setattr(gradient_solver, "descend", noted)
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    result = explainer.explain(refused[:20], target=1)
    assert result.success.all()
    assert {exponent for *_, exponent in calls} == {0.0}
    assert all(bool((weight == explainer.beta).all()) for *_, weight, _ in calls)
    # The longer steps fall from 1/2.
    assert max(longest for _, longest, *_ in calls) == 0.5
    assert min(longest for _, longest, *_ in calls) < 0.05
    # Descents end at answers of nearly all rows.
    assert bool((best[0] < torch.inf).float().mean() > 0.9)
    # What the documents say of extrapolation.
    assert GradientSettings().momentum is False


@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_gradient_solver_matches_the_optimum_of_a_linear_model(beta, momentum, monkeypatch):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd"))
    y = (X @ [1.0, 0.8, -0.6, 0.3] > 0).astype(int)
    model = LogisticRegression().fit(X, y)
    settings = GradientSettings(momentum=momentum)
    monkeypatch.setattr(GradientSettings, "of", lambda effort: settings)
    explainer = CounterfactualExplainer(FrozenEstimator(model), tau=0.0, beta=beta).fit(X, y)
    rows = X[(model.decision_function(X) < -0.5)][:25]
    result = explainer.explain(rows, target=1)
    cost = result.distance**2 + beta * result.n_changes
    # The cheapest change in a support is along the weights of that support, inside of the range.
    scale = X.std(ddof=0).to_numpy()
    weight, missing = model.coef_[0] * scale, -model.decision_function(rows)
    bounds = [(X.min().to_numpy() - rows) / scale, (X.max().to_numpy() - rows) / scale]
    least = np.full(len(rows), np.inf)
    for mask in range(1, 16):
        own = np.array([mask >> j & 1 for j in range(4)], dtype=bool)
        step = np.where(own, weight, 0.0) * (missing / (weight[own] ** 2).sum())[:, None]
        inside = ((step >= bounds[0]) & (step <= bounds[1])).to_numpy().all(axis=1)
        value = (step**2).sum(axis=1) + beta * own.sum()
        least = np.where(inside, np.minimum(least, value), least)
    assert result.success.all()
    assert (cost <= least * 1.01 + 1e-3).all()


@pytest.mark.parametrize("tau", [0.0, 2.0])
def test_gradient_solver_batch_equals_rows(asked, tau):
    X, y, model, refused = asked
    explainer = CounterfactualExplainer(FrozenEstimator(model), tau=tau).fit(X, y)
    rows = refused[:12]
    together = explainer.explain(rows, target=1).counterfactuals
    alone = pd.concat([explainer.explain(rows[i : i + 1], 1).counterfactuals for i in range(12)])
    pd.testing.assert_frame_equal(together, alone)


def test_floor_is_kept_where_it_binds(asked):
    X, y, model, refused = asked
    explainer = CounterfactualExplainer(FrozenEstimator(model), tau=0.2).fit(X, y)
    free = explainer.explain(refused, target=1)
    assert free.success.all()
    reference = np.sort(explainer.density_.reference_log_prob_[1])
    quartile = np.quantile(reference, 0.25)
    plain = (
        CounterfactualExplainer(FrozenEstimator(model), tau=0.2, min_plausibility=0.0)
        .fit(X, y)
        .explain(refused, target=1)
    )
    # Without the floor more answers lie below the quartile, and answers cost less.
    below, without = free.log_density < quartile, plain.log_density < quartile
    assert below.sum() < without.sum()
    unit = np.median(reference) - quartile

    def cost(result):
        price = result.distance**2 + explainer.beta * result.n_changes
        return np.mean(price - 0.2 * result.log_density / unit)

    assert cost(plain) < cost(free)


def test_gradient_solver_finds_answers_of_a_network():
    X, y, model, refused = cancer(MLPClassifier((8,), random_state=0, max_iter=600))
    explainer = CounterfactualExplainer(FrozenEstimator(model)).fit(X, y)
    result = explainer.explain(refused[:40], target=1)
    assert result.success.all()
    assert (model.predict(result.counterfactuals) == 1).all()


def test_prox_linear_step_projects_on_a_half_space():
    rng = np.random.default_rng(0)
    change, ahead, slope = (torch.from_numpy(rng.normal(size=(50, 3))) for _ in range(3))
    aim = torch.from_numpy(rng.uniform(0.5, 2, 50))
    zero = torch.zeros(50, dtype=torch.float64)
    u, multiplier = prox_linear_step(lambda v, rows: v, change, ahead, slope, 0.5, aim, zero, 40)
    missing = (aim - (slope * (ahead - change)).sum(1)).clamp_min(0)
    nearest = ahead + (missing / slope.square().sum(1))[:, None] * slope
    # The margin may be overshot by a fiftieth of what is missing.
    assert bool(((slope * (u - change)).sum(1) >= aim - 1e-6).all())
    assert bool(((u - nearest).norm(dim=1) <= 0.021 * (nearest - ahead).norm(dim=1) + 1e-9).all())
    assert bool(((multiplier > 0) == (missing > 1e-9)).all())


@pytest.mark.parametrize(
    "density", [LocalOutlierDensity(), GaussianKDE(0.7), GaussianMixture(2)], ids=str
)
def test_around_equals_the_density_near_its_centres(density):
    rng = np.random.default_rng(0)
    density.fit(rng.normal(size=(900, 4)))
    centres = torch.from_numpy(rng.normal(size=(6, 2, 4)))
    z = centres + 0.05 * torch.from_numpy(rng.normal(size=(6, 2, 4)))
    local = around(density, centres, 400)
    value, gradient = density.log_prob_and_grad(z.flatten(0, 1))
    got, slope = local.log_prob_and_grad(z)
    torch.testing.assert_close(got.flatten(), value, atol=2e-2, rtol=0)
    torch.testing.assert_close(slope.flatten(0, 1), gradient, atol=8e-2, rtol=0)
    torch.testing.assert_close(local.log_prob(z), got)
    some = torch.tensor([4, 1])
    torch.testing.assert_close(local.take(some).log_prob(z[some]), got[some])


@pytest.mark.parametrize("penalty", ["l0", "l1/2", "l2/3", "l1"])
def test_each_penalty_is_least_where_it_is_asked_for(asked, penalty):
    """By the objectives of the papers, computed from the raw answers."""
    X, y, model, refused = asked
    powers = {"l0": 0.0, "l1/2": 0.5, "l2/3": 2 / 3, "l1": 1.0}
    spread = X.std(ddof=0).to_numpy()
    cost = {}
    for other in powers:
        explainer = CounterfactualExplainer(FrozenEstimator(model), penalty=other, tau=0.0)
        result = explainer.fit(X, y).explain(refused[:20], target=1)
        assert result.success.all()
        moved = abs(result.counterfactuals.to_numpy() - refused[:20].to_numpy()) / spread
        price = np.where(moved > 1e-9, moved ** powers[penalty], 0.0)
        cost[other] = (moved**2 + explainer.beta * price).sum(axis=1)
    for other in powers:
        assert cost[penalty].mean() <= cost[other].mean()
        # A search among supports may miss: by little, and seldom.
        assert (cost[penalty] <= 1.02 * cost[other]).mean() >= 0.8


def test_l1_answers_of_a_linear_model_are_optimal():
    """The minimum of a convex problem, by scipy, over its box."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(400, 5)), columns=list("abcde"))
    y = (X @ [2.0, -1.0, 0.5, 0.2, 0.0] > 0.5).astype(int)
    model = LogisticRegression().fit(X, y)
    refused = X[model.predict(X) == 0][:8]
    beta = 0.7
    explainer = CounterfactualExplainer(
        FrozenEstimator(model), penalty="l1", beta=beta, tau=0.0, continuous=list("abcde")
    ).fit(X, y)
    found = explainer.explain(refused, target=1)
    spread = X.std(ddof=0).to_numpy()
    low, high = X.min().to_numpy(), X.max().to_numpy()
    for row, answer in zip(refused.to_numpy(), found.counterfactuals.to_numpy(), strict=True):
        weight = model.coef_[0] * spread
        short = -(row @ model.coef_[0] + model.intercept_[0])
        box = np.column_stack([(low - row) / spread, (high - row) / spread])
        # w = up - down, both at least 0: then the l1 norm is linear.
        bounds = [(0, max(b, 0)) for _, b in box] + [(0, max(-a, 0)) for a, _ in box]
        both = np.r_[weight, -weight]
        best = minimize(
            lambda w: ((w[:5] - w[5:]) ** 2).sum() + beta * w.sum(),
            np.full(10, 0.1),
            bounds=bounds,
            constraints=LinearConstraint(both, short, np.inf),
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )
        moved = (answer - row) / spread
        ours = (moved**2).sum() + beta * abs(moved).sum()
        assert best.success and ours <= best.fun * 1.01 + 1e-3


@pytest.mark.parametrize("penalty", ["l1/2", "l1"])
def test_other_penalties_need_a_gradient(asked, penalty):
    X, y, model, refused = asked
    explainer = CounterfactualExplainer(FrozenEstimator(model), penalty=penalty, solver="search")
    with pytest.raises(ValueError, match=r"The 'penalty' parameter .* must be 'l0' .* Got 'l1"):
        explainer.fit(X, y).explain(refused[:2], target=1)


def test_thorough_answers_cost_no_more(asked):
    X, y, model, refused = asked
    cost = {}
    for effort in ("default", "thorough"):
        explainer = CounterfactualExplainer(
            FrozenEstimator(model), effort=effort, tau=0.0, min_plausibility=0.0
        ).fit(X, y)
        result = explainer.explain(refused[:40], target=1)
        cost[effort] = result.distance**2 + explainer.beta * result.n_changes
    # Up to the short numbers that answers move to.
    assert (cost["thorough"] <= 1.0001 * cost["default"]).all()
    assert (cost["thorough"] < 0.999 * cost["default"]).any()
