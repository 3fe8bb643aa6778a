"""Sparsity penalties beta * sum |w_i|^p and beta * sum_g ||w_g||_2^p with their exact prox."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from scfe_sklearn._utils import Documented
from scfe_sklearn.proximal._validation import check_number
from scfe_sklearn.proximal.groups import (
    group_norms,
    prox_group_l0,
    prox_group_l1,
    prox_group_radial,
)
from scfe_sklearn.proximal.operators import SCALAR_PROX, Scalar, power


class Penalty(Documented, BaseEstimator):
    r"""Base of the penalties: :math:`g(w) = \beta \sum_g weight_g \|w_g\|_2^p`.

    Subclasses set ``exponent`` (p). Without ``groups`` every coordinate is its own group.

    Parameters
    ----------
    beta : float in [0, inf), default=1.0
        Strength; a tensor (one weight per coordinate, or per group) is possible too.
    groups : int array of shape (D,) or None, default=None
        The group of every coordinate, 0..d-1.
    """

    exponent: float

    def __init__(self, beta: Any = 1.0, *, groups: Any = None) -> None:
        self.beta = beta
        self.groups = groups

    def value(self, w: Tensor, weight: Scalar = 1.0) -> Tensor:
        """Return g(w) for every row.

        Parameters
        ----------
        w : Tensor of shape (n, D)
        weight : float or Tensor which broadcasts to (n, D), or to (n, d) with groups

        Returns
        -------
        Tensor of shape (n,)
        """
        size = w if self.groups is None else group_norms(w, *self._groups(w))
        return (self._strength(weight, w) * power(size, self.exponent)).sum(dim=1)

    def prox(
        self,
        v: Tensor,
        step: Scalar,
        lower: Tensor | None = None,
        upper: Tensor | None = None,
        weight: Scalar = 1.0,
    ) -> Tensor:
        """Return argmin 1/2 ||u - v||^2 + step g(u) over lower <= u <= upper. Exact.

        Parameters
        ----------
        v : Tensor of shape (n, D)
        step : float or Tensor of shape (n,)
        lower, upper : Tensor which broadcasts to (n, D), or None
            May exclude zero: the minimiser over the closed interval.
        weight : float or Tensor which broadcasts to (n, D), or to (n, d) with groups
            Multiplies beta; for weights that change between iterations.

        Returns
        -------
        Tensor of shape (n, D)

        Raises
        ------
        ValueError
            For a negative beta, and for p in {1/2, 2/3} with groups and a box, which has no
            exact solution of reasonable cost.
        """
        lam = self._strength(weight, v)
        if self.groups is None:
            return SCALAR_PROX[self.exponent](v, step, lam, lower, upper)
        groups, n_groups = self._groups(v)
        if n_groups == v.shape[1] and torch.equal(groups, torch.arange(n_groups).to(groups)):
            return SCALAR_PROX[self.exponent](v, step, lam, lower, upper)
        if self.exponent == 0:
            return prox_group_l0(v, step, groups, n_groups, lam, lower, upper)
        if self.exponent == 1:
            return prox_group_l1(v, step, groups, n_groups, lam, lower, upper)
        if lower is not None or upper is not None:
            raise ValueError(
                f"{type(self).__name__} with groups of several coordinates has no exact prox "
                "over a box. Use L0 or L1, or FeatureSets with one-hot features."
            )
        return prox_group_radial(v, step, groups, n_groups, self.exponent, lam)

    def _strength(self, weight: Scalar, like: Tensor) -> Tensor:
        check_number("beta", self, self.beta, "a float in [0, inf), or a tensor of such", 0.0)
        beta = torch.as_tensor(self.beta, dtype=like.dtype, device=like.device)
        return beta * torch.as_tensor(weight, dtype=like.dtype, device=like.device)

    def _groups(self, like: Tensor) -> tuple[Tensor, int]:
        groups = torch.as_tensor(self.groups, dtype=torch.long, device=like.device)
        return groups, int(groups.max()) + 1


class L0(Penalty):
    """Number of changes: beta * #{i: w_i != 0}, or #{g: w_g != 0} with ``groups``.

    Parameters as in :class:`Penalty`.

    Examples
    --------
    >>> L0(beta=1.0).prox(torch.tensor([[1.0, 2.0]]), 1.0)
    tensor([[0., 2.]])
    >>> L0(groups=[0, 0]).value(torch.tensor([[1.0, 2.0]]))
    tensor([1.])
    """

    exponent = 0.0


class LHalf(Penalty):
    """The l1/2 penalty ``beta * sum sqrt|w_i|``, or of the norms of ``groups`` (Xu et al. 2012).

    Parameters as in :class:`Penalty`.

    Examples
    --------
    >>> LHalf(beta=1.0).prox(torch.tensor([[1.4]]), 1.0)
    tensor([[0.]])
    """

    exponent = 0.5


class LTwoThirds(Penalty):
    """The l2/3 penalty ``beta * sum |w_i|^(2/3)``, or that of ``groups`` (Cao et al. 2013).

    Parameters as in :class:`Penalty`.

    Examples
    --------
    >>> LTwoThirds(beta=1.0).prox(torch.tensor([[1.4]]), 1.0)
    tensor([[0.]])
    """

    exponent = 2 / 3


class L1(Penalty):
    """The l1 penalty ``beta * sum |w_i|``, or the group lasso of ``groups``.

    Parameters as in :class:`Penalty`.

    Examples
    --------
    >>> L1(beta=0.5).prox(torch.tensor([[1.5, -0.2]]), 1.0)
    tensor([[1., 0.]])
    """

    exponent = 1.0
