"""Trees as their library stores them, and their nodes in raw columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scfe_sklearn.models.trees.ensemble import Kind
from scfe_sklearn.models.trees.preprocessing import Preprocessor, PreprocessorMap, at_most


@dataclass(frozen=True, eq=False)
class Tree:
    """A tree over the output columns of the transformers before it.

    Parameters
    ----------
    left, right : ndarray of shape (n,), int
        Children, -1 at leaves; node 0 is the root.
    feature : ndarray of shape (n,), int
        Column that the node tests.
    threshold : ndarray of shape (n,)
        A number goes left iff it is at most this, after rounding where `single` is set.
    missing_left : ndarray of shape (n,), bool
        Whether NaN goes left.
    value : ndarray of shape (n, K)
        Value of a leaf.
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

    def goes_left(self, nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Whether values of the made columns go left at nodes, both of shape (k,)."""
        left = at_most(x, self.threshold[nodes], self.single)
        if self.categorical is not None and self.bits is not None:
            code = np.clip(np.nan_to_num(x), 0, self.bits.shape[1] - 1).astype(np.intp)
            member = np.where(x < 0, self.missing_left[nodes], self.bits[nodes, code])
            left = np.where(self.categorical[nodes], member, left)
        return np.where(np.isnan(x), self.missing_left[nodes], left)


@dataclass(frozen=True, eq=False)
class ParsedTrees:
    """Parts of an estimator: trees, the transformers before each, and their combination."""

    trees: list[tuple[Preprocessor, Tree]]
    kind: Kind
    baseline: np.ndarray
    n_classes: int
    response_method: str
    divisor: float = 1.0
    zero_class: int = 0
    slope: float = 1.0
    weights: np.ndarray | None = None
    tolerance: float = 1e-10


class LevelSets:
    """Distinct sets of levels."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.place: dict[bytes, int] = {}
        self.known: dict[tuple[Any, ...], int] = {}  # by the test of a node

    def add(self, flags: np.ndarray) -> int:
        return self.place.setdefault(flags.tobytes(), len(self.place))

    def table(self) -> np.ndarray:
        rows = [np.frombuffer(key, dtype=bool) for key in self.place]
        return np.array(rows, dtype=bool).reshape(len(rows), self.width)


def raw_nodes(
    tree: Tree,
    preprocessor: PreprocessorMap,
    switch: np.ndarray,
    starts: np.ndarray,
    offset: int,
    sets: LevelSets,
) -> tuple[np.ndarray, ...]:
    """Return the arrays of the nodes of one tree, with splits of raw columns."""
    n = len(tree.left)
    inner = tree.left >= 0
    feature = np.where(inner, tree.feature, 0)
    owner = np.where(inner, preprocessor.owner[feature], -1)
    own = np.arange(n)
    left, right = np.where(inner, tree.left, own), np.where(inner, tree.right, own)
    level_set = np.full(n, -1, dtype=np.intp)
    missing_left = np.zeros(n, dtype=bool)
    numbers = inner & ~np.isnan(switch)
    # if the column falls, rows up to the switch point are above the threshold
    flip = numbers & preprocessor.falling[feature]
    if numbers.any():
        x = preprocessor.missing[owner[numbers], feature[numbers]]
        missing_left[numbers] = tree.goes_left(np.flatnonzero(numbers), x) ^ flip[numbers]
    still = np.flatnonzero(inner & (owner < 0))  # such a column is constant
    if len(still):
        always = tree.goes_left(still, preprocessor.origin[feature[still]])
        left[still] = right[still] = np.where(always, left[still], right[still])
    for node in np.flatnonzero(inner & (owner >= 0) & ~numbers).tolist():
        key = (*tree.key(node), id(preprocessor))
        if key not in sets.known:
            j = int(owner[node])
            table = np.asarray(preprocessor.tables[j])[:, feature[node]]
            flags = np.zeros(int(starts[-1]), dtype=bool)
            flags[starts[j] : starts[j + 1]] = tree.goes_left(np.full(len(table), node), table)
            sets.known[key] = sets.add(flags)
        level_set[node] = sets.known[key]
    left, right = np.where(flip, right, left), np.where(flip, left, right)
    # a node that never branches tests its first column, without effect
    column = np.where(inner, np.maximum(owner, 0), -1)
    return (
        left + offset,
        right + offset,
        column,
        starts[np.maximum(column, 0)],
        switch,
        missing_left,
        level_set,
    )
