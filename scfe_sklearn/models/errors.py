"""Errors between a fitted estimator and its torch version."""

from __future__ import annotations


class UnsupportedModelError(TypeError):
    """The estimator has no exact differentiable version here; treat it as a black box."""


class AdapterMismatchError(ValueError):
    """The torch version and the estimator disagree on rows where they must be equal."""
