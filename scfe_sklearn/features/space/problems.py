"""Why a row cannot be explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.features.kinds import match_levels

if TYPE_CHECKING:
    from scfe_sklearn.features.space.space import FeatureSpace


def find_problems(space: FeatureSpace, X: Any, missing: bool = True) -> np.ndarray:
    """(n,) None, or the first reason by column: a missing, infinite or unseen value.

    Missing numbers are left out unless ``missing``.
    """
    table, order = space.align(X)
    reasons = np.full(table.n_rows, None, dtype=object)
    for j in reversed(range(space.n_features_in_)):
        name, feature = space.names_[j], space.features_[j]
        if feature.kind == "held":
            continue
        if feature.levels is None:
            values = table.numbers(order[j])
            if missing:
                reasons[np.isnan(values)] = f"missing value in {name!r}"
            reasons[np.isinf(values)] = f"infinite value in {name!r}"
            continue
        codes, distinct = table.factorize(order[j])
        if feature.missing_level < 0:
            reasons[codes < 0] = f"missing value in {name!r}"
        texts = np.array([f"unseen category {v!r} in {name!r}" for v in distinct], dtype=object)
        unseen = match_levels(feature.levels, distinct) < 0
        # Categories that no row has are listed among the distinct values too.
        odd = np.flatnonzero((codes >= 0) & np.append(unseen, False)[codes])
        reasons[odd] = texts[codes[odd]]
    return reasons
