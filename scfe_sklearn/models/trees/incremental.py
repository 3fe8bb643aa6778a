"""Trees as bits where one column of a row changes: the other columns are looked up once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from scfe_sklearn.models.trees.bits import BitTrees


BYTES = 2**19
"""Bytes of words that are looked at together: they stay in a processor's cache."""

Outputs = Sequence[tuple[torch.Tensor | None, torch.Tensor]]
"""Of each sum the words that add to it (None: all), and the values of all bits."""


class Table(Protocol):
    """A table of the leaves that one column, or several together, leave."""

    @property
    def table(self) -> torch.Tensor:
        """Words of the leaves that are left at each place."""

    @property
    def coordinates(self) -> list[int]:
        """The coordinates of column space that the place in the table depends on."""

    def bins(self, u: np.ndarray) -> np.ndarray:
        """Places (n,) in the table for rows (n, U)."""

    def bins_after(self, u: np.ndarray, other: np.ndarray, block: slice) -> np.ndarray:
        """Places (n, M) for rows (n, U) after a block becomes that of other rows (M, U)."""

    def bins_of(self, u: np.ndarray, block: slice) -> np.ndarray:
        """Position (n,) that the column at a block adds for rows (n, U)."""


@dataclass(frozen=True, eq=False)
class Part:
    """Words of the trees that test the columns of a table.

    Parameters
    ----------
    source : Table
        The table.
    columns : ndarray of int
        The columns that it is about.
    own : LongTensor of shape (w,)
        The words.
    table : Tensor of shape (m, w)
        The table of these words.
    base : Tensor of shape (w,)
        Where their values begin.
    outputs : list of (positions or None, values)
        As `Outputs`, with positions among the words.
    """

    source: Table
    columns: np.ndarray
    own: torch.Tensor
    table: torch.Tensor
    base: torch.Tensor
    outputs: Outputs

    @classmethod
    def of(
        cls,
        source: Table,
        columns: np.ndarray,
        full: torch.Tensor,
        base: torch.Tensor,
        outputs: Outputs,
    ) -> Part:
        """Choose the words in which some place of the table leaves less than all."""
        own = (source.table != full).any(0).nonzero()[:, 0]
        place = torch.full((len(full),), -1)
        place[own] = torch.arange(len(own))
        some = []
        for words, values in outputs:
            if words is not None:
                words = place[words]
                words = words[words >= 0]
            some.append((words, values))
        return cls(source, columns, own, source.table[:, own].contiguous(), base[own], some)


def sums(left: torch.Tensor, base: torch.Tensor, outputs: Outputs) -> np.ndarray:
    """Return what the leaves ``left`` (..., w), one bit per tree, add to each sum: (..., K)."""
    if left.dtype == torch.int64:
        # A power of two is known by the exponent of its float; a word without a bit has none.
        place = left.to(torch.float64).view(torch.int64).bitwise_right_shift_(52)
        place.clamp_(min=1022)
    else:
        place = left.to(torch.float32).view(torch.int32).bitwise_right_shift_(23)
    place += base
    out = np.empty((*left.shape[:-1], len(outputs)))
    for k, (words, values) in enumerate(outputs):
        at = place if words is None else place[..., words]
        out[..., k] = values.index_select(0, at.reshape(-1)).reshape(at.shape).sum(-1).numpy()
    return out


def sums_after(
    parts: Sequence[Part],
    whole: tuple[torch.Tensor, torch.Tensor, Outputs],
    u: np.ndarray,
    other: np.ndarray,
    column: np.ndarray,
    starts: np.ndarray,
) -> np.ndarray:
    """Return the sums of trees if a column of some rows becomes that of other rows.

    Trees that do not test the column add what they added before.

    Parameters
    ----------
    parts : sequence of Part
        One for each table.
    whole : tuple of Tensor, Tensor and Outputs
        A word with all leaves for each tree, and where the values of all words begin.
    u : ndarray of shape (n, U)
        Rows of column space.
    other : ndarray of shape (M, U)
        Other ones.
    column : ndarray of shape (M,), int
        The column that is taken over from each of them.
    starts : ndarray of shape (d + 1,), int
        Where each column begins in column space.

    Returns
    -------
    ndarray of shape (n, M, K)
    """
    full, base, outputs = whole
    size = full.element_size()
    words = [_chosen(part.source.table, part.source.bins(u)) for part in parts]
    before, after = [full.repeat(len(u), 1)], [full.repeat(len(u), 1)]
    for some in words:
        before.append(before[-1] & some)
    for some in reversed(words[1:]):
        after.append(after[-1] & some)
    total = np.repeat(sums(before[-1], base, outputs)[:, None], len(column), axis=1)
    for part, left, right in zip(parts, before, reversed(after), strict=False):
        moves = np.flatnonzero(np.isin(column, part.columns))
        if len(moves) == 0:
            continue
        rest = (left & right)[:, part.own]
        old = sums(rest & _chosen(part.table, part.source.bins(u)), part.base, part.outputs)
        bins = np.empty((len(u), len(moves)), dtype=np.int64)
        for j in np.unique(column[moves]):
            mine = column[moves] == j
            block = slice(int(starts[j]), int(starts[j + 1]))
            bins[:, mine] = part.source.bins_after(u, other[moves[mine]], block)
        step = max(1, BYTES // max(1, len(moves) * len(part.own) * size))
        for start in range(0, len(u), step):
            rows = slice(start, start + step)
            new = _chosen(part.table, bins[rows].reshape(-1)).reshape(*bins[rows].shape, -1)
            new &= rest[rows, None]
            total[rows, moves] += sums(new, part.base, part.outputs) - old[rows, None]
    return total


def _chosen(table: torch.Tensor, bins: np.ndarray) -> torch.Tensor:
    """Rows of a table."""
    return table.index_select(0, torch.from_numpy(np.ascontiguousarray(bins)))


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
    >>> from scfe_sklearn.models.trees import BitTrees
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
