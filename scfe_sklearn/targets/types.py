"""The words for a target that is more than a label."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn._utils import by_label, is_series, listed, numbers


@dataclass(frozen=True, repr=False)
class Probability:
    """A class whose probability must lie within limits, as of a model with a cut-off.

    The probability decides alone: whether ``predict`` gives the class does not matter. With
    ``at_least=0.2`` an answer may have the probability 0.2 while ``predict``, whose own threshold
    is 0.5, gives another class; ``prediction_after`` of the result shows it.

    Parameters
    ----------
    label : label
        The class.
    at_least : float in (0, 1] or None, default=None
        Least probability that ``predict_proba`` must give it.
    at_most : float in [0, 1) or None, default=None
        Greatest probability that ``predict_proba`` may give it. Without ``at_least`` the answers
        look like training rows of the other classes.

    Examples
    --------
    >>> Probability("approved", at_least=0.8)
    Probability(label='approved', at_least=0.8)
    >>> print(Probability("approved", at_least=0.8))
    'approved' with probability 0.8 or more
    >>> print(Probability("default", at_most=0.1))
    'default' with probability 0.1 or less
    """

    label: Hashable
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise ValueError(
                "The 'at_least' parameter of Probability must be a float in (0, 1]. "
                "Got None instead, and no 'at_most'."
            )
        least, most = self.at_least, self.at_most
        if least is not None and not (_is_number(least) and 0 < least <= 1):
            raise ValueError(
                "The 'at_least' parameter of Probability must be a float in (0, 1]. "
                f"Got {least!r} instead."
            )
        if most is not None and not (_is_number(most) and 0 <= most < 1):
            raise ValueError(
                "The 'at_most' parameter of Probability must be a float in [0, 1). "
                f"Got {most!r} instead."
            )
        if least is not None and most is not None and least > most:
            raise ValueError(
                "The 'at_least' parameter of Probability must not be above 'at_most'. "
                f"Got {least!r} and {most!r} instead."
            )

    @property
    def limits(self) -> tuple[float, float]:
        """Least and greatest probability, 0 and 1 where there is no limit."""
        least = 0.0 if self.at_least is None else float(self.at_least)
        return least, 1.0 if self.at_most is None else float(self.at_most)

    def __repr__(self) -> str:
        given = {"label": self.label, "at_least": self.at_least, "at_most": self.at_most}
        shown = [f"{name}={value!r}" for name, value in given.items() if value is not None]
        return f"Probability({', '.join(shown)})"

    def __str__(self) -> str:
        if self.at_most is None:
            return f"{self.label!r} with probability {self.at_least:g} or more"
        if self.at_least is None:
            return f"{self.label!r} with probability {self.at_most:g} or less"
        return f"{self.label!r} with probability between {self.at_least:g} and {self.at_most:g}"


def _is_number(value: Any) -> bool:
    """Return whether a value is a real number, and no boolean."""
    number = isinstance(value, (int, float, np.integer, np.floating))
    return number and not isinstance(value, bool)


@dataclass(frozen=True, eq=False)
class Interval:
    """Values of a regressor that would do, ends included.

    Parameters
    ----------
    at_least, at_most : float, array-like of shape (n,) or None
        The ends, for all rows or row by row (NaN: none); None for no limit. A pandas Series is
        taken by the labels of the rows.

    Examples
    --------
    >>> print(Interval(at_least=200_000))
    at least 200,000
    >>> print(Interval(at_least=1.5, at_most=2))
    between 1.5 and 2
    """

    at_least: Any = None
    at_most: Any = None

    def __post_init__(self) -> None:
        if is_series(self.at_least) or is_series(self.at_most):
            return  # their values are paired by the labels of the rows, see `in_row_order`
        low, high = self.ends()
        if not (low < high).all():
            raise ValueError(
                "The 'at_least' parameter of Interval must be below 'at_most'. "
                f"Got {self.at_least!r} and {self.at_most!r} instead."
            )
        if (np.isneginf(low) & np.isposinf(high)).any():
            raise ValueError("Interval must have an end in every row. Got one without instead.")

    def in_row_order(self, index: Any) -> Interval:
        """Return the interval with every Series as an array in the order of the rows.

        Parameters
        ----------
        index : pandas.Index or None
            Labels of the rows; None where they have none.
        """
        low, high = (
            by_label(end, index, f"The {name!r} parameter of Interval")
            for name, end in (("at_least", self.at_least), ("at_most", self.at_most))
        )
        return Interval(low, high)

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Both ends, infinite where there is no limit, broadcast against each other."""
        low = _end("at_least", self.at_least, -np.inf)
        high = _end("at_most", self.at_most, np.inf)
        if low.ndim and high.ndim and low.shape != high.shape:
            raise ValueError(
                "The 'at_least' and 'at_most' parameters of Interval must have the same length. "
                f"Got {len(low)} and {len(high)} instead."
            )
        low, high = np.broadcast_arrays(low, high)
        return low, high

    def __str__(self) -> str:
        low, high = self.ends()
        if low.ndim:
            return f"an interval for each of {len(low)} rows"
        return interval_text(float(low), float(high))


def interval_text(low: float, high: float) -> str:
    """Return an interval in words.

    Examples
    --------
    >>> interval_text(-float("inf"), 3.0)
    'at most 3'
    """
    if high == np.inf:
        return f"at least {low:,.10g}"
    if low == -np.inf:
        return f"at most {high:,.10g}"
    return f"between {low:,.10g} and {high:,.10g}"


def _end(name: str, value: Any, absent: float) -> np.ndarray:
    if value is None:
        return np.array(absent)
    out = numbers(value)
    if out is None or out.ndim > 1 or (out.ndim == 0 and np.isnan(out)):
        raise ValueError(
            f"The {name!r} parameter of Interval must be a number, an array with one number for "
            f"each row, or None. Got {value!r} instead."
        )
    return np.where(np.isnan(out), absent, out)


def in_row_order(target: Any, index: Any) -> Any:
    """Return a target with every Series as an array in the order of the rows.

    Parameters
    ----------
    target : object
        A target as the user gives it, unchecked; an iterator becomes a list.
    index : pandas.Index or None
        Labels of the rows; None where they have none.

    Returns
    -------
    object
        The target.

    Raises
    ------
    ValueError
        If a Series lacks the label of a row, or has it more than once.
    """
    what = "The 'target' parameter of explain"
    target = listed(target)
    if np.ma.is_masked(target):
        raise ValueError(f"{what} must have a value for every row. Got a masked one instead.")
    if isinstance(target, Interval):
        return target.in_row_order(index)
    if isinstance(target, tuple):
        return tuple(by_label(end, index, what) for end in target)
    return by_label(target, index, what)
