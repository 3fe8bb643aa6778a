"""Errors about parameters in one grammar, and scikit-learn's validation as far as it is used.

That of scikit-learn is stable, but not public; this is the only place that imports it.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

__all__ = ["HasMethods", "Integral", "Interval", "Real", "StrOptions", "fit_context", "invalid"]

_MOST = 80  # characters of a value that are shown
_NO_COLUMN = object()


def invalid(
    parameter: str, owner: str, must: str, given: Any, column: Any = _NO_COLUMN
) -> ValueError:
    """Return the error of a wrong parameter, of one column if it is given.

    Examples
    --------
    >>> print(invalid("steps", "FeatureSpace", "be positive", -1, "age"))
    The 'steps' parameter of FeatureSpace must be positive. Got -1 for 'age' instead.
    """
    shown = repr(given)
    shown = shown if len(shown) <= _MOST else f"{shown[: _MOST - 3]}..."
    place = "" if column is _NO_COLUMN else f" for {column!r}"
    return ValueError(
        f"The {parameter!r} parameter of {owner} must {must}. Got {shown}{place} instead."
    )
