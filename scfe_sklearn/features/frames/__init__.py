"""Tables of any container: one view that reads columns and writes changed cells."""

from scfe_sklearn.features.frames.names import note_columns
from scfe_sklearn.features.frames.table import (
    Edit,
    Storage,
    Table,
    as_table,
    check_size,
    keep,
    open_table,
)

__all__ = [
    "Edit",
    "Storage",
    "Table",
    "as_table",
    "check_size",
    "keep",
    "note_columns",
    "open_table",
]
