"""Groups of coordinates: sums, norms and maxima per group, and prox of penalties on group norms.

``groups`` is a LongTensor (D,) which names the group (raw feature, pixel) of every coordinate,
0 <= groups < n_groups. Everything is computed for all rows and groups at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scfe_sklearn.proximal.operators import SCALAR_PROX, Scalar, as_tensor_like, clip, per_row
from scfe_sklearn.proximal.precision import has_double, on_processor

_BISECTIONS = 64


def segment_sum(x: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return the sums of ``x`` (n, D) over the coordinates of each group, (n, n_groups).

    Examples
    --------
    >>> segment_sum(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([0, 1, 1]), 2)
    tensor([[1., 6.]])
    """
    sums = torch.zeros(x.shape[0], n_groups, dtype=x.dtype, device=x.device)
    return sums.scatter_add_(1, groups.expand_as(x), x)


def segment_any(flags: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return whether any flag (n, D) holds in each group, (n, n_groups).

    Examples
    --------
    >>> segment_any(torch.tensor([[False, False, True]]), torch.tensor([0, 1, 1]), 2)
    tensor([[False,  True]])
    """
    return segment_sum(flags.to(torch.int32), groups, n_groups) > 0


def segment_argmax(score: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return a mask (n, D) with one True per group: its first largest score.

    Scores of -inf never win, so a group with nothing else has no True at all.

    Examples
    --------
    >>> segment_argmax(torch.tensor([[1.0, 3.0, 3.0]]), torch.tensor([0, 1, 1]), 2)
    tensor([[ True,  True, False]])
    """
    n, n_coordinates = score.shape
    index = groups.expand_as(score)
    best = torch.full((n, n_groups), -torch.inf, dtype=score.dtype, device=score.device)
    best = best.scatter_reduce(1, index, score, "amax")
    wins = (score == best[:, groups]) & (score > -torch.inf)
    position = torch.arange(n_coordinates, device=score.device).expand_as(score)
    first = torch.full((n, n_groups), n_coordinates, device=score.device)
    first = first.scatter_reduce(1, index, torch.where(wins, position, n_coordinates), "amin")
    return wins & (position == first[:, groups])


def group_norms(w: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return the Euclidean norms of the groups, (n, n_groups).

    Examples
    --------
    >>> group_norms(torch.tensor([[1.0, 3.0, 4.0]]), torch.tensor([0, 1, 1]), 2)
    tensor([[1., 5.]])
    """
    return torch.sqrt(segment_sum(w * w, groups, n_groups))


def prox_group_radial(
    v: Tensor,
    step: Scalar,
    groups: Tensor,
    n_groups: int,
    exponent: float,
    weight: Scalar = 1.0,
) -> Tensor:
    """Prox of weight_g * ||u_g||_2^p without a box, p in {0, 1/2, 2/3, 1}.

    The minimiser lies on the ray of v_g, so it is v_g * h(||v_g||) / ||v_g|| with h the scalar
    prox: block hard, half, two-thirds and soft thresholding. Exact.

    Parameters
    ----------
    v : Tensor of shape (n, D)
    step : float or Tensor of shape (n,)
    groups : LongTensor of shape (D,)
    n_groups : int
    exponent : {0.0, 0.5, 2 / 3, 1.0}
    weight : float or Tensor which broadcasts to (n, n_groups)

    Returns
    -------
    Tensor of shape (n, D)

    Examples
    --------
    >>> prox_group_radial(torch.tensor([[3.0, 4.0, 0.5]]), 1.0, torch.tensor([0, 0, 1]), 2, 1.0)
    tensor([[2.4000, 3.2000, 0.0000]])
    """
    norms = group_norms(v, groups, n_groups)
    shrunk = SCALAR_PROX[exponent](norms, step, weight)
    # Where nothing is shrunk the factor must be exactly one.
    factor = torch.where(norms == 0, 0.0, shrunk / torch.where(norms == 0, 1.0, norms))
    return v * factor[:, groups]


def prox_group_l0(
    v: Tensor,
    step: Scalar,
    groups: Tensor,
    n_groups: int,
    weight: Scalar = 1.0,
    lower: Tensor | None = None,
    upper: Tensor | None = None,
) -> Tensor:
    """Prox of weight_g * [u_g != 0] over a box: block hard thresholding.

    With z = clip(v), keeps z_g where sum v^2 - (v - z)^2 > 2 step weight_g, else 0. A group
    whose box excludes zero always takes z_g. Exact. Parameters as in :func:`prox_group_radial`.

    Examples
    --------
    >>> v = torch.tensor([[1.0, 1.5, 1.0]])
    >>> prox_group_l0(v, 1.0, torch.tensor([0, 0, 1]), 2)
    tensor([[1.0000, 1.5000, 0.0000]])
    """
    lam = per_row(step, v) * as_tensor_like(weight, v)
    z = clip(v, lower, upper)
    gains = segment_sum(z * (v - z / 2), groups, n_groups)
    outside = clip(torch.zeros_like(v), lower, upper) != 0
    keep = ~(gains <= lam) | (lam == 0) | segment_any(outside, groups, n_groups)
    return torch.where(keep[:, groups], z, torch.zeros_like(v))


def prox_group_l1(
    v: Tensor,
    step: Scalar,
    groups: Tensor,
    n_groups: int,
    weight: Scalar = 1.0,
    lower: Tensor | None = None,
    upper: Tensor | None = None,
) -> Tensor:
    """Prox of weight_g * ||u_g||_2 over a box: block soft thresholding.

    Without a box the closed form of :func:`prox_group_radial`. With one, the optimality
    conditions give u = clip(s v) with one scalar 0 <= s < 1 per group that solves
    ||clip(s v_g)|| (1 - s) = step weight_g s; the left side over s falls, so bisection finds it
    to rounding. Zero is the answer iff it is in the box and the part of v_g that may move has
    norm at most step weight_g. Parameters as in :func:`prox_group_radial`.

    Examples
    --------
    >>> v, groups = torch.tensor([[3.0, 4.0]], dtype=torch.float64), torch.tensor([0, 0])
    >>> u = prox_group_l1(v, 1.0, groups, 1, upper=torch.tensor([1.0, 9.0]))
    >>> u.round(decimals=3)
    tensor([[1.0000, 3.0500]], dtype=torch.float64)
    """
    if lower is None and upper is None:
        return prox_group_radial(v, step, groups, n_groups, 1.0, weight)
    lam = (per_row(step, v) * as_tensor_like(weight, v)).expand(v.shape[0], n_groups).contiguous()
    origin = clip(torch.zeros_like(v), lower, upper)
    outside = segment_any(origin != 0, groups, n_groups)
    # A coordinate at a bound of zero cannot move in the direction of v.
    direction = torch.sign(v)
    open_side = torch.sign(clip(direction * torch.finfo(v.dtype).tiny, lower, upper)) == direction
    movable = torch.where(open_side, v, torch.zeros_like(v))
    zero = ~outside & (group_norms(movable, groups, n_groups) <= lam)
    below, above = torch.zeros_like(lam), torch.ones_like(lam)
    for _ in range(_BISECTIONS):
        s = (below + above) / 2
        norms = group_norms(clip(v * s[:, groups], lower, upper), groups, n_groups)
        small = norms * (1 - s) > lam * s
        below, above = torch.where(small, s, below), torch.where(small, above, s)
    # lam = 0 has its root at s = 1, which the midpoint approaches only to rounding.
    s = torch.where(lam == 0, torch.ones_like(above), above)
    s = torch.where(zero, torch.zeros_like(s), s)
    return clip(v * s[:, groups], lower, upper)


# ------------------------------------------------------------------------------- largest entries


def flag_largest(x: Tensor, count: int | Tensor) -> Tensor:
    """Flag the largest entries (n, d) of each row, of equal ones the first; NaN are largest.

    Parameters
    ----------
    x : Tensor of shape (n, d)
    count : int or LongTensor of shape (n,)
        How many, at most.

    Examples
    --------
    >>> flag_largest(torch.tensor([[3.0, 1.0, 3.0, 2.0]]), 2)
    tensor([[ True, False,  True, False]])
    """
    most = _most(count)
    count = as_tensor_like(count, x.new_empty(0, dtype=torch.long))
    count = count.reshape(-1, 1).expand(len(x), 1)
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


def _most(count: int | Tensor) -> int:
    """Return the largest count; a device is not waited for to know a plain number."""
    if not isinstance(count, Tensor):
        return int(count)
    return int(count.max()) if count.numel() else 0


# --------------------------------------------------------------------------------- nuclear norms


# The dual of sum_g ||u_g||_* is the largest spectral norm of a group, so the oracle puts all into
# one rank-one matrix of one group. Any scale of the direction will do.
def lmo_group_nuclear(c: Tensor, radius: Scalar = 1.0) -> Tensor:
    """Return argmax <c, u> over the matrices with sum_g ||u_g||_* <= radius.

    With sigma, p, q the leading singular value and vectors of the (first) group of largest
    spectral norm, it is radius p q^T there and 0 elsewhere; the maximum is radius sigma. Where
    that singular value is not simple, some maximiser is returned.

    Parameters
    ----------
    c : Tensor of shape (n, G, a, b)
        Directions: G matrices per row.
    radius : float or Tensor of shape (n,)

    Returns
    -------
    Tensor of shape (n, G, a, b)

    Examples
    --------
    >>> c = torch.zeros(1, 2, 2, 2)
    >>> c[0, 0, 0, 0], c[0, 1, 1, 0] = 1e-30, -2e-30
    >>> lmo_group_nuclear(c, 3.0)[0, 1] + 0
    tensor([[ 0.,  0.],
            [-3.,  0.]])
    """
    if not has_double(c.device):
        return on_processor(lmo_group_nuclear, c, radius)
    c64, r = c.double(), per_row(radius, c.flatten(1)).double().reshape(-1, 1, 1)
    top = c64.abs().amax(dim=(1, 2, 3), keepdim=True)
    # Decompositions of all rows fail with one that is not finite.
    good = torch.isfinite(top) & (top > 0)
    scaled = torch.where(good, c64 / torch.where(good, top, 1.0), 0.0)
    group = torch.linalg.matrix_norm(scaled, ord=2).argmax(dim=1)
    rows = torch.arange(len(c), device=c.device)
    p, _, q = torch.linalg.svd(scaled[rows, group], full_matrices=False)
    best = torch.where(good[:, 0], p[:, :, :1] * q[:, :1, :] * r, 0.0)
    best = torch.where(torch.isfinite(top[:, 0]), best, torch.nan)
    return torch.zeros_like(c).index_put((rows, group), best.to(c.dtype))
