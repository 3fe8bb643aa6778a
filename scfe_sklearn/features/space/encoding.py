"""From raw rows to solver coordinates: which column is which, and what its values become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scfe_sklearn.features.frames import Table
from scfe_sklearn.features.kinds import VERTEX, level_codes

if TYPE_CHECKING:
    from scfe_sklearn.features.space.space import FeatureSpace


def find_columns(space: FeatureSpace, table: Table) -> list[int]:
    """Where the fitted columns stand in a table: by label, or by position if one has none."""
    if not (table.labelled and space.labelled_):
        if len(table.names) != space.n_features_in_:
            raise ValueError(
                f"X has {len(table.names)} features, but FeatureSpace is expecting "
                f"{space.n_features_in_} features as input. X must have the "
                f"{space.n_features_in_} columns that FeatureSpace was fitted on. "
                f"Got {len(table.names)} instead."
            )
        return list(range(space.n_features_in_))
    where = {name: j for j, name in enumerate(table.names)}
    missing = [name for name in space.names_ if name not in where]
    known = set(space.names_)
    unknown = [name for name in table.names if name not in known]
    if missing or unknown:
        raise ValueError(
            "X must have the columns that FeatureSpace was fitted on. "
            f"Got missing columns {missing} and unknown columns {unknown}."
        )
    return [where[name] for name in space.names_]


def encode_table(space: FeatureSpace, table: Table, order: list[int]) -> np.ndarray:
    """Coordinates (n, D) of the rows; column ``order[j]`` of the table is feature ``j``."""
    Z = np.zeros((table.n_rows, len(space.groups_)))
    for j, feature in enumerate(space.features_):
        if feature.kind == "held":
            continue
        block = space.slices_[j]
        if feature.levels is None:
            Z[:, block.start] = (table.numbers(order[j]) - feature.center) / feature.scale
            continue
        codes = level_codes(table, order[j], feature.levels, feature.missing_level)
        known = codes >= 0
        if feature.kind == "ordinal":
            z = (codes - feature.center) / feature.scale
            Z[:, block.start] = np.where(known, z, np.nan)
        else:
            Z[np.flatnonzero(known), block.start + codes[known]] = VERTEX
            Z[~known, block] = np.nan
    return Z
