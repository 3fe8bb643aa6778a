"""The user's own model and rules have the last word on every answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scfe_sklearn.features import FeatureSpace, Rules
from scfe_sklearn.features.rule_parsing import ParsedRules, parse_rules
from scfe_sklearn.features.violations import find_violations
from scfe_sklearn.presentation.containers import is_polars


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
    n_rows : int
        Number of rows that were asked about, and that the rules are for.
    """

    estimator: Any
    space: FeatureSpace
    rules: Rules
    max_changes: int | None
    n_rows: int

    @cached_property
    def _parsed(self) -> ParsedRules:
        return parse_rules(self.rules, self.space, self.n_rows)

    def __call__(
        self, Z: np.ndarray, Z0: np.ndarray, X: Any, rows: np.ndarray, code: np.ndarray
    ) -> Verdict:
        """Judge points of some of the rows.

        Parameters
        ----------
        Z, Z0 : ndarray of shape (m, D)
            Points, and the coordinates of the factual rows.
        X : DataFrame or ndarray of shape (m, d)
            The factual rows.
        rows : ndarray of shape (m,), int
            Their positions among all rows: rules may differ from row to row.
        code : ndarray of shape (m,), int
            Position of the wanted class.

        Returns
        -------
        Verdict
        """
        frame = self.space.decode(Z, X, reference=Z0)
        after = self.space.encode(frame)
        count = self.space.changed(after, Z0).sum(axis=1)
        good = (self.predict(frame) == code) & (count > 0)
        broken = find_violations(self._parsed.take(rows), self.space, X, frame)
        good &= ~broken.any(axis=1)
        if self.max_changes is not None:
            good &= count <= self.max_changes
        return Verdict(frame, good)

    def predict(self, X: Any) -> np.ndarray:
        """Position of the class that the model gives each row; -1 if it is none of its classes."""
        if len(X) == 0:
            return np.empty(0, dtype=np.intp)
        with np.errstate(invalid="ignore"):
            labels = np.asarray(self.estimator.predict(in_order(X, self.space)))
        match = labels[:, None] == np.asarray(self.estimator.classes_)
        return np.where(match.any(axis=1), match.argmax(axis=1), -1)

    def probability(self, X: Any, code: np.ndarray) -> np.ndarray:
        """Probability of the given class of each row; NaN if the model has none."""
        if len(code) == 0 or not hasattr(self.estimator, "predict_proba"):
            return np.full(len(code), np.nan)
        with np.errstate(invalid="ignore"):
            table = np.asarray(self.estimator.predict_proba(in_order(X, self.space)))
        return table[np.arange(len(code)), code]


def in_order(X: Any, space: FeatureSpace) -> Any:
    """Return a data frame with its columns in the order of training, which models insist on."""
    names = list(space.names_)
    if not space.labelled_ or not hasattr(X, "columns") or list(X.columns) == names:
        return X
    return X.select(names) if is_polars(X) else X[names]
