"""From solver coordinates to the columns that a model reads, differentiably."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scfe_sklearn.features.kinds import VERTEX, Feature

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ColumnMap:
    """The map ``z -> u``: affine, with hat weights for the levels of ordinal columns.

    Parameters
    ----------
    source : ndarray of shape (U,), int
        The solver coordinate that each column coordinate reads.
    slope, shift : ndarray of shape (U,)
        ``u = z / slope + shift`` (a quotient, so that a vertex gives exactly 1); for an
        ordinal level this is the rank.
    hats : ndarray of shape (h,), int
        The column coordinates that are ordinal levels.
    rank : ndarray of shape (h,)
        Their ranks.
    top : ndarray of shape (h,)
        The highest rank of their column.
    """

    source: np.ndarray
    slope: np.ndarray
    shift: np.ndarray
    hats: np.ndarray
    rank: np.ndarray
    top: np.ndarray

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Map points (n, D) to column space (n, U)."""
        return self.compiled(z.dtype, z.device)(z)

    def compiled(
        self, dtype: torch.dtype, device: torch.device | None = None
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the map as a function whose constants are tensors already."""
        import torch

        def tensor(values: np.ndarray, kind: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(values, dtype=kind, device=device)

        slope, shift = tensor(self.slope, dtype), tensor(self.shift, dtype)
        rank, top = tensor(self.rank, dtype), tensor(self.top, dtype)
        source, hats = tensor(self.source, torch.long), tensor(self.hats, torch.long)
        in_order = bool((self.source == np.arange(len(self.source))).all())

        def apply(z: torch.Tensor) -> torch.Tensor:
            u = (z if in_order else z[:, source]) / slope + shift
            if not len(hats):
                return u
            return u.index_copy(1, hats, hat_weights(u[:, hats], rank, top))

        return apply


def hat_weights(r: torch.Tensor, rank: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    r"""Piecewise-linear weights of the levels of an ordinal column.

    .. math:: w_k(r) = s_{k-1}(r) - s_k(r), \qquad s_k(r) = \min(1, \max(0, r - k))

    with :math:`s_{-1} = 1` and :math:`s_{top} = 0`. The first and the last segment go on
    beyond the range, so the derivative at the ends is that of the only way to go; at an inner
    whole rank it is the mean of both sides, which the form by absolute values gives for free.

    Parameters
    ----------
    r : Tensor of shape (n, h)
        Rank of the row in the column of each level.
    rank, top : Tensor of shape (h,)
        Rank of each level and the highest rank of its column.

    Returns
    -------
    Tensor of shape (n, h)
        Weights; the one-hot row at a whole rank, and they add up to 1 in every column.
    """
    import torch

    near = 1e-9 if r.dtype == torch.float64 else 1e-5
    gap = (torch.round(r) - r).detach()
    r = r + torch.where(gap.abs() < near, gap, torch.zeros_like(gap))
    x = r - rank
    ones, zeros = torch.ones_like(x), torch.zeros_like(x)
    left = torch.where(rank == 1, x + 1, (x + 1).abs())
    middle_below = torch.where(rank == top, -x, x.abs())
    below = torch.where(rank == 0, ones, 0.5 * (left - middle_below + 1))
    middle_above = torch.where(rank == 0, x, x.abs())
    right = torch.where(rank == top - 1, 1 - x, (x - 1).abs())
    above = torch.where(rank == top, zeros, 0.5 * (middle_above - right + 1))
    return below - above


def lay_out_columns(features: Sequence[Feature], slices: Sequence[slice]) -> ColumnMap:
    """The map of a feature space, by its features and their solver coordinates."""
    source: list[int] = []
    slope: list[float] = []
    shift: list[float] = []
    rank: list[float] = []
    top: list[float] = []
    for feature, block in zip(features, slices, strict=True):
        if feature.kind == "categorical":
            width = block.stop - block.start
            source += range(block.start, block.stop)
            slope += [VERTEX] * width
            shift += [0.0] * width
            rank += [-1.0] * width
            top += [-1.0] * width
            continue
        width = 1 if feature.levels is None else len(feature.levels)
        source += [block.start] * width
        slope += [1.0 / feature.scale] * width
        shift += [feature.center] * width
        rank += [-1.0] if feature.levels is None else np.arange(float(width)).tolist()
        top += [-1.0] * width if feature.levels is None else [width - 1.0] * width
    ranks, tops = np.array(rank), np.array(top)
    hats = np.flatnonzero(tops >= 0)
    return ColumnMap(
        np.array(source), np.array(slope), np.array(shift), hats, ranks[hats], tops[hats]
    )
