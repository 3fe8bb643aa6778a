"""All trees of an ensemble at once: what each column rules out, as bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scfe_sklearn.models.errors import UnsupportedModelError
from scfe_sklearn.models.trees_ensemble import TreeEnsemble, probabilities

CELLS = 2**18
"""Words that are looked at together: they stay in a processor's cache."""

LARGEST = 2**25
"""Bytes of all tables at most: larger ones are slower than walking the trees."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """A raw column that trees ask, and its table.

    Parameters
    ----------
    coordinates : slice
        Its coordinates in column space.
    thresholds : ndarray of shape (m,) or None
        In ascending order; None for a column with levels.
    table : Tensor of shape (bins, W)
        Words of the leaves that are left for a value: of a number below the first threshold,
        below the second, ..., above the last, and missing; or of each level.
    """

    coordinates: slice
    thresholds: np.ndarray | None
    table: torch.Tensor


class BitTrees:
    r"""The sums of a tree ensemble, without walking its trees.

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
    >>> from scfe_sklearn.columns import Column
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
        self._ensemble = ensemble
        leaves = _Leaves(ensemble)
        self._wide = leaves.word == 63
        numbers, levels = [], []
        size = 0
        for j in np.unique(ensemble.column[leaves.branching]).tolist():
            nodes = leaves.branching[ensemble.column[leaves.branching] == j]
            part = slice(int(ensemble.starts[j]), int(ensemble.starts[j + 1]))
            known = ensemble.columns[j].levels
            thresholds = np.unique(ensemble.threshold[nodes]) if known is None else None
            bins = len(thresholds) + 2 if thresholds is not None else part.stop - part.start
            size += bins * leaves.full.nbytes
            if size > LARGEST:
                raise UnsupportedModelError("The trees are too large for tables of their leaves.")
            if thresholds is not None:
                table = leaves.left_by_numbers(nodes, thresholds)
                numbers.append(_Asked(part, thresholds, torch.from_numpy(table)))
            else:
                table = leaves.left_by_levels(nodes, part)
                levels.append(_Asked(part, None, torch.from_numpy(table)))
        self._full, self._numbers, self._levels = torch.from_numpy(leaves.full), numbers, levels
        self._blocks = [
            np.arange(*ensemble.starts[j : j + 2])
            for j, column in enumerate(ensemble.columns)
            if column.levels is not None
        ]
        self._base = leaves.base()
        self._outputs = leaves.outputs()
        at = np.concatenate([np.empty(0, dtype=int), *self._blocks])
        self._level_at = at
        # Which block each of these coordinates belongs to, and which level of it it is.
        owner = np.repeat(np.arange(len(self._blocks)), [len(block) for block in self._blocks])
        self._sums = (owner[:, None] == np.arange(len(self._blocks))).astype(np.float64)
        rank = np.concatenate([np.empty(0), *(np.arange(len(block)) for block in self._blocks)])
        self._ranks = self._sums * rank[:, None]
        first = [int(block[0]) for block in self._blocks]
        self._places = [first.index(one.coordinates.start) for one in levels]

    def readable(self, u: np.ndarray) -> np.ndarray:
        """Rows (n,) that have one known level in every column of levels."""
        weights = u[:, self._level_at]
        whole = ((weights == 0) | (weights == 1)).all(axis=1)
        return np.asarray(whole & (weights @ self._sums == 1).all(axis=1))

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
        trees = self._ensemble
        total = np.repeat(trees.baseline[None], len(u), axis=0)
        step = max(1, CELLS // max(len(self._full), 1))
        for start in range(0, len(u), step):
            rows = slice(start, start + step)
            total[rows] += self._added(u[rows])
        if trees.divisor != 1.0:
            total /= trees.divisor
        return total[:, 1:] - total[:, :1] if trees.kind == "signed" else total

    def value(self, u: np.ndarray) -> np.ndarray:
        """Return probabilities (n, C) of a classifier, values (n,) of a regressor."""
        scores = self.scores(u)
        if not self._ensemble.n_classes:
            return scores[:, 0]
        if self._ensemble.kind == "mean":
            return scores
        return probabilities(scores, self._ensemble.slope)

    def _added(self, u: np.ndarray) -> np.ndarray:
        """What the leaves of rows add, (n, K)."""
        left = self._left(u)
        if self._wide:
            # A power of two is known by the exponent of its float; a word without a bit has none.
            place = left.to(torch.float64).view(torch.int64).bitwise_right_shift_(52)
            place.clamp_(min=1022)
        else:
            place = left.to(torch.float32).view(torch.int32).bitwise_right_shift_(23)
        place += self._base
        out = np.zeros((len(u), self._ensemble.values.shape[1]))
        for k, (trees, values) in enumerate(self._outputs):
            at = place if trees is None else place[:, trees]
            added = values.index_select(0, at.reshape(-1)).reshape(at.shape)
            out[:, k] = added.sum(1).numpy()
        return out

    def _left(self, u: np.ndarray) -> torch.Tensor:
        """Words (n, W) in which the bit of the leaf of each tree is left."""
        chosen: list[tuple[torch.Tensor, np.ndarray]] = []
        for one in self._numbers:
            x, cuts = u[:, one.coordinates.start], one.thresholds
            assert cuts is not None
            bins = np.searchsorted(cuts, x, side="left")
            missing = np.isnan(x)
            if missing.any():
                bins = np.where(missing, len(cuts) + 1, bins)
            chosen.append((one.table, bins))
        if self._levels:
            ranks = (u[:, self._level_at] @ self._ranks).astype(np.int64)
            chosen += [
                (one.table, ranks[:, place])
                for one, place in zip(self._levels, self._places, strict=True)
            ]
        if not chosen:
            return self._full.repeat(len(u), 1)
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
        told = trees.level_sets[trees.level_set[nodes], coordinates]
        for level, goes_left in enumerate(told.T):
            lost = np.where(goes_left, trees.right[nodes], trees.left[nodes])
            at, kept = self._without(nodes, lost)
            np.bitwise_and.at(table[level], at, kept)
        return table

    def base(self) -> torch.Tensor:
        """Where the values of each word begin, less what the exponents of floats begin with."""
        words = np.arange(len(self.full))
        if self.word == 31:
            return torch.from_numpy((32 * words - 127).astype(np.int32))
        return torch.from_numpy(64 * words - 1022)

    def outputs(self) -> list[tuple[torch.Tensor | None, torch.Tensor]]:
        """Of each sum the words that add to it (None: all), and the values of all bits."""
        shift = 0 if self.word == 31 else 1  # the first place is that of a word without a bit
        found: list[tuple[torch.Tensor | None, torch.Tensor]] = []
        for values in self.trees.values[self.leaves].T:
            table = np.zeros((len(self.full), self.word + 1))
            table[self.at, self.bit + shift] = values
            some = np.flatnonzero(table.any(axis=1))
            every = len(some) == len(table)
            found.append(
                (None if every else torch.from_numpy(some), torch.from_numpy(table.reshape(-1)))
            )
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
