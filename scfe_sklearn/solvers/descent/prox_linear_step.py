"""The proximal step of an objective under a linearised margin: one multiplier per row."""

from __future__ import annotations

from collections.abc import Callable

import torch

ENOUGH = 0.02
"""Share of what is missing by which the margin may be overshot."""

ROUNDING = 1e-9
"""Gain, relative to what is wanted, that is as good as none."""

NARROW = 1e-4
"""Relative width of a bracket in which the proximal map jumps."""


def prox_linear_step(
    prox: Callable[[torch.Tensor], torch.Tensor],
    change: torch.Tensor,
    ahead: torch.Tensor,
    slope: torch.Tensor,
    length: float | torch.Tensor,
    aim: torch.Tensor,
    guess: torch.Tensor,
    evaluations: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Minimise a proximal model where the linearised margin gains ``aim``.

    .. math::
        \arg\min_u \; \tfrac{1}{2 s} \|u - v\|^2 + g(u)
        \quad \text{s.t.} \quad \langle a, u - w \rangle \ge r

    The minimiser is ``prox(v + s lambda a)`` for the least multiplier that meets the constraint.
    What it gains increases with the multiplier and jumps where the support changes, so that the
    root search of each row takes false position and halving in turns.

    Parameters
    ----------
    prox : callable
        Points (k, D) to the minimisers of ``1/2 ||u - v||^2 + s g(u)``.
    change : Tensor of shape (k, D)
        w.
    ahead : Tensor of shape (k, D)
        v, the gradient step without the margin.
    slope : Tensor of shape (k, D)
        a, the gradient of the margin at w.
    length : float or Tensor of shape (k,)
        s.
    aim : Tensor of shape (k,)
        r.
    guess : Tensor of shape (k,)
        Multipliers to start with, 0 for none.
    evaluations : int
        Proximal points that are tried at most, after the first.

    Returns
    -------
    u : Tensor of shape (k, D)
        The points; where the gain is out of reach, those of the largest multipliers tried.
    multiplier : Tensor of shape (k,)
        0 where the margin asks for nothing.

    Examples
    --------
    >>> import torch
    >>> zero, slope = torch.zeros(1, 2), torch.tensor([[1.0, 2.0]])
    >>> u, multiplier = prox_linear_step(
    ...     lambda v: v.clamp(-1, 1), zero, zero, slope, 0.5, torch.tensor([2.5]), zero[:, 0], 20
    ... )
    >>> bool((slope * u).sum() >= 2.5 - 1e-6), bool((slope * u).sum() <= 2.56)
    (True, True)
    """
    scale = length if isinstance(length, float) else length[:, None]

    def at(multiplier: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        u = prox(ahead + scale * multiplier[:, None] * slope)
        return u, (slope * (u - change)).sum(1) - aim

    zero = torch.zeros_like(aim)
    out, below = at(zero)
    wanting = below < -ROUNDING * (1 + aim.abs())
    if not bool(wanting.any()):
        return out, zero
    low, high, above = zero, torch.full_like(aim, torch.inf), zero
    # A secant meets a linear gain exactly: which side rounding takes must not matter.
    slack, exact = -ENOUGH * below, ROUNDING * (1 + aim.abs())
    newton = -below / (length * slope.square().sum(1)).clamp_min(1e-12)
    trial = torch.where(guess > 0, guess, 2 * newton)
    for turn in range(evaluations):
        u, got = at(trial)
        enough = got >= -exact
        # Out of reach so far: go as far as was tried.
        take = wanting & (enough | (high == torch.inf))
        out = torch.where(take[:, None], u, out)
        # Rows that are done keep what they have, however long the others take.
        met, short = wanting & enough, wanting & ~enough
        high, above = torch.where(met, trial, high), torch.where(met, got, above)
        low, below = torch.where(short, trial, low), torch.where(short, got, below)
        bounded = high < torch.inf
        wanting = wanting & ~(enough & (got <= slack)) & ~(bounded & (high - low <= NARROW * high))
        if not bool(wanting.any()):
            break
        secant = low - below * (high - low) / (above - below).clamp_min(1e-300)
        inner = secant if turn % 2 == 0 else (low + high) / 2
        trial = torch.where(wanting, torch.where(bounded, inner, 4 * trial), trial)
    return out, torch.where(high < torch.inf, high, zero)
