"""Trees on cells: the thresholds cut every column, and a row is known by its cell in each."""

from __future__ import annotations

import numpy as np
import torch

from scfe_sklearn.models.trees.bits import BitTrees
from scfe_sklearn.models.trees.replaced import BYTES, sums

STATES = 2**22
"""Words of states that are kept at once."""


class TreeCells:
    """Outputs of trees after changes of one column of a state, for many states and changes.

    A state is a row by its places: what each of its columns adds to the position in the table
    of the trees' leaves. It is looked up once, and then only the trees that test a changed column.

    Parameters
    ----------
    trees : BitTrees
        The trees.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from scfe_sklearn.data import Column
    >>> from scfe_sklearn.models import read_trees
    >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0], [2.0]], [0, 0, 1])
    >>> cells = TreeCells(BitTrees(read_trees(tree, [Column(0, None)])))
    >>> places = cells.places(np.array([[0.0], [2.0]]))
    >>> one, zero = np.array([1]), np.array([0])
    >>> cells.value_changed(places, zero, zero, places[one, zero]).round(3)
    array([[0., 1.]])
    """

    def __init__(self, trees: BitTrees) -> None:
        self._trees = trees
        self._starts = trees.ensemble.starts
        self._table = np.full(len(self._starts) - 1, -1)
        for k, part in enumerate(trees.parts):
            self._table[part.columns] = k

    @property
    def thresholds(self) -> list[np.ndarray]:
        """Thresholds of each column of numbers; none of levels."""
        every = self._trees.ensemble.thresholds()
        return [every[start] for start in self._starts[:-1]]

    def places(self, u: np.ndarray) -> np.ndarray:
        """Return the positions (n, J) that the columns of rows (n, U) add.

        Parameters
        ----------
        u : ndarray of shape (n, U)
            Rows of column space; a column of levels without any level has no meaning.
        """
        found = np.zeros((len(u), len(self._table)), dtype=np.int64)
        for part in self._trees.parts:
            for j in part.columns:
                block = slice(int(self._starts[j]), int(self._starts[j + 1]))
                found[:, j] = part.source.bins_of(u, block)
        return found

    def value_changed(
        self, places: np.ndarray, state: np.ndarray, column: np.ndarray, place: np.ndarray
    ) -> np.ndarray:
        """Return what states are given after one change each.

        Parameters
        ----------
        places : ndarray of shape (S, J), int
            The states.
        state, column, place : ndarray of shape (k,), int
            The state, its column that changes, and what that adds to the place afterwards;
            states ascend.

        Returns
        -------
        ndarray of shape (k, C) or (k,)
            As `BitTrees.value` of the k changed rows.
        """
        words = max(len(self._trees.full), 1) * (len(self._trees.parts) + 1)
        size = max(1, STATES // words)
        parts = []
        for start in range(0, max(len(places), 1), size):
            own = slice(*np.searchsorted(state, [start, start + size]))
            total = self._sums(
                places[start : start + size], state[own] - start, column[own], place[own]
            )
            parts.append(total)
        return self._trees.valued(np.concatenate(parts))

    def _sums(
        self, places: np.ndarray, state: np.ndarray, column: np.ndarray, place: np.ndarray
    ) -> np.ndarray:
        """Return the sums of leaves of S states after k changes: (k, K)."""
        trees = self._trees
        position = [places[:, part.columns].sum(1) for part in trees.parts]
        words = [
            part.source.table.index_select(0, torch.from_numpy(at))
            for part, at in zip(trees.parts, position, strict=True)
        ]
        before, after = [trees.full.repeat(len(places), 1)], [trees.full.repeat(len(places), 1)]
        for some in words:
            before.append(before[-1] & some)
        for some in reversed(words[1:]):
            after.append(after[-1] & some)
        total = sums(before[-1], trees.base, trees.outputs)[state]
        table = self._table[column]
        order = np.argsort(table, kind="stable")
        ends = np.searchsorted(table[order], np.arange(len(trees.parts) + 1))
        for k, (part, left, right) in enumerate(
            zip(trees.parts, before, reversed(after), strict=False)
        ):
            own = order[ends[k] : ends[k + 1]]
            if len(own) == 0:
                continue
            rest = (left & right)[:, part.own]
            old = sums(
                rest & part.table.index_select(0, torch.from_numpy(position[k])),
                part.base,
                part.outputs,
            )
            step = max(1, BYTES // max(1, len(part.own) * rest.element_size()))
            for start in range(0, len(own), step):
                mine = own[start : start + step]
                at = state[mine]
                there = position[k][at] - places[at, column[mine]] + place[mine]
                new = part.table.index_select(0, torch.from_numpy(there))
                new &= rest.index_select(0, torch.from_numpy(at))
                total[mine] += sums(new, part.base, part.outputs) - old[at]
        return total
