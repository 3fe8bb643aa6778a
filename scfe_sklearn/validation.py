"""scikit-learn's parameter validation, as far as the package uses it: stable, but not public."""

from __future__ import annotations

from numbers import Integral, Real

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

__all__ = ["HasMethods", "Integral", "Interval", "Real", "StrOptions", "fit_context"]
