"""Descent over all features at once, for rows with too many of them to try single moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from scfe_sklearn.proximal.feature_sets import FeatureSets
from scfe_sklearn.proximal.own_sets import INTERVAL, VERTICES
from scfe_sklearn.solvers.problem import VERTEX, Domain, Pool, Problem
from scfe_sklearn.solvers.starts.reach import ReachSettings, reach

EVALUATIONS = 12
"""Multipliers that are tried in a step at most."""


@dataclass(frozen=True)
class StrideSettings:
    """Schedule of a descent; every quantity falls geometrically from first to last value.

    Parameters
    ----------
    count : int
        Number of steps.
    length : tuple of (float, float)
        Step lengths. At 1/2 the squared distance is minimised at once, which frees the support;
        short steps keep it.
    overshoot : tuple of (float, float)
        Aim above the least margin, as a share of the margin that the factual lacks.
    """

    count: int = 60
    length: tuple[float, float] = (0.5, 0.003)
    overshoot: tuple[float, float] = (0.05, 0.005)


@dataclass(frozen=True)
class WideSettings:
    """Settings of `descend_wide`.

    Parameters
    ----------
    first : StrideSettings
        Descent from the factual.
    reach : ReachSettings
        Search for a valid point if the descent finds none.
    again : StrideSettings
        Descent from that point.
    """

    first: StrideSettings = field(default_factory=StrideSettings)
    reach: ReachSettings = field(default_factory=ReachSettings)
    again: StrideSettings = field(
        default_factory=lambda: StrideSettings(40, length=(0.25, 0.003), overshoot=(0.02, 0.005))
    )


def descend_wide(
    problem: Problem, anchors: torch.Tensor, settings: WideSettings, size: int
) -> Pool:
    r"""Choose support and values together, by steps that meet the linearised margin exactly.

    One step of length s from w, the change so far, goes to

    .. math::
        \arg\min_u \; \tfrac12 \|u - w + s \nabla h(w)\|^2
        + s \beta \,\#\{\text{changed features of } u\}
        \quad \text{s.t.} \quad m(w) + \langle \nabla m(w), u - w \rangle \ge c,

    over the admissible changes within the budget, with h the squared distance minus the
    plausibility. For a multiplier of the margin, which a root search finds per row, it is a
    projection (:class:`FeatureSets`). With s = 1/2 and without plausibility it is the cheapest
    change by the present gradient, and the support is free. As s falls, the row converges.
    There is no line search: the result is the cheapest valid point of all steps. Rows without
    one search for a valid point (`reach`) and descend from it.

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    anchors : Tensor of shape (T, D)
        Training rows that are predicted to have the target: starts of last resort.
    settings : WideSettings
        Settings.
    size : int
        Size of the pool that is returned.

    Returns
    -------
    Pool
        At most two valid points a row within the budget.
    """
    pool = Pool.empty(problem, size)
    if len(problem) == 0:
        return pool
    sets, factual = feature_sets(problem.domain), problem.domain.factual
    margin = problem.margin(factual[:, None])[:, 0]
    shortfall = (problem.floor - margin).clamp_min(0)
    pool = _judged(problem, pool, _descend(problem, sets, factual, shortfall, settings.first))
    missing = (pool.best == torch.inf).nonzero()[:, 0]
    if len(missing):
        part, some = problem.take(missing), sets.take(missing)
        start = reach(part, some, anchors, settings.reach)
        own = _judged(part, Pool.empty(part, size), start)
        valid = (own.best < torch.inf).nonzero()[:, 0]
        if len(valid):
            part, some, own = (
                part.take(valid),
                some.take(valid),
                Pool(own.z[valid], own.cost[valid]),
            )
            missing = missing[valid]
            z = _descend(part, some, start[valid], shortfall[missing], settings.again)
            pool = pool.scattered(missing, _judged(part, own, z))
    return pool


def _judged(problem: Problem, pool: Pool, z: torch.Tensor) -> Pool:
    """Return the pool after the points ``z`` (n, D) that are valid and within the budget."""
    found = z[:, None]
    valid = problem.margin(found) >= problem.floor
    valid &= problem.domain.changed(found).sum(-1) <= problem.max_changes[:, None]
    cost = problem.sparse_distance(found) - problem.plausibility(found, valid)
    return pool.merged(problem, found, torch.where(valid, cost, torch.full_like(cost, torch.inf)))


def _descend(
    problem: Problem,
    sets: FeatureSets,
    z: torch.Tensor,
    shortfall: torch.Tensor,
    strides: StrideSettings,
) -> torch.Tensor:
    """Return the cheapest valid point of a descent from ``z`` (n, D), or the last point.

    ``shortfall`` (n,) is the margin that the factual lacks: the scale of the overshoot.
    """
    factual = problem.domain.factual
    everything = torch.arange(len(z), device=z.device)
    support = torch.arange(z.shape[1], device=z.device).expand_as(z)
    around = problem.objective.around(factual, support)
    change, pull = z - factual, torch.zeros_like(shortfall)
    best, least = z, torch.full_like(shortfall, torch.inf)
    for stride in range(strides.count + 1):
        point = factual + change
        margin, slope = problem.objective.margin_and_grad(point)
        plausibility, lift = around.value_and_grad(change, everything)
        cost = problem.sparse_distance(point[:, None])[:, 0] - plausibility
        better = (margin >= problem.floor) & (cost < least)
        least = torch.where(better, cost, least)
        best = torch.where((better | (least == torch.inf))[:, None], point, best)
        if stride == strides.count:
            break
        share = stride / max(strides.count - 1, 1)
        length = geometric(strides.length, share)
        aim = problem.floor + shortfall * geometric(strides.overshoot, share) - margin
        ahead = change - length * (2 * change - lift)
        change, pull = _stride(problem, sets, change, ahead, length, slope, aim, pull)
    return best


def geometric(ends: tuple[float, float], share: float) -> float:
    """Interpolate between two positive ends by powers."""
    return ends[0] * (ends[1] / ends[0]) ** share


def _stride(
    problem: Problem,
    sets: FeatureSets,
    change: torch.Tensor,
    ahead: torch.Tensor,
    length: float,
    slope: torch.Tensor,
    aim: torch.Tensor,
    pull: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Project ``ahead`` (n, D) onto the admissible points that gain ``aim`` (n,) by ``slope``.

    Returns the point and the multiplier of the gain; ``pull`` is a guess of it, 0 for none. Where
    the gain is out of reach the point of the largest multiplier tried is returned.
    """
    budget = within(problem)
    price = problem.change_weight

    def at(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        v = ahead + (length * weight)[:, None] * slope
        u = sets.prox(v, length, price, problem.exponent, budget)
        return u, (slope * (u - change)).sum(1) - aim

    zero = torch.zeros_like(aim)
    out, below = at(zero)
    wanting = below < 0
    if not bool(wanting.any()):
        return out, zero
    low, high, above = zero, torch.full_like(aim, torch.inf), zero
    slack = -0.02 * below
    newton = -below / (length * (slope**2).sum(1)).clamp_min(1e-12)
    trial = torch.where(pull > 0, pull, 2 * newton)
    for k in range(EVALUATIONS):
        u, got = at(trial)
        enough = got >= 0
        # Not reached: use the largest multiplier tried.
        take = wanting & (enough | (high == torch.inf))
        out = torch.where(take[:, None], u, out)
        high, above = torch.where(enough, trial, high), torch.where(enough, got, above)
        low, below = torch.where(enough, low, trial), torch.where(enough, below, got)
        bounded = high < torch.inf
        wanting = wanting & ~(enough & (got <= slack)) & ~(bounded & (high - low <= 1e-4 * high))
        if not bool(wanting.any()):
            break
        # Support changes make the gain jump: false position and halving take turns.
        secant = low - below * (high - low) / (above - below).clamp_min(1e-300)
        inner = secant if k % 2 == 0 else (low + high) / 2
        trial = torch.where(wanting, torch.where(bounded, inner, 4 * trial), trial)
    return out, torch.where(high < torch.inf, high, zero)


def within(problem: Problem) -> torch.Tensor | None:
    """Budget of each row for the proximal layer; None if no budget binds."""
    free = bool((problem.max_changes >= problem.domain.n_features).all())
    return None if free else problem.max_changes


def feature_sets(domain: Domain) -> FeatureSets:
    """Build the admissible sets of the features for the proximal layer."""
    first = torch.cat([domain.groups.new_ones(1), domain.groups.diff()]) > 0
    vertices = ~domain.scalar[first]
    return FeatureSets(
        domain.groups,
        kinds=torch.where(vertices, VERTICES, INTERVAL),
        lower=domain.lower,
        upper=domain.upper,
        step=domain.step if bool((domain.step > 0).any()) else None,
        offset=domain.offset,
        allowed=domain.allowed,
        origin=domain.factual,
        radius=VERTEX,
    )


def too_wide(problem: Problem, limit: int = 400_000) -> bool:
    """Return whether trying every move of a row takes too much memory."""
    return len(problem.moves) * problem.domain.factual.shape[1] > limit
