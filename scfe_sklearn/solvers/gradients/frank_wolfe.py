"""Auto-Frank-Wolfe: maximise over a convex set by linear oracles, with a step per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scfe_sklearn.solvers.gradients.best_point import BestPoint

FIRST_STEP = 0.75
RISES = 0.75
"""Least share of rising iterations of a window that keeps the step."""


@dataclass(frozen=True, eq=False)
class Ascent:
    """Result of an ascent: the best point of each row.

    Parameters
    ----------
    u : Tensor of shape (n, D)
    value : Tensor of shape (n,)
    n_evaluations : int
        Evaluations of every row.
    """

    u: Tensor
    value: Tensor
    n_evaluations: int


def checkpoints(n_iter: int) -> list[int]:
    """Return the iterations after which steps are reconsidered, as in Auto-PGD.

    Windows are 22 % of all iterations at first and shrink by 3 % each, down to 6 %.

    Examples
    --------
    >>> checkpoints(75)
    [16, 30, 42, 52, 60, 66, 70, 74]
    """
    window, shrink, least = (max(int(share * n_iter), 1) for share in (0.22, 0.03, 0.06))
    found: list[int] = []
    at = window
    while at <= n_iter:
        found.append(at)
        window = max(window - shrink, least)
        at += window
    return found


def auto_frank_wolfe(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
    lmo: Callable[[Tensor], Tensor],
    start: Tensor,
    n_iter: int = 75,
) -> Ascent:
    r"""Maximise a smooth function over a convex set.

    One iteration moves to :math:`(1 - \eta) u + \eta \, lmo(\nabla f(u))`. A row's step
    :math:`\eta`, 0.75 at first, is halved at a checkpoint [1]_ if too few of the last steps rose,
    or if the step was kept and the best value did not improve since the last checkpoint; the row
    then goes on from its best point. Rows do not see one another.

    Parameters
    ----------
    evaluate : callable
        Values (n,) and gradients (n, D) at points (n, D).
    lmo : callable
        argmax <c, u> over the set, for directions c (n, D).
    start : Tensor of shape (n, D)
        Points of the set.
    n_iter : int

    Returns
    -------
    Ascent

    References
    ----------
    .. [1] Boreiko, Augustin, Croce, Berens, Hein, "Sparse visual counterfactual explanations in
       image space", GCPR 2022.

    Examples
    --------
    >>> def evaluate(u):
    ...     return -(u - 0.25).square().sum(1), -2 * (u - 0.25)
    >>> ascent = auto_frank_wolfe(evaluate, torch.sign, torch.ones(1, 2))
    >>> bool(ascent.value > -1e-3)
    True
    """
    u = start
    value, gradient = evaluate(u)
    best = BestPoint(u, value, gradient)
    step = torch.full_like(value, FIRST_STEP)
    control = StepControl(value)
    stops = checkpoints(n_iter)
    for k in range(1, n_iter + 1):
        eta = step[:, None]
        u = (1 - eta) * u + eta * lmo(gradient)
        new, gradient = evaluate(u)
        control.saw(value, new)
        value = new
        best = best.after(u, value, gradient)
        if k in stops:
            halve = control.halve(best.value)
            step = torch.where(halve, step / 2, step)
            here = best.instead(halve, u, value, gradient)
            u, value, gradient = here.u, here.value, here.gradient
    return Ascent(best.u, best.value, n_iter + 1)


def best_of(ascend: Callable[[int], Ascent], n_starts: int) -> Ascent:
    """Return the best of each row over ``ascend(0)``, ..., ``ascend(n_starts - 1)``.

    Examples
    --------
    >>> def ascend(start):
    ...     return Ascent(torch.full((2, 1), float(start)), torch.tensor([1.0, -1.0]) * start, 5)
    >>> best = best_of(ascend, 3)
    >>> best.u.flatten().tolist(), best.n_evaluations
    ([2.0, 0.0], 15)
    """
    best = ascend(0)
    for start in range(1, n_starts):
        new = ascend(start)
        better = new.value > best.value
        best = Ascent(
            torch.where(better[:, None], new.u, best.u),
            torch.where(better, new.value, best.value),
            best.n_evaluations + new.n_evaluations,
        )
    return best


class StepControl:
    """The two tests of Auto-PGD per row: enough rising steps, and a better best value."""

    def __init__(self, value: Tensor) -> None:
        self._rises = torch.zeros_like(value)
        self._length = 0
        self._best = value
        # The first checkpoint has no earlier best value.
        self._halved = torch.ones_like(value, dtype=torch.bool)

    def saw(self, before: Tensor, after: Tensor) -> None:
        """Count an iteration."""
        self._rises = self._rises + (after > before)
        self._length += 1

    def halve(self, best: Tensor) -> Tensor:
        """Return whether rows need a shorter step, and begin the next window."""
        few = self._rises <= RISES * self._length
        stuck = ~self._halved & ~(best > self._best)
        self._halved = few | stuck
        self._best = best
        self._rises, self._length = torch.zeros_like(self._rises), 0
        return self._halved
