"""What the package uses of scikit-learn's parameter validation: stable, but not public there."""

from __future__ import annotations

from numbers import Integral, Real

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

__all__ = ["HasMethods", "Integral", "Interval", "Real", "StrOptions", "fit_context"]
