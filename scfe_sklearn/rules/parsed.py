"""Parsed rules of n rows: bind them to bounds, and find what changes or values break them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.data import FeatureSpace, ranks
from scfe_sklearn.rules.actionability import Actionability
from scfe_sklearn.rules.atoms import BoundAtom
from scfe_sklearn.rules.base import TOLERANCE, BoundRule, Change, ColumnRule, JointRule, RawRows
from scfe_sklearn.rules.binding import bind_columns, rank_gaps
from scfe_sklearn.rules.flags import Immutable
from scfe_sklearn.rules.implications import BoundImplication, always
from scfe_sklearn.rules.narrowing import Narrowing
from scfe_sklearn.rules.slack import AllOf

_PASSES = 2


@dataclass(frozen=True, eq=False)
class ParsedRules(RowBatch):
    """Rules that were checked against a feature space, for n rows.

    Parameters
    ----------
    columns : tuple of ColumnRule
        Rules of single columns.
    joint : tuple of JointRule
        Rules between columns: relations and budgets first.
    strict : bool
        Whether a row must end within the rules, also where it breaks one already.
    """

    columns: tuple[ColumnRule, ...]
    joint: tuple[JointRule, ...]
    strict: bool = False
    _by_row = ("columns", "joint")

    @property
    def about_values(self) -> bool:
        """Whether any rule is about values, and not only about their changes."""
        rules: tuple[ColumnRule | JointRule, ...] = (*self.columns, *self.joint)
        return any(rule.about_values for rule in rules)

    def immutable(self, space: FeatureSpace, n: int) -> np.ndarray:
        """(n, d) whether a feature is immutable."""
        found = np.zeros((n, space.n_features_in_), dtype=bool)
        for rule in self.columns:
            if isinstance(rule, Immutable):
                found[:, rule.feature] |= rule.rows
        return found

    # ----------------------------------------------------------------------------- bounds

    def bind(self, space: FeatureSpace, X: Any, Z: np.ndarray) -> Actionability:
        """Work out where each row may go; see `Rules.bind`."""
        rows = RawRows(space, X)
        bounds = bind_columns(self.columns, rows, Z)
        joint = self.bind_joint(space, rows, Z)
        if not joint:
            return bounds
        # Before bounds are narrowed: a rule may leave no interval to a value that may be filled in.
        requirements = tuple(rule.requirement(bounds.allowed) for rule in joint)
        if self.strict and len(requirements) > 1:
            requirements = (AllOf(requirements),)  # rows that break several begin outside of all
        for rule, bound in zip(self.joint, joint, strict=False):
            rule.contradictions(bound, bounds.conflict, space.names_)
        narrowing = Narrowing(bounds, space, Z)
        infeasible = _infeasible(joint, narrowing) if self.strict else None
        for _ in range(_PASSES):
            for bound in joint:
                bound.narrow(narrowing)
        return replace(bounds, requirements=requirements, infeasible=infeasible)

    def bind_joint(self, space: FeatureSpace, X: Any, Z: np.ndarray) -> tuple[BoundRule, ...]:
        """The rules between columns, relaxed to what the factual rows break already.

        With them come rules that bounds cannot hold: gaps between the ranks that an ordinal
        feature may have, and ranges and levels of strict rules.
        """
        rows = X if isinstance(X, RawRows) else RawRows(space, X)
        found: list[BoundRule] = [rule.bind(rows, Z, self.strict) for rule in self.joint]
        ruled = {rule.feature for rule in self.columns}
        for j in sorted(j for j in ruled if space.kinds_[j] == "ordinal"):
            member = rank_gaps(self.columns, rows, j, Z)
            if member is not None:
                found.append(always(BoundAtom.of_levels(space, j, member)))
        if self.strict:
            within = (rule.kept_within(rows) for rule in self.columns)
            found += [rule for rule in within if rule is not None]
        return tuple(found)

    # ------------------------------------------------------------------------- raw values

    def violations(self, space: FeatureSpace, before: Any, after: Any) -> np.ndarray:
        """(n, d) whether a change of the feature breaks a rule; see `Rules.violations`."""
        old, new = RawRows(space, before), RawRows(space, after)
        broken, changed, lost = np.zeros((3, len(old), space.n_features_in_), dtype=bool)
        for j in range(space.n_features_in_):
            if space.levels_[j] is not None:
                broken[:, j], changed[:, j], lost[:, j] = self._of_levels(j, old, new)
        plain = space.plain_features_
        broken[:, plain], changed[:, plain], lost[:, plain] = self._of_numbers(plain, old, new)
        for rule in self.joint:
            wrong = rule.breaks(old, new, changed)
            for j in rule.features:
                broken[:, j] |= wrong & changed[:, j]
        if self.strict and self.about_values:
            broken |= self._outside(new)
        held = np.array([kind == "held" for kind in space.kinds_])
        return broken & ~(lost | held).all(axis=1, keepdims=True)

    def _of_numbers(
        self, features: np.ndarray, old: RawRows, new: RawRows
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Broken rules, changes and missing new values (n, k) of numeric features."""
        space = old.space
        before, after = (
            rows.table.matrix([rows.order[j] for j in features]) for rows in (old, new)
        )
        slack = TOLERANCE * space.scale_[features]
        lost, missing = np.isnan(after), np.isnan(before)
        with np.errstate(invalid="ignore"):
            same = (before == after) | (np.abs(after - before) <= slack)
        changed = ~(same | (lost & missing))
        broken = lost | missing
        ruled = {rule.feature for rule in self.columns}
        for k, j in enumerate(features.tolist()):
            if j in ruled and changed[:, k].any():
                bits = min(old.bits(j), new.bits(j))
                change = Change(
                    space.features_[j], before[:, k], after[:, k], slack=float(slack[k]), bits=bits
                )
                unknown, rules = self._breaks(j, change)
                broken[:, k] = rules | lost[:, k] | (missing[:, k] & unknown)
        return changed & broken, changed, lost

    def _of_levels(
        self, j: int, old: RawRows, new: RawRows
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Broken rules, changes and missing new values (n,) of a feature with levels."""
        feature = old.space.features_[j]
        (before, old_levels), (after, new_levels) = old.coded(j), new.coded(j)
        same = np.array([[a == b for b in new_levels] for a in old_levels], dtype=bool)
        changed = ~same.reshape(len(old_levels), len(new_levels))[before, after]
        lost, missing = after == len(new_levels) - 1, before == len(old_levels) - 1
        places = (before, after)
        if feature.kind == "ordinal":
            declared = np.asarray(feature.declared)
            places = (ranks(declared, old_levels)[before], ranks(declared, new_levels)[after])
        change = Change(feature, *places, old=(before, old_levels), new=(after, new_levels))
        unknown, broken = self._breaks(j, change)
        broken = broken | (missing & unknown)
        if feature.kind == "ordinal":
            broken |= lost
        return changed & broken, changed, lost

    def _breaks(self, j: int, change: Change) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n,) in which what is missing must stay so, and rows that break a rule."""
        n = len(change.before)
        unknown, broken = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
        for rule in self.columns:
            if rule.feature == j:
                unknown &= ~np.asarray(rule.permits_filling(change))
                broken |= rule.breaks(change)
        return unknown, broken

    def outside(self, space: FeatureSpace, X: Any) -> np.ndarray:
        """Find the features whose values break a rule about values.

        These rules are absolute ranges, levels that a row may take, relations between values and
        implications. Rules about changes (immutable, directions, relative ranges, transitions from
        a level, budgets) hold for a value that stays. A missing value is not judged.

        Parameters
        ----------
        space : FeatureSpace
            The fitted space.
        X : DataFrame, ndarray of shape (n, d) or Table
            The rows.

        Returns
        -------
        ndarray of shape (n, d), bool
            A relation or implication that is broken marks each of its features.
        """
        return self._outside(RawRows(space, X))

    def _outside(self, rows: RawRows) -> np.ndarray:
        outside = np.zeros((len(rows), rows.space.n_features_in_), dtype=bool)
        for column in self.columns:
            outside[:, column.feature] |= column.outside(rows)
        for rule in self.joint:
            outside[:, list(rule.features)] |= np.asarray(rule.outside(rows))[..., None]
        return outside


def _infeasible(joint: Sequence[BoundRule], narrowing: Narrowing) -> np.ndarray:
    """(n,) None, or why no point within the bounds keeps a rule: the first implication, if any."""
    reasons = np.full(len(narrowing.Z), None, dtype=object)
    implications = [rule for rule in joint if isinstance(rule, BoundImplication)]
    others = [rule for rule in joint if not isinstance(rule, BoundImplication)]
    for rule in (*reversed(others), *reversed(implications)):
        names = " and ".join(repr(narrowing.space.names_[j]) for j in dict.fromkeys(rule.features))
        reasons[rule.infeasible(narrowing)] = f"{names} cannot come within the rules"
    return reasons
