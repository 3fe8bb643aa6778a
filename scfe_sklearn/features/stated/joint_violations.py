"""Relations and implications that a change breaks, from the raw values alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scfe_sklearn.features.stated.implications import Atom, Implication, holds
from scfe_sklearn.features.stated.raw_values import raw_numbers
from scfe_sklearn.features.stated.relations import Relation

if TYPE_CHECKING:
    from scfe_sklearn.features.frames import Table
    from scfe_sklearn.features.space import FeatureSpace
    from scfe_sklearn.features.stated.parsed import ParsedRules

Opened = tuple["Table", list[int]]  # a table, and where each feature stands in it


def find_joint_violations(
    parsed: ParsedRules, space: FeatureSpace, old: Opened, new: Opened, changed: np.ndarray
) -> np.ndarray:
    """(n, d) the changed features of every relation and implication that a row breaks.

    A row that broke one before its change must not break it more: the sum of a relation, and
    the value of each column of a consequence, may be between the limit and the factual.
    """
    broken = np.zeros_like(changed)
    for relation in parsed.relations:
        wrong = _breaks_relation(relation, space, old, new, changed)
        for j in relation.features:
            broken[:, j] |= wrong & changed[:, j]
    for implication in parsed.implications:
        wrong = _breaks_implication(implication, space, old, new, changed)
        for atom in implication.atoms:
            broken[:, atom.feature] |= wrong & changed[:, atom.feature]
    return broken


def bits_of(space: FeatureSpace, j: int, *opened: Opened) -> int:
    """The precision of a feature in some tables."""
    if space.levels_[j] is not None:
        return 64
    return min(table.storage(order[j]).bits for table, order in opened)


def _breaks_relation(
    relation: Relation, space: FeatureSpace, old: Opened, new: Opened, changed: np.ndarray
) -> np.ndarray:
    near = relation.tolerance(space, [bits_of(space, j, old, new) for j in relation.features])
    before, after = (
        [raw_numbers(space, table, order[j], j) for j in relation.features]
        for table, order in (old, new)
    )
    if relation.of_change:
        after = [
            changed[:, j].astype(np.float64)
            if space.kinds_[j] == "categorical"
            else distance(one, other)
            for j, one, other in zip(relation.features, before, after, strict=True)
        ]
    else:
        relation = relation.relaxed(relation.total(before))
    total = relation.total(after)
    return (total > relation.high + near) | (total < relation.low - near)


def distance(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Absolute changes; what is missing in one of the two has not moved."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.abs(after - before), nan=0.0, posinf=np.inf)


def breaks_already(implication: Implication, space: FeatureSpace, opened: Opened) -> np.ndarray:
    """(n,) rows that break an implication as they are."""
    return _all(implication.condition, space, opened, False) & ~_all(
        implication.consequence, space, opened, True
    )


def _breaks_implication(
    implication: Implication, space: FeatureSpace, old: Opened, new: Opened, changed: np.ndarray
) -> np.ndarray:
    already = breaks_already(implication, space, old)
    fulfilled = np.ones(len(changed), dtype=bool)
    for atom in implication.consequence:
        j = atom.feature
        if atom.levels is None:
            factual = np.where(already, raw_numbers(space, old[0], old[1][j], j), np.nan)
            atom = replace(atom, low=np.fmin(atom.low, factual), high=np.fmax(atom.high, factual))
        fulfilled &= _holds(atom, space, new, True) | (already & ~changed[:, j])
    return _all(implication.condition, space, new, False) & ~fulfilled


def _all(atoms: tuple[Atom, ...], space: FeatureSpace, opened: Opened, unknown: bool) -> np.ndarray:
    return np.logical_and.reduce([_holds(atom, space, opened, unknown) for atom in atoms])


def _holds(atom: Atom, space: FeatureSpace, opened: Opened, unknown: bool) -> np.ndarray:
    table, order = opened
    bits = bits_of(space, atom.feature, opened)
    return holds(atom, space, table, order[atom.feature], bits, unknown)
