"""Make bounds as narrow as relations and implications imply, and never narrower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scfe_sklearn.features.bounds.joint import BoundAtom, BoundRelation, Joint, codes_of
from scfe_sklearn.features.stated import level_numbers, margin_tolerance, own_levels

if TYPE_CHECKING:
    from scfe_sklearn.features.bounds.actionability import Actionability
    from scfe_sklearn.features.space import FeatureSpace

_SAME = 1e-9  # in training standard deviations
_PASSES = 2


def tighten(bounds: Actionability, joint: Joint, space: FeatureSpace, Z: np.ndarray) -> None:
    """Narrow the bounds in place, by what every rule implies for each of its features alone.

    A feature may stay as it is whatever the others do, so factual values are never excluded.
    """
    narrowing = _Narrowing(bounds, space, Z)
    for _ in range(_PASSES):
        for bound in joint.relations:
            if bound.relation.of_change:
                narrowing.by_budget(bound)
            else:
                narrowing.by_relation(bound)
        for implication in joint.implications:
            narrowing.by_implication(implication.condition, implication.consequence)


def find_hopeless(
    bounds: Actionability, joint: Joint, space: FeatureSpace, Z: np.ndarray
) -> np.ndarray:
    """(n,) None, or why no point within the bounds keeps a rule."""
    reasons = np.full(len(Z), None, dtype=object)
    narrowing = _Narrowing(bounds, space, Z)
    for bound in reversed(joint.relations):
        if not bound.relation.of_change:
            _mark(reasons, narrowing.cannot_keep(bound), bound.relation.features, space)
    for rule in reversed(joint.implications):
        held = np.logical_and.reduce([narrowing.certain(atom) for atom in rule.condition])
        never = np.logical_or.reduce([narrowing.excluded(atom) for atom in rule.consequence])
        features = [atom.feature for atom in (*rule.condition, *rule.consequence)]
        _mark(reasons, held & never, features, space)
    return reasons


def _mark(
    reasons: np.ndarray, rows: np.ndarray, features: Sequence[int], space: FeatureSpace
) -> None:
    """Write down which features cannot come within a rule."""
    names = " and ".join(repr(space.names_[j]) for j in dict.fromkeys(features))
    reasons[rows] = f"{names} cannot come within the rules"


class _Narrowing:
    """The bounds of one call, feature by feature and for all rows at once."""

    def __init__(self, bounds: Actionability, space: FeatureSpace, Z: np.ndarray) -> None:
        self.bounds = bounds
        self.space = space
        self.Z = Z

    # ------------------------------------------------------------------ where a feature may be

    def _ends(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest raw value or rank of a number, its factual one included."""
        feature, at = self.space.features_[j], self.space.slices_[j].start
        z = self.Z[:, at]
        low = feature.center + feature.scale * np.fmin(self.bounds.lower[:, at], z)
        high = feature.center + feature.scale * np.fmax(self.bounds.upper[:, at], z)
        return (low, high) if feature.levels is None else (np.rint(low), np.rint(high))

    def _may_lack(self, j: int) -> np.ndarray:
        """Rows in which the feature may be missing."""
        feature, block = self.space.features_[j], self.space.slices_[j]
        lacks = np.isnan(self.Z[:, block]).any(axis=1)
        if feature.missing_level >= 0:
            lacks |= self.bounds.allowed[:, block.start + feature.missing_level]
        return lacks

    def _numbers(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest number that a relation may read."""
        feature, block = self.space.features_[j], self.space.slices_[j]
        if feature.levels is None:
            return self._ends(j)
        numbers = level_numbers(feature, own_levels(feature))
        if feature.kind == "ordinal":
            low, high = (np.clip(np.nan_to_num(end), 0, len(numbers) - 1) for end in self._ends(j))
            return numbers[low.astype(np.intp)], numbers[high.astype(np.intp)]
        options = np.where(self.bounds.allowed[:, block], numbers, np.nan)
        low = np.fmin.reduce(options, axis=1, initial=np.inf)
        high = np.fmax.reduce(options, axis=1, initial=-np.inf)
        return low, high

    # ---------------------------------------------------------------------- what rules imply

    def by_relation(self, bound: BoundRelation) -> None:
        """Leave each column what the others can make up for at best."""
        relation = bound.relation
        lacking = np.logical_or.reduce([self._may_lack(j) for j in relation.features])
        ends = []
        for j, c in zip(relation.features, relation.coefficients.tolist(), strict=True):
            low, high = (c * end for end in self._numbers(j))
            ends.append((np.minimum(low, high), np.maximum(low, high)))
        for k, j in enumerate(relation.features):
            others = [ends[i] for i in range(len(ends)) if i != k]
            with np.errstate(invalid="ignore"):
                top = relation.high - sum((low for low, _ in others), np.zeros(len(self.Z)))
                bottom = relation.low - sum((high for _, high in others), np.zeros(len(self.Z)))
            c = float(relation.coefficients[k])
            low, high = (bottom / c, top / c) if c > 0 else (top / c, bottom / c)
            low = np.where(lacking | np.isnan(low), -np.inf, low)
            high = np.where(lacking | np.isnan(high), np.inf, high)
            self._restrict_numbers(j, low, high, bound.tolerance / abs(c))

    def cannot_keep(self, bound: BoundRelation) -> np.ndarray:
        """Rows in which the sum is beyond its limits wherever its columns go."""
        relation = bound.relation
        lacking = np.logical_or.reduce([self._may_lack(j) for j in relation.features])
        least = most = np.zeros(len(self.Z))
        for j, c in zip(relation.features, relation.coefficients.tolist(), strict=True):
            low, high = (c * end for end in self._numbers(j))
            least, most = least + np.minimum(low, high), most + np.maximum(low, high)
        near = bound.tolerance
        return ~lacking & ((least > relation.high + near) | (most < relation.low - near))

    def by_budget(self, bound: BoundRelation) -> None:
        """No column may spend more than the whole budget."""
        relation = bound.relation
        for j, c, home in zip(
            relation.features, relation.coefficients.tolist(), bound.factual, strict=True
        ):
            if self.space.kinds_[j] == "categorical":
                dear = c > relation.high + bound.tolerance
                member = np.repeat(~dear[:, None], len(own_levels(self.space.features_[j])), axis=1)
                self._restrict_levels(j, member)
                continue
            reach = relation.high / c
            low = np.where(np.isnan(home), -np.inf, home - reach)
            high = np.where(np.isnan(home), np.inf, home + reach)
            self._restrict_numbers(j, low, high, bound.tolerance / c)

    def by_implication(
        self, condition: tuple[BoundAtom, ...], consequence: tuple[BoundAtom, ...]
    ) -> None:
        """Tighten bounds by implications: a certain condition makes the consequence a limit."""
        certain = [self.certain(atom) for atom in condition]
        always = np.logical_and.reduce(certain)
        for atom in consequence:
            self._restrict_atom(atom, always)
        never = np.logical_or.reduce([self.excluded(atom) for atom in consequence])
        for k, atom in enumerate(condition):
            rest = [certain[i] for i in range(len(certain)) if i != k]
            if atom.member is not None:
                only = never & np.logical_and.reduce(rest) if rest else never
                self._restrict_levels(atom.feature, ~atom.member | ~only[:, None])

    def certain(self, atom: BoundAtom) -> np.ndarray:
        """Rows in which an atom holds wherever the feature goes."""
        j = atom.feature
        if atom.member is None:
            low, high = self._ends(j)
            near = margin_tolerance(self.space.features_[j])
            inside = (low >= atom.low - near) & (high <= atom.high + near)
            return inside & ~np.isnan(self.Z[:, self.space.slices_[j].start])
        return (atom.member | ~self._open(j)).all(axis=1) & self._known(j)

    def excluded(self, atom: BoundAtom) -> np.ndarray:
        """Rows in which an atom fails wherever the feature goes."""
        j = atom.feature
        if atom.member is None:
            low, high = self._ends(j)
            near = margin_tolerance(self.space.features_[j])
            outside = (high < atom.low - near) | (low > atom.high + near)
            return outside & ~np.isnan(self.Z[:, self.space.slices_[j].start])
        return (~atom.member | ~self._open(j)).all(axis=1) & self._known(j)

    def _known(self, j: int) -> np.ndarray:
        return ~np.isnan(self.Z[:, self.space.slices_[j]]).any(axis=1)

    def _open(self, j: int) -> np.ndarray:
        """(n, L) the levels that a feature may be at."""
        block = self.space.slices_[j]
        if self.space.kinds_[j] == "categorical":
            return self.bounds.allowed[:, block]
        low, high = self._ends(j)
        place = np.arange(len(own_levels(self.space.features_[j])))
        return (place >= low[:, None]) & (place <= high[:, None])

    # ------------------------------------------------------------------------ narrower bounds

    def _restrict_numbers(self, j: int, low: np.ndarray, high: np.ndarray, near: float) -> None:
        """Keep a feature within limits of the number that relations read."""
        feature = self.space.features_[j]
        if feature.levels is None:
            self._restrict_interval(j, low, high, near)
            return
        numbers = level_numbers(feature, own_levels(feature))
        # A missing level has no number, and breaks no relation.
        outside = (numbers < (low - near)[:, None]) | (numbers > (high + near)[:, None])
        self._restrict_levels(j, ~outside)

    def _restrict_atom(self, atom: BoundAtom, rows: np.ndarray) -> None:
        """Keep a feature where an atom holds, in some rows."""
        if atom.member is not None:
            self._restrict_levels(atom.feature, atom.member | ~rows[:, None])
            return
        low, high = np.where(rows, atom.low, -np.inf), np.where(rows, atom.high, np.inf)
        feature = self.space.features_[atom.feature]
        if feature.levels is None:
            self._restrict_interval(atom.feature, low, high, margin_tolerance(feature))
            return
        place = np.arange(len(own_levels(feature)))
        inside = (place >= low[:, None]) & (place <= high[:, None])
        self._restrict_levels(atom.feature, inside)

    def _restrict_levels(self, j: int, member: np.ndarray) -> None:
        """Keep a feature at some levels (n, L) or its factual one."""
        block, codes = self.space.slices_[j], codes_of(self.space, j, self.Z)
        known = np.flatnonzero(~np.isnan(codes))
        member = member.copy()
        member[known, codes[known].astype(np.intp)] = True
        if self.space.kinds_[j] == "categorical":
            self.bounds.allowed[:, block] &= member
            self.bounds.mutable[:, j] &= self.bounds.allowed[:, block].sum(axis=1) > 1
            return
        # Bounds hold one interval: it ends at the outermost of the levels.
        feature = self.space.features_[j]
        open_levels = member & self._interval_levels(j)
        width = open_levels.shape[1]
        first = np.where(open_levels.any(axis=1), open_levels.argmax(axis=1), width)
        last = width - 1 - open_levels[:, ::-1].argmax(axis=1)
        self._narrow(
            j, (first - feature.center) / feature.scale, (last - feature.center) / feature.scale
        )

    def _interval_levels(self, j: int) -> np.ndarray:
        """(n, L) the levels between the bounds of an ordinal feature."""
        feature, at = self.space.features_[j], self.space.slices_[j].start
        low = np.rint(feature.center + feature.scale * self.bounds.lower[:, at])
        high = np.rint(feature.center + feature.scale * self.bounds.upper[:, at])
        place = np.arange(len(own_levels(feature)))
        return (place >= low[:, None]) & (place <= high[:, None])

    def _restrict_interval(self, j: int, low: np.ndarray, high: np.ndarray, near: float) -> None:
        """Keep a number within limits, rounded inward to values that it can have."""
        feature, lattice = self.space.features_[j], self.space.lattice(np.array([j]))
        ends = [np.where(np.isfinite(end), end, 0.0)[:, None] for end in (low, high)]
        low = np.where(np.isfinite(low), lattice.at_least(ends[0], near)[:, 0], low)
        high = np.where(np.isfinite(high), lattice.at_most(ends[1], near)[:, 0], high)
        self._narrow(
            j, (low - feature.center) / feature.scale, (high - feature.center) / feature.scale
        )

    def _narrow(self, j: int, low: np.ndarray, high: np.ndarray) -> None:
        """Intersect the interval of a feature with limits in solver coordinates."""
        bounds, at = self.bounds, self.space.slices_[j].start
        z, lower, upper = self.Z[:, at], bounds.lower[:, at], bounds.upper[:, at]
        inside = (lower <= z) & (z <= upper)
        free = bounds.mutable[:, j]
        # Bounds that are met already keep their digits.
        new_lower = np.where(low > lower + _SAME, low, lower)
        new_upper = np.where(high < upper - _SAME, high, upper)
        new_lower = np.where(inside, np.fmin(new_lower, z), new_lower)
        new_upper = np.where(inside, np.fmax(new_upper, z), new_upper)
        stuck = (new_upper - new_lower <= _SAME) & (np.abs(new_lower - z) <= _SAME)
        free &= ~(stuck | (new_lower > new_upper + _SAME))
        bounds.lower[:, at] = np.where(free, np.fmin(new_lower, new_upper), z)
        bounds.upper[:, at] = np.where(free, new_upper, z)
        bounds.allowed[:, at] = free
        bounds.mutable[:, j] = free
