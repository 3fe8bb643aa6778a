"""From raw rows to solver coordinates and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scfe_sklearn.features.frames import Edit, Table
from scfe_sklearn.features.kinds import VERTEX, level_codes, vertices

if TYPE_CHECKING:
    from scfe_sklearn.features.space.space import FeatureSpace

SAME = 1e-9  # coordinates that differ by less are the same, in standard deviations


def find_columns(space: FeatureSpace, table: Table) -> list[int]:
    """Return the positions of the fitted columns: by label, or by position if one has none."""
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
    plain = space.plain_features_
    at = [space.slices_[j].start for j in plain]
    values = table.matrix([order[j] for j in plain])
    Z[:, at] = (values - space.center_[plain]) / space.scale_[plain]
    for j, feature in enumerate(space.features_):
        if feature.levels is None:
            continue
        block = space.slices_[j]
        codes = level_codes(table, order[j], feature.levels, feature.missing_level)
        known = codes >= 0
        if feature.kind == "ordinal":
            z = (codes - feature.center) / feature.scale
            Z[:, block.start] = np.where(known, z, np.nan)
        else:
            Z[np.flatnonzero(known), block.start + codes[known]] = VERTEX
            Z[~known, block] = np.nan
    return Z


def raw_ranks(space: FeatureSpace, Z: np.ndarray) -> np.ndarray:
    """One number (n, d) per raw feature of points (n, D): raw numbers, and ranks of levels."""
    values = np.empty((len(Z), space.n_features_in_))
    at = space.number_features_
    values[:, at] = space.center_[at] + space.scale_[at] * Z[:, space.number_coordinates_]
    for j, kind in enumerate(space.kinds_):
        if kind == "categorical":
            block = Z[:, space.slices_[j]]
            values[:, j] = np.where(np.isnan(block).any(axis=1), np.nan, block.argmax(axis=1))
        elif kind == "ordinal":
            values[:, j] = np.rint(values[:, j])
    return values


def snapped(space: FeatureSpace, Z: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The points (n, D) nearest to ``Z`` that rows of the data can have.

    Features that have not moved from ``reference`` keep its coordinates exactly.
    """
    out = Z.copy()
    at = space.number_coordinates_
    if len(at):
        center = space.center_[space.number_features_]
        scale = space.scale_[space.number_features_]
        with np.errstate(invalid="ignore"):
            out[:, at] = (space.lattice().nearest(center + scale * Z[:, at]) - center) / scale
    for j, kind in enumerate(space.kinds_):
        if kind == "categorical":
            block = space.slices_[j]
            out[:, block] = vertices(Z[:, block])
    moved = space.changed(Z, reference)[:, space.groups_]
    with np.errstate(invalid="ignore"):  # infinity that stays
        same = np.abs(out - reference) <= SAME
    return np.where(~moved | same, reference, out)


def find_edits(space: FeatureSpace, Z: np.ndarray, reference: np.ndarray) -> dict[int, Edit]:
    """The edits, by raw feature, that turn factual rows into the decoded points.

    Parameters
    ----------
    space : FeatureSpace
        The fitted space.
    Z, reference : ndarray of shape (n, D)
        Points, and the coordinates of the factual rows.

    Returns
    -------
    dict from int to Edit
        New raw values; features and rows that stay are not named.
    """
    moved = space.changed(Z, reference)
    empty = np.isnan(Z)
    # A coordinate that is NaN in the factual row too is a value left alone, not a lost one.
    gone = (space.any_coordinate(empty) & moved) | empty.all(axis=1, keepdims=True)
    moved &= ~gone
    edits: dict[int, Edit] = {}
    raw, new = _new_numbers(space, moved, Z, reference)
    for j in np.flatnonzero(moved.any(axis=0) | gone.any(axis=0)).tolist():
        blank, at = np.flatnonzero(gone[:, j]), np.flatnonzero(moved[:, j])
        if space.kinds_[j] == "categorical":
            at, values = _new_levels(space, j, at, Z, reference)
        else:
            at = np.flatnonzero(new[:, j])
            values = raw[at, j]
        missing_level = space.features_[j].missing_level
        if missing_level >= 0 and len(at):
            lost = values == missing_level
            blank, at, values = np.concatenate([blank, at[lost]]), at[~lost], values[~lost]
        levels = space.levels_[j]
        if levels is not None:
            values = levels[values.astype(np.intp)]
        if len(at) or len(blank):
            edits[j] = Edit(at, values, blank)
    return edits


def _new_numbers(
    space: FeatureSpace, moved: np.ndarray, Z: np.ndarray, reference: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Raw numbers and ranks (n, d) after snapping, and which are new; zeros where none moved."""
    raw, new = np.zeros(moved.shape), np.zeros(moved.shape, dtype=bool)
    some = moved[:, space.number_features_].any(axis=0)
    features, at = space.number_features_[some], space.number_coordinates_[some]
    if len(features):
        center, scale = space.center_[features], space.scale_[features]
        with np.errstate(invalid="ignore"):
            raw[:, features] = space.lattice(features).nearest(center + scale * Z[:, at])
            near = np.abs((raw[:, features] - center) / scale - reference[:, at]) <= SAME
        new[:, features] = moved[:, features] & ~near
    return raw, new


def _new_levels(
    space: FeatureSpace, j: int, rows: np.ndarray, Z: np.ndarray, reference: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose categorical feature ``j`` is new after snapping, with the codes of its levels."""
    block = space.slices_[j]
    codes = Z[rows, block].argmax(axis=1)
    new = ~(reference[rows, block.start + codes] > VERTEX / 2)
    return rows[new], codes[new]
