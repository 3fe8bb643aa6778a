"""Targets of a regressor: intervals of its value, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.targets.classes import Outcome, groups_of
from scfe_sklearn.targets.types import Interval


@dataclass(frozen=True, eq=False)
class IntervalTarget(RowBatch):
    """Interval of values that each row accepts.

    Rows whose intervals hold about the same training rows form a group, which has a density
    of its own. The groups depend on the training rows and the interval only, so a row's answer
    does not depend on the other rows.

    Parameters
    ----------
    low, high : ndarray of shape (n,)
        The interval of each row.
    group : ndarray of shape (n,), int
        Its group.
    members : list of ndarray
        Positions of the training rows of each group.
    """

    low: np.ndarray
    high: np.ndarray
    group: np.ndarray
    members: list[np.ndarray]
    _by_row = ("low", "high", "group")

    @property
    def wanted(self) -> np.ndarray:
        """Flags (n, G): the group of each row."""
        return np.asarray(self.group[:, None] == np.arange(self.n_groups))

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.members)

    @property
    def uses_probability(self) -> bool:
        """Whether any probability matters: a regressor has none."""
        return False

    def met(self, rows: np.ndarray, group: np.ndarray, outcome: Outcome) -> np.ndarray:
        """Return (m,): does an outcome of row ``rows`` (m,) lie in its interval."""
        value = outcome.value
        return (value >= self.low[rows]) & (value <= self.high[rows]) & (group >= 0)

    def limits(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest value (n,) of each row, whatever its group."""
        return self.low, self.high

    def labels(self, group: np.ndarray) -> np.ndarray:
        """Return the groups themselves: a regressor has no classes."""
        return group

    def answered_by(self, rows: np.ndarray, outcome: Outcome) -> np.ndarray:
        """Return (m,): the group of the row where an outcome answers it, else -1."""
        group = self.group[rows]
        return np.where(self.met(rows, group, outcome), group, -1)


def interval_target(target: Any, n: int, values: np.ndarray) -> IntervalTarget:
    """Read the target of a regressor.

    Parameters
    ----------
    target : Interval or (low, high)
        The values that would do; ``low`` or ``high`` may be None.
    n : int
        Number of rows.
    values : ndarray of shape (T,)
        What the model predicts for the training rows.

    Returns
    -------
    IntervalTarget

    Raises
    ------
    ValueError
        If the target is no interval, or its ends do not fit the rows.

    Examples
    --------
    >>> import numpy as np
    >>> targets = interval_target((2, None), 1, np.arange(5.0))
    >>> targets.low, targets.high
    (array([2.]), array([inf]))
    """
    if isinstance(target, tuple) and len(target) == 2:
        target = Interval(*target)
    if not isinstance(target, Interval):
        raise ValueError(
            "The 'target' parameter of explain must be an Interval or a pair (low, high) for a "
            f"regressor. Got {target!r} instead."
        )
    low, high = target.ends()
    if low.shape not in ((), (n,)):
        raise ValueError(
            "The 'target' parameter of explain must have one interval, or one for each of the "
            f"{n} rows. Got {len(low)} intervals instead."
        )
    low, high = np.broadcast_to(low, (n,)), np.broadcast_to(high, (n,))
    group, members = groups_of(low, high, np.sort(values), np.argsort(values, kind="stable"))
    # Without rows there is one group, of all training rows.
    return IntervalTarget(low, high, group, members or [np.arange(len(values))])
