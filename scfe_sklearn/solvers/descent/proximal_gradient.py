"""Proximal gradient over all features: steps under a linearised margin, lengths from 1/2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.proximal import FeatureSets
from scfe_sklearn.solvers.descent.settings import GradientSettings
from scfe_sklearn.solvers.descent.state import Instances, Run, Search
from scfe_sklearn.solvers.starts import geometric, within

Prox = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]

ENOUGH = 0.02
"""Share of what is missing by which the margin may be overshot."""

ROUNDING = 1e-9
"""Gain, relative to the aim, that counts as rounding."""

NARROW = 1e-2
"""Relative width of a bracket in which the proximal map jumps."""

NEAR = 1.15
"""Factor by which the second trial differs from a guess."""

KINKS = 6
"""Steps of Newton's method inside a box at most."""

FULL = 0.75
"""Share of open rows below which finished rows are dropped from the batch."""

RESTING = 1e-4
"""Change of a coordinate below which two points are the same."""

LAST = 1e15
"""Sort key of runs without a valid point."""


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
    """Solve the step of `prox_linear_step` where g is a box.

    The linearised gain is piecewise linear in the multiplier. Newton's method finds it, in one
    step where no coordinate meets its bound.

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
class _Roots(RowBatch):
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


def descend(
    search: Search,
    z: torch.Tensor,
    settings: GradientSettings,
    fine: float,
    demand: float = 0.0,
    most: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cheapest valid points (n, S, D) on the ways from ``z`` (n, S, D), and costs.

    The starts are there once for each of the lengths of the steps. ``most`` (S,) limits the
    changes on each way, if given; a row's budget holds on all of them.

    After the steps in `settings.thinned` only the cheapest distinct runs of each row continue.
    Rows leave when all of their runs have stopped moving.
    """
    part = Instances.of(search, z)
    if most is not None:
        part = part.within(most.repeat(len(z)))
    # Runs from all starts with the first lengths, then with the next.
    lengths = torch.tensor(settings.lengths, dtype=z.dtype, device=z.device)
    lengths = lengths.repeat_interleave(z.shape[1] // len(lengths), 0).repeat(len(z), 1)
    first, last = lengths.T
    run = Run.of(part.changes(z))
    run.demand = demand * part.unit
    found, least = z.flatten(0, 1).clone(), run.least.clone()
    place = torch.arange(len(found), device=z.device)
    for step in range(settings.steps + 1):
        at = run.extrapolated() if settings.momentum else run.change
        here = part.evaluate(at, fine)
        if step:  # a start may break the budget or a rule
            run.keep(at, here)
        if step == settings.steps:
            break
        if step in settings.thinned:
            found[place], least[place] = part.points(run.best).flatten(0, 1), run.least
            keep = _remaining(run, settings.thinned[step], part.ways)
            if len(keep) == 0:
                return found.reshape(z.shape), least.reshape(z.shape[:2])
            place, here = place[keep.flatten()], here.take(keep.flatten())
            part, run, at = part.take(keep), run.take(keep.flatten()), at[keep.flatten()]
            first, last = first[keep.flatten()], last[keep.flatten()]
        share = step / max(settings.steps - 1, 1)
        length = first * (last / first) ** share
        run.limit(part, here)
        ahead = at - length[:, None] * (here.pull - run.price(part)[:, None] * here.lift)
        aim = part.short * geometric(settings.overshoot, share) - here.margin
        run.move(
            prox_linear_step(
                _Prox(part, length),
                at,
                ahead,
                here.slope,
                length,
                aim,
                run.pull,
                settings.multipliers,
            )
        )
    found[place], least[place] = part.points(run.best).flatten(0, 1), run.least
    return found.reshape(z.shape), least.reshape(z.shape[:2])


def _remaining(run: Run, count: int, ways: int) -> torch.Tensor:
    """Return the instances (m, K) that go on: the cheapest that differ, of rows that move."""
    change, least = (part.reshape(-1, ways, *part.shape[1:]) for part in (run.change, run.least))
    rest = (run.change - run.before).abs().amax(1).reshape(-1, ways) < RESTING
    same = (change[:, :, None] - change[:, None]).abs().amax(-1) < RESTING
    again = same.tril(-1).any(-1)
    # Runs without a valid point follow the others.
    order = torch.where(again, 2 * LAST, least.clamp(max=LAST))
    order = order.sort(dim=1, stable=True).indices[:, :count].sort(1).values
    moving = (~rest & ~again).gather(1, order).any(1).nonzero()[:, 0]
    return moving[:, None] * ways + order[moving]


@dataclass(eq=False)
class _Prox:
    """The proximal map of the price and the budget of changes, over the rules.

    What belongs to some of the rows is kept, since the same rows come many times.
    """

    part: Instances
    length: torch.Tensor
    rows: torch.Tensor | None = None

    def __post_init__(self) -> None:
        self.every = self._of(None)
        self.own = self.every

    def _of(self, rows: torch.Tensor | None) -> tuple[FeatureSets, torch.Tensor, torch.Tensor, Any]:
        """Return sets, lengths, prices and budgets of some rows."""
        problem, sets = self.part.problem, self.part.sets
        price, budget = problem.change_weight, within(problem)
        if rows is None:
            return sets, self.length, price, budget
        own = None if budget is None else budget[rows]
        return sets.take(rows), self.length[rows], price[rows], own

    def __call__(self, v: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """Return the proximal points of ``v`` (m, D)."""
        known = self.every
        if rows is not None:
            if self.rows is not rows:
                self.rows, self.own = rows, self._of(rows)
            known = self.own
        sets, length, price, budget = known
        return sets.prox(v, length, price, self.part.problem.exponent, budget)
