"""One tree as its library stores it, and a whole reading of them, before column space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scfe_sklearn.models.trees.ensemble import Kind
from scfe_sklearn.models.trees.front import Front


@dataclass(frozen=True, eq=False)
class Tree:
    """A tree over the columns that the transformers before it make.

    Parameters
    ----------
    left, right : ndarray of shape (n,), int
        Children, -1 at leaves; node 0 is the root.
    feature : ndarray of shape (n,), int
        Column that the node tests.
    threshold : ndarray of shape (n,)
        A number goes left iff it is at most this, after rounding where `single` is set.
    missing_left : ndarray of shape (n,), bool
        Where NaN goes.
    value : ndarray of shape (n, K)
        What a leaf adds.
    single : bool
        Whether numbers are rounded to float32 before they are compared.
    categorical : ndarray of shape (n,), bool, or None
        Nodes that test a category code.
    bits : ndarray of shape (n, B), bool, or None
        The codes that go left there.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    single: bool
    categorical: np.ndarray | None = None
    bits: np.ndarray | None = None

    def key(self, node: int) -> tuple[object, ...]:
        """Test of a node; nodes with the same key split in the same way."""
        coded = self.categorical is not None and self.bits is not None and self.categorical[node]
        return (
            int(self.feature[node]),
            self.bits[node].tobytes() if coded else float(self.threshold[node]),  # type: ignore[index]
            bool(self.missing_left[node]),
            self.single,
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """Parts of an estimator: trees, the transformers before each, and the combination."""

    trees: list[tuple[Front, Tree]]
    kind: Kind
    baseline: np.ndarray
    n_classes: int
    response_method: str
    divisor: float = 1.0
    zero_class: int = 0
    slope: float = 1.0
    weights: np.ndarray | None = None
    tolerance: float = 1e-10
