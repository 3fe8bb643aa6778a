"""Budgets: limits on a weighted sum of the changes of columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from scfe_sklearn.data import VERTEX, FeatureSpace, level_numbers, own_levels
from scfe_sklearn.rules.atoms import (
    OrdinalInterpolation,
    as_tensor,
    capped,
    forgiven,
    ordinal_numbers,
    zero_if_missing,
)
from scfe_sklearn.rules.base import BoundRule, RawRows
from scfe_sklearn.rules.bounds import Narrowing, codes_of
from scfe_sklearn.rules.linear import WeightedSum
from scfe_sklearn.rules.one_row import RowRelation


class Budget(WeightedSum):
    r"""A budget :math:`\sum_j c_j |v_{ij} - x_{ij}| \le h_i` for every row i.

    A categorical column adds its coefficient if its level changes.
    """

    about_values = False

    def outside(self, rows: RawRows) -> bool:
        return False

    def breaks(self, old: RawRows, new: RawRows, changed: np.ndarray) -> np.ndarray:
        spent = [
            changed[:, j].astype(np.float64)
            if old.space.kinds_[j] == "categorical"
            else _moved(old.numbers(j), new.numbers(j))
            for j in self.features
        ]
        return self.exceeded(self.total(spent), self.tolerance(old, new))

    def bind(self, rows: RawRows, Z: np.ndarray, strict: bool) -> BoundBudget:
        factual = rows.finite_numbers(self.features)
        return BoundBudget(self, rows.space, Z, factual, self.tolerance(rows))


def _moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Absolute changes; what is missing in one of the two has not moved."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.abs(after - before), nan=0.0, posinf=np.inf)


@dataclass(frozen=True, eq=False)
class BoundBudget(BoundRule):
    """A budget of weighted changes from the factual rows.

    Parameters
    ----------
    rule : Budget
        The budget.
    space : FeatureSpace
        The fitted space.
    Z : ndarray of shape (n, D)
        Coordinates of the factual rows.
    factual : tuple of ndarray of shape (n,)
        The number of each column in the factual rows, NaN where there is none.
    tolerance : float
        How far a sum may be beyond the limit.
    """

    rule: Budget
    space: FeatureSpace
    Z: np.ndarray
    factual: tuple[np.ndarray, ...]
    tolerance: float
    _by_row = ("rule", "Z", "factual")

    @property
    def features(self) -> tuple[int, ...]:  # type: ignore[override]
        """Positions of the features."""
        return self.rule.features

    def requirement(self, allowed: np.ndarray) -> BoundBudget:
        return self

    @cached_property
    def _numbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates of numbers, the price of a unit, and their factual values (n, m)."""
        terms = [
            (self.space.slices_[j].start, c * self.space.features_[j].scale)
            for j, c in self.rule.terms
            if self.space.kinds_[j] != "categorical" and self._interpolation(j) is None
        ]
        at = np.array([coordinate for coordinate, _ in terms], dtype=np.intp)
        home = self.Z[:, at]
        return (
            at,
            np.array([price for _, price in terms], dtype=np.float64),
            np.where(np.isfinite(home), home, np.nan),
        )

    @cached_property
    def _levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (n, q) of the factual levels, -1 for none, and the prices of others."""
        found = [(j, c) for j, c in self.rule.terms if self.space.kinds_[j] == "categorical"]
        levels = np.full((len(self.Z), len(found)), -1, dtype=np.int64)
        for k, (j, _) in enumerate(found):
            code = codes_of(self.space, j, self.Z)
            start = self.space.slices_[j].start
            levels[:, k] = np.where(np.isnan(code), -1, start + np.nan_to_num(code))
        return levels, np.array([c for _, c in found], dtype=np.float64)

    def _interpolation(self, j: int) -> OrdinalInterpolation | None:
        """The numbers of an ordinal feature whose levels have gaps."""
        ordinal = ordinal_numbers(self.space, j)
        return ordinal if ordinal is not None and ordinal.has_gaps else None

    @cached_property
    def _interpolated(self) -> list[tuple[float, OrdinalInterpolation, np.ndarray]]:
        """Prices, numbers and factual numbers (n,) of ordinal features with gaps."""
        found = [
            (c, self._interpolation(j), home)
            for (j, c), home in zip(self.rule.terms, self.factual, strict=True)
            if self.space.kinds_[j] != "categorical"
        ]
        return [(c, ordinal, home) for c, ordinal, home in found if ordinal is not None]

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Rest of the budget, as a distance."""
        total = torch.zeros_like(z[:, 0])
        coordinates, weights, home = self._numbers
        if len(coordinates):
            moved = z[:, torch.as_tensor(coordinates, device=z.device)]
            moved = zero_if_missing(moved - as_tensor(home, z)[rows])
            total = total + (moved.abs() * as_tensor(weights, z)).sum(dim=1)
        for price, interpolation, numbers in self._interpolated:
            gone = interpolation(z, rows) - as_tensor(numbers, z)[rows]
            total = total + price * zero_if_missing(gone).abs()
        levels, prices = self._levels
        if len(prices):
            level = torch.as_tensor(levels, device=z.device)[rows]
            kept = torch.gather(z, 1, level.clamp(min=0)) / VERTEX
            left = torch.where(level >= 0, 1.0 - zero_if_missing(kept), torch.zeros_like(kept))
            total = total + (left * as_tensor(prices, z)).sum(dim=1)
        norm = self.rule.norm
        slack = (as_tensor(self.rule.high, z)[rows] - total) / norm
        return capped(forgiven(slack, self.tolerance / norm))

    def narrow(self, narrowing: Narrowing) -> None:
        """Leave each column no more than the whole budget."""
        high = self.rule.high
        for (j, c), home in zip(self.rule.terms, self.factual, strict=True):
            if self.space.kinds_[j] == "categorical":
                affordable = c <= high + self.tolerance
                width = len(own_levels(self.space.features_[j]))
                narrowing.restrict_levels(j, np.repeat(affordable[:, None], width, axis=1))
                continue
            reach = high / c
            least = np.where(np.isnan(home), -np.inf, home - reach)
            most = np.where(np.isnan(home), np.inf, home + reach)
            narrowing.restrict_numbers(j, least, most, self.tolerance / c)

    def infeasible(self, narrowing: Narrowing) -> bool:
        return False

    def of_row(self, row: int) -> RowRelation:
        return RowRelation(
            np.array(self.features, dtype=np.intp),
            self.rule.coefficients,
            [self._counts(j, row) for j in self.features],
            float(self.rule.low[row]),
            float(self.rule.high[row]),
            self.tolerance,
            of_change=True,
        )

    def _counts(self, j: int, row: int) -> np.ndarray | None:
        """The number of each level of a feature in a row; None for numbers."""
        feature = self.space.features_[j]
        if feature.levels is None:
            return None
        own = codes_of(self.space, j, self.Z[row : row + 1])[0]
        if feature.kind == "categorical" or np.isnan(own):
            return np.where(np.arange(len(own_levels(feature))) == own, 0.0, 1.0)
        numbers = level_numbers(feature, own_levels(feature))
        return np.nan_to_num(np.abs(numbers - numbers[int(own)]), nan=0.0)
