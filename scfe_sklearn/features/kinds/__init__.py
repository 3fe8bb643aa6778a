"""Columns: their kinds, levels and lattices of values."""

from scfe_sklearn.features.kinds.feature import Feature, learn
from scfe_sklearn.features.kinds.lattice import Lattice, as_stored
from scfe_sklearn.features.kinds.levels import (
    MISSING,
    VERTEX,
    level_codes,
    match_levels,
    plain_level,
    vertices,
)
from scfe_sklearn.features.kinds.naming import is_listing, position, positions
from scfe_sklearn.features.kinds.overrides import resolve

__all__ = [
    "Feature",
    "Lattice",
    "MISSING",
    "VERTEX",
    "as_stored",
    "is_listing",
    "learn",
    "level_codes",
    "match_levels",
    "plain_level",
    "position",
    "positions",
    "resolve",
    "vertices",
]
