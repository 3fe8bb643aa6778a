"""All trees of an ensemble at once: what each column rules out, as bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scfe_sklearn.models.compiled import UnsupportedModelError
from scfe_sklearn.models.trees.ensemble import TreeEnsemble, probabilities
from scfe_sklearn.models.trees.incremental import BYTES, Part, Table, sums, sums_after

WORDS_PER_STEP = 20
"""Words that take as long as a step down a tree, where descents have to be much faster."""

MANY_TABLES = 200
"""Least number of columns for descents: with few columns, few rows descend slowly."""

LARGEST = 2**25
"""Most bytes of all tables: larger ones are slower than descents through the trees."""

SAME = 1e-14
"""Relative difference of sums that are the same."""

TOGETHER = 128
"""Combinations of levels of several columns that are looked up together, at most."""


@dataclass(frozen=True, eq=False)
class _Number:
    """A column of numbers that trees test, and its table.

    Parameters
    ----------
    coordinate : int
        Where it stands in column space.
    thresholds : ndarray of shape (m,)
        In ascending order.
    table : Tensor of shape (m + 2, W)
        Words of the leaves that are left for a number up to the first threshold, to the second,
        ..., above the last, and missing.
    """

    coordinate: int
    thresholds: np.ndarray
    table: torch.Tensor

    @property
    def coordinates(self) -> list[int]:
        """The coordinates of column space that the place in the table depends on."""
        return [self.coordinate]

    def bins(self, u: np.ndarray) -> np.ndarray:
        """Places (n,) in the table for rows (n, U)."""
        x = u[:, self.coordinate]
        bins = np.searchsorted(self.thresholds, x, side="left")
        missing = np.isnan(x)
        return np.where(missing, len(self.thresholds) + 1, bins) if missing.any() else bins

    def bins_after(self, u: np.ndarray, other: np.ndarray, block: slice) -> np.ndarray:
        """Places (1, M) after the number becomes that of other rows (M, U)."""
        return self.bins(other)[None]

    def bins_of(self, u: np.ndarray, block: slice) -> np.ndarray:
        """Position (n,) that the column adds for rows (n, U): all of it."""
        return self.bins(u)


@dataclass(frozen=True, eq=False)
class _Levels:
    """Columns with levels that trees test, and their common table.

    Parameters
    ----------
    rank : ndarray of shape (U,)
        What each coordinate adds to the place in the table.
    table : Tensor of shape (L, W)
        Words of the leaves that are left for each combination of levels.
    """

    rank: np.ndarray
    table: torch.Tensor

    @property
    def coordinates(self) -> list[int]:
        """The coordinates of column space that the place in the table depends on."""
        return np.flatnonzero(self.rank).tolist()

    def bins(self, u: np.ndarray) -> np.ndarray:
        """Places (n,) in the table for rows (n, U)."""
        return np.asarray((u[:, self.coordinates] @ self.rank[self.coordinates]).astype(np.int64))

    def bins_after(self, u: np.ndarray, other: np.ndarray, block: slice) -> np.ndarray:
        """Places (n, M) after one of the columns becomes that of other rows (M, U)."""
        gained, lost = other[:, block] @ self.rank[block], u[:, block] @ self.rank[block]
        return np.asarray(self.bins(u)[:, None] + (gained - lost[:, None]).astype(np.int64))

    def bins_of(self, u: np.ndarray, block: slice) -> np.ndarray:
        """Position (n,) that one of the columns adds for rows (n, U)."""
        return np.asarray((u[:, block] @ self.rank[block]).astype(np.int64))

    def joined(self, other: _Levels) -> _Levels:
        """Look both up together."""
        table = self.table[None] & other.table[:, None]
        rank = self.rank + len(self.table) * other.rank
        return _Levels(rank, table.flatten(0, 1))


class BitTrees:
    r"""The sums of a tree ensemble, without descents through its trees.

    Every leaf of a tree is a bit of a word. A value of one column leaves in each tree the leaves
    that can still be reached; a row reaches the one that all of its columns leave. So the
    leaves of all trees are found by one "and" of words per column, whatever the depth (an idea
    of Lucchese et al., QuickScorer, SIGIR 2015).

    Parameters
    ----------
    ensemble : TreeEnsemble
        The trees over column space.

    Raises
    ------
    UnsupportedModelError
        The trees are too large for it, or they are combined by a median.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from scfe_sklearn.data import Column
    >>> from scfe_sklearn.models import read_trees
    >>> X, y = np.arange(20.0)[:, None], np.arange(20) > 9
    >>> forest = RandomForestClassifier(3, random_state=0).fit(X, y)
    >>> trees = read_trees(forest, [Column(0, None)], X)
    >>> np.allclose(BitTrees(trees).value(X), forest.predict_proba(X))
    True
    """

    def __init__(self, ensemble: TreeEnsemble) -> None:
        if ensemble.kind == "median":
            raise UnsupportedModelError("A median of trees is no sum.")
        self.ensemble = ensemble
        leaves = _Leaves(ensemble)
        self.full = torch.from_numpy(leaves.full)
        self._leaves_per_tree = np.bincount(leaves.tree[leaves.leaves])
        self._numbers: list[_Number] = []
        levels: list[_Levels] = []
        size = 0
        for j in np.unique(ensemble.column[leaves.branching]).tolist():
            nodes = leaves.branching[ensemble.column[leaves.branching] == j]
            part = slice(int(ensemble.starts[j]), int(ensemble.starts[j + 1]))
            cuts = np.unique(ensemble.threshold[nodes])
            number = ensemble.columns[j].levels is None
            size += leaves.full.nbytes * (len(cuts) + 2 if number else part.stop - part.start)
            if size > LARGEST:
                raise UnsupportedModelError("The trees are too large for tables of their leaves.")
            if number:
                table = torch.from_numpy(leaves.left_by_numbers(nodes, cuts))
                self._numbers.append(_Number(part.start, cuts, table))
            else:
                rank = np.zeros(int(ensemble.starts[-1]))
                rank[part] = np.arange(part.stop - part.start)
                table = torch.from_numpy(leaves.left_by_levels(nodes, part))
                levels.append(_Levels(rank, table))
        self._levels = _together(levels)
        self.base = leaves.base()
        self._both = leaves.both()
        self.outputs = leaves.outputs(1 if self._both is not None else None)
        blocks = [
            np.arange(*ensemble.starts[j : j + 2])
            for j, column in enumerate(ensemble.columns)
            if column.levels is not None
        ]
        self._level_at = np.concatenate([np.empty(0, dtype=int), *blocks])
        owner = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
        self._sums = (owner[:, None] == np.arange(len(blocks))).astype(np.float64)
        ranks = [one.rank[self._level_at] for one in self._levels]
        self._ranks = np.stack(ranks, axis=1) if ranks else np.empty((len(self._level_at), 0))
        tables: list[Table] = [*self._numbers, *self._levels]
        sizes = [len(one.table) for one in tables]
        self._places = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)
        self._stacked = torch.cat([one.table for one in tables]) if tables else self.full[None]
        self.parts = [
            Part.of(one, self._columns_of(one), self.full, self.base, self.outputs)
            for one in tables
        ]

    @property
    def slower_than_walking(self) -> bool:
        """Whether the words of all columns are more work than the paths through the trees."""
        steps = float(np.log2(np.maximum(self._leaves_per_tree, 2)).sum())
        many = len(self.parts) >= MANY_TABLES
        return many and len(self.parts) * len(self.full) > WORDS_PER_STEP * steps

    def readable(self, u: np.ndarray) -> np.ndarray:
        """Rows (n,) that have one known level in every column of levels."""
        weights = u[:, self._level_at]
        known = (weights @ self._sums == 1).all(axis=1)
        whole = (weights == 0) | (weights == 1)
        return np.asarray(known if whole.all() else known & whole.all(axis=1))

    def scores(self, u: np.ndarray) -> np.ndarray:
        """Sums over the trees, divided, as `TreeEnsemble.scores` of readable rows.

        Parameters
        ----------
        u : ndarray of shape (n, U)
            Rows of column space, every level 0 or 1.

        Returns
        -------
        ndarray of shape (n, K)
            One column for "margin", "signed" and regressors.
        """
        total = np.empty((len(u), len(self.outputs)))
        words = max(len(self.full), 1) * self.full.element_size()
        step = max(1, BYTES // words)
        for start in range(0, len(u), step):
            rows = slice(start, start + step)
            total[rows] = sums(self._left(u[rows]), self.base, self.outputs)
        return self._finished(total)

    def value(self, u: np.ndarray) -> np.ndarray:
        """Return probabilities (n, C) of a classifier, values (n,) of a regressor."""
        return self._answers(self.scores(u))

    def value_after(self, u: np.ndarray, other: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the values of rows if one of their columns becomes that of another row.

        Parameters
        ----------
        u : ndarray of shape (n, U)
            Readable rows of column space.
        other : ndarray of shape (M, U)
            Rows that are readable in the column that is taken over.
        column : ndarray of shape (M,), int
            The column that is taken over from each of them.

        Returns
        -------
        ndarray of shape (n, M, C) or (n, M)
            As `value` of the n rows, each after one of the M replacements.
        """
        starts, whole = self.ensemble.starts, (self.full, self.base, self.outputs)
        found = []
        words = max(len(self.full), 1) * self.full.element_size()
        step = max(1, 4 * BYTES // words)
        for start in range(0, len(u), step):
            rows = slice(start, start + step)
            total = sums_after(self.parts, whole, u[rows], other, column, starts)
            value = self.valued(total.reshape(-1, total.shape[2]))
            found.append(value.reshape(*total.shape[:2], *value.shape[1:]))
        return np.concatenate(found)

    def _finished(self, sums: np.ndarray) -> np.ndarray:
        """Scores of what the leaves of rows add up to (n, K)."""
        trees = self.ensemble
        if self._both is not None:
            sums = np.hstack([sums, self._both - sums])
        total = trees.baseline + sums
        if trees.divisor != 1.0:
            total /= trees.divisor
        return total[:, 1:] - total[:, :1] if trees.kind == "signed" else total

    def valued(self, sums: np.ndarray) -> np.ndarray:
        """Return what `value` returns, of what the leaves of rows add up to (n, K)."""
        return self._answers(self._finished(sums))

    def _answers(self, scores: np.ndarray) -> np.ndarray:
        """Return probabilities of a classifier, values of a regressor, from scores."""
        if not self.ensemble.n_classes:
            return scores[:, 0]
        if self.ensemble.kind == "mean":
            return scores
        return probabilities(scores, self.ensemble.slope)

    def _columns_of(self, table: Table) -> np.ndarray:
        """The columns that a table is about."""
        starts = self.ensemble.starts
        return np.unique(np.searchsorted(starts, table.coordinates, side="right") - 1)

    def _left(self, u: np.ndarray) -> torch.Tensor:
        """Words (n, W) in which the bit of the leaf of each tree is left."""
        chosen: list[tuple[torch.Tensor, np.ndarray]] = []
        for one in self._numbers:
            chosen.append((one.table, one.bins(u)))
        if self._levels:
            ranks = (u[:, self._level_at] @ self._ranks).astype(np.int64).T
            chosen += [(one.table, rank) for one, rank in zip(self._levels, ranks, strict=True)]
        if not chosen:
            return self.full.repeat(len(u), 1)
        if len(u) * len(chosen) * self.full.element_size() * len(self.full) <= BYTES:
            # All tables at once: for few rows the calls take longer than the work.
            rows = np.stack([bins for _, bins in chosen], axis=1) + self._places
            words = self._stacked.index_select(0, torch.from_numpy(rows.reshape(-1)))
            words = words.reshape(*rows.shape, len(self.full))
            return torch.from_numpy(np.bitwise_and.reduce(words.numpy(), axis=1))
        left: torch.Tensor | None = None
        for table, bins in chosen:
            words = table.index_select(0, torch.from_numpy(np.ascontiguousarray(bins)))
            left = words if left is None else left.bitwise_and_(words)
        assert left is not None
        return left


class _Leaves:
    """The leaves of trees as bits of words, and what the nodes make of them."""

    def __init__(self, trees: TreeEnsemble) -> None:
        self.trees = trees
        self.tree, order = _reached(trees)
        inner = trees.column >= 0
        reached = self.tree >= 0
        self.leaves = np.flatnonzero(reached & ~inner)
        self.leaves = self.leaves[np.argsort(self.tree[self.leaves], kind="stable")]
        owner = self.tree[self.leaves]
        rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
        count = np.bincount(owner, minlength=len(trees.roots))
        self.word = 31 if count.max(initial=0) <= 31 else 63
        dtype = np.int32 if self.word == 31 else np.int64
        words = -(-count // self.word)
        self.first = np.concatenate([[0], np.cumsum(words)])
        self.at, self.bit = self.first[owner] + rank // self.word, rank % self.word
        n_words = int(self.first[-1])
        if n_words * 64 * 8 > LARGEST:
            raise UnsupportedModelError("The trees are too large for tables of their leaves.")
        # Of each node the leaves below it, as words of its own tree.
        depth = int(words.max(initial=1))
        below = np.zeros((len(trees.left), depth), dtype=dtype)
        below[self.leaves, rank // self.word] = np.left_shift(1, self.bit).astype(dtype)
        for nodes in reversed(order):
            below[nodes] = below[trees.left[nodes]] | below[trees.right[nodes]]
        self.below = below
        self.full = np.zeros(n_words, dtype=dtype)
        self._own = np.arange(depth) < words[:, None]
        self.full[:] = below[trees.roots][self._own]
        # Nodes that do branch.
        self.branching = np.flatnonzero(reached & inner & (trees.left != trees.right))

    def _without(self, nodes: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Words (k,) of the tables, and what is left in them if the nodes' ``side`` is not."""
        own = self._own[self.tree[nodes]]
        row, word = np.nonzero(own)
        return self.first[self.tree[nodes]][row] + word, ~self.below[side][row, word]

    def left_by_numbers(self, nodes: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        """Leaves (m + 2, W) that are left for numbers between thresholds, or missing."""
        trees, m = self.trees, len(thresholds)
        place = np.searchsorted(thresholds, trees.threshold[nodes])
        repeats = self._own[self.tree[nodes]].sum(1)
        table = np.repeat(self.full[None], m + 2, axis=0)
        # A number up to the i-th threshold goes left there, and at all larger ones.
        at, kept = self._without(nodes, trees.right[nodes])
        goes_left = np.repeat(np.full_like(self.full, -1)[None], m + 1, axis=0)
        np.bitwise_and.at(goes_left, (np.repeat(place, repeats), at), kept)
        goes_left = np.bitwise_and.accumulate(goes_left[::-1], axis=0)[::-1]
        at, kept = self._without(nodes, trees.left[nodes])
        goes_right = np.repeat(np.full_like(self.full, -1)[None], m + 1, axis=0)
        np.bitwise_and.at(goes_right, (np.repeat(place, repeats) + 1, at), kept)
        goes_right = np.bitwise_and.accumulate(goes_right, axis=0)
        table[:-1] &= goes_left & goes_right
        lost = np.where(trees.missing_left[nodes], trees.right[nodes], trees.left[nodes])
        at, kept = self._without(nodes, lost)
        np.bitwise_and.at(table[-1], at, kept)
        return table

    def left_by_levels(self, nodes: np.ndarray, coordinates: slice) -> np.ndarray:
        """Leaves (L, W) that are left for each level."""
        trees = self.trees
        table = np.repeat(self.full[None], coordinates.stop - coordinates.start, axis=0)
        member = trees.level_sets[trees.level_set[nodes], coordinates]
        for level, goes_left in enumerate(member.T):
            lost = np.where(goes_left, trees.right[nodes], trees.left[nodes])
            at, kept = self._without(nodes, lost)
            np.bitwise_and.at(table[level], at, kept)
        return table

    def base(self) -> torch.Tensor:
        """Start of the values of each word, less the start of the exponents of floats."""
        words = np.arange(len(self.full))
        if self.word == 31:
            return torch.from_numpy((32 * words - 127).astype(np.int32))
        return torch.from_numpy(64 * words - 1022)

    def both(self) -> float | None:
        """Return the total of two sums, if the leaves of each tree agree on it."""
        values = self.trees.values[self.leaves]
        if values.shape[1] != 2:
            return None
        total, owner = values.sum(axis=1), self.tree[self.leaves]
        first = np.searchsorted(owner, np.arange(len(self.trees.roots)))
        same = np.abs(total - total[first][owner]) <= SAME * np.abs(total)
        return float(total[first].sum()) if same.all() else None

    def outputs(self, count: int | None) -> list[tuple[torch.Tensor | None, torch.Tensor]]:
        """Of the first sums the words that add to it (None: all), and the values of all bits."""
        shift = 0 if self.word == 31 else 1  # the first place is that of a word without a bit
        found: list[tuple[torch.Tensor | None, torch.Tensor]] = []
        for values in self.trees.values[self.leaves].T[:count]:
            table = np.zeros((len(self.full), self.word + 1))
            table[self.at, self.bit + shift] = values
            some = np.flatnonzero(table.any(axis=1))
            every = len(some) == len(table)
            found.append(
                (None if every else torch.from_numpy(some), torch.from_numpy(table.reshape(-1)))
            )
        return found


def _together(levels: list[_Levels]) -> list[_Levels]:
    """Join columns as long as there are few combinations of their levels."""
    found: list[_Levels] = []
    for one in sorted(levels, key=lambda one: len(one.table)):
        if found and len(found[-1].table) * len(one.table) <= TOGETHER:
            found[-1] = found[-1].joined(one)
        else:
            found.append(one)
    return found


def _reached(trees: TreeEnsemble) -> tuple[np.ndarray, list[np.ndarray]]:
    """The tree of each node (-1 where no root leads to), and the inner nodes, depth by depth."""
    tree = np.full(len(trees.left), -1)
    tree[trees.roots] = np.arange(len(trees.roots))
    order: list[np.ndarray] = []
    level = trees.roots
    while True:
        level = level[trees.column[level] >= 0]
        if not len(level):
            return tree, order
        order.append(level)
        for side in (trees.left, trees.right):
            tree[side[level]] = tree[level]
        level = np.unique(np.concatenate([trees.left[level], trees.right[level]]))
