"""State of the gradient solver: rows, the densities near their points, and running changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch

from scfe_sklearn._utils import RowBatch, first_flagged, picked
from scfe_sklearn.proximal.feature_sets import FeatureSets
from scfe_sklearn.solvers.problem import Neighbourhood, Problem

DEMAND = (2.0, 64.0)
"""First and largest multiplier of a limit of log-density, in units of the neighbourhood."""

LOCAL_ERROR = 1e-5
"""Log-density that rounding near a row may cost; the densities themselves decide in the end."""

DEFAULT_BETA = 4.0
"""Price of a change that the prices of a missed limit are meant for."""

DENSE = 0.7
"""Share of the points above which all of them are looked at, wanted or not."""

RISE, FALL = 1.6, 0.7
"""Factors of that multiplier after a step that missed the limit, and after one that met it."""


@dataclass(frozen=True, eq=False)
class Search:
    """Everything that the steps share, for n rows.

    Parameters
    ----------
    problem : Problem
        The rows; limits of plausibility are in ``near`` only.
    sets : FeatureSets
        Their admissible changes.
    near : Neighbourhood
        Densities around the present points.
    short : Tensor of shape (n,)
        Margin that the factual is short of.
    """

    problem: Problem
    sets: FeatureSets
    near: Neighbourhood
    short: torch.Tensor

    @property
    def unit(self) -> torch.Tensor:
        """Price (n,) of a unit of log-density that is missing: more where changes cost more."""
        return self.near.unit * (self.problem.beta / DEFAULT_BETA).clamp_min(1)

    @property
    def ceiling(self) -> torch.Tensor:
        """Plausibility (n,) that few training rows exceed."""
        rows = torch.arange(len(self.short), device=self.short.device)
        return self.problem.objective.best_plausibility(rows)

    def take(self, rows: torch.Tensor) -> Search:
        """Return the search of some of the rows."""
        if len(rows) == len(self.short):
            return self
        return Search(
            self.problem.take(rows), self.sets.take(rows), self.near.take(rows), self.short[rows]
        )

    def cost(
        self,
        z: torch.Tensor,
        where: torch.Tensor,
        fine: float = torch.inf,
        below: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Objective (n, K) of points ``z`` (n, K, D); infinite where they are no answers.

        ``fine`` is what a unit of log-density below the limit costs, in units of `unit`. Points
        that can hardly cost less than ``below`` (n, K) are left out, if that is given.
        """
        problem = self.problem
        changed = problem.domain.changed(z)
        where = where & (changed.sum(-1) <= problem.max_changes[:, None]) & changed.any(-1)
        if below is not None:
            where = where & (problem.sparse_distance(z) - self.ceiling[:, None] < below)
        return self.priced_where(z, problem.valid(z, where), fine)

    def priced_where(self, z: torch.Tensor, where: torch.Tensor, fine: float) -> torch.Tensor:
        """Objective (n, K) of points ``z`` (n, K, D), valid or not; infinite outside ``where``."""
        width = int(where.sum(1).max()) if where.numel() else 0
        if width > DENSE * where.shape[1]:
            return torch.where(where, self.priced(z, fine), torch.inf)
        there, place = first_flagged(where, width)
        cost = self.priced(picked(z, place), fine)
        out = torch.full_like(where, torch.inf, dtype=z.dtype)
        return out.scatter(1, place, torch.where(there, cost, torch.inf))

    def priced(self, z: torch.Tensor, fine: float = torch.inf) -> torch.Tensor:
        """Objective (n, K) of points ``z`` (n, K, D) whatever the model returns for them."""
        return self.price_of(z, self.near.log_density(z), fine)

    def price_of(self, z: torch.Tensor, density: torch.Tensor, fine: float) -> torch.Tensor:
        """Objective (n, K) of points ``z`` (n, K, D) of known log-density (n, K)."""
        near = self.near
        price = self.problem.sparse_distance(z) - near.weight[:, None] * density
        missing = (near.limit[:, None] - LOCAL_ERROR - density).clamp_min(0)
        if fine == torch.inf:
            return torch.where(missing > 0, torch.inf, price)
        return price + fine * self.unit[:, None] * missing


@dataclass(frozen=True, eq=False)
class Evaluated(RowBatch):
    """Margin, density and cost at changes (N, D) of N instances, with gradients.

    Parameters
    ----------
    margin, slope : Tensor of shape (N,), (N, D)
        Margin beyond the floor and its gradient.
    density, lift : Tensor of shape (N,), (N, D)
        Log-density and its gradient.
    pull : Tensor of shape (N, D)
        Gradient of the squared distance.
    cost : Tensor of shape (N,)
        Objective, with what a missed limit costs.
    valid : BoolTensor of shape (N,)
        Whether the margin is met.
    """

    margin: torch.Tensor
    slope: torch.Tensor
    density: torch.Tensor
    lift: torch.Tensor
    pull: torch.Tensor
    cost: torch.Tensor
    valid: torch.Tensor


@dataclass(frozen=True, eq=False)
class Instances:
    """S points of each of n rows as N = n S instances.

    Parameters
    ----------
    search : Search
        The n rows.
    problem : Problem
        The N instances.
    sets : FeatureSets
        Their admissible changes.
    short, weight, limit, unit : Tensor of shape (N,)
        Margin that the factual is short of; price, limit and unit of log-density.
    cost : Tensor of shape (N, D) or None
        Weights of the coordinates.
    """

    search: Search
    problem: Problem
    sets: FeatureSets
    short: torch.Tensor
    weight: torch.Tensor
    limit: torch.Tensor
    unit: torch.Tensor
    cost: torch.Tensor | None

    @classmethod
    def of(cls, search: Search, z: torch.Tensor) -> Instances:
        """Take the rows as often as there are points ``z`` (n, S, D) of each."""
        index = torch.arange(len(z), device=z.device).repeat_interleave(z.shape[1])
        problem, near = search.problem.take(index), search.near
        weights = None if problem.cost is None else problem.cost[:, problem.domain.groups]
        return cls(
            search,
            problem,
            search.sets.take(index),
            search.short[index],
            near.weight[index],
            near.limit[index],
            search.unit[index],
            weights,
        )

    @property
    def ways(self) -> int:
        """Instances of each row."""
        return len(self.short) // max(len(self.search.short), 1)

    def take(self, index: torch.Tensor) -> Instances:
        """Return the instances at positions (m, K), each line of which is about one row."""
        rows, flat = index[:, 0] // self.ways, index.flatten()
        return Instances(
            self.search.take(rows),
            self.problem.take(flat),
            self.sets.take(flat),
            self.short[flat],
            self.weight[flat],
            self.limit[flat],
            self.unit[flat],
            None if self.cost is None else self.cost[flat],
        )

    def within(self, most: torch.Tensor) -> Instances:
        """Return the instances with at most ``most`` (N,) changes each."""
        budget = torch.minimum(self.problem.max_changes, most)
        return replace(self, problem=replace(self.problem, max_changes=budget))

    def points(self, change: torch.Tensor) -> torch.Tensor:
        """Return changes (N, D) as points (n, S, D)."""
        z = self.problem.domain.factual + change
        return z.reshape(len(self.search.short), -1, z.shape[1])

    def changes(self, z: torch.Tensor) -> torch.Tensor:
        """Return points (n, S, D) as changes (N, D)."""
        return z.flatten(0, 1) - self.problem.domain.factual

    def evaluate(self, change: torch.Tensor, fine: float) -> Evaluated:
        """Evaluate objective, margin and gradients at changes (N, D); see `Search.cost`."""
        z = self.points(change)
        points = z.flatten(0, 1)
        margin, slope = self.problem.objective.margin_and_grad(points)
        density, lift = self.search.near.log_density_and_grad(z)
        density, lift = density.reshape(-1), lift.reshape(points.shape)
        pull = 2 * change if self.cost is None else 2 * change * self.cost
        cost = self.problem.sparse_distance(points[:, None])[:, 0] - self.weight * density
        missing = (self.limit - LOCAL_ERROR - density).clamp_min(0)
        cost = cost + fine * self.unit * missing
        beyond = margin - self.problem.floor
        valid = beyond >= 0
        return Evaluated(beyond, slope, density, lift, pull, cost, valid)


class Priced(Protocol):
    """Price, unit and limit of log-density of N changes, (N,) each."""

    @property
    def weight(self) -> torch.Tensor: ...

    @property
    def unit(self) -> torch.Tensor: ...

    @property
    def limit(self) -> torch.Tensor: ...


@dataclass(eq=False)
class Run(RowBatch):
    """N running changes, the best that each of them met, and its multipliers.

    Parameters
    ----------
    change, before : Tensor of shape (N, D)
        Where they are and were.
    pull : Tensor of shape (N,)
        Multiplier of the margin.
    demand : Tensor of shape (N,)
        Multiplier of the limit of log-density.
    best : Tensor of shape (N, D)
        Cheapest valid change met; the first one where none was.
    least : Tensor of shape (N,)
        Its cost, infinite where there is none.
    inertia : Tensor of shape (N,)
        Weight t of the extrapolation (Beck and Teboulle).
    value : Tensor of shape (N,)
        Cost where they are, infinite where that is not valid.
    """

    change: torch.Tensor
    before: torch.Tensor
    pull: torch.Tensor
    demand: torch.Tensor
    best: torch.Tensor
    least: torch.Tensor
    inertia: torch.Tensor
    value: torch.Tensor

    @classmethod
    def of(cls, change: torch.Tensor) -> Run:
        """Begin at changes (N, D)."""
        zero = torch.zeros_like(change[:, 0])
        far = torch.full_like(zero, torch.inf)
        return cls(change, change, zero, zero, change, far, zero + 1, far)

    def extrapolated(self) -> torch.Tensor:
        """Return where the last step leads on to, with a restart where the cost grew."""
        inertia = (1 + (1 + 4 * self.inertia.square()).sqrt()) / 2
        weight = (self.inertia - 1) / inertia
        self.inertia = inertia
        return self.change + weight[:, None] * (self.change - self.before)

    def keep(self, change: torch.Tensor, here: Evaluated) -> None:
        """Note changes (N, D) that are the cheapest valid ones so far."""
        better = here.valid & (here.cost < self.least)
        self.least = torch.where(better, here.cost, self.least)
        self.best = torch.where(better[:, None], change, self.best)
        value = torch.where(here.valid, here.cost, torch.inf)
        grew = value > self.value
        self.inertia = torch.where(grew, torch.ones_like(self.inertia), self.inertia)
        self.value = value

    def limit(self, part: Priced, here: Evaluated) -> None:
        """Let the multiplier of the limit rise where it is missed, and fall where it is met."""
        missed = here.density < part.limit
        raised = torch.maximum(RISE * self.demand, DEMAND[0] * part.unit)
        demand = torch.where(missed, raised, FALL * self.demand)
        self.demand = torch.minimum(demand, DEMAND[1] * part.unit)

    def price(self, part: Priced) -> torch.Tensor:
        """Price (N,) of log-density: its weight and the multiplier of its limit."""
        return part.weight + self.demand

    def move(self, found: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Go on to changes (N, D) with multipliers (N,) of the margin."""
        self.before = self.change
        self.change, self.pull = found
