"""Helpers that every room may use; they know nothing of the package."""

from scfe_sklearn._utils.doc_link import Documented
from scfe_sklearn._utils.files import (
    MAX_SIZE,
    TooLargeError,
    check_archive,
    read_bounded,
    write_file,
)
from scfe_sklearn._utils.json_codec import is_damage, pack, unpack
from scfe_sklearn._utils.quiet import ignore_warnings, keep_filters
from scfe_sklearn._utils.row_batch import (
    RowBatch,
    cheapest,
    first_flagged,
    least,
    picked,
    rank_within,
    repeated,
    taken,
)
from scfe_sklearn._utils.row_values import (
    KeepsLists,
    by_label,
    is_series,
    listed,
    numbers,
    row_index,
)
from scfe_sklearn._utils.validation import (
    HasMethods,
    Integral,
    Interval,
    Real,
    StrOptions,
    fit_context,
    invalid,
)

__all__ = [
    "HasMethods",
    "Integral",
    "Interval",
    "KeepsLists",
    "MAX_SIZE",
    "Documented",
    "Real",
    "RowBatch",
    "StrOptions",
    "TooLargeError",
    "by_label",
    "cheapest",
    "check_archive",
    "first_flagged",
    "fit_context",
    "ignore_warnings",
    "invalid",
    "is_damage",
    "is_series",
    "keep_filters",
    "least",
    "listed",
    "numbers",
    "pack",
    "picked",
    "rank_within",
    "repeated",
    "read_bounded",
    "row_index",
    "taken",
    "unpack",
    "write_file",
]
