r"""Projections on, and linear oracles of, lp balls for p >= 1, alone or intersected with a box.

All functions take rows first, a number or one value per row as ``radius``, and never change
their arguments. A linear oracle *maximises*: ``lmo(c) = argmax <c, u>``; a row of zeros gives
zeros. Powers and sums run in float64, on data divided by its largest entry, so the answers do
not depend on the scale of a gradient; devices without float64 leave them to the processor. For p
other than 1 and inf a row agrees with its batch to rounding (powers of vector and scalar units
differ in the last bit), else bit for bit. A box must hold zero: lower <= 0 <= upper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scfe_sklearn.proximal.operators import Scalar, clip, per_row
from scfe_sklearn.proximal.precision import has_double, on_processor

_OUTER, _INNER = 100, 60
_THIN = 1e-200
_STEPS = 20
"""Two or three times as many as gradients of networks need."""


def norm_p(u: Tensor, p: float) -> Tensor:
    """Return the lp norms (n, 1) of the rows, safe against overflow.

    Examples
    --------
    >>> norm_p(torch.tensor([[3e30, 4e30]]), 2)
    tensor([[5.0000e+30]])
    """
    size = u.abs()
    top = size.amax(dim=1, keepdim=True)
    if math.isinf(p):
        return top
    safe = torch.where(top == 0, torch.ones_like(top), top)
    return top * ((size / safe) ** p).sum(dim=1, keepdim=True) ** (1 / p)


def project_ball(v: Tensor, p: float, radius: Scalar = 1.0) -> Tensor:
    """Project every row on {||u||_p <= radius}, p >= 1 or inf.

    p = 1 by sorting (Duchi et al. 2008), p = 2 and inf in closed form, any other p by Newton
    steps with a safeguard. Rows inside the ball come back bit for bit.

    Parameters
    ----------
    v : Tensor of shape (n, D)
    p : float in [1, inf]
    radius : float or Tensor of shape (n,)

    Returns
    -------
    Tensor of shape (n, D)

    Examples
    --------
    >>> v = torch.tensor([[3.0, -4.0]])
    >>> project_ball(v, 1), project_ball(v, 2), project_ball(v, math.inf)
    (tensor([[ 0., -1.]]), tensor([[ 0.6000, -0.8000]]), tensor([[ 1., -1.]]))
    """
    if not has_double(v.device):
        return on_processor(project_ball, v, p, radius)
    r = per_row(radius, v)
    if math.isinf(p):
        return torch.minimum(torch.maximum(v, -r), r)
    wide, r64 = v.double(), r.double()
    if p == 1:
        u = _soft_to_budget(wide, wide.abs(), r64)
    elif p == 2:
        length = norm_p(wide, 2)
        u = wide * (r64 / torch.where(length == 0, torch.ones_like(length), length))
    else:
        u = _project_general(wide, p, r64)
    return torch.where(norm_p(wide, p) <= r64, v, u.to(v.dtype))


def project_ball_box(
    v: Tensor,
    p: float,
    radius: Scalar = 1.0,
    lower: Tensor | None = None,
    upper: Tensor | None = None,
) -> Tensor:
    """Project every row on {||u||_p <= radius, lower <= u <= upper}, p in {1, 2, inf}.

    p = 1: clip(soft(v, theta)), theta from the sorted knots of a piecewise linear function.
    p = 2: clip(s v), s from the sorted ratios bound/v. p = inf: clip. All exact; scaling the
    row to the ball and clipping afterwards is not the projection.

    Parameters
    ----------
    v : Tensor of shape (n, D)
    p : {1, 2, inf}
    radius : float or Tensor of shape (n,)
    lower, upper : Tensor which broadcasts to (n, D), or None
        lower <= 0 <= upper.

    Returns
    -------
    Tensor of shape (n, D)

    Examples
    --------
    >>> project_ball_box(torch.tensor([[3.0, 3.0]]), 1, 1.0, upper=torch.tensor([0.25, 9.0]))
    tensor([[0.2500, 0.7500]])
    """
    if not has_double(v.device):
        return on_processor(project_ball_box, v, p, radius, lower, upper)
    r = per_row(radius, v)
    clipped = clip(v, lower, upper)
    if math.isinf(p):
        return torch.minimum(torch.maximum(clipped, -r), r)
    wide, r64 = v.double(), r.double()
    room = _room(wide, lower, upper)
    if p == 1:
        u = _soft_to_budget(wide, room, r64)
    elif p == 2:
        u = torch.sign(wide) * _fill(wide.abs(), room, r64, 2.0)
    else:
        raise ValueError(f"The projection on ball and box needs p in {{1, 2, inf}}. Got {p}.")
    u = torch.where(torch.isnan(v).any(dim=1, keepdim=True), torch.nan, u)
    inside = norm_p(clipped.double(), p) <= r64
    return torch.where(inside, clipped, clip(u.to(v.dtype), lower, upper))


def lmo_ball(c: Tensor, p: float, radius: Scalar = 1.0) -> Tensor:
    """Return argmax <c, u> over {||u||_p <= radius}, p >= 1 or inf.

    p = 1: the (first) largest entry takes all. p = inf: radius * sgn(c). Otherwise
    u = radius * sgn(c) a / ||a||_p with a = |c|^(1/(p-1)), by the equality case of Hoelder.

    Parameters and result as in :func:`project_ball`.

    Examples
    --------
    >>> c = torch.tensor([[3.0, -4.0]])
    >>> lmo_ball(c, 1), lmo_ball(1e-9 * c, 2), lmo_ball(c, math.inf)
    (tensor([[ 0., -1.]]), tensor([[ 0.6000, -0.8000]]), tensor([[ 1., -1.]]))
    """
    return lmo_ball_box(c, p, radius)


def lmo_ball_box(
    c: Tensor,
    p: float,
    radius: Scalar = 1.0,
    lower: Tensor | None = None,
    upper: Tensor | None = None,
) -> Tensor:
    """Return argmax <c, u> over {||u||_p <= radius, lower <= u <= upper}, p >= 1 or inf.

    Proposition 3.1 of Boreiko et al. 2022, completed by p = 1 and written for any scale. With
    room_i the bound on the side of c_i, the maximiser is sgn(c) eta with

    * p = 1: eta filled up to room in the order of |c| until the radius is used;
    * 1 < p < inf: eta = min(room, s |c|^(1/(p-1))), with s such that the norm is the radius,
      or eta = room if the whole room fits into the ball;
    * p = inf: eta = min(room, radius).

    Powers are kept as logarithms, so p close to 1 and tiny gradients lose nothing.

    Parameters
    ----------
    c : Tensor of shape (n, D)
    p : float in [1, inf]
    radius : float or Tensor of shape (n,)
    lower, upper : Tensor which broadcasts to (n, D), or None
        lower <= 0 <= upper.

    Returns
    -------
    Tensor of shape (n, D)

    References
    ----------
    Boreiko, Augustin, Croce, Berens, Hein, "Sparse visual counterfactual explanations in image
    space", GCPR 2022.

    Examples
    --------
    >>> lmo_ball_box(torch.tensor([[3.0, -2.0, 1.0]]), 1, 1.0, upper=torch.tensor(0.25))
    tensor([[ 0.2500, -0.7500,  0.0000]])
    """
    if not has_double(c.device):
        return on_processor(lmo_ball_box, c, p, radius, lower, upper)
    wide = c.double()
    r = per_row(radius, wide)
    top = wide.abs().amax(dim=1, keepdim=True)
    wide = wide / torch.where(top == 0, torch.ones_like(top), top)
    size = wide.abs()
    room = torch.minimum(_room(wide, lower, upper), r.expand_as(wide))
    if math.isinf(p):
        eta = room
    elif p == 1:
        order = torch.sort(size, dim=1, descending=True, stable=True).indices
        sorted_room = room.gather(1, order)
        used = torch.cumsum(sorted_room, dim=1) - sorted_room
        taken = torch.minimum((r - used).clamp(min=0), sorted_room)
        eta = torch.zeros_like(room).scatter(1, order, taken)
    else:
        eta = _fill_log(torch.log(size) / (p - 1), room, r, p)
    eta = torch.where(torch.isnan(top), torch.nan, eta)
    return clip((torch.sign(wide) * eta).to(c.dtype), lower, upper)


def _room(v: Tensor, lower: Tensor | None, upper: Tensor | None) -> Tensor:
    """Return the distance from 0 to the bound on the side of ``v``; 0 where v = 0."""
    room = clip(torch.sign(v) * torch.inf, lower, upper).abs()
    return torch.where(v == 0, torch.zeros_like(v), room)


def _fill(a: Tensor, room: Tensor, radius: Tensor, p: float) -> Tensor:
    """Return min(room, s a) with s >= 0 such that its p-norm is the radius (or all room)."""
    top = a.amax(dim=1, keepdim=True)
    a = a / torch.where(top == 0, torch.ones_like(top), top)
    return _fill_log(torch.log(a), torch.minimum(room, radius.expand_as(room)), radius, p)


def _fill_log(log_a: Tensor, room: Tensor, radius: Tensor, p: float) -> Tensor:
    """As :func:`_fill`, with log(a) <= 0 and a finite room.

    In t = s^p the p-th power of the norm is sum min(room^p, t a^p): concave, and linear between
    the ratios room^p / a^p at which entries are full.
    """
    unit = torch.where(radius > 0, radius, torch.ones_like(radius))
    room = room / unit
    usable = (room > 0) & (log_a > -torch.inf) & (radius > 0)
    log_mass = p * torch.log(room)
    scaled = torch.where(usable, p * log_a, -torch.inf)
    # Devices would have to be waited for in every step of Newton's method.
    filled = _fill_by_newton(log_mass, scaled) if room.device.type == "cpu" else None
    log_t, full = filled or _fill_by_sorting(log_mass, scaled)
    share = torch.minimum(room, torch.exp((scaled + log_t) / p))
    return torch.where(usable, torch.where(full, room, share) * unit, torch.zeros_like(room))


def _fill_by_newton(log_mass: Tensor, scaled: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return log t (n, 1) such that sum min(mass, t exp(scaled)) is 1, and who is full (n, D).

    Newton's iterates from t = 0 rise to the root: entries fill up their room and stay full, and
    the rest share what is left. It ends when no entry fills up any more, after a handful of steps;
    or with None after ``_STEPS``, where shares differ by so much (p close to 1) that entries fill
    up one by one.
    """
    usable = scaled > -torch.inf
    mass, ratio = torch.exp(log_mass), log_mass - scaled
    free, used = usable, torch.zeros_like(scaled[:, :1])
    base = torch.zeros_like(used)
    weight = torch.exp(scaled)
    for _ in range(_STEPS):
        rest = torch.where(free, weight, 0.0).sum(dim=1, keepdim=True)
        # Weights that underflow are lost beside others, but not once these are full.
        thin = (rest < _THIN) & free.any(dim=1, keepdim=True)
        if bool(thin.any()):
            highest = torch.where(free, scaled, -torch.inf).amax(dim=1, keepdim=True)
            base = torch.where(thin, highest, base)
            weight = torch.exp(torch.minimum(scaled - base, torch.zeros_like(base)))
            rest = torch.where(free, weight, 0.0).sum(dim=1, keepdim=True)
        log_t = torch.log((1 - used).clamp(min=0)) - torch.log(rest) - base
        still = free & ~(ratio <= log_t)
        if torch.equal(still, free):
            return log_t, ~free
        free = still
        used = torch.where(usable & ~free, mass, 0.0).sum(dim=1, keepdim=True)
    return None


def _fill_by_sorting(log_mass: Tensor, scaled: Tensor) -> tuple[Tensor, Tensor]:
    """Return what :func:`_fill_by_newton` does, from the sorted ratios."""
    usable = scaled > -torch.inf
    ratio = torch.where(usable, log_mass - scaled, torch.inf)
    ratio, order = torch.sort(ratio, dim=1)
    mass = torch.where(usable, torch.exp(log_mass), 0.0).gather(1, order)
    # With the entries before each one full, the others share the rest.
    used = torch.cumsum(mass, dim=1).roll(1, dims=1)
    used[:, 0] = 0
    rest = torch.logcumsumexp(scaled.gather(1, order).flip(1), dim=1).flip(1)
    log_t = torch.log((1 - used).clamp(min=0)) - rest
    n_full = (ratio <= log_t).sum(dim=1, keepdim=True)
    place = torch.arange(scaled.shape[1], device=scaled.device)
    full = torch.zeros_like(usable).scatter(1, order, place < n_full)
    return log_t.gather(1, n_full.clamp(max=scaled.shape[1] - 1)), full


def _soft_to_budget(v: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """Return sgn(v) min(room, max(|v| - theta, 0)) with theta >= 0 such that it sums to radius.

    The sum is piecewise linear in theta with knots at |v| and |v| - room: sort, add up, and
    interpolate. Rows whose clipped sum is below the radius use theta = 0.
    """
    size = v.abs()
    room = torch.minimum(room, size)
    knots = torch.cat([size, size - room], dim=1)
    bend = torch.cat([torch.ones_like(size), -torch.ones_like(size)], dim=1)
    knots, order = torch.sort(knots, dim=1, descending=True, stable=True)
    slope = torch.cumsum(bend.gather(1, order), dim=1)
    rise = slope[:, :-1] * (knots[:, :-1] - knots[:, 1:])
    total = torch.cat([torch.zeros_like(radius).expand(len(v), 1), rise], dim=1).cumsum(dim=1)
    # The segment before the first knot at which the radius is reached.
    k = ((total < radius).sum(dim=1, keepdim=True) - 1).clamp(min=0)
    left = radius - total.gather(1, k)
    theta = knots.gather(1, k) - left / slope.gather(1, k).clamp(min=1)
    return torch.sign(v) * torch.minimum((size - theta.clamp(min=0)).clamp(min=0), room)


def _solve_coordinates(a: Tensor, c: Tensor, p: float) -> Tensor:
    """Return the roots u in [0, a] of u + c u^(p-1) = a, by Newton from the right.

    For p < 2 the unknown is y = u^(p-1). Both forms are convex and increasing, so Newton's
    iterates fall to the root; an iterate which does not fall any more has converged.
    """
    q = 1 / (p - 1)
    if p < 2:
        y = torch.minimum(a / c, a ** (p - 1))
        for _ in range(_INNER):
            slope = q * y ** (q - 1) + c
            new = torch.minimum(y, (y - (y**q + c * y - a) / slope).clamp(min=0))
            if torch.equal(new, y):
                break
            y = new
        return y**q
    u = torch.minimum(a, (a / c) ** q)
    for _ in range(_INNER):
        slope = 1 + c * (p - 1) * u ** (p - 2)
        new = torch.minimum(u, (u - (u + c * u ** (p - 1) - a) / slope).clamp(min=0))
        if torch.equal(new, u):
            break
        u = new
    return u


def _project_general(v: Tensor, p: float, radius: Tensor) -> Tensor:
    """Project rows outside the ball, 1 < p < inf: u + c u^(p-1) = |v| with ||u||_p = radius.

    The unknown per row is s, the largest entry of u: c = (1 - s)/s^(p-1) once |v| has largest
    entry 1, and radius D^(-1/p) <= s <= min(radius, 1) brackets it. Newton on log ||u|| over
    log s, replaced by bisection whenever it leaves the bracket; finished rows are frozen.
    """
    top = v.abs().amax(dim=1, keepdim=True)
    top = torch.where(top == 0, torch.ones_like(top), top)
    a, r = v.abs() / top, (radius / top).expand(len(v), 1)
    active = (norm_p(a, p) > r) & (r > 0)
    target = torch.where(active, r, torch.ones_like(r))
    low = torch.log(target) - math.log(v.shape[1]) / p
    high = torch.log(target).clamp(max=0)
    low = torch.minimum(low, high)
    log_s, u = (low + high) / 2, a
    for _ in range(_OUTER):
        s = torch.exp(log_s)
        c = ((1 - s) / s ** (p - 1)).clamp(min=torch.finfo(a.dtype).tiny)
        trial = _solve_coordinates(a, c, p)
        u = torch.where(active, trial, u)
        norm_power = (trial**p).sum(dim=1, keepdim=True)
        error = torch.log(norm_power) / p - torch.log(target)
        low = torch.where(error < 0, log_s, low)
        high = torch.where(error < 0, high, log_s)
        active = active & (error.abs() > 1e-15) & (high - low > 1e-15)
        if not bool(active.any()):
            break
        # d log||u|| / d log s, with du/dc = -u^(p-1) / (1 + c (p-1) u^(p-2)).
        fall = trial**p / (1 + c * (p - 1) * torch.where(trial > 0, trial, 1.0) ** (p - 2))
        fall = torch.where(trial > 0, fall * trial ** (p - 2), torch.zeros_like(fall))
        dc = -(s ** (2 - p)) - (p - 1) * (1 - s) * s ** (1 - p)
        derivative = -(fall.sum(dim=1, keepdim=True)) * dc / norm_power
        newton = log_s - error / derivative
        safe = (newton > low) & (newton < high)
        log_s = torch.where(active, torch.where(safe, newton, (low + high) / 2), log_s)
    length = norm_p(u, p)
    u = u * torch.where(length > r, r / length.clamp(min=torch.finfo(a.dtype).tiny), 1.0)
    return torch.sign(v) * u * top
