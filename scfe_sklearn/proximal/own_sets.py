"""The set that each raw feature moves in: an interval, a lattice, a simplex or its vertices."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from scfe_sklearn.proximal.groups import segment_any, segment_argmax, segment_sum
from scfe_sklearn.proximal.simplices import project_simplices

# -------------------------------------------------------------------------------------- lattices


def inner_bounds(
    lower: Tensor, upper: Tensor, step: Tensor, base: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Move bounds inwards to lattice points.

    A lattice point which a bound misses by sqrt(eps) steps still counts as inside, and is the new
    bound, since bounds and lattices are often computed in different ways.

    Returns
    -------
    low, high : Tensor
    empty : bool Tensor
        Where nothing is left; low and high are 0 there.

    Examples
    --------
    >>> one = torch.ones(1)
    >>> inner_bounds(-2.5 * one, 3.2 * one, one, 0 * one)
    (tensor([-2.]), tensor([3.]), tensor([False]))
    """
    tolerance = torch.finfo(lower.dtype).eps ** 0.5
    gridded, safe = step > 0, torch.where(step > 0, step, torch.ones_like(step))
    first = torch.ceil((lower - base) / safe - tolerance)
    last = torch.floor((upper - base) / safe + tolerance)
    empty = torch.where(gridded, first > last, lower > upper)
    low = torch.where(gridded, zeroed(base + first * safe, safe), lower)
    high = torch.where(gridded, zeroed(base + last * safe, safe), upper)
    zero = torch.zeros_like(low)
    return torch.where(empty, zero, low), torch.where(empty, zero, high), empty


def snap(
    y: Tensor, low: Tensor, high: Tensor, step: Tensor, base: Tensor, direction: str = "round"
) -> Tensor:
    """Move ``y`` into [low, high] and onto the lattice, by "round", "floor" or "ceil".

    ``low`` and ``high`` come from :func:`inner_bounds`. With "round" this is the projection.

    Examples
    --------
    >>> low, high, step = torch.tensor([-2.0]), torch.tensor([3.0]), torch.ones(1)
    >>> snap(torch.tensor([1.7, 9.0]), low, high, step, torch.zeros(1))
    tensor([2., 3.])
    """
    y = torch.minimum(torch.maximum(y, low), high)
    safe = torch.where(step > 0, step, torch.ones_like(step))
    k = getattr(torch, direction)((y - base) / safe)
    point = torch.minimum(torch.maximum(zeroed(base + k * safe, safe), low), high)
    return torch.where(step > 0, point, y)


def zeroed(x: Tensor, step: Tensor) -> Tensor:
    """Replace lattice points that are 0 up to rounding by 0 itself: "unchanged" must be exact.

    Examples
    --------
    >>> zeroed(torch.tensor([1e-6, 0.5]), torch.ones(1))
    tensor([0.0000, 0.5000])
    """
    return torch.where(x.abs() <= torch.finfo(x.dtype).eps ** 0.5 * step, torch.zeros_like(x), x)


# ------------------------------------------------------------------------------------------ sets


INTERVAL, SIMPLEX, VERTICES = 0, 1, 2

_ROWWISE = ("origin", "low", "high", "base", "step", "allowed", "empty", "zero_inside")
ArrayLike = Any


class OwnSets:
    """The sets of the features, one by one; `FeatureSets` decides which features move.

    Parameters and attributes are those of `FeatureSets`.
    """

    groups: Tensor
    kinds: Tensor
    origin: Tensor
    low: Tensor
    high: Tensor
    base: Tensor
    step: Tensor
    allowed: Tensor
    empty: Tensor
    zero_inside: Tensor

    def __init__(
        self,
        groups: ArrayLike = None,
        *,
        kinds: ArrayLike = None,
        lower: ArrayLike = None,
        upper: ArrayLike = None,
        step: ArrayLike = None,
        offset: ArrayLike = None,
        allowed: ArrayLike = None,
        origin: ArrayLike = None,
        radius: ArrayLike = 1.0,
        stay: bool = True,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        def real(x: ArrayLike, default: float) -> Tensor:
            return torch.atleast_2d(_tensor(default if x is None else x, dtype, device))

        self.n_coordinates = _shared_width(groups, lower, upper, step, offset, allowed, origin)
        index = np.arange(self.n_coordinates) if groups is None else groups
        self.groups = _tensor(index, torch.long, device)
        self.n_groups = int(self.groups.max()) + 1 if len(self.groups) else 0
        self.kinds = _tensor(
            np.zeros(self.n_groups) if kinds is None else kinds, torch.long, device
        )
        self.stay = bool(stay)
        self.radius = _tensor(radius, dtype, device).expand(self.n_groups)
        moving = _tensor(True if allowed is None else allowed, torch.bool, device)
        # Everything per row is kept as (n, D), or as (1, D) where the rows share it.
        self.allowed = torch.atleast_2d(moving).expand(-1, self.n_coordinates)
        self.origin = real(origin, 0.0).expand(-1, self.n_coordinates)
        self._check(step)
        self._sort_out_kinds()
        self._bound(
            real(lower, -torch.inf), real(upper, torch.inf), real(step, 0.0), real(offset, 0.0)
        )
        self._has_lattice = bool((self.step > 0).any())
        # The point nearest to no change shows whether no change is inside the set itself.
        moved = self._any(self._nearest(torch.zeros_like(self.origin)) != 0)
        self.zero_inside = ~moved & ~self.empty

    def _check(self, step: ArrayLike) -> None:
        if self.kinds.shape != (self.n_groups,) or bool(
            ((self.kinds < 0) | (self.kinds > 2)).any()
        ):
            raise ValueError(
                "The 'kinds' parameter of FeatureSets must hold one of 0, 1, 2 for each of the "
                f"{self.n_groups} groups. Got {self.kinds.tolist()} instead."
            )
        if bool((self.groups < 0).any()):
            raise ValueError("The 'groups' parameter of FeatureSets must hold numbers from 0 on.")
        if step is not None and bool((torch.as_tensor(step) < 0).any()):
            raise ValueError("The 'step' parameter of FeatureSets must not be negative.")

    def _sort_out_kinds(self) -> None:
        """Note which kinds of sets there are: what is not there costs nothing."""
        own = torch.arange(self.n_coordinates, device=self.groups.device)
        self._simple = bool((self.groups == own).all())
        self._level = (self.kinds != INTERVAL)[self.groups]
        self._has_simplex = bool((self.kinds == SIMPLEX).any())
        self._has_vertices = bool((self.kinds == VERTICES).any())
        wide = torch.bincount(self.groups, minlength=self.n_groups) > 1
        self._wide_interval = bool((wide & (self.kinds == INTERVAL)).any())

    def _bound(self, lower: Tensor, upper: Tensor, step: Tensor, offset: Tensor) -> None:
        """Express bounds and lattice on w, and move bounds inwards to lattice points."""
        fixed = ~self.allowed & ~self._level
        low = torch.where(fixed, torch.zeros_like(lower), lower - self.origin)
        high = torch.where(fixed, torch.zeros_like(upper), upper - self.origin)
        low = torch.where(self._level, torch.full_like(low, -torch.inf), low)
        high = torch.where(self._level, torch.full_like(high, torch.inf), high)
        step = torch.where(fixed | self._level, torch.zeros_like(step), step)
        self.base = offset - self.origin
        self.low, self.high, closed = inner_bounds(low, high, step, self.base)
        # An empty interval is parked at zero; `empty` remembers it.
        self.step = torch.where(closed, torch.zeros_like(step), step)
        none_left = (self.kinds != INTERVAL) & ~self._any(self._level & self.allowed)
        self.empty = self._any(closed) | none_left

    def _any(self, flags: Tensor) -> Tensor:
        return flags if self._simple else segment_any(flags, self.groups, self.n_groups)

    def _sum(self, x: Tensor) -> Tensor:
        return x if self._simple else segment_sum(x, self.groups, self.n_groups)

    def take(self, rows: ArrayLike) -> Self:
        """Return the sets of some rows (an index or a mask), in that order, repeats allowed.

        Examples
        --------
        >>> from scfe_sklearn.proximal import FeatureSets
        >>> FeatureSets(upper=[[1.0], [2.0]]).take([1, 1]).high
        tensor([[2.],
                [2.]], dtype=torch.float64)
        """
        index = torch.as_tensor(rows, device=self.groups.device)
        return self._changed(lambda x: x if len(x) == 1 else x[index], _ROWWISE)

    def to(self, *, dtype: torch.dtype | None = None, device: Any = None) -> Self:
        """Return the sets in another floating dtype, or on another device.

        Examples
        --------
        >>> from scfe_sklearn.proximal import FeatureSets
        >>> FeatureSets(upper=[1.0]).to(dtype=torch.float32).high.dtype
        torch.float32
        """

        def move(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        return self._changed(move, (*_ROWWISE, "groups", "kinds", "radius", "_level"))

    def _changed(self, change: Any, names: tuple[str, ...]) -> Self:
        other = copy.copy(self)
        for name in names:
            setattr(other, name, change(getattr(self, name)))
        return other

    def _lattice(self, y: Tensor, direction: str = "round") -> Tensor:
        """Move interval coordinates into [low, high] and onto their lattices."""
        if not self._has_lattice:
            return torch.minimum(torch.maximum(y, self.low), self.high)
        return snap(y, self.low, self.high, self.step, self.base, direction)

    def _vertex(self, score: Tensor) -> Tensor:
        """Return the change to the allowed level with the largest score, in every group."""
        score = score.masked_fill(~(self.allowed & self._level), -torch.inf)
        top = segment_argmax(score, self.groups, self.n_groups)
        change = top.to(score.dtype) * self.radius[self.groups] - self.origin
        return torch.where(torch.isnan(score), score, change)

    def _nearest(self, v: Tensor) -> Tensor:
        """Return P_g(v_g) for all groups; parked at 0 where the set is empty."""
        u = self._lattice(v)
        if self._has_vertices:
            is_vertex = (self.kinds == VERTICES)[self.groups]
            u = torch.where(is_vertex, self._vertex(v + self.origin), u)
        if self._has_simplex:
            allowed = (self.allowed & self._level).expand_as(u)
            y = project_simplices(v + self.origin, self.radius, self.groups, allowed)
            u = torch.where((self.kinds == SIMPLEX)[self.groups], y - self.origin, u)
        return self._park(u)

    def _park(self, u: Tensor) -> Tensor:
        return torch.where(self.empty[:, self.groups], torch.zeros_like(u), u)

    def contains(self, w: Tensor, tol: float = 1e-9) -> Tensor:
        """Return which groups of a change keep to their sets, bool (n, n_groups).

        Examples
        --------
        >>> from scfe_sklearn.proximal import FeatureSets
        >>> sets = FeatureSets(step=[1.0, 0.0], upper=[5.0, 0.5])
        >>> sets.contains(torch.tensor([[2.0, 0.6]], dtype=torch.float64))
        tensor([[ True, False]])
        """
        far = ~((self._nearest(w) - w).abs() <= tol)
        moved = ~(w.abs() <= tol)
        inside = ~self._any(far) & ~self.empty
        return inside | (~self._any(moved) if self.stay else torch.zeros_like(inside))


def _shared_width(*given: ArrayLike) -> int:
    """Return the number of coordinates, which all arrays agree on."""
    widths = [np.shape(x)[-1] for x in given if x is not None and np.ndim(x) > 0]
    if not widths or len(set(widths)) != 1:
        raise ValueError(
            "The arrays of FeatureSets must share their last axis, one entry per coordinate. "
            f"Got lengths {widths} instead."
        )
    return int(widths[0])


def _tensor(x: ArrayLike, dtype: torch.dtype, device: Any) -> Tensor:
    return torch.as_tensor(x if isinstance(x, Tensor) else np.array(x), dtype=dtype, device=device)
