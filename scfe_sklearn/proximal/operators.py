r"""Proximal operators of the separable penalties, as pure batched functions.

One convention for the whole package. For a batch ``v`` of shape (n, D), rows first,

.. math:: prox(v, step) = \arg\min_{lower \le u \le upper} \tfrac12 \|u - v\|^2
          + step \sum_i weight_i \, |u_i|^p ,

with ``step`` a number or one value per row (n,), ``weight`` a number or a tensor which
broadcasts to (n, D), and ``lower``/``upper`` tensors which broadcast to (n, D), or None. The box
belongs to the problem: clipping afterwards is not the same for p < 1.

Why two candidates suffice. Away from zero, on the side of ``v``, the objective rises, falls to
its stationary point y, then rises again; on the other side it only rises. Over an interval the
minimiser is therefore either the point nearest to zero (zero itself, where allowed) or y moved
into the interval. Both are compared, so intervals which exclude zero are exact as well. Ties go
to the point nearest to zero. Constants of the published closed forms are converted: the
thresholding papers minimise (u - v)^2 + k |u|^p, so k = 2 * step * weight.

Arguments are never changed; float32 and float64 on any device; a row does not see its batch.
Tests are written as "not worse", so that a NaN of the input stays a NaN of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Scalar = float | Tensor

# Above this multiple of the fold, u and v agree to rounding in double precision.
_FAR = 1e12
_NEWTON, _QUICK = 40, {0.5: 6, 2 / 3: 7}


def as_tensor_like(value: Scalar, like: Tensor) -> Tensor:
    """Return a number or a tensor in the type and on the device of ``like``.

    Numbers are written there: a host that copies them to its device waits for it.

    Examples
    --------
    >>> as_tensor_like(2, torch.zeros(1, dtype=torch.float64))
    tensor(2., dtype=torch.float64)
    """
    if isinstance(value, (int, float)):
        if like.is_floating_point() and abs(value) > torch.finfo(like.dtype).max:
            value = math.copysign(math.inf, value)
        return torch.full((), value, dtype=like.dtype, device=like.device)
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def per_row(value: Scalar, like: Tensor) -> Tensor:
    """Return a number, or one value per row (n,), as a tensor which broadcasts to (n, D).

    Parameters
    ----------
    value : float or Tensor of shape () or (n,) or (n, 1)
    like : Tensor of shape (n, D)
        Gives dtype, device and n.

    Returns
    -------
    Tensor of shape () or (n, 1)

    Raises
    ------
    ValueError
        If a tensor has another shape.

    Examples
    --------
    >>> per_row(torch.tensor([1.0, 2.0]), torch.zeros(2, 3)).shape
    torch.Size([2, 1])
    """
    value = as_tensor_like(value, like)
    if value.ndim == 0 or value.shape == (like.shape[0], 1):
        return value
    if value.shape == (like.shape[0],):
        return value[:, None]
    raise ValueError(
        f"A value per row must be a number or have shape ({like.shape[0]},). "
        f"Got shape {tuple(value.shape)} instead."
    )


def strength(step: Scalar, weight: Scalar, like: Tensor) -> Tensor:
    """Return step * weight, broadcast to (n, D) or less."""
    return per_row(step, like) * as_tensor_like(weight, like)


def clip(v: Tensor, lower: Tensor | None, upper: Tensor | None) -> Tensor:
    """Return ``v`` moved into the box; None means unbounded.

    Examples
    --------
    >>> clip(torch.tensor([[-2.0, 3.0]]), torch.tensor([-1.0, 0.0]), None)
    tensor([[-1.,  3.]])
    """
    if lower is not None:
        v = torch.maximum(v, torch.as_tensor(lower, dtype=v.dtype, device=v.device))
    if upper is not None:
        v = torch.minimum(v, torch.as_tensor(upper, dtype=v.dtype, device=v.device))
    return v


def power(u: Tensor, exponent: float) -> Tensor:
    """Return abs(u)**exponent with 0**0 = 0, for the exponents 0, 1/2, 2/3, 1."""
    size = u.abs()
    return (size > 0).to(u.dtype) if exponent == 0 else size**exponent


def gain(u: Tensor, v: Tensor, lam: Tensor, exponent: float) -> Tensor:
    """Return by how much ``u`` beats 0: v^2/2 - (u - v)^2/2 - lam |u|^p, per coordinate."""
    penalty = torch.where(u == 0, torch.zeros_like(u), lam * power(u, exponent))
    return u * (v - u / 2) - penalty


def stationary_half(v: Tensor, lam: Tensor, beyond: float = 0.0) -> Tensor:
    r"""Return the outer stationary point of (u - v)^2/2 + lam |u|^(1/2); 0 where none exists.

    With u = v s^2 and k = lam / |v|^(3/2) it is the largest root of s^3 - s + k/2 = 0, which
    exists for :math:`|v| > 3 (lam/4)^{2/3}`. The closed form [1]_ is
    :math:`\tfrac23 v (1 + \cos(\tfrac{2\pi}{3} - \tfrac23 \arccos(\tfrac{lam}{4}
    (|v|/3)^{-3/2})))`.

    Only the points with :math:`|v| > beyond\, lam^{2/3}` are computed if ``beyond`` is positive
    (others are 0). For ``beyond`` >= 1.4, away from the fold at 1.19, six Newton steps give all
    digits of double precision.

    References
    ----------
    .. [1] Xu, Chang, Xu, Zhang, "L1/2 regularization: a thresholding representation theory and
       a fast solver", IEEE TNNLS 2012, with lambda = 2 lam.
    """
    size = v.abs()
    scale = max(3.0, 4 ** (2 / 3) * beyond)
    exists = ~((size / scale) * torch.sqrt(size / scale) <= lam / 4)
    k = torch.where(exists, lam / torch.where(exists, size * torch.sqrt(size), 1.0), 0.0)

    def newton(s: Tensor) -> Tensor:
        return (2 * s * s * s - k / 2) / (3 * s * s - 1)

    s = _fall_to_root(newton, torch.ones_like(k), _QUICK[0.5] if beyond > 0 else None)
    root = torch.where(exists, v * s * s, 0.0)
    # Without a penalty v itself, also where |v|^(3/2) underflows.
    return torch.where(lam == 0, v, root)


def stationary_two_thirds(v: Tensor, lam: Tensor, beyond: float = 0.0) -> Tensor:
    r"""Return the outer stationary point of (u - v)^2/2 + lam |u|^(2/3); 0 where none exists.

    With c = lam^(3/4) and |u| = c s^3 it is the largest root of s^4 - (|v|/c) s + 2/3 = 0,
    which exists for :math:`|v| > 4 (2 lam / 9)^{3/4}`. The closed form [1]_, with L = 2 lam, is

    .. math:: A = \tfrac{2}{\sqrt3} L^{1/4} \sqrt{\cosh(\tfrac13 \operatorname{arccosh}(
              \tfrac{27 v^2}{16 L^{3/2}}))},
              \quad u = sgn(v) \left(\tfrac12 (A + \sqrt{2|v|/A - A^2})\right)^3 .

    Only the points with :math:`|v| > beyond\, c` are computed if ``beyond`` is positive (others
    are 0). For ``beyond`` >= 1.47, away from the fold at 1.29, seven Newton steps give all digits
    of double precision.

    References
    ----------
    .. [1] Cao, Sun, Xu, "Fast image deconvolution using closed-form thresholding formulas of
       Lq (q = 1/2, 2/3) regularization", J. Vis. Commun. Image R. 2013.
    """
    c = torch.sqrt(lam) * torch.sqrt(torch.sqrt(lam))
    size = v.abs()
    exists = ~(size <= max(4 * (2 / 9) ** 0.75, beyond) * c)
    far = size > _FAR * c
    curved = exists & ~far
    ratio = torch.where(curved, size / torch.where(curved, c, 1.0), 2.0)

    def newton(s: Tensor) -> Tensor:
        cube = s * s * s
        return (3 * s * cube - 2 / 3) / (4 * cube - ratio)

    # ratio^(1/4 + 1/16 + 1/64) is within 16 % of the cube root, which bounds the root.
    quarter = torch.sqrt(torch.sqrt(ratio))
    sixteenth = torch.sqrt(torch.sqrt(quarter))
    s = 1.2 * quarter * sixteenth * torch.sqrt(torch.sqrt(sixteenth))
    s = _fall_to_root(newton, s, _QUICK[2 / 3] if beyond > 0 else None)
    root = torch.where(curved, torch.sign(v) * c * (s * s * s), torch.where(exists, v, 0.0))
    return torch.where(lam == 0, v, root)


def _fall_to_root(
    newton: Callable[[Tensor], Tensor], s: Tensor, n_steps: int | None = None
) -> Tensor:
    """Iterate Newton from the right of the largest root of a convex function.

    Until nothing changes, or ``n_steps`` times without a check, which lets a device run on.

    Iterates fall, so an entry that does not fall any more is done and stays as it is. The
    iteration uses only correctly rounded operations, unlike cos or pow, whose vector and scalar
    versions differ in the last bit: a row has the same bits in every batch.
    """
    for _ in range(_NEWTON if n_steps is None else n_steps):
        new = torch.minimum(s, newton(s))
        if n_steps is None and torch.equal(new, s):
            break
        s = new
    return s


def stationary_one(v: Tensor, lam: Tensor) -> Tensor:
    """Return soft thresholding: sgn(v) max(|v| - lam, 0), the minimiser for p = 1."""
    # Written as a difference, which has no negative zeros.
    return v - torch.minimum(torch.maximum(v, -lam), lam)


def stationary_zero(v: Tensor, lam: Tensor) -> Tensor:
    """Return ``v``, the stationary point for p = 0 away from zero."""
    return v


STATIONARY: dict[float, Callable[[Tensor, Tensor], Tensor]] = {
    0.0: stationary_zero,
    0.5: stationary_half,
    2 / 3: stationary_two_thirds,
    1.0: stationary_one,
}


def _two_candidates(
    v: Tensor,
    lam: Tensor,
    exponent: float,
    lower: Tensor | None,
    upper: Tensor | None,
    root: Tensor | None = None,
) -> Tensor:
    near = clip(torch.zeros_like(v), lower, upper)
    far = clip(STATIONARY[exponent](v, lam) if root is None else root, lower, upper)
    worse = gain(far, v, lam, exponent) <= gain(near, v, lam, exponent)
    # Without a penalty the projection is the answer, also where the gain underflows.
    return torch.where(worse & (lam > 0), near, far)


def prox_l0(
    v: Tensor,
    step: Scalar,
    weight: Scalar = 1.0,
    lower: Tensor | None = None,
    upper: Tensor | None = None,
    *,
    stay: bool = False,
) -> Tensor:
    """Hard thresholding: prox of weight * [u != 0] over a box.

    With z = clip(v), keeps z where v^2 - (v - z)^2 > 2 step weight, else 0 (Croce & Hein 2019;
    Zhu, Chen, Wang 2021).

    Parameters
    ----------
    v : Tensor of shape (n, D)
    step : float or Tensor of shape (n,)
    weight : float or Tensor which broadcasts to (n, D)
    lower, upper : Tensor which broadcasts to (n, D), or None
    stay : bool, default=False
        Whether 0 is allowed where [lower, upper] excludes it: "stay, or jump in". When False,
        every point of such an interval costs the same, and the nearest one is taken.

    Returns
    -------
    Tensor of shape (n, D)

    Examples
    --------
    >>> v = torch.tensor([[0.5, 3.0]])
    >>> prox_l0(v, 1.0), prox_l0(v, 1.0, upper=torch.tensor([1.0, 0.3]))
    (tensor([[0., 3.]]), tensor([[0., 0.]]))
    >>> above = torch.tensor(2.0)
    >>> prox_l0(v, 1.0, lower=above), prox_l0(v, 1.0, lower=above, stay=True)
    (tensor([[2., 3.]]), tensor([[0., 3.]]))
    """
    lam = strength(step, weight, v)
    far = clip(v, lower, upper)
    zero = torch.zeros_like(v)
    worse = gain(far, v, lam, 0.0) <= 0
    if not stay:
        worse = worse & (lam > 0)
    result = torch.where(worse, zero, far)
    if stay or (lower is None and upper is None):
        return result
    return torch.where(clip(zero, lower, upper) == 0, result, far)


def prox_l_half(
    v: Tensor,
    step: Scalar,
    weight: Scalar = 1.0,
    lower: Tensor | None = None,
    upper: Tensor | None = None,
    *,
    holds_zero: bool = False,
) -> Tensor:
    """Half thresholding: prox of weight * |u|^(1/2) over a box (Xu et al. 2012).

    Without a box it is 0 up to |v| = 3/2 (step weight)^(2/3), where it jumps to two thirds of
    that value. Parameters and result as in :func:`prox_l0`; ``holds_zero`` means that
    lower <= 0 <= upper, which saves work and the wait for a device: then 0 is the answer up to
    the threshold, and nothing below has to be solved for.

    Examples
    --------
    >>> prox_l_half(torch.tensor([[1.4, 1.6]], dtype=torch.float64), 1.0).round(decimals=4)
    tensor([[0.0000, 1.1295]], dtype=torch.float64)
    """
    lam = strength(step, weight, v)
    root = stationary_half(v, lam, beyond=1.4) if holds_zero else None
    return _two_candidates(v, lam, 0.5, lower, upper, root)


def prox_l_two_thirds(
    v: Tensor,
    step: Scalar,
    weight: Scalar = 1.0,
    lower: Tensor | None = None,
    upper: Tensor | None = None,
    *,
    holds_zero: bool = False,
) -> Tensor:
    """Two-thirds thresholding: prox of weight * |u|^(2/3) over a box (Cao, Sun, Xu 2013).

    Without a box it is 0 up to |v| = 2/3 (3 (2 step weight)^3)^(1/4). Parameters and result as
    in :func:`prox_l_half`.

    Examples
    --------
    >>> prox_l_two_thirds(torch.tensor([[1.4, 1.6]], dtype=torch.float64), 1.0).round(decimals=4)
    tensor([[0.0000, 0.9127]], dtype=torch.float64)
    """
    lam = strength(step, weight, v)
    root = stationary_two_thirds(v, lam, beyond=1.47) if holds_zero else None
    return _two_candidates(v, lam, 2 / 3, lower, upper, root)


def prox_l1(
    v: Tensor,
    step: Scalar,
    weight: Scalar = 1.0,
    lower: Tensor | None = None,
    upper: Tensor | None = None,
) -> Tensor:
    """Soft thresholding: prox of weight * |u| over a box.

    The problem is convex in one variable, so clipping the free minimiser is exact. Parameters
    and result as in :func:`prox_l0`.

    Examples
    --------
    >>> prox_l1(torch.tensor([[0.5, -3.0]]), 1.0)
    tensor([[ 0., -2.]])
    """
    return clip(stationary_one(v, strength(step, weight, v)), lower, upper)


SCALAR_PROX: dict[float, Callable[..., Tensor]] = {
    0.0: prox_l0,
    0.5: prox_l_half,
    2 / 3: prox_l_two_thirds,
    1.0: prox_l1,
}
