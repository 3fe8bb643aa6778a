"""Column space, which models read: from solver coordinates, differentiably or exactly."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scfe_sklearn.data.domains import VERTEX, Lattice
from scfe_sklearn.data.features import Feature

if TYPE_CHECKING:
    import torch

CACHED = 2**16
"""Numbers that are rounded at once."""

EXACT_POWERS = 22
"""The largest power of ten that a double holds exactly."""


@dataclass(frozen=True, eq=False)
class Column:
    """One raw input column, as a model adapter reads it.

    In *column space* a numeric column is one coordinate in the user's units, and a column
    with levels is one weight per level (a one-hot row, or a point of the simplex between).

    Parameters
    ----------
    name : hashable
        The label of a data frame's column, or the position in an array.
    levels : ndarray or None
        The raw values of the levels, in the order of their coordinates; None for a number.
    held : bool
        Whether the column never changes and may hold anything: its one coordinate is 0, and no
        adapter can read it.

    Examples
    --------
    >>> import numpy as np
    >>> Column("income", None).width, Column("sex", np.array(["f", "m"])).width
    (1, 2)
    """

    name: Hashable
    levels: np.ndarray | None
    held: bool = False

    @property
    def width(self) -> int:
        """Number of coordinates of the column in column space."""
        return 1 if self.levels is None else len(self.levels)


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


def exact_columns(
    features: Sequence[Feature], slices: Sequence[slice], columns: ColumnMap, lattice: Lattice
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The map from solver coordinates to exactly the raw values that a decoded point has.

    Parameters
    ----------
    features : sequence of Feature
        The raw features.
    slices : sequence of slice
        The solver coordinates of each.
    columns : ColumnMap
        Their layout in column space.
    lattice : Lattice
        The representable values of those which are not categorical, in their order.

    Returns
    -------
    callable
        Points (n, D) to column space (n, U), float64: numbers rounded to their lattice, levels
        exactly 0 or 1. A number that is clearly off its lattice is left alone: only that of a
        factual row can be. NaN stays NaN.
    """
    import torch

    source, hats, rank = columns.source, columns.hats, columns.rank
    values = _rounded_numbers(features, slices, lattice)
    # The number, if any, that each column coordinate reads, and those that are no ranks.
    pairs = zip(features, slices, strict=True)
    at = np.array([b.start for f, b in pairs if f.kind != "categorical"], dtype=np.intp)
    number = np.full(slices[-1].stop, -1)
    number[at] = np.arange(len(at))
    number = number[source]
    plain = np.flatnonzero((number >= 0) & ~np.isin(np.arange(len(source)), hats))
    in_order = np.array_equal(source, np.arange(len(source)))

    def apply(z: torch.Tensor) -> torch.Tensor:
        points = z.detach().to("cpu", torch.float64).numpy()
        if len(plain) == len(source):
            return torch.from_numpy(values(points))
        chosen = points if in_order else points[:, source]
        # Of numbers this is overwritten.
        u = (chosen > VERTEX / 2).astype(np.float64)
        gaps = np.isnan(chosen)
        if gaps.any():
            u[gaps] = np.nan
        if len(at):
            numeric = values(points)
            u[:, plain] = numeric[:, number[plain]]
            if len(hats):
                r = numeric[:, number[hats]]
                u[:, hats] = np.where(np.isnan(r), np.nan, np.rint(r) == rank)
        return torch.from_numpy(u)

    return apply


def _rounded_numbers(
    features: Sequence[Feature], slices: Sequence[slice], lattice: Lattice
) -> Callable[[np.ndarray], np.ndarray]:
    """Points (n, D) to the raw numbers and ranks (n, k) that they stand for."""
    everything = zip(features, slices, strict=True)
    numbers = [(f, block) for f, block in everything if f.kind != "categorical"]
    at = np.array([block.start for _, block in numbers], dtype=np.intp)
    center = np.array([f.center for f, _ in numbers])
    scale = np.array([f.scale for f, _ in numbers])
    whole = (lattice.step == 1) & (lattice.offset == np.rint(lattice.offset))
    whole &= (lattice.decimals == 0) & (lattice.bits == 64)
    # Numbers without steps and limits are rounded to their decimals, as `numpy.round` does.
    free = (lattice.step == 0) & (lattice.bits == 64)
    free &= np.isneginf(lattice.low) & np.isposinf(lattice.high)
    free &= (lattice.decimals >= 0) & (lattice.decimals <= EXACT_POWERS)
    simple = bool((free | whole).all())
    unit = np.array([float(10 ** int(k)) for k in np.where(free, lattice.decimals, 0)])
    rest = np.flatnonzero(~whole)
    finer = lattice.take(rest)
    # How far rounding may move a value that is on the lattice.
    slack = np.where(lattice.step > 0, 1e-6 * lattice.step, np.inf)
    bounded = bool((np.isfinite(lattice.low) | np.isfinite(lattice.high)).any())
    stepped = bool((lattice.step > 0).any())

    in_order = np.array_equal(at, np.arange(at[-1] + 1)) if len(at) else False

    def simply(points: np.ndarray) -> np.ndarray:
        """Round some rows that are rounded to decimals only."""
        raw = (points[:, : len(at)] if in_order else points[:, at]) * scale
        raw += center
        near = raw * unit if stepped else np.multiply(raw, unit, out=raw)
        np.rint(near, out=near)
        near /= unit
        if bounded:
            np.clip(near, lattice.low, lattice.high, out=near)
        near += 0.0
        return _kept(near, raw, slack) if stepped else near

    def values(points: np.ndarray) -> np.ndarray:
        if simple:
            # A few rows at a time stay in the cache of a processor.
            size = max(1, CACHED // max(len(at), 1))
            if len(points) <= size:
                return simply(points)
            out = np.empty((len(points), len(at)))
            for start in range(0, len(points), size):
                out[start : start + size] = simply(points[start : start + size])
            return out
        raw = center + scale * points[:, at]
        near = np.clip(np.rint(raw), lattice.low, lattice.high) + 0.0
        near[:, rest] = finer.nearest(raw[:, rest])
        return _kept(near, raw, slack)

    return values


def _kept(near: np.ndarray, raw: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """Rounded numbers, and those that are clearly off their lattice as they are."""
    off = np.abs(near - raw) > slack
    return np.where(off, raw, near) if off.any() else near
