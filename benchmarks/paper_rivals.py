"""The rivals of the paper's table, written from their papers on the parts of our objective.

Each takes a published table and its network and returns an answer (n, d) to every query, NaN where
it found none or needs none. All keep to the training range of each feature. The weight of the loss
is raised row by row until the network gives the target, and then the smallest one is searched for.

* Wachter et al. 2017: squared loss of the probability, plus a distance: the sum of absolute changes
  over median absolute deviations, or Mahalanobis.
* DCFE (Zhang et al. 2023): hinge, elastic net, and the squared distance to the gravity of the
  nearest rows of the target class, weighted by their density.
* CEM (Dhurandhar et al. 2018): hinge, elastic net, and the reconstruction error of an autoencoder.
* PCFE (Artelt and Hammer 2020), for linear models: one convex program for each Gaussian component
  of the target class, with the density as a constraint; the nearest solution counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.mixture import GaussianMixture
from torch import Tensor

from benchmarks.datasets import Table
from scfe_sklearn.data import Column
from scfe_sklearn.models import as_torch

WEIGHTS, STEPS, RATE = 9, 300, 0.05
SPARSE, GRAVITY, RECONSTRUCTION, MARGIN = 0.1, 0.5, 1.0, 0.1
NEIGHBOURS = 20


@dataclass(frozen=True, eq=False)
class Ask:
    """Queries of one target: score of the target (positive is the target), start and box."""

    margin: Callable[[Tensor], Tensor]
    x: Tensor
    low: Tensor
    high: Tensor
    members: Tensor


def descend(
    ask: Ask,
    loss: Callable[[Tensor], Tensor],
    smooth: Callable[[Tensor], Tensor],
    price: Tensor | float,
) -> Tensor:
    """Minimise weight * loss + smooth + price . |z - x| over the box; NaN without an answer.

    Proximal gradient steps (Adam's length for each coordinate); the valid point of the least
    objective without the loss counts.
    """
    x = ask.x
    best, cost = torch.full_like(x, torch.nan), torch.full((len(x),), torch.inf, dtype=x.dtype)
    weight = torch.ones(len(x), dtype=x.dtype)
    low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
    for _ in range(WEIGHTS):
        z, first, second = x.clone(), torch.zeros_like(x), torch.zeros_like(x)
        reached = torch.zeros(len(x), dtype=torch.bool)
        for k in range(1, STEPS + 1):
            z.requires_grad_(True)
            value = weight * loss(z) + smooth(z)
            (gradient,) = torch.autograd.grad(value.sum(), z)
            z = z.detach()
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            rate = RATE * (1 - (k - 1) / STEPS)
            size = rate / ((second / (1 - 0.999**k)).sqrt() + 1e-8)
            w = z - size * first / (1 - 0.9**k) - x
            w = torch.sign(w) * (w.abs() - size * price).clamp(min=0)
            z = torch.minimum(torch.maximum(x + w, ask.low), ask.high)
            with torch.no_grad():
                valid = ask.margin(z) > 0
                now = smooth(z) + (price * (z - x).abs()).sum(1)
            better = valid & (now < cost)
            best, cost = torch.where(better[:, None], z, best), torch.where(better, now, cost)
            reached |= valid
        high = torch.where(reached, weight, high)
        low = torch.where(reached, low, weight)
        weight = torch.where(torch.isfinite(high), (low + high) / 2, 4 * weight)
    return best


def wachter(ask: Ask, train: Tensor, mahalanobis: bool) -> Tensor:
    """Squared loss of the probability, and a distance."""

    def loss(z: Tensor) -> Tensor:
        return (torch.sigmoid(ask.margin(z)) - 1) ** 2

    if mahalanobis:
        inverse = torch.linalg.inv(torch.cov(train.T) + 1e-3 * torch.eye(train.shape[1]).double())

        def smooth(z: Tensor) -> Tensor:
            return ((z - ask.x) @ inverse * (z - ask.x)).sum(1)

        return descend(ask, loss, smooth, 0.0)
    deviation = (train - train.median(0).values).abs().median(0).values
    return descend(ask, loss, lambda z: 0 * z.sum(1), 1 / deviation.clamp(min=1e-2))


def dcfe(ask: Ask) -> Tensor:
    """Elastic net and density gravity."""
    among = torch.cdist(ask.members, ask.members).sort(1).values
    density = NEIGHBOURS / among[:, 1 : NEIGHBOURS + 1].sum(1)
    near = torch.cdist(ask.x, ask.members).topk(NEIGHBOURS, largest=False).indices
    share = density[near] / density[near].sum(1, keepdim=True)
    gravity = (share[..., None] * ask.members[near]).sum(1)

    def smooth(z: Tensor) -> Tensor:
        return ((z - ask.x) ** 2).sum(1) + GRAVITY * ((z - gravity) ** 2).sum(1)

    return descend(ask, lambda z: (MARGIN - ask.margin(z)).clamp(min=0), smooth, SPARSE)


def cem(ask: Ask, train: Tensor, seed: int) -> Tensor:
    """Elastic net and the reconstruction error of an autoencoder of the training rows."""
    torch.manual_seed(seed)
    d = train.shape[1]
    coder = torch.nn.Sequential(
        torch.nn.Linear(d, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4),
        torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, d),
    ).double()  # fmt: skip
    optimiser = torch.optim.Adam(coder.parameters(), 0.005)
    for _ in range(400):
        optimiser.zero_grad()
        ((coder(train) - train) ** 2).mean().backward()
        optimiser.step()
    coder.requires_grad_(False)

    def smooth(z: Tensor) -> Tensor:
        error = ((coder(z) - z) ** 2).sum(1)
        return ((z - ask.x) ** 2).sum(1) + RECONSTRUCTION * error

    return descend(ask, lambda z: (MARGIN - ask.margin(z)).clamp(min=0), smooth, SPARSE)


def pcfe(ask: Ask, normal: np.ndarray, offset: float, seed: int) -> np.ndarray:
    """Nearest points with the target by a linear model, within an ellipsoid of a component."""
    members = ask.members.numpy()
    mixture = GaussianMixture(3, reg_covar=1e-2, random_state=seed).fit(members)
    part = mixture.predict(members)
    answers = np.full(ask.x.shape, np.nan)
    bounds = list(zip(ask.low.numpy(), ask.high.numpy(), strict=True))
    for i, x in enumerate(ask.x.numpy()):
        length = np.inf
        for k in range(3):
            mean, precision = mixture.means_[k], mixture.precisions_[k]
            step = members[part == k] - mean
            radius = np.median(((step @ precision) * step).sum(1)) if len(step) else 0.0
            limits = (
                {
                    "type": "ineq",
                    "fun": lambda z: normal @ z + offset - 1e-3,
                    "jac": lambda z: normal,
                },
                {
                    "type": "ineq",
                    "fun": lambda z, m=mean, p=precision, r=radius: r - (z - m) @ p @ (z - m),
                    "jac": lambda z, m=mean, p=precision: -2 * p @ (z - m),
                },
            )
            found = minimize(
                lambda z, x=x: ((z - x) ** 2).sum(), mean, jac=lambda z, x=x: 2 * (z - x),
                bounds=bounds, constraints=limits, method="SLSQP",
            )  # fmt: skip
            if found.success and normal @ found.x + offset > 0 and found.fun < length:
                answers[i], length = found.x, found.fun
    return answers


NETWORK = ("Wachter, l1", "Wachter, Mahalanobis", "DCFE", "CEM")
LINEAR = ("PCFE",)


def answer(name: str, table: Table, model: Any, seed: int = 0) -> np.ndarray:
    """Return the answers (n, d) of a rival to the queries of a table."""
    scores = as_torch(model, [Column(name, None) for name in range(table.X.shape[1])])
    train = torch.from_numpy(table.X)
    low, high = train.min(0).values, train.max(0).values
    predicted = np.asarray(model.predict(table.queries))
    answers = np.full(table.queries.shape, np.nan)
    for target in (0, 1):
        rows = np.flatnonzero((table.targets == target) & (predicted != target))
        if len(rows) == 0:
            continue

        def margin(z: Tensor, target: int = target) -> Tensor:
            both = scores(z)
            return both[:, target] - both[:, 1 - target]

        members = torch.from_numpy(table.X[table.y == target])
        ask = Ask(margin, torch.from_numpy(table.queries[rows]), low, high, members)
        if name.startswith("Wachter"):
            found = wachter(ask, train, name.endswith("Mahalanobis")).numpy()
        elif name == "DCFE":
            found = dcfe(ask).numpy()
        elif name == "CEM":
            found = cem(ask, train, seed).numpy()
        else:
            linear, sign = getattr(model, "estimator", model), 2 * target - 1
            found = pcfe(ask, sign * linear.coef_[0], float(sign * linear.intercept_[0]), seed)
        answers[rows] = found
    return answers
