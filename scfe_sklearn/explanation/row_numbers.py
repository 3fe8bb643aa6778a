"""The rows that the entries of an explanation belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scfe_sklearn.explanation.result import Explanation


def row_numbers(explanation: Explanation) -> np.ndarray:
    """Number (n,) of the row of each entry, counted from 0.

    The options of a row follow one another under one label. A row begins where the label
    changes, or where the number of the option does not rise.
    """
    option = explanation.option
    if not option.any():
        return np.arange(len(option))
    label = explanation.index.factorize(use_na_sentinel=False)[0]
    begins = (option[1:] <= option[:-1]) | (label[1:] != label[:-1])
    return np.concatenate([[0], np.cumsum(begins)])


def first_entries(explanation: Explanation) -> np.ndarray:
    """Position of the first entry of each row."""
    return np.flatnonzero(np.diff(row_numbers(explanation), prepend=-1))
