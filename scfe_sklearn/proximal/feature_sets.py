r"""Raw features that move, each inside its own set: penalties, budgets and linear oracle.

A feature (group of coordinates) moves inside its own set; sparsity decides which features move.
Both are solved together. With P_g(v) the nearest point of the set of group g, and

.. math:: gain_g = \tfrac12 \|v_g\|^2 - \tfrac12 \|v_g - P_g(v_g)\|^2 ,

the l0 prox keeps the groups whose gain exceeds step * weight_g, and the projection on
"at most m changed groups" keeps the m groups with the largest positive gains (Croce & Hein 2019
for boxes): the objective separates over groups, so that is exact for every family of sets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scfe_sklearn.proximal.groups import flag_largest
from scfe_sklearn.proximal.operators import STATIONARY, Scalar, as_tensor_like, gain, per_row, power
from scfe_sklearn.proximal.own_sets import VERTICES, OwnSets


class FeatureSets(OwnSets):
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

    >>> from scfe_sklearn.proximal import INTERVAL, VERTICES
    >>> sets = FeatureSets(
    ...     groups=[0, 1, 1, 1], kinds=[INTERVAL, VERTICES], step=[1.0, 0, 0, 0],
    ...     lower=[0.0, 0, 0, 0], upper=[5.0, 1, 1, 1], origin=[[2.0, 1, 0, 0]])
    >>> v = torch.tensor([[0.8, -0.9, 0.2, 0.9]], dtype=torch.float64)
    >>> sets.project(v)
    tensor([[ 1., -1.,  0.,  1.]], dtype=torch.float64)
    >>> sets.project(v, max_groups=1)
    tensor([[ 0., -1.,  0.,  1.]], dtype=torch.float64)
    """

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
            In addition, the most groups that move.

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
            rank_by = torch.where(forced, torch.full_like(gains, torch.inf), gains)
            if u.device.type == "cpu":
                budget = as_tensor_like(max_groups, gains.new_empty(0, dtype=torch.long))
                budget = budget.expand(len(u))
                over = (keep.sum(dim=1) > budget).nonzero()[:, 0]
                chosen = torch.ones_like(keep)
                chosen[over] = flag_largest(rank_by[over], budget[over])
            else:  # which would wait to know who breaks the budget
                chosen = flag_largest(rank_by, max_groups)
            keep = keep & chosen
            infeasible = (forced & ~chosen).any(dim=1)
        result = torch.where(keep[:, self.groups], u, torch.zeros_like(u))
        if self.stay:
            return result
        infeasible = infeasible | self.empty.expand(len(u), self.n_groups).any(dim=1)
        return torch.where(infeasible[:, None], torch.full_like(result, torch.nan), result)
