"""Accelerated proximal gradient for nonconvex composite problems, batched with per-row steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn.solvers.gradients.prox_linear import (
    NOISE,
    Evaluation,
    ProximalMap,
    Smooth,
    model_step,
)

FAIR = 0.05
"""Least gain of a step, per squared length divided by step length."""


@dataclass(frozen=True, eq=False)
class DescentResult:
    """Result of proximal gradient, one entry per row.

    Parameters
    ----------
    z : Tensor of shape (n, D)
        Points.
    value : Tensor of shape (n,)
        Objective h + g + gamma * hinge there.
    step : Tensor of shape (n,)
        Last step length; a warm start for the next run.
    gamma : Tensor of shape (n,)
        Weight of the hinge.
    multiplier : Tensor of shape (n,)
        Multiplier of the hinge in the last step, at most gamma.
    residual : Tensor of shape (n,)
        Certificate of criticality: length of the last proximal step divided by ``step``.
    n_iter : int
        Most iterations of a row.
    """

    z: torch.Tensor
    value: torch.Tensor
    step: torch.Tensor
    gamma: torch.Tensor
    multiplier: torch.Tensor
    residual: torch.Tensor
    n_iter: int

    def take(self, rows: torch.Tensor) -> DescentResult:
        """Return the result of some of the rows."""
        return DescentResult(
            self.z[rows],
            self.value[rows],
            self.step[rows],
            self.gamma[rows],
            self.multiplier[rows],
            self.residual[rows],
            self.n_iter,
        )


def accelerated_proximal_gradient(
    smooth: Smooth,
    prox: ProximalMap,
    start: torch.Tensor,
    *,
    step: torch.Tensor,
    gamma: torch.Tensor | None = None,
    max_iter: int = 200,
    tol: float = 1e-6,
    momentum: bool = True,
) -> DescentResult:
    r"""Minimise h + g + gamma * max(0, c - m) from ``start``, for each row of a batch.

    One iteration extrapolates to a point y and minimises there the model

    .. math::
        \langle \nabla h(y), u - y \rangle + \|u - y\|^2 / (2 s) + g(u)
        + \gamma \max(0,\; c - m(y) - \langle \nabla m(y), u - y \rangle),

    which is the proximal gradient step of h + g when there is no margin m. The hinge is kept
    whole and only the margin is linearised (the prox-linear step [3]_): u is the proximal
    point of g at :math:`y - s (\nabla h - \lambda \nabla m)` for the multiplier
    :math:`\lambda \in [0, \gamma]` that a scalar root search finds per row, so the trade-off
    between validity and the rest is solved in every step instead of being tuned.

    The step is kept where it decreases the objective; elsewhere the plain step from the last
    point is taken instead. That is the safeguard of Li and Lin [1]_, which makes every limit
    point of the accelerated method of Beck and Teboulle [2]_ critical without convexity. The
    step length of a row is halved until the model bounds the objective from above, and grows
    again slowly. Rows that stopped moving leave the batch.

    Parameters
    ----------
    smooth : callable
        Evaluates h and, if there is one, the margin.
    prox : callable
        Exact minimiser of ``1/2 ||u - v||^2 + step * g(u)`` and g there, in new tensors.
    start : Tensor of shape (n, D)
        Where to begin; made feasible by the proximal map.
    step : Tensor of shape (n,)
        First step lengths.
    gamma : Tensor of shape (n,) or None
        Weights of the hinge; None without a margin. They are raised where the multiplier
        reaches them and the margin is still missing.
    max_iter : int
        Iterations at most.
    tol : float
        A row stops when the length of its step, relative to ``1 + ||z||``, is below ``tol``.
    momentum : bool
        Whether to extrapolate. Without it, the step length follows the curvature that the last
        step met (Barzilai and Borwein [4]_) and an iteration costs one evaluation instead of
        two: the better choice for a handful of coordinates.

    Returns
    -------
    DescentResult
        Points whose objective is never above that of the feasible start.

    References
    ----------
    .. [1] Li, Lin. Accelerated proximal gradient methods for nonconvex programming. NeurIPS 2015.
    .. [2] Beck, Teboulle. A fast iterative shrinkage-thresholding algorithm. SIAM J. Imaging
       Sciences 2009.
    .. [3] Drusvyatskiy, Paquette. Efficiency of minimizing compositions of convex functions and
       smooth maps. Mathematical Programming 2019.
    .. [4] Barzilai, Borwein. Two-point step size gradient methods. IMA J. Numerical Analysis 1988.

    Examples
    --------
    >>> import torch
    >>> def smooth(z, rows):
    ...     return Evaluation(((z - 3) ** 2).sum(1), 2 * (z - 3))
    >>> def prox(v, step, rows):
    ...     return v.clamp(0, 1), torch.zeros(len(v))
    >>> run = accelerated_proximal_gradient(
    ...     smooth, prox, torch.zeros(1, 2), step=torch.full((1,), 0.5)
    ... )
    >>> run.z.tolist()
    [[1.0, 1.0]]
    """
    n = len(start)
    rows = torch.arange(n, device=start.device)
    gamma = torch.zeros_like(step) if gamma is None else gamma
    z, g = prox(start, step, rows)
    here = smooth(z, rows)
    state = _State(rows, z, z, g, here, step, gamma, torch.ones_like(step), torch.zeros_like(step))
    out = [z.clone(), here.merit(gamma) + g, step.clone(), gamma.clone(), torch.zeros_like(step)]
    residual = torch.full_like(step, torch.inf)
    iterate = _iterate if momentum else _iterate_plainly
    n_iter = 0
    while n_iter < max_iter and len(state.rows) > 0:
        n_iter += 1
        state, moved = iterate(smooth, prox, state)
        found = (
            state.z,
            state.here.merit(state.gamma) + state.g,
            state.step,
            state.gamma,
            state.multiplier,
        )
        for whole, part in zip(out, found, strict=True):
            whole[state.rows] = part
        residual[state.rows] = moved / state.step
        state = state.take(moved > tol * (1 + state.z.norm(dim=1)))
    z, value, step, gamma, multiplier = out
    return DescentResult(z, value, step, gamma, multiplier, residual, n_iter)


@dataclass(frozen=True, eq=False)
class _State:
    """State of the active rows: last two points, and the evaluation at the last."""

    rows: torch.Tensor
    z: torch.Tensor
    previous: torch.Tensor
    g: torch.Tensor
    here: Evaluation
    step: torch.Tensor
    gamma: torch.Tensor
    momentum: torch.Tensor
    multiplier: torch.Tensor

    def take(self, keep: torch.Tensor) -> _State:
        if bool(keep.all()):
            return self
        return _State(
            self.rows[keep],
            self.z[keep],
            self.previous[keep],
            self.g[keep],
            self.here.take(keep),
            self.step[keep],
            self.gamma[keep],
            self.momentum[keep],
            self.multiplier[keep],
        )


@dataclass(frozen=True, eq=False)
class _Trial:
    """A proximal step: the point, g, evaluation, step length and multiplier."""

    u: torch.Tensor
    g: torch.Tensor
    here: Evaluation
    step: torch.Tensor
    multiplier: torch.Tensor


def _iterate_plainly(
    smooth: Smooth, prox: ProximalMap, state: _State
) -> tuple[_State, torch.Tensor]:
    """Try one proximal step from the last point; the next one is shorter if it is rejected.

    Such a row waits for the next iteration instead of being evaluated again at once: small
    batches cost as much as large ones.
    """
    u, g, multiplier = model_step(prox, state.rows, state.z, state.here, state.step, state.gamma)
    trial = _Trial(u, g, smooth(u, state.rows), state.step, multiplier)
    value = state.here.merit(state.gamma) + state.g
    fine, shorter = _trust(trial, state.z, state.here, state.gamma, value)
    fine &= trial.here.merit(state.gamma) + trial.g <= value
    moved = (u - state.z).norm(dim=1)
    stay = _Trial(state.z, state.g, state.here, shorter, multiplier)
    following = torch.where(fine, _curvature_step(state, trial), shorter)
    trial = trial if bool(fine.all()) else _choose(fine, trial, stay)
    return _next(state, trial, following, state.momentum, moved, fine)


def _iterate(smooth: Smooth, prox: ProximalMap, state: _State) -> tuple[_State, torch.Tensor]:
    """Take one accelerated step with its safeguard; return the state and its length."""
    momentum = (1 + (1 + 4 * state.momentum**2).sqrt()) / 2
    weight = (state.momentum - 1) / momentum
    y, there, value = state.z, state.here, state.here.merit(state.gamma) + state.g
    if bool((weight > 0).any()):
        y = state.z + weight[:, None] * (state.z - state.previous)
        there = smooth(y, state.rows)
    trial = _backtrack(smooth, prox, state.rows, y, there, state.step, state.gamma, None)
    # Not the distance from the last point: a step may lead back there without its being critical.
    moved = torch.maximum((trial.u - state.z).norm(dim=1), (trial.u - y).norm(dim=1))
    worse = ~(trial.here.merit(state.gamma) + trial.g <= value)
    if bool(worse.any()):
        # The monitor: a plain proximal step from the last point, which always descends.
        bad = worse.nonzero()[:, 0]
        plain = _backtrack(
            smooth,
            prox,
            state.rows[bad],
            state.z[bad],
            state.here.take(bad),
            trial.step[bad],
            state.gamma[bad],
            value[bad],
        )
        better = plain.here.merit(state.gamma[bad]) + plain.g <= value[bad]
        moved[bad] = (plain.u - state.z[bad]).norm(dim=1)
        # Shorten the next step: rounding hides that this one violates the upper bound.
        stay = _Trial(
            state.z[bad], state.g[bad], state.here.take(bad), plain.step / 4, plain.multiplier
        )
        _put(trial, bad, _choose(better, plain, stay))
        momentum[bad] = 1.0
    return _next(state, trial, trial.step * 1.1, momentum, moved)


def _next(
    state: _State,
    trial: _Trial,
    step: torch.Tensor,
    momentum: torch.Tensor,
    moved: torch.Tensor,
    taken: torch.Tensor | None = None,
) -> tuple[_State, torch.Tensor]:
    """Return the state after a step, with the weight of the hinge raised if it is too small.

    The weight stays for rows whose step was not ``taken``; their next step is shorter.
    """
    gamma = state.gamma
    if trial.here.margin is not None:
        # The weight is too small if the margin is missed at the full multiplier.
        vain = (trial.multiplier >= gamma * (1 - 1e-9)) & (trial.here.margin < 0)
        vain = vain if taken is None else vain & taken
        gamma = torch.where(vain, 4 * gamma, gamma)
        moved = torch.where(vain, torch.full_like(moved, torch.inf), moved)
    after = _State(
        state.rows,
        trial.u,
        state.z,
        trial.g,
        trial.here,
        step,
        gamma,
        momentum,
        trial.multiplier,
    )
    return after, moved


def _curvature_step(state: _State, trial: _Trial) -> torch.Tensor:
    """Return the shorter step of Barzilai and Borwein; twice the last one if h is concave.

    A row that stayed where it was has met no curvature and keeps its step.
    """
    change = trial.u - state.z
    bend = trial.here.gradient - state.here.gradient
    step = (change * bend).sum(1) / (bend**2).sum(1)
    known = torch.isfinite(step) & (step > 0)
    other = torch.where((change != 0).any(1), 2 * trial.step, trial.step)
    return torch.where(known, torch.minimum(step, 10 * trial.step), other)


def _trust(
    trial: _Trial,
    y: torch.Tensor,
    there: Evaluation,
    gamma: torch.Tensor,
    value: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return whether a step from y is accepted, and the step length to try if not.

    The model must bound the objective from above, or, where the ``value`` at y is given, the
    step must decrease the objective by a fair share of its squared length.
    """
    change = trial.u - y
    square = (change**2).sum(1)
    quadratic = square / (2 * trial.step)
    bound = there.value + (there.gradient * change).sum(1) + quadratic
    if there.margin is not None and there.slope is not None:
        bound += gamma * (-there.margin - (there.slope * change).sum(1)).clamp_min(0)
    merit = trial.here.merit(gamma)
    # Below the noise of single precision the test is meaningless.
    fine = merit <= bound + NOISE * (1 + there.value.abs() + gamma)
    if value is not None:
        fine |= merit + trial.g <= value - FAIR * square / trial.step
    # The step at which the bound would hold with the curvature just seen, at most half.
    fitting = 0.9 * square / (2 * (merit - bound + quadratic))
    known = torch.isfinite(fitting) & (fitting > 0)
    shorter = torch.where(known, fitting, trial.step / 8).minimum(trial.step / 2)
    return fine, shorter


def _backtrack(
    smooth: Smooth,
    prox: ProximalMap,
    rows: torch.Tensor,
    y: torch.Tensor,
    there: Evaluation,
    step: torch.Tensor,
    gamma: torch.Tensor,
    value: torch.Tensor | None,
    max_halvings: int = 6,
) -> _Trial:
    """Proximal step from y, shortened per row until it is accepted."""
    step = step.clone()
    u, g, multiplier = model_step(prox, rows, y, there, step, gamma)
    trial = _Trial(u, g, smooth(u, rows), step, multiplier)
    for _ in range(max_halvings):
        fine, shorter = _trust(trial, y, there, gamma, value)
        if bool(fine.all()):
            break
        again = (~fine).nonzero()[:, 0]
        u, g, multiplier = model_step(
            prox, rows[again], y[again], there.take(again), shorter[again], gamma[again]
        )
        _put(trial, again, _Trial(u, g, smooth(u, rows[again]), shorter[again], multiplier))
    return trial


def _parts(trial: _Trial) -> list[torch.Tensor]:
    here = trial.here
    parts = [trial.u, trial.g, trial.step, trial.multiplier, here.value, here.gradient]
    if here.margin is not None and here.slope is not None:
        parts += [here.margin, here.slope]
    return parts


def _put(trial: _Trial, index: torch.Tensor, part: _Trial) -> None:
    """Overwrite some rows of a trial, whose tensors belong to this module."""
    for whole, new in zip(_parts(trial), _parts(part), strict=True):
        whole[index] = new


def _choose(first: torch.Tensor, a: _Trial, b: _Trial) -> _Trial:
    chosen = [
        torch.where(first.reshape(-1, *([1] * (x.dim() - 1))), x, y)
        for x, y in zip(_parts(a), _parts(b), strict=True)
    ]
    u, g, step, multiplier, value, gradient, *margin = chosen
    return _Trial(u, g, Evaluation(value, gradient, *margin), step, multiplier)
