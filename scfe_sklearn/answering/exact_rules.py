"""Relations and implications of one row, for the exact method."""

from __future__ import annotations

import numpy as np

from scfe_sklearn.answering.judge import Judge
from scfe_sklearn.answering.query import Query
from scfe_sklearn.exact import Atom, IfThen, JointRules, LinearRule
from scfe_sklearn.features import FeatureSpace
from scfe_sklearn.features.bounds import (
    BoundAtom,
    BoundRelation,
    Joint,
    bind_joint,
    codes_of,
)
from scfe_sklearn.features.stated import level_numbers, margin_tolerance, own_levels


def bound_rules(judge: Judge, query: Query) -> Joint:
    """Bind the relations and implications of all rows of a query, in raw units."""
    space = judge.space
    return bind_joint(judge.parsed, space, space.align(query.table), query.Z)


def joint_rules(joint: Joint, space: FeatureSpace, Z: np.ndarray, row: int) -> JointRules:
    """The relations and implications of one row.

    Parameters
    ----------
    joint : Joint
        Those of all rows.
    space : FeatureSpace
        Fitted.
    Z : ndarray of shape (n, D)
        Coordinates of all rows.
    row : int
        The row.

    Returns
    -------
    JointRules
    """
    here = Z[row : row + 1]
    return JointRules(
        tuple(_linear(bound, space, here, row) for bound in joint.relations),
        tuple(
            IfThen(
                tuple(_atom(atom, space, row) for atom in rule.condition),
                tuple(_atom(atom, space, row) for atom in rule.consequence),
            )
            for rule in joint.implications
        ),
    )


def _linear(bound: BoundRelation, space: FeatureSpace, here: np.ndarray, row: int) -> LinearRule:
    relation = bound.relation
    return LinearRule(
        np.array(relation.features, dtype=np.intp),
        relation.coefficients,
        [_numbers(space, j, here, relation.of_change) for j in relation.features],
        float(relation.low[row]),
        float(relation.high[row]),
        bound.tolerance,
        relation.of_change,
    )


def _numbers(space: FeatureSpace, j: int, here: np.ndarray, of_change: bool) -> np.ndarray | None:
    """Return the numbers of the levels of a feature; None for numbers."""
    feature = space.features_[j]
    if feature.levels is None:
        return None
    if not of_change:
        return level_numbers(feature, own_levels(feature))
    own = codes_of(space, j, here)[0]
    place = np.arange(len(own_levels(feature)))
    if feature.kind == "categorical" or np.isnan(own):
        return np.where(place == own, 0.0, 1.0)
    numbers = level_numbers(feature, own_levels(feature))
    return np.nan_to_num(np.abs(numbers - numbers[int(own)]), nan=0.0)


def _atom(atom: BoundAtom, space: FeatureSpace, row: int) -> Atom:
    feature, j = space.features_[atom.feature], atom.feature
    if atom.member is not None:
        return Atom(j, member=atom.member[row])
    low, high = float(atom.low[row]), float(atom.high[row])
    near = margin_tolerance(feature)
    if feature.levels is None:
        return Atom(j, low - near, high + near)
    rank = np.arange(len(own_levels(feature)))
    return Atom(j, member=(rank >= low - near) & (rank <= high + near))
