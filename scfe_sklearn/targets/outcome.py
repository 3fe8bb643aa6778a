"""Outputs of the user's model for rows, as far as targets need them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scfe_sklearn._utils import RowBatch


@dataclass(frozen=True, eq=False)
class Outcome(RowBatch):
    """The model's answers for m rows.

    Parameters
    ----------
    code : ndarray of shape (m,), int
        Position of the predicted class, -1 where there is none; all 0 for a regressor.
    value : ndarray of shape (m,)
        Predicted value of a regressor; NaN for a classifier.
    probability : ndarray of shape (m, C) or None
        Probabilities of the classes, where a target needs them.
    """

    code: np.ndarray
    value: np.ndarray
    probability: np.ndarray | None = None
    _by_row = ("code", "value", "probability")

    def without_probability(self) -> Outcome:
        """Return the outcome for targets without a probability."""
        return Outcome(self.code, self.value)
