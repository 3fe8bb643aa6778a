"""Small recourse problems and their exhaustive answers."""

from itertools import product

import numpy as np
import pytest
import torch

from scfe_sklearn.objective import ClassMargin, PlausibilityTerm, RowObjective
from scfe_sklearn.solvers.problem.domain import Domain
from scfe_sklearn.solvers.problem.moves import Moves
from scfe_sklearn.solvers.problem.pool import EQUAL
from scfe_sklearn.solvers.problem.problem import Problem


def linear_scores(weight, bias):
    """Two classes whose margin, for class 1, is ``z @ weight + bias``."""
    weight = torch.as_tensor(weight, dtype=torch.float64)

    def scores(z):
        margin = z @ weight + bias
        return torch.stack([-margin / 2, margin / 2], 1)

    return scores


def curved_scores(rng, D):
    """Three classes with random quadratic scores."""
    A = torch.from_numpy(rng.normal(0, 0.25, (3, D, D)))
    b = torch.from_numpy(rng.normal(0, 1, (3, D)))
    c = torch.from_numpy(rng.normal(0, 0.5, 3))
    return lambda z: torch.einsum("kd,cde,ke->kc", z, A, z) + z @ b.T + c


def class_one(scores, n, has_gradient, plausible):
    """The objective of n rows that all want class 1."""
    ones = torch.ones(n, dtype=torch.long)
    return RowObjective([scores], has_gradient, [plausible], 0 * ones, ClassMargin(ones))


def scores_of(problem, z):
    """What the only model of a problem says of points (k, D)."""
    (model,) = problem.objective.models
    return model(z)


def make_problem(
    factual,
    scores,
    *,
    samples=None,
    lower=None,
    upper=None,
    allowed=None,
    groups=None,
    scalar=None,
    step=None,
    offset=None,
    beta=0.3,
    budget=None,
    floor=1e-6,
    density=None,
    weight=0.0,
    ceiling=0.0,
    has_gradient=True,
    values=100,
):
    """A problem for class 1; everything that is not given is continuous and unrestricted."""

    def tensor(x, default):
        x = np.full(factual.shape, default) if x is None else np.broadcast_to(x, factual.shape)
        return torch.from_numpy(np.array(x))

    factual = np.asarray(factual, dtype=np.float64)
    n, D = factual.shape
    groups = torch.arange(D) if groups is None else torch.as_tensor(groups)
    scalar = torch.ones(D, dtype=torch.bool) if scalar is None else torch.as_tensor(scalar)
    zeros = torch.zeros(D, dtype=torch.float64)
    domain = Domain(
        torch.from_numpy(factual),
        tensor(lower, -np.inf),
        tensor(upper, np.inf),
        tensor(allowed, True),
        groups,
        scalar,
        zeros if step is None else torch.as_tensor(step, dtype=torch.float64),
        zeros if offset is None else torch.as_tensor(offset, dtype=torch.float64),
    )
    samples = torch.as_tensor(factual if samples is None else samples, dtype=torch.float64)
    budget = domain.n_features if budget is None else budget
    return Problem(
        class_one(scores, n, has_gradient, PlausibilityTerm(density, weight, ceiling)),
        domain,
        Moves.from_samples(samples, groups, scalar, values),
        torch.full((n,), float(beta), dtype=torch.float64),
        torch.as_tensor(np.broadcast_to(budget, (n,)).copy()),
        floor,
    )


class Mixed:
    """Two whole numbers, one ordinal and one categorical feature: few enough points to list."""

    groups = np.array([0, 1, 2, 3, 3, 3])
    scalar = np.array([True, True, True, False, False, False])
    step = np.array([0.5, 0.4, 0.8, 0.0, 0.0, 0.0])
    offset = np.array([0.1, -0.2, 0.0, 0.0, 0.0, 0.0])
    levels = np.eye(3) / np.sqrt(2)

    def __init__(self):
        numbers = [self.offset[j] + self.step[j] * np.arange(-3, 4) for j in range(2)]
        ordinal = self.step[2] * np.arange(-1, 3)
        self.points = np.array(
            [[*numbers, *level] for *numbers, level in product(*numbers, ordinal, self.levels)]
        )

    def linear(self, tools, rng, share=0.3):
        """Scores of a random linear model that calls a share of the points class 1."""
        weight = rng.normal(size=6)
        return tools.linear_scores(weight, -np.quantile(self.points @ weight, 1 - share))

    def rules(self, rng, factual):
        """Random intervals (some exclude the factual), levels and immutable features."""
        n = len(factual)
        lower, upper = np.full(factual.shape, -2.0), np.full(factual.shape, 2.0)
        allowed = np.ones(factual.shape, dtype=bool)
        for j in range(3):
            grid = np.unique(self.points[:, j])
            low = rng.integers(0, 2, n)
            lower[:, j], upper[:, j] = grid[low], grid[rng.integers(low + 1, len(grid))]
            allowed[:, j] = rng.random(n) < 0.9
        allowed[:, 3:] = (rng.random((n, 3)) < 0.7) | (factual[:, 3:] > 0)
        return {"lower": lower, "upper": upper, "allowed": allowed}

    def problem(self, rng, n, scores, **options):
        """A problem whose rows are not called class 1."""
        margin = scores(torch.from_numpy(self.points))
        others = torch.cat([margin[:, :1], margin[:, 2:]], 1).amax(1)
        refused = self.points[(margin[:, 1] < others).numpy()]
        factual = refused[rng.integers(len(refused), size=n)]
        options = {"samples": self.points, **self.rules(rng, factual), **options}
        return make_problem(
            factual,
            scores,
            groups=self.groups,
            scalar=self.scalar,
            step=self.step,
            offset=self.offset,
            **options,
        )


def admissible(problem, points):
    """Return (n, P): may row i become point p? A loop over the definition, feature by feature."""
    domain = problem.domain
    factual, groups = domain.factual.numpy(), domain.groups.numpy()
    ok = np.ones((len(factual), len(points)), dtype=bool)
    count = np.zeros_like(ok, dtype=int)
    for i, row in enumerate(factual):
        for g in range(domain.n_features):
            own = groups == g
            moved = (abs(points[:, own] - row[own]) > 1e-9).any(1)
            if domain.scalar[own][0]:
                (j,) = np.flatnonzero(own)
                x = points[:, j]
                fits = (x >= float(domain.lower[i, j]) - 1e-9) & (
                    x <= float(domain.upper[i, j]) + 1e-9
                )
                fits &= bool(domain.allowed[i, j])
            else:
                allowed = domain.allowed[i, own].numpy()
                fits = allowed[points[:, own].argmax(1)]
            ok[i] &= fits | ~moved
            count[i] += moved
        ok[i] &= count[i] <= int(problem.max_changes[i])
    return ok, count


def exhaustive(problem, points):
    """Return the costs (n, P) of all points, infinite where one is no answer."""
    ok, count = admissible(problem, points)
    z = torch.from_numpy(points)
    scores = scores_of(problem, z).numpy()
    others = np.delete(scores, 1, axis=1).max(1)
    ok &= (scores[:, 1] - others >= problem.floor)[None]
    gaps = ((points[None] - problem.domain.factual.numpy()[:, None]) ** 2).sum(-1)
    cost = gaps + problem.beta.numpy()[:, None] * count
    (part,) = problem.objective.parts
    if part.weight:
        cost = cost - part.weight * part.density.log_prob(z).numpy()
    return np.where(ok, cost, np.inf)


def check_answers(problem, pool):
    """Every point of a pool is an answer and costs what the pool says."""
    for p in range(pool.cost.shape[1]):
        rows = np.flatnonzero(np.isfinite(pool.cost[:, p].numpy()))
        if not len(rows):
            continue
        z = pool.z[rows, p].numpy()
        cost = exhaustive(problem.take(torch.from_numpy(rows)), z).diagonal()
        np.testing.assert_allclose(pool.cost[rows, p].numpy(), cost, rtol=1e-7, atol=1e-7)
    # Cheapest first; equal ones, however they are rounded, in the order in which they came.
    assert bool((pool.cost.diff(dim=1).nan_to_num(nan=0.0) >= -1 / EQUAL).all())


def nearest_valid(z0, weight, bias, lower, upper):
    """Closest point of a box with ``z @ weight + bias >= 0`` and the KKT multiplier, by bisection.

    Stationarity of ||z - z0||^2 - t (z @ weight + bias) over the box is z = clip(z0 + t w / 2).
    """

    def at(t):
        return np.clip(z0 + t * weight / 2, lower, upper)

    if at(0) @ weight + bias >= 0:
        return at(0), 0.0
    low, high = 0.0, 1.0
    while at(high) @ weight + bias < 0:
        low, high = high, 2 * high
        assert high < 1e12, "no point of the box is valid"
    for _ in range(200):
        middle = (low + high) / 2
        if at(middle) @ weight + bias < 0:
            low = middle
        else:
            high = middle
    return at(high), high


@pytest.fixture(scope="session")
def tools():
    """The helpers of this folder (test folders are no packages)."""

    class Tools:
        pass

    for helper in (
        linear_scores,
        curved_scores,
        scores_of,
        make_problem,
        admissible,
        exhaustive,
        check_answers,
        nearest_valid,
    ):
        setattr(Tools, helper.__name__, staticmethod(helper))
    Tools.mixed = Mixed()
    return Tools
