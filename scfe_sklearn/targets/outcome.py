"""What the user's model says of rows, as far as a target may ask for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Outcome:
    """The model's answers for m rows.

    Parameters
    ----------
    code : ndarray of shape (m,), int
        Position of the predicted class, -1 where there is none; all 0 for a regressor.
    value : ndarray of shape (m,)
        Predicted value of a regressor; NaN for a classifier.
    probability : ndarray of shape (m, C) or None
        Probabilities of the classes, where they were asked for.
    """

    code: np.ndarray
    value: np.ndarray
    probability: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Outcome:
        """Return some of the answers."""
        probability = None if self.probability is None else self.probability[rows]
        return Outcome(self.code[rows], self.value[rows], probability)

    def without_probability(self) -> Outcome:
        """Return the answers of the kind that nobody asks a probability of."""
        return Outcome(self.code, self.value)
