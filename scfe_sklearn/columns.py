"""The vocabulary that the feature space and the model adapters share: a column and its layout."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Column:
    """One raw input column, as a model adapter reads it.

    In *column space* a numeric column is one coordinate in the user's units, and a column
    with levels is one weight per level (a one-hot row, or a point of the simplex between).

    Parameters
    ----------
    name : hashable
        The label of a data frame's column, or the position in an array.
    levels : ndarray or None
        The raw values of the levels, in the order of their coordinates; None for a number.
    held : bool
        Whether the column never changes and may hold anything: its one coordinate is 0, and no
        adapter can read it.

    Examples
    --------
    >>> import numpy as np
    >>> Column("income", None).width, Column("sex", np.array(["f", "m"])).width
    (1, 2)
    """

    name: Hashable
    levels: np.ndarray | None
    held: bool = False

    @property
    def width(self) -> int:
        """Number of coordinates of the column in column space."""
        return 1 if self.levels is None else len(self.levels)
