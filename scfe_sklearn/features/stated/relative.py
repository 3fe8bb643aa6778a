"""Ranges that move with the factual value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Relative:
    """A range that moves with the factual value.

    Parameters
    ----------
    low, high : float, ndarray of shape (n,) or None
        ``factual + low <= new <= factual + high``; None: no limit. With ``factor=True`` the
        limits are on the ratio: ``factual * low <= new <= factual * high`` (the two ends
        change places for a negative value). For an ordinal column they count levels.
    factor : bool, default=False
        Whether the limits are factors.

    Examples
    --------
    >>> from scfe_sklearn.features import Relative, Rules
    >>> rules = Rules(ranges={"income": Relative(0.9, 1.2, factor=True)})
    """

    low: Any = None
    high: Any = None
    factor: bool = False
