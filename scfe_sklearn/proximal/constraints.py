"""Constraint sets with the two oracles of the solvers: ``project`` and ``lmo``.

``project(v)`` is the nearest point of the set, for proximal methods; ``lmo(c)`` is a point of
the set which *maximises* <c, u>, for Frank-Wolfe methods. Rows first, on the change w.
"""

from __future__ import annotations

from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from scfe_sklearn._utils import Documented
from scfe_sklearn.proximal._validation import check_counts, check_number, refuse
from scfe_sklearn.proximal.balls import lmo_ball_box, project_ball, project_ball_box
from scfe_sklearn.proximal.feature_sets import FeatureSets
from scfe_sklearn.proximal.operators import clip
from scfe_sklearn.proximal.simplices import lmo_simplex, project_simplex


class Box(Documented, BaseEstimator):
    """The box lower <= u <= upper.

    Parameters
    ----------
    lower, upper : float, array or Tensor which broadcasts to (n, D), or None, default=None
        None: unbounded.

    Examples
    --------
    >>> Box(-1.0, 2.0).project(torch.tensor([[3.0, -0.5]]))
    tensor([[ 2.0000, -0.5000]])
    """

    def __init__(self, lower: Any = None, upper: Any = None) -> None:
        self.lower = lower
        self.upper = upper

    def project(self, v: Tensor) -> Tensor:
        """Return the nearest point of the box, (n, D)."""
        lower, upper = self._bounds(v)
        return clip(v, lower, upper)

    def lmo(self, c: Tensor) -> Tensor:
        """Return the corner in the direction of ``c``; where c = 0, the point nearest to 0.

        Raises
        ------
        ValueError
            If the box is unbounded in a direction of ``c``.
        """
        lower, upper = self._bounds(c)
        corner = clip(torch.where(c == 0, 0.0, torch.sign(c) * torch.inf), lower, upper)
        if bool(torch.isinf(corner).any()):
            raise ValueError("The linear oracle of Box needs bounds in every direction of c.")
        return corner

    def _bounds(self, like: Tensor) -> tuple[Tensor | None, Tensor | None]:
        lower, upper = (
            None if x is None else torch.as_tensor(x, dtype=like.dtype, device=like.device)
            for x in (self.lower, self.upper)
        )
        if lower is not None and upper is not None and bool((lower > upper).any()):
            raise ValueError("The 'lower' parameter of Box must not exceed 'upper'.")
        return lower, upper


class Budget(Documented, BaseEstimator):
    """At most ``max_groups`` features move, each inside its own set.

    Parameters
    ----------
    max_groups : int in [0, inf), or integer Tensor of shape (n,)
    sets : FeatureSets or None, default=None
        None: features are the coordinates, and may move freely.

    Examples
    --------
    >>> Budget(1).project(torch.tensor([[3.0, -0.5]], dtype=torch.float64))
    tensor([[3., 0.]], dtype=torch.float64)
    """

    def __init__(self, max_groups: Any = 1, sets: FeatureSets | None = None) -> None:
        self.max_groups = max_groups
        self.sets = sets

    def project(self, v: Tensor) -> Tensor:
        """Return the nearest change within the budget, (n, D). Exact."""
        return self._sets(v).project(v, self.max_groups)

    def lmo(self, c: Tensor) -> Tensor:
        """Return the change within the budget with the largest <c, w>; needs bounded sets."""
        return self._sets(c).lmo(c, self.max_groups)

    def _sets(self, like: Tensor) -> FeatureSets:
        check_counts("max_groups", self, self.max_groups)
        if self.sets is not None:
            return self.sets
        free = torch.full((like.shape[1],), torch.inf)
        return FeatureSets(upper=free, dtype=like.dtype, device=like.device)


class Simplex(Documented, BaseEstimator):
    """The simplex {u >= 0, sum u = radius} in every row.

    Parameters
    ----------
    radius : float in [0, inf), or Tensor of shape (n,), default=1.0

    Examples
    --------
    >>> Simplex().project(torch.tensor([[0.5, 2.0, 1.5]]))
    tensor([[0.0000, 0.7500, 0.2500]])
    """

    def __init__(self, radius: Any = 1.0) -> None:
        self.radius = radius

    def project(self, v: Tensor) -> Tensor:
        """Return the nearest point of the simplex, (n, D)."""
        self._check()
        return project_simplex(v, self.radius)

    def lmo(self, c: Tensor) -> Tensor:
        """Return the vertex with the largest <c, u>, (n, D)."""
        self._check()
        return lmo_simplex(c, self.radius)

    def _check(self) -> None:
        check_number("radius", self, self.radius, "a float in [0, inf), or one per row", 0.0)


class LpBall(Documented, BaseEstimator):
    """The ball ||u||_p <= radius, p >= 1, alone or intersected with a box around zero.

    Parameters
    ----------
    p : float in [1, inf], default=2.0
    radius : float in [0, inf), or Tensor of shape (n,), default=1.0

    Notes
    -----
    The bounds come with the call, since they depend on the row: on a perturbation of an image x
    in [0, 1] they are -x and 1 - x. They must hold zero.

    Examples
    --------
    >>> ball = LpBall(p=1.5, radius=1.0)
    >>> ball.lmo(torch.tensor([[4.0, -1.0]]), upper=torch.tensor(0.5))
    tensor([[ 0.5000, -0.7476]])
    """

    def __init__(self, p: float = 2.0, radius: Any = 1.0) -> None:
        self.p = p
        self.radius = radius

    def project(
        self, v: Tensor, lower: Tensor | None = None, upper: Tensor | None = None
    ) -> Tensor:
        """Return the nearest point of the ball (and box), (n, D).

        Raises
        ------
        ValueError
            With a box, for p other than 1, 2 and inf, and for a box without zero.
        """
        self._check(lower, upper)
        if lower is None and upper is None:
            return project_ball(v, self.p, self.radius)
        if self.p not in (1, 2, float("inf")):
            raise refuse("p", self, "1, 2 or inf for a projection on ball and box", self.p)
        return project_ball_box(v, self.p, self.radius, lower, upper)

    def lmo(self, c: Tensor, lower: Tensor | None = None, upper: Tensor | None = None) -> Tensor:
        """Return argmax <c, u> over the ball (and box), (n, D). Independent of the scale of c.

        Raises
        ------
        ValueError
            For a box without zero.
        """
        self._check(lower, upper)
        return lmo_ball_box(c, self.p, self.radius, lower, upper)

    def _check(self, lower: Tensor | None, upper: Tensor | None) -> None:
        check_number("p", self, self.p, "a float in [1, inf]", 1.0, infinite=True)
        check_number("radius", self, self.radius, "a float in [0, inf), or one per row", 0.0)
        above = lower is not None and bool((torch.as_tensor(lower) > 0).any())
        below = upper is not None and bool((torch.as_tensor(upper) < 0).any())
        if above or below:
            raise ValueError("The box of LpBall must hold zero: lower <= 0 <= upper.")
