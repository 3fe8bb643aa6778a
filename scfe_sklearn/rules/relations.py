"""Relations between columns: limits on a weighted sum of their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from scfe_sklearn.data import (
    VERTEX,
    FeatureSpace,
    level_numbers,
    own_levels,
)
from scfe_sklearn.rules.atoms import (
    OrdinalInterpolation,
    as_tensor,
    capped,
    forgiven,
    ordinal_numbers,
)
from scfe_sklearn.rules.base import BoundRule, ColumnRule, JointRule, Kind, RawRows
from scfe_sklearn.rules.bounds import Narrowing
from scfe_sklearn.rules.budgets import Budget
from scfe_sklearn.rules.linear import (
    Linear,
    WeightedSum,
    check_coefficients,
    check_limits,
    listed_relations,
    sentence,
)
from scfe_sklearn.rules.one_row import RowRelation
from scfe_sklearn.rules.reading import Labelled, first_column


class Relation(WeightedSum):
    r"""A relation :math:`l_i \le \sum_j c_j v_{ij} \le h_i` for every row i."""

    def outside(self, rows: RawRows) -> np.ndarray:
        total = self.total([rows.numbers(j) for j in self.features])
        return self.exceeded(total, self.tolerance(rows))

    def breaks(self, old: RawRows, new: RawRows, changed: np.ndarray) -> np.ndarray:
        before, after = ([rows.numbers(j) for j in self.features] for rows in (old, new))
        kept = self.relaxed(self.total(before))
        return kept.exceeded(self.total(after), self.tolerance(old, new))

    def relaxed(self, total: np.ndarray) -> Relation:
        """The relation that a row must keep whose factual sum (n,) may break it already."""
        return replace(self, low=np.fmin(self.low, total), high=np.fmax(self.high, total))

    def bind(self, rows: RawRows, Z: np.ndarray, strict: bool) -> BoundRelation:
        factual = rows.finite_numbers(self.features)
        kept = self if strict else self.relaxed(self.total(factual))
        return BoundRelation(kept, rows.space, factual, self.tolerance(rows))

    def contradictions(self, bound: BoundRule, conflict: np.ndarray, names: Any) -> None:
        """Write into ``conflict`` (n,) where the lower limit is above the upper one."""
        assert isinstance(bound, BoundRelation)
        shown = ", ".join(repr(names[j]) for j in self.features)
        for i in np.flatnonzero(self.low > self.high + bound.tolerance):
            conflict[i] = (
                f"the limits of a relation between {shown} contradict each other "
                f"(at least {self.low[i]:g}, at most {self.high[i]:g})"
            )


@dataclass(frozen=True, eq=False)
class BoundRelation(BoundRule):
    """A relation that the factual rows keep: their own sum is within its limits.

    Parameters
    ----------
    rule : Relation
        The relation, relaxed to the factual sums.
    space : FeatureSpace
        The fitted space.
    factual : tuple of ndarray of shape (n,)
        The number of each column in the factual rows, NaN where there is none.
    tolerance : float
        How far a sum may be beyond its limits.
    judged : ndarray of shape (n,), bool, or None
        False for rows in which a number is missing for good.
    """

    rule: Relation
    space: FeatureSpace
    factual: tuple[np.ndarray, ...]
    tolerance: float
    judged: np.ndarray | None = None
    _by_row = ("rule", "factual", "judged")

    @property
    def features(self) -> tuple[int, ...]:  # type: ignore[override]
        """Positions of the features."""
        return self.rule.features

    def requirement(self, allowed: np.ndarray) -> BoundRelation:
        judged = np.ones(len(self.rule.low), dtype=bool)
        for j, factual in zip(self.features, self.factual, strict=True):
            if self.space.kinds_[j] != "categorical":
                # A missing number that may become known is judged once it is.
                judged &= ~np.isnan(factual) | allowed[:, self.space.slices_[j].start]
        return replace(self, judged=judged)

    @cached_property
    def _affine(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Solver coordinates that count, their weights, and the constant of the sum."""
        coordinates: list[np.ndarray] = [np.empty(0, dtype=np.intp)]
        weights: list[np.ndarray] = [np.empty(0)]
        bias = 0.0
        for j, c in self.rule.terms:
            feature, block = self.space.features_[j], self.space.slices_[j]
            if feature.kind == "categorical":
                numbers = level_numbers(feature, own_levels(feature))
                coordinates.append(np.arange(block.start, block.stop))
                weights.append(c * np.nan_to_num(numbers) / VERTEX)
                continue
            ordinal = ordinal_numbers(self.space, j)
            if ordinal is None or not ordinal.has_gaps:
                start = 0.0 if ordinal is None else float(ordinal.numbers[0])
                coordinates.append(np.array([block.start]))
                weights.append(np.array([c * feature.scale]))
                bias += c * (feature.center + start)
        return np.concatenate(coordinates), np.concatenate(weights), bias

    @cached_property
    def _interpolated(self) -> list[tuple[float, OrdinalInterpolation]]:
        """Ordinal features whose levels have gaps, with their coefficients."""
        found = [(c, ordinal_numbers(self.space, j)) for j, c in self.rule.terms]
        return [(c, ordinal) for c, ordinal in found if ordinal is not None and ordinal.has_gaps]

    @cached_property
    def _absent(self) -> np.ndarray:
        """Coordinates of missing levels: a point there has no sum."""
        levels = [(self.space.features_[j].missing_level, j) for j in self.features]
        return np.array(
            [self.space.slices_[j].start + level for level, j in levels if level >= 0],
            dtype=np.intp,
        )

    def slack(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Signed distance to the nearer limit."""
        coordinates, weights, bias = self._affine
        values = z[:, torch.as_tensor(coordinates, device=z.device)]
        total = (values * as_tensor(weights, z)).sum(dim=1) + bias
        for coefficient, interpolation in self._interpolated:
            total = total + coefficient * interpolation(z, rows)
        judged = torch.as_tensor(self.judged, device=z.device)[rows] & ~torch.isnan(total)
        if len(self._absent):
            gone = z[:, torch.as_tensor(self._absent, device=z.device)] > VERTEX / 2
            judged = judged & ~gone.any(dim=1)
        total = torch.where(judged, total, torch.zeros_like(total))
        low, high = as_tensor(self.rule.low, z)[rows], as_tensor(self.rule.high, z)[rows]
        norm = self.rule.norm
        slack = torch.minimum(high - total, total - low) / norm
        return capped(forgiven(slack, self.tolerance / norm), judged)

    def _ends(self, narrowing: Narrowing) -> list[tuple[np.ndarray, np.ndarray]]:
        """Least and largest part of the sum that each feature can add."""
        found = []
        for j, c in self.rule.terms:
            low, high = (c * end for end in narrowing.numbers(j))
            found.append((np.minimum(low, high), np.maximum(low, high)))
        return found

    def narrow(self, narrowing: Narrowing) -> None:
        """Leave each column what the others can make up for at best."""
        missing, ends = narrowing.may_be_missing(self.features), self._ends(narrowing)
        nothing = np.zeros(len(missing))
        for k, (j, c) in enumerate(self.rule.terms):
            others = ends[:k] + ends[k + 1 :]
            with np.errstate(invalid="ignore"):
                top = self.rule.high - sum((low for low, _ in others), nothing)
                bottom = self.rule.low - sum((high for _, high in others), nothing)
            low, high = (bottom / c, top / c) if c > 0 else (top / c, bottom / c)
            low = np.where(missing | np.isnan(low), -np.inf, low)
            high = np.where(missing | np.isnan(high), np.inf, high)
            narrowing.restrict_numbers(j, low, high, self.tolerance / abs(c))

    def infeasible(self, narrowing: Narrowing) -> np.ndarray:
        least = most = np.zeros(len(self.rule.low))
        for low, high in self._ends(narrowing):
            least, most = least + low, most + high
        beyond = (least > self.rule.high + self.tolerance) | (most < self.rule.low - self.tolerance)
        return beyond & ~narrowing.may_be_missing(self.features)

    def of_row(self, row: int) -> RowRelation:
        features = [self.space.features_[j] for j in self.features]
        return RowRelation(
            np.array(self.features, dtype=np.intp),
            self.rule.coefficients,
            [None if f.levels is None else level_numbers(f, own_levels(f)) for f in features],
            float(self.rule.low[row]),
            float(self.rule.high[row]),
            self.tolerance,
        )


class RelationKind(Kind):
    """`Rules(relations=...)`, of values and of changes."""

    parameter, by_column = "relations", False

    def in_row_order(self, given: Any, labelled: Labelled) -> Any:
        if not isinstance(given, (list, tuple)):
            return given
        return [_in_row_order(item, labelled) for item in given]

    def parse(self, given: Any, space: FeatureSpace, n: int) -> Iterator[ColumnRule | JointRule]:
        for linear, shown in listed_relations(given, space):
            if linear.of not in ("value", "change"):
                raise ValueError(
                    "The 'of' parameter of Linear must be 'value' or 'change'. "
                    f"Got {linear.of!r} instead."
                )
            columns = check_coefficients(linear, space)
            low, high = check_limits(linear, shown, n)
            features, coefficients = tuple(columns), np.array(list(columns.values()))
            kind = Budget if linear.of == "change" else Relation
            spread = np.array([_spread(space, j, linear.of == "change") for j in features])
            norm = float(np.sqrt(((coefficients * spread) ** 2).sum())) or 1.0
            yield kind(features, coefficients, low, high, norm)

    def describe(self, given: Any, space: FeatureSpace) -> Iterator[tuple[int, str]]:
        for linear, _ in listed_relations(given, space):
            yield first_column(space, linear.coefficients, "relations"), sentence(linear)

    def may_be_broken(self, given: Any) -> bool:
        return any(getattr(item, "of", "value") == "value" for item in given)


def _in_row_order(item: Any, labelled: Labelled) -> Any:
    """A relation with its limits in the order of the rows."""
    if not isinstance(item, Linear):
        return item
    name = " and ".join(map(str, item.coefficients))
    low, high = (labelled(end, "relations", name) for end in (item.at_least, item.at_most))
    return replace(item, at_least=low, at_most=high)


def _spread(space: FeatureSpace, j: int, of_change: bool) -> float:
    """Change of the number of a feature by one unit of solver distance."""
    feature = space.features_[j]
    if feature.levels is None:
        return feature.scale
    if feature.kind == "categorical" and of_change:
        return 1.0
    counts = level_numbers(feature, own_levels(feature))
    counts = counts[~np.isnan(counts)]
    if feature.kind == "ordinal":
        return feature.scale * float(counts[-1] - counts[0]) / max(len(counts) - 1, 1)
    return float(np.sqrt(2.0 * ((counts - counts.mean()) ** 2).sum())) if len(counts) else 0.0
