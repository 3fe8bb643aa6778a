r"""Which changes each raw feature may make: intervals, lattices, simplices and one-hot vertices.

A feature (group of coordinates) moves inside its own set; sparsity decides which features move.
Both are solved together. With P_g(v) the nearest point of the set of group g, and

.. math:: gain_g = \tfrac12 \|v_g\|^2 - \tfrac12 \|v_g - P_g(v_g)\|^2 ,

the l0 prox keeps the groups whose gain exceeds step * weight_g, and the projection on
"at most m changed groups" keeps the m groups with the largest positive gains (Croce & Hein 2019
for boxes): the objective separates over groups, so that is exact for every family of sets.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scfe_sklearn.proximal.groups import segment_any, segment_argmax, segment_sum
from scfe_sklearn.proximal.lattices import inner_bounds, snap
from scfe_sklearn.proximal.operators import STATIONARY, Scalar, as_tensor_like, gain, per_row, power
from scfe_sklearn.proximal.simplices import project_simplices

INTERVAL, SIMPLEX, VERTICES = 0, 1, 2

_ROWWISE = ("origin", "low", "high", "base", "step", "allowed", "empty", "zero_inside")
ArrayLike = Any


class FeatureSets:
    """The sets of all features of all rows, evaluated together.

    Sets are stated in the solver's space z; the operators act on the change w = z - origin.
    A group is one of

    * ``INTERVAL`` (0): every coordinate in [lower, upper], and on the lattice
      {offset + k * step} where step > 0;
    * ``SIMPLEX`` (1): {z >= 0, sum z = radius}, with 0 at levels that are not allowed;
    * ``VERTICES`` (2): {radius * e_l : level l allowed}. Bounds and lattice of level
      coordinates are ignored.

    **Staying.** With ``stay=True`` every group may also stay where it is (w_g = 0), even if 0 is
    not in its set: an interval which excludes the present value means "stay, or jump into it",
    and an empty set means "stay". With ``stay=False`` a group whose set excludes 0 must move:
    it is kept first, whatever it costs; rows where a set is empty, or where more groups must
    move than the budget allows, have no feasible point and become NaN.

    Parameters
    ----------
    groups : int array of shape (D,) or None
        Feature of each coordinate, 0..d-1. None: every coordinate is a feature.
    kinds : int array of shape (d,) or None
        None: all INTERVAL.
    lower, upper : array of shape (D,) or (n, D), or None
        None: unbounded.
    step, offset : array which broadcasts to (D,) or (n, D), or None
        Lattice, step 0 means continuous. None: 0.
    allowed : bool array of shape (D,) or (n, D), or None
        Levels that may be taken; for an INTERVAL coordinate whether it may move at all.
    origin : array of shape (D,) or (n, D), or None
        The factual z0. None: 0.
    radius : float or array of shape (d,), default=1.0
        Sum of a group of levels.
    stay : bool, default=True
    dtype : torch.dtype, default=torch.float64
    device : torch.device or str or None

    Attributes
    ----------
    low, high : Tensor
        Bounds on w, moved inwards to the lattice.
    n_groups : int

    Raises
    ------
    ValueError
        For shapes that do not fit, unknown kinds or a negative step.

    Notes
    -----
    Lattice points within 1e-8 steps of 0 (3e-4 in float32) are exactly 0, and bounds that miss
    a lattice point by as little still include it. Projections on the level sets tie to the
    first level; a tie between moving and staying is resolved by staying.

    Examples
    --------
    One integer between 0 and 5, now 2, and a three-level feature, now at its first level:

    >>> sets = FeatureSets(
    ...     groups=[0, 1, 1, 1], kinds=[INTERVAL, VERTICES], step=[1.0, 0, 0, 0],
    ...     lower=[0.0, 0, 0, 0], upper=[5.0, 1, 1, 1], origin=[[2.0, 1, 0, 0]])
    >>> v = torch.tensor([[0.8, -0.9, 0.2, 0.9]], dtype=torch.float64)
    >>> sets.project(v)
    tensor([[ 1., -1.,  0.,  1.]], dtype=torch.float64)
    >>> sets.project(v, max_groups=1)
    tensor([[ 0., -1.,  0.,  1.]], dtype=torch.float64)
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

        given = (groups, lower, upper, step, offset, allowed, origin)
        widths = [np.shape(x)[-1] for x in given if x is not None and np.ndim(x) > 0]
        if not widths or len(set(widths)) != 1:
            raise ValueError(
                "The arrays of FeatureSets must share their last axis, one entry per coordinate. "
                f"Got lengths {widths} instead."
            )
        self.n_coordinates = widths[0]
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
        self._simple = bool((self.groups == torch.arange(self.n_coordinates, device=device)).all())
        self._level = (self.kinds != INTERVAL)[self.groups]
        self._has_simplex = bool((self.kinds == SIMPLEX).any())
        self._has_vertices = bool((self.kinds == VERTICES).any())
        self._wide_interval = bool(
            ((torch.bincount(self.groups, minlength=self.n_groups) > 1) & (self.kinds == 0)).any()
        )
        self._bound(
            real(lower, -torch.inf), real(upper, torch.inf), real(step, 0.0), real(offset, 0.0)
        )
        self._has_lattice = bool((self.step > 0).any())
        # The nearest point to staying put tells whether staying is inside the set itself.
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

    def take(self, rows: ArrayLike) -> FeatureSets:
        """Return the sets of some rows (an index or a mask), in that order, repeats allowed.

        Examples
        --------
        >>> FeatureSets(upper=[[1.0], [2.0]]).take([1, 1]).high
        tensor([[2.],
                [2.]], dtype=torch.float64)
        """
        index = torch.as_tensor(rows, device=self.groups.device)
        return self._changed(lambda x: x if len(x) == 1 else x[index], _ROWWISE)

    def to(self, *, dtype: torch.dtype | None = None, device: Any = None) -> FeatureSets:
        """Return the sets in another floating dtype, or on another device.

        Examples
        --------
        >>> FeatureSets(upper=[1.0]).to(dtype=torch.float32).high.dtype
        torch.float32
        """

        def move(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        return self._changed(move, (*_ROWWISE, "groups", "kinds", "radius", "_level"))

    def _changed(self, change: Any, names: tuple[str, ...]) -> FeatureSets:
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

    def _penalised(self, v: Tensor, lam: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
        """Return the best point u_g of every set under the penalty, and its gain over w_g = 0."""
        if exponent == 0:
            u = self._nearest(v)
            gains = self._sum(u * (v - u / 2))
            return u, gains - torch.where(self._any(u != 0), lam, torch.zeros_like(lam))
        if self._has_simplex or self._wide_interval:
            raise ValueError(
                "A penalty with p > 0 over FeatureSets needs features of one coordinate or of "
                f"kind VERTICES. Got p = {exponent:g} and another kind; use p = 0 there."
            )
        lam_v = lam[:, self.groups]
        zero = torch.zeros_like(v)
        root = torch.minimum(torch.maximum(STATIONARY[exponent](v, lam_v), self.low), self.high)
        u = self._lattice(zero)
        best = gain(u, v, lam_v, exponent)
        # On a lattice: the neighbours of zero and of the stationary point, on both sides.
        rounded = [(y, side) for y in (zero, root) for side in ("floor", "ceil")]
        for y, side in rounded if self._has_lattice else [(root, "round")]:
            trial = self._lattice(y, side)
            value = gain(trial, v, lam_v, exponent)
            u = torch.where(value <= best, u, trial)
            best = torch.where(value <= best, best, value)
        if self._has_vertices:
            vertex = self._best_vertex(v, lam_v, exponent)
            is_vertex = (self.kinds == VERTICES)[self.groups]
            u = torch.where(is_vertex, vertex, u)
        u = self._park(u)
        return u, self._group_gain(u, v, lam, exponent)

    def _group_gain(self, u: Tensor, v: Tensor, lam: Tensor, exponent: float) -> Tensor:
        size = torch.sqrt(self._sum(u * u))
        cost = torch.where(size == 0, torch.zeros_like(size), lam * power(size, exponent))
        return self._sum(u * (v - u / 2)) - cost

    def _best_vertex(self, v: Tensor, lam_v: Tensor, exponent: float) -> Tensor:
        """Choose levels by <u, v> - ||u||^2/2 - lam ||u||^p, u = radius e_l - origin."""
        z0, r = self.origin, self.radius[self.groups]
        squares = self._sum((z0 * z0).expand_as(v))[:, self.groups]
        size2 = (r * r - 2 * r * z0 + squares).clamp(min=0)
        here = (z0 == r) | (size2 == 0)
        cost = torch.where(here, 0.0, lam_v * power(torch.sqrt(size2), exponent))
        return self._vertex(r * v - size2 / 2 - cost)

    def prox(
        self,
        v: Tensor,
        step: Scalar = 0.0,
        weight: Scalar = 1.0,
        exponent: float = 0.0,
        max_groups: int | Tensor | None = None,
    ) -> Tensor:
        """Return argmin 1/2 ||w - v||^2 + step sum_g weight_g ||w_g||^p over the sets.

        Parameters
        ----------
        v : Tensor of shape (n, D)
        step : float or Tensor of shape (n,)
        weight : float or Tensor which broadcasts to (n, d)
            One weight per feature.
        exponent : {0.0, 0.5, 2 / 3, 1.0}
            p of the penalty. p > 0 is exact for features of one coordinate (box and lattice
            included) and for VERTICES, and refused for others.
        max_groups : int or LongTensor of shape (n,), or None
            In addition, at most so many groups move.

        Returns
        -------
        Tensor of shape (n, D)

        Raises
        ------
        ValueError
            If p > 0 meets a simplex or an interval group of several coordinates.

        Examples
        --------
        >>> sets = FeatureSets(lower=[-1.0, -1.0], upper=[1.0, 1.0])
        >>> sets.prox(torch.tensor([[0.9, 3.0]], dtype=torch.float64), 0.5)
        tensor([[0., 1.]], dtype=torch.float64)
        """
        lam = per_row(step, v) * as_tensor_like(weight, v)
        lam = lam.expand(len(v), self.n_groups)
        u, gains = self._penalised(v, lam, exponent)
        return self._keep(u, gains, max_groups, lam == 0)

    def project(self, v: Tensor, max_groups: int | Tensor | None = None) -> Tensor:
        """Return the nearest feasible change with at most ``max_groups`` moved groups.

        Parameters
        ----------
        v : Tensor of shape (n, D)
        max_groups : int or LongTensor of shape (n,), or None
            None: no budget.

        Returns
        -------
        Tensor of shape (n, D)

        Examples
        --------
        >>> FeatureSets(step=[1.0, 1.0]).project(torch.tensor([[0.6, 2.2]]).double(), 1)
        tensor([[0., 2.]], dtype=torch.float64)
        """
        u = self._nearest(v)
        return self._keep(u, self._sum(u * (v - u / 2)), max_groups, self.zero_inside)

    def lmo(self, c: Tensor, max_groups: int | Tensor | None = None) -> Tensor:
        """Return argmax <c, w> over the sets, with at most ``max_groups`` moved groups.

        Raises
        ------
        ValueError
            If the set is unbounded in a direction of ``c``.

        Examples
        --------
        >>> sets = FeatureSets(lower=[-1.0, -1.0], upper=[1.0, 3.0])
        >>> sets.lmo(torch.tensor([[2.0, 1.0]], dtype=torch.float64), 1)
        tensor([[0., 3.]], dtype=torch.float64)
        """
        u = torch.where(
            c > 0, self.high, torch.where(c < 0, self.low, self._lattice(torch.zeros_like(c)))
        )
        if self._has_vertices or self._has_simplex:
            u = torch.where(self._level, self._vertex(c), u)
        u = torch.where(torch.isnan(c), c, self._park(u))
        if bool(torch.isinf(u).any()):
            raise ValueError("The linear oracle of FeatureSets needs bounded intervals.")
        top = c.abs().amax(dim=1, keepdim=True)
        scaled = c / torch.where(top == 0, torch.ones_like(top), top)
        return self._keep(u, self._sum(u * scaled), max_groups, self.zero_inside)

    def _keep(
        self, u: Tensor, gains: Tensor, max_groups: int | Tensor | None, free: Tensor
    ) -> Tensor:
        """Zero the groups that do not gain. ``free``: where moving costs nothing by itself."""
        # Written as "not worse", so that NaN stays visible. Where 0 is inside a set and moving
        # is free the nearest point is right without a test, also where the gain underflows.
        keep = ~(gains <= 0) | (free & self.zero_inside)
        forced = torch.zeros_like(keep)
        if not self.stay:
            forced = (~self.zero_inside & ~self.empty).expand_as(keep)
            keep = keep | forced
        infeasible = torch.zeros(len(u), dtype=torch.bool, device=u.device)
        if max_groups is not None:
            m = as_tensor_like(max_groups, self.groups).reshape(-1, 1)
            rank_by = torch.where(forced, torch.full_like(gains, torch.inf), gains)
            chosen = _largest(rank_by, m.expand(len(u), 1), _most(max_groups))
            keep = keep & chosen
            infeasible = (forced & ~chosen).any(dim=1)
        result = torch.where(keep[:, self.groups], u, torch.zeros_like(u))
        if self.stay:
            return result
        infeasible = infeasible | self.empty.expand(len(u), self.n_groups).any(dim=1)
        return torch.where(infeasible[:, None], torch.full_like(result, torch.nan), result)

    def contains(self, w: Tensor, tol: float = 1e-9) -> Tensor:
        """Return which groups of a change keep to their sets, bool (n, n_groups).

        Examples
        --------
        >>> sets = FeatureSets(step=[1.0, 0.0], upper=[5.0, 0.5])
        >>> sets.contains(torch.tensor([[2.0, 0.6]], dtype=torch.float64))
        tensor([[ True, False]])
        """
        far = ~((self._nearest(w) - w).abs() <= tol)
        moved = ~(w.abs() <= tol)
        inside = ~self._any(far) & ~self.empty
        return inside | (~self._any(moved) if self.stay else torch.zeros_like(inside))


def _most(count: int | Tensor) -> int:
    """Return the largest count; a device is not waited for to know a plain number."""
    if not isinstance(count, Tensor):
        return int(count)
    return int(count.max()) if count.numel() else 0


def _largest(x: Tensor, count: Tensor, most: int) -> Tensor:
    """Flag the ``count`` (n, 1) largest entries of each row, of equal ones the first; NaN lead.

    No row has more than ``most``.
    """
    if 4 * most > x.shape[1]:
        order = torch.sort(x, dim=1, descending=True, stable=True).indices
        first = torch.arange(x.shape[1], device=x.device) < count
        return torch.zeros_like(first.expand_as(x)).scatter(1, order, first.expand_as(x))
    # Few of many: no need to sort them all.
    x = torch.where(torch.isnan(x), torch.full_like(x, torch.inf), x)
    least = x.topk(max(most, 1), dim=1).values.gather(1, (count - 1).clamp(min=0))
    above, equal = x > least, x == least
    room = count - above.sum(dim=1, keepdim=True)
    return (above | (equal & (equal.cumsum(dim=1) <= room))) & (count > 0)


def _tensor(x: ArrayLike, dtype: torch.dtype, device: Any) -> Tensor:
    return torch.as_tensor(x if isinstance(x, Tensor) else np.array(x), dtype=dtype, device=device)
