"""Estimators without a gradient, as functions of column space."""

from scfe_sklearn.models.black_box.black_box import BlackBox

__all__ = ["BlackBox"]
