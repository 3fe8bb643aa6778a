"""States of rows on the cells of a tree ensemble, with their prices and margins."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn._utils import RowBatch, first_flagged
from scfe_sklearn.solvers.problem import TOLERANCE, Cells, Problem


@dataclass(frozen=True, eq=False)
class States(RowBatch):
    """S states of some rows: cells of the d features, and their price.

    Parameters
    ----------
    rows : LongTensor of shape (S,)
        The row of each state.
    option : LongTensor of shape (S, d)
        The value that each feature has been set to; -1 where it is as in the row.
    place : LongTensor of shape (S, d)
        Places of the features.
    price : Tensor of shape (S, d)
        Prices of the features.
    """

    rows: torch.Tensor
    option: torch.Tensor
    place: torch.Tensor
    price: torch.Tensor


@dataclass(frozen=True, eq=False)
class Changes(RowBatch):
    """K changes of each of S states, (S, K) each.

    Parameters
    ----------
    feature, option, place : LongTensor of shape (S, K)
        What a change sets: a feature to a value, and its place then.
    own : Tensor of shape (S, K)
        Price of the feature after it.
    price, margin : Tensor of shape (S, K)
        Price and margin of the state after it; infinite and minus infinity where not tried.
    within : BoolTensor of shape (S, K)
        Whether the budget is kept.
    """

    feature: torch.Tensor
    option: torch.Tensor
    place: torch.Tensor
    own: torch.Tensor
    price: torch.Tensor
    margin: torch.Tensor
    within: torch.Tensor


@dataclass(frozen=True, eq=False)
class Grid:
    """Permitted values of n rows, cell by cell.

    Parameters
    ----------
    problem : Problem
        The rows.
    cells : Cells
        Cells of the model.
    price : Tensor of shape (n, M)
        Price of a feature that is set to a value; infinite where that is not permitted.
    place : LongTensor of shape (M,)
        Place of the feature then.
    factual : LongTensor of shape (n, d)
        Places of the rows.
    """

    problem: Problem
    cells: Cells
    price: torch.Tensor
    place: torch.Tensor
    factual: torch.Tensor

    @classmethod
    def of(cls, problem: Problem, cells: Cells) -> Grid:
        """List the permitted values of the rows."""
        domain, at, value = problem.domain, cells.coordinate, cells.value
        factual, group = domain.factual, problem.domain.groups[at]
        now = factual[:, at]
        offset = value - now
        inside = (value >= domain.lower[:, at] - TOLERANCE) & (
            value <= domain.upper[:, at] + TOLERANCE
        )
        permitted = (inside | ~domain.scalar[at]) & domain.allowed[:, at]
        permitted &= offset.abs() > TOLERANCE
        # The nearest value below a threshold is used from above, and vice versa.
        permitted &= (cells.side == 0) | (torch.sign(offset) == cells.side)
        rest = torch.zeros(len(factual), domain.n_features, dtype=factual.dtype)
        rest = rest.index_add_(1, domain.groups, factual**2)[:, group] - now**2
        distance = offset**2 + torch.where(domain.scalar[at], 0.0, rest)
        weight = torch.ones_like(distance) if problem.cost is None else problem.cost[:, group]
        price = weight * (distance + problem.beta[:, None])
        target = torch.zeros(len(value), factual.shape[1], dtype=factual.dtype)
        target[torch.arange(len(value)), at] = value
        places = cells.places_of_values(target).gather(1, group[:, None])[:, 0]
        return cls(
            problem,
            cells,
            torch.where(permitted, price, torch.inf),
            places,
            cells.places(factual)[0],
        )

    @property
    def group(self) -> torch.Tensor:
        """Feature (M,) of each value."""
        return self.problem.domain.groups[self.cells.coordinate]

    def entered(self, z: torch.Tensor, rows: torch.Tensor) -> States:
        """Return the cheapest states in the cells of points ``z`` (S, D) of the rows (S,)."""
        domain, cells = self.problem.domain, self.cells
        x, now = z[:, cells.coordinate], domain.factual[rows][:, cells.coordinate]
        beyond = cells.side * (x - cells.value) >= -TOLERANCE
        equal = (x - cells.value).abs() <= TOLERANCE
        passed = torch.where(cells.side == 0, equal, beyond) & (self.price[rows] < torch.inf)
        far = torch.where(passed, (cells.value - now).abs(), -1.0)
        group = self.group.expand_as(far)
        farthest = torch.full((len(z), domain.n_features), -1.0, dtype=far.dtype)
        farthest = farthest.scatter_reduce(1, group, far, "amax")
        last = passed & (far == farthest.gather(1, group))
        index = torch.where(last, torch.arange(far.shape[1]), -1)
        option = torch.full_like(farthest, -1, dtype=torch.long)
        return self._states(rows, option.scatter_reduce(1, group, index, "amax"))

    def _states(self, rows: torch.Tensor, option: torch.Tensor) -> States:
        """Return states by the values (S, d) of their features."""
        there, safe = option >= 0, option.clamp_min(0)
        place = torch.where(there, self.place[safe], self.factual[rows])
        price = torch.where(there, self.price[rows].gather(1, safe), 0.0)
        return States(rows, option, place, price)

    def points(self, states: States) -> torch.Tensor:
        """Return the points (S, D) of states."""
        domain = self.problem.domain
        z = domain.factual[states.rows]
        z = torch.where((states.option >= 0)[:, domain.groups], 0.0, z)
        state, feature = (states.option >= 0).nonzero().T
        option = states.option[state, feature]
        z[state, self.cells.coordinate[option]] = self.cells.value[option]
        return z

    def listed(self, most: torch.Tensor) -> torch.Tensor:
        """Return the values (n, K) of each row that cost less than ``most`` (n,), padded with M."""
        cheap = self.price < most[:, None]
        count = int(cheap.sum(1).max()) if len(cheap) else 0
        there, option = first_flagged(cheap, count)
        return torch.where(there, option, self.price.shape[1])

    def changes(self, states: States, listed: torch.Tensor, most: torch.Tensor) -> Changes:
        """Try the listed values, undoing each change, and no change, which comes last.

        Only changes to less than ``most`` (S,), or than the state costs, are tried.
        """
        rows, d = states.rows, states.option.shape[1]
        width = self.price.shape[1]
        option = listed[rows]
        padded = option == width
        safe = option.clamp_max(width - 1)
        back = torch.arange(d).expand(len(rows), d)
        feature = torch.cat([self.group[safe], back, back[:, :1]], 1)
        place = torch.cat([self.place[safe], self.factual[rows], states.place[:, :1]], 1)
        own = torch.cat(
            [self.price[rows].gather(1, safe), torch.zeros_like(states.price), states.price[:, :1]],
            1,
        )
        option = torch.cat([option, torch.full_like(back, -1), states.option[:, :1]], 1)
        total = states.price.sum(1, keepdim=True)
        price = total - states.price.gather(1, feature) + own
        tried = price < torch.maximum(most[:, None], total)
        tried &= torch.cat([~padded, states.option >= 0, torch.ones_like(back[:, :1]) > 0], 1)
        moved = (states.option >= 0).sum(1, keepdim=True)
        after = moved - (states.option.gather(1, feature) >= 0).long() + (option >= 0).long()
        within = after <= self.problem.max_changes[rows, None]
        tried &= within | (after < moved)
        tried[:, -1] = True
        state, column = tried.nonzero().T
        margin = torch.full_like(price, -torch.inf)
        margin[state, column] = self.cells.margins(
            rows, states.place, state, feature[state, column], place[state, column]
        )
        price = torch.where(tried, price, torch.inf)
        return Changes(feature, option, place, own, price, margin, within)

    @staticmethod
    def changed(states: States, changes: Changes, column: torch.Tensor) -> States:
        """Return the states after one change each, that at ``column`` (S,)."""
        at = torch.arange(len(column))
        feature = changes.feature[at, column]
        parts = [states.option.clone(), states.place.clone(), states.price.clone()]
        for part, new in zip(parts, (changes.option, changes.place, changes.own), strict=True):
            part[at, feature] = new[at, column]
        return States(states.rows, *parts)
