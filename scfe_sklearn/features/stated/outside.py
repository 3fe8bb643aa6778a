"""Values that lie outside of the rules about values, whatever they were before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scfe_sklearn.features.kinds import as_stored
from scfe_sklearn.features.stated.joint_violations import Opened, bits_of, breaks_already
from scfe_sklearn.features.stated.raw_values import coded, ranks, raw_numbers

if TYPE_CHECKING:
    from scfe_sklearn.features.space import FeatureSpace
    from scfe_sklearn.features.stated.parsed import Limits, ParsedRules

_TOLERANCE = 1e-9  # in training standard deviations


def find_outside(parsed: ParsedRules, space: FeatureSpace, opened: Opened) -> np.ndarray:
    """Find the features whose values break a rule about values.

    These rules are absolute ranges, levels that a row may take, relations between values and
    implications. Rules about changes (immutable, directions, relative ranges, transitions from
    a level, budgets) hold for a value that stays. A missing value is not judged.

    Parameters
    ----------
    parsed : ParsedRules
        Rules of the rows.
    space : FeatureSpace
        The fitted space.
    opened : (Table, list of int)
        The rows.

    Returns
    -------
    ndarray of shape (n, d), bool
        A relation or implication that is broken marks each of its features.
    """
    table, order = opened
    outside = np.zeros((table.n_rows, space.n_features_in_), dtype=bool)
    for limits in parsed.limits:
        if not limits.relative:
            outside[:, limits.feature] |= _beyond(limits, space, opened)
    for move in parsed.moves:
        if move.anywhere is not None:
            codes, levels = coded(table, order[move.feature])
            forbidden = np.array([v is not None and v not in move.anywhere for v in levels])
            outside[move.rows, move.feature] |= forbidden[codes[move.rows]]
    for relation in parsed.relations:
        if not relation.of_change:
            near = relation.tolerance(space, [bits_of(space, j, opened) for j in relation.features])
            total = relation.total(
                [raw_numbers(space, table, order[j], j) for j in relation.features]
            )
            wrong = (total > relation.high + near) | (total < relation.low - near)
            outside[:, list(relation.features)] |= wrong[:, None]
    for implication in parsed.implications:
        wrong = breaks_already(implication, space, opened)
        outside[:, [atom.feature for atom in implication.atoms]] |= wrong[:, None]
    return outside


def _beyond(limits: Limits, space: FeatureSpace, opened: Opened) -> np.ndarray:
    """Rows (n,) whose number or level is beyond an absolute limit."""
    table, order = opened
    j = limits.feature
    feature = space.features_[j]
    if feature.levels is None:
        values, bits = table.numbers(order[j]), bits_of(space, j, opened)
        low, high = as_stored(limits.low, bits), as_stored(limits.high, bits)
        near = _TOLERANCE * space.scale_[j]
    else:
        codes, levels = coded(table, order[j])
        values = ranks(np.asarray(feature.declared), levels)[codes]
        low, high, near = limits.low, limits.high, _TOLERANCE
    return (values < low - near) | (values > high + near)
