"""The proximal step of an objective under a linearised margin: one multiplier per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

Prox = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]

ENOUGH = 0.02
"""Share of what is missing by which the margin may be overshot."""

ROUNDING = 1e-9
"""Gain, relative to what is wanted, that is as good as none."""

NARROW = 1e-2
"""Relative width of a bracket in which the proximal map jumps."""

NEAR = 1.15
"""Factor by which the second trial differs from a guess."""

KINKS = 6
"""Steps of Newton's method inside a box at most."""

FULL = 0.75
"""Share of the rows below which the others leave."""


def prox_linear_step(
    prox: Prox,
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
        Points (m, D) of the rows at positions (m,), or None for all rows, to the minimisers of
        ``1/2 ||u - v||^2 + s g(u)``.
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
        0 where the margin is met anyway.

    Examples
    --------
    >>> import torch
    >>> zero, slope, aim = torch.zeros(1, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([2.5])
    >>> u, multiplier = prox_linear_step(
    ...     lambda v, rows: v.clamp(-1, 1), zero, zero, slope, 0.5, aim, zero[:, 0], 20
    ... )
    >>> bool((slope * u).sum() >= 2.5 - 1e-6), bool((slope * u).sum() <= 2.56)
    (True, True)
    """
    out = prox(ahead, None)
    below = (slope * (out - change)).sum(1) - aim
    exact = ROUNDING * (1 + aim.abs())
    multiplier = torch.zeros_like(aim)
    rows = (below < -exact).nonzero()[:, 0]
    if len(rows) == 0:
        return out, multiplier
    out = out.clone()  # the map may return what it was given
    newton = -below / (length * slope.square().sum(1)).clamp_min(1e-12)
    search = _Roots.of(rows, guess, 2 * newton, below, exact)
    change, ahead, slope, aim = change[rows], ahead[rows], slope[rows], aim[rows]
    scale = length if isinstance(length, float) else length[rows]
    for turn in range(evaluations):
        reach = scale * search.trial
        u = prox(torch.addcmul(ahead, reach[:, None], slope), search.rows)
        got = (slope * (u - change)).sum(1) - aim
        take = search.narrowed(got, turn)
        out[search.rows[take]] = u[take]
        multiplier[search.rows] = search.least()
        left = search.open.nonzero()[:, 0]
        if len(left) == 0:
            break
        # Rows that are done leave, as soon as they are many.
        if len(left) < FULL * len(search.rows):
            search = search.take(left)
            change, ahead, slope, aim = change[left], ahead[left], slope[left], aim[left]
            scale = scale if isinstance(scale, float) else scale[left]
    return out, multiplier


def step_in_box(
    change: torch.Tensor,
    ahead: torch.Tensor,
    slope: torch.Tensor,
    length: torch.Tensor,
    aim: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `prox_linear_step` where g is a box: what is gained is linear but for kinks.

    Newton's method finds the multiplier, in one step where no coordinate meets its bound.

    Parameters
    ----------
    change, ahead, slope : Tensor of shape (k, w)
    length, aim : Tensor of shape (k,)
    low, high : Tensor of shape (k, w)
        The box.

    Returns
    -------
    u : Tensor of shape (k, w)
    multiplier : Tensor of shape (k,)

    Examples
    --------
    >>> import torch
    >>> zero, slope, aim = torch.zeros(1, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([2.5])
    >>> box = -torch.ones(1, 2), torch.ones(1, 2)
    >>> step_in_box(zero, zero, slope, torch.tensor([0.5]), aim, *box)
    (tensor([[0.5000, 1.0000]]), tensor([1.]))
    """
    u = torch.minimum(torch.maximum(ahead, low), high)
    missing = aim - (slope * (u - change)).sum(1)
    exact = ROUNDING * (1 + aim.abs())
    multiplier = torch.zeros_like(aim)
    open_ = missing > exact
    reach, squares = length[:, None] * slope, slope.square()
    v = ahead
    for _ in range(KINKS):
        if not bool(open_.any()):
            break
        rate = length * (squares * (u == v)).sum(1)
        if not bool((rate > 0).all()):
            # Where nothing moves yet: as if what will move did already.
            later = torch.where(slope > 0, v < high, v > low)
            rate = torch.where(rate > 0, rate, length * (squares * later).sum(1))
            open_ = open_ & (rate > 0)
        further = (multiplier + missing / rate).clamp_min(0)
        multiplier = torch.where(open_, further, multiplier)
        v = torch.addcmul(ahead, multiplier[:, None], reach)
        u = torch.minimum(torch.maximum(v, low), high)
        missing = aim - (slope * (u - change)).sum(1)
        open_ = open_ & (missing.abs() > exact)
    return u, multiplier


@dataclass(eq=False)
class _Roots:
    """Brackets of the multipliers of k rows.

    Parameters
    ----------
    rows : LongTensor of shape (k,)
        Which rows.
    trial : Tensor of shape (k,)
        Multiplier to try next.
    warm : BoolTensor of shape (k,)
        Whether the first trial is a guess that should be close.
    low, below, high, above : Tensor of shape (k,)
        Ends of the bracket, and what they gain beyond the aim.
    exact, slack : Tensor of shape (k,)
        Gain that is as good as none, and the gain beyond the aim that is close enough.
    open : BoolTensor of shape (k,)
        Rows that still search.
    """

    rows: torch.Tensor
    trial: torch.Tensor
    warm: torch.Tensor
    low: torch.Tensor
    below: torch.Tensor
    high: torch.Tensor
    above: torch.Tensor
    exact: torch.Tensor
    slack: torch.Tensor
    open: torch.Tensor

    @classmethod
    def of(
        cls,
        rows: torch.Tensor,
        guess: torch.Tensor,
        other: torch.Tensor,
        below: torch.Tensor,
        exact: torch.Tensor,
    ) -> _Roots:
        guess, other, below, exact = guess[rows], other[rows], below[rows], exact[rows]
        zero, warm = torch.zeros_like(guess), guess > 0
        return cls(
            rows,
            torch.where(warm, guess, other),
            warm,
            zero,
            below,
            torch.full_like(zero, torch.inf),
            zero,
            exact,
            -ENOUGH * below,
            torch.ones_like(warm),
        )

    def take(self, index: torch.Tensor) -> _Roots:
        """Return the brackets of some of the rows."""
        return _Roots(*(getattr(self, part.name)[index] for part in fields(self)))

    def least(self) -> torch.Tensor:
        """Return the least multipliers (k,) that gain enough; 0 where none did."""
        return torch.where(self.high < torch.inf, self.high, torch.zeros_like(self.high))

    def narrowed(self, got: torch.Tensor, turn: int) -> torch.Tensor:
        """Note what the trials gain beyond the aim; return where they are the best so far."""
        # A secant meets a linear gain exactly: which side rounding takes must not matter.
        enough = got >= -self.exact
        # Out of reach so far: go as far as was tried.
        take = self.open & (enough | (self.high == torch.inf))
        met, short = self.open & enough, self.open & ~enough
        self.high = torch.where(met, self.trial, self.high)
        self.above = torch.where(met, got, self.above)
        self.low = torch.where(short, self.trial, self.low)
        self.below = torch.where(short, got, self.below)
        bounded = self.high < torch.inf
        done = (enough & (got <= self.slack)) | (
            bounded & (self.high - self.low <= NARROW * self.high)
        )
        self.open = self.open & ~done
        secant = self.low - self.below * (self.high - self.low) / (
            self.above - self.below
        ).clamp_min(1e-300)
        inner = secant if turn % 2 == 0 else (self.low + self.high) / 2
        wider = 4 * self.trial
        if turn == 0:
            # Near a guess: the bracket is narrow at once where the guess is good.
            inner = torch.where(self.warm, self.trial / NEAR, inner)
            wider = torch.where(self.warm, self.trial * NEAR, wider)
        self.trial = torch.where(bounded, inner, wider)
        return take
