"""The user's own model and rules have the last word on every answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn.features import FeatureSpace, Rules


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the judge says of one point per row.

    Parameters
    ----------
    frame : DataFrame or ndarray of shape (n, d)
        The decoded rows.
    good : ndarray of shape (n,), bool
        Whether the model gives a row its class, every rule holds and something changed.
    """

    frame: Any
    good: np.ndarray


@dataclass(frozen=True, eq=False)
class Judge:
    """Decodes points to raw rows and checks them independently of any solver.

    Parameters
    ----------
    estimator : classifier
        The user's fitted model.
    space : FeatureSpace
        The fitted feature space.
    rules : Rules
        What must hold between a factual and its counterfactual.
    max_changes : int or None
        Budget of changed features.
    """

    estimator: Any
    space: FeatureSpace
    rules: Rules
    max_changes: int | None

    def __call__(self, Z: np.ndarray, Z0: np.ndarray, X: Any, label: np.ndarray) -> Verdict:
        """Judge points ``Z`` (n, D) for rows ``X`` with coordinates ``Z0``; labels wanted (n,)."""
        frame = self.space.decode(Z, X, reference=Z0)
        with np.errstate(invalid="ignore"):
            predicted = np.asarray(self.estimator.predict(frame))
        after = self.space.encode(frame)
        count = self.space.changed(after, Z0).sum(axis=1)
        good = (predicted == label) & (count > 0)
        good &= ~self.rules.violations(self.space, X, frame).any(axis=1)
        if self.max_changes is not None:
            good &= count <= self.max_changes
        return Verdict(frame, good)
