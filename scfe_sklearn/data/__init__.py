"""Data: frames and arrays, features and their kinds, and solver coordinates."""

# ruff: noqa: F401 (names that are not listed at the end are for other rooms of the package)

from scfe_sklearn.data.blocks import BlockExpander
from scfe_sklearn.data.column_space import Column
from scfe_sklearn.data.derived import Derived
from scfe_sklearn.data.domains import (
    MISSING,
    VERTEX,
    as_stored,
    coded,
    is_listing,
    is_number,
    match_levels,
    plain_level,
    position,
    positions,
    ranks,
)
from scfe_sklearn.data.features import (
    Feature,
    level_numbers,
    magnitude,
    own_levels,
    rounding,
)
from scfe_sklearn.data.frames import as_table, cached, check_size, note_columns, open_table
from scfe_sklearn.data.input_adapter import InputAdapter
from scfe_sklearn.data.space import FeatureSpace
from scfe_sklearn.data.table import Edit, Table

__all__ = ["Derived", "FeatureSpace"]
