"""Trees as bits where one column of a row changes: the other columns are looked up once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

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
