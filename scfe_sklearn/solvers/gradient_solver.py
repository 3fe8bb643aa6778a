"""Proximal gradient from a few starts per row: survey, descend, settle, exchange, polish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from scfe_sklearn.solvers.problem import TOLERANCE, Moves, Pool, Problem, first_flagged
from scfe_sklearn.solvers.prox_linear_step import prox_linear_step
from scfe_sklearn.solvers.search_state import Instances, Run, Search
from scfe_sklearn.solvers.starts.anchors import Recall, hybrids, nearest_anchors, recall
from scfe_sklearn.solvers.starts.climbing import climb
from scfe_sklearn.solvers.starts.wide import feature_sets, within

Kind = tuple[torch.Tensor, torch.Tensor, Moves]
"""Rows (k,) that want one kind of answer, the training rows of that kind, and their moves."""

CLEARANCE = 1e-7
"""Margin above the floor that is aimed at in the end: answers are judged again, with rounding."""

BEYOND = 0.05
"""Share of the rest of the way by which a number goes beyond where the margin should be met."""

CORRECTIONS = 2
"""Last steps inside a support, which only meet the margin."""

FIRST_LENGTH = 0.25
"""First step length inside a support."""

LENGTHS = (1e-4, 2.0)
"""Least and largest step length inside a support."""

RESTING = 1e-5
"""Change of a number in one step below which a row is at rest."""

PAIRED = 48
"""Single changes per row of which any two are combined."""

CORNERS = 2
"""Numbers of which both neighbours on the lattice are tried."""

EXCHANGED = 2
"""Exchanges per row and round that are improved."""

SHARES = ((0.05, 0.1, 0.2, 0.35, 0.5), (0.01, 0.025))
"""Shares of a change by which it is lengthened and shortened, round by round."""

FINE = 3.0
"""What a unit of log-density below the limit costs until the end, in units of its price."""

RESTARTED = 3
"""Points per row that this begins with."""

STRICT = 30.0
"""The same where an answer within the limit is looked for."""

DEMANDED = 4.0
"""Multiplier of the limit that this begins with, in the same units."""

MOST_LIFT = 2.0
"""Plausibility that the slope may promise of an exchange at most."""


@dataclass(frozen=True)
class GradientSettings:
    """Lengths and widths of the steps.

    Parameters
    ----------
    moves : int
        Single changes per row that are tried on the model.
    singles : int
        Features per row whose best single change is looked at; the best two are starts.
    training_rows : int
        Nearest training rows of the target that are starts.
    points : int
        Training points around each centre that the density is computed from.
    steps : int
        Steps of proximal gradient over all features.
    length : tuple of (float, float)
        First and last length of these steps. At 1/2 the squared distance is minimised at once,
        so that the support is chosen anew; short steps keep it.
    overshoot : tuple of (float, float)
        Margin aimed at beyond the floor, as a share of what the factual is short of.
    multipliers : int
        Proximal points per step that the multiplier of the margin may cost.
    momentum : bool
        Whether to extrapolate, with restart where the objective grows.
    settled : int
        Points per row that are improved inside of their supports.
    settling : int
        Steps of that.
    exchanges : int
        Rounds of exchanging features.
    exchanged : int
        Exchanges per row and round that are tried on the model.
    polishing : int
        Rounds of single steps on the lattice.
    pool : int
        Points per row that are kept.
    """

    moves: int = 200
    singles: int = 5
    pairs: int = 16
    training_rows: int = 2
    points: int = 48
    steps: int = 20
    length: tuple[float, float] = (0.5, 0.1)
    overshoot: tuple[float, float] = (0.05, 0.005)
    multipliers: int = 8
    momentum: bool = False
    settled: int = 3
    settling: int = 8
    exchanges: int = 1
    exchanged: int = 24
    strict: int = 2
    polishing: int = 4
    pool: int = 16


def solve_by_gradient(
    problem: Problem, kinds: Sequence[Kind], baseline: torch.Tensor, settings: GradientSettings
) -> Pool:
    r"""Answer rows by proximal gradient from several starts, all features and rows at once.

    One step of length s from the change w goes to

    .. math::
        \arg\min_{u \in A} \; \tfrac12 \|u - w + s \nabla h(w)\|^2 + s \, g(u)
        \quad \text{s.t.} \quad m(w) + \langle \nabla m(w), u - w \rangle \ge c

    with h the squared distance minus the plausibility, g the penalty and budget of changed
    features, and A what the rules allow. For a given multiplier of the margin this is the
    proximal map of :class:`~scfe_sklearn.proximal.FeatureSets`; the multiplier is found per
    row. A limit of log-density has a multiplier as well, which follows its violation.

    Parameters
    ----------
    problem : Problem
        n rows; the objective must have gradients.
    kinds : sequence of (rows, anchors, moves)
        What is different for the rows of each kind of answer.
    baseline : Tensor of shape (n, D)
        Ends of the greedy baseline, starts among others.
    settings : GradientSettings
        Lengths and widths of the steps.

    Returns
    -------
    Pool
        Valid points, cheapest first; no point for a row that was not answered.
    """
    free = replace(problem, objective=problem.objective.unlimited())
    search, pool, starts = _survey(free, problem, kinds, baseline, settings)
    open_ = _open_rows(free, pool)
    if len(open_):
        z, cost = _descend(search.take(open_), starts[open_], settings, FINE)
        pool = pool.scattered(open_, pool.take(open_).merged(free.take(open_), z, cost))
    pool = _rescued(problem, pool, kinds, settings)
    search, pool = _improved(search, problem, kinds, pool, settings, FINE)
    strict = _repaired(search, problem, kinds, pool, baseline, settings)
    pool = _polish(search, strict, settings)
    return _exact(problem, pool, baseline)


def _repaired(
    search: Search,
    problem: Problem,
    kinds: Sequence[Kind],
    pool: Pool,
    baseline: torch.Tensor,
    settings: GradientSettings,
) -> Pool:
    """Return the points that meet their limits, searched again where the best one does not.

    The search begins with the points that miss the limit, with a multiplier of the limit.
    """
    strict = _ranked(search, pool)
    missed = (strict.best > pool.best + 1e-9).nonzero()[:, 0]
    if len(missed) == 0:
        return strict
    part, there, old = problem.take(missed), search.take(missed), pool.take(missed)
    own = [(_places(rows, missed), anchors, moves) for rows, anchors, moves in kinds]
    starts = torch.cat([old.z[:, :RESTARTED], baseline[missed, None]], 1)
    z, cost = _descend(there, starts, settings, STRICT, DEMANDED)
    found = _ranked(there, old, STRICT).merged(there.problem, z, cost)
    for _ in range(settings.strict):
        there, found = _improved(there, part, own, found, settings, STRICT)
    found = _ranked(there, found)
    both = strict.take(missed).merged(there.problem, found.z, found.cost)
    return strict.scattered(missed, both)


def _places(rows: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
    """Positions in ``picked`` of those of the rows that are in it."""
    return torch.isin(picked, rows).nonzero()[:, 0]


def _improved(
    search: Search,
    problem: Problem,
    kinds: Sequence[Kind],
    pool: Pool,
    settings: GradientSettings,
    fine: float,
) -> tuple[Search, Pool]:
    """Settle the best points of the pool, and exchange their features."""
    search = replace(search, near=problem.objective.neighbourhood(pool.z[:, :2], settings.points))
    pool = _ranked(search, pool, fine)
    pool = _settle(search, pool, settings.settled, settings, fine)
    for _ in range(settings.exchanges):
        others = _exchange(
            search, problem, kinds, pool, _wider(settings) if fine == STRICT else settings, fine
        )
        others = _settle(search, others, others.cost.shape[1], settings, fine)
        pool = pool.merged(search.problem, others.z, others.cost)
    return search, pool


def _wider(settings: GradientSettings) -> GradientSettings:
    return replace(settings, exchanged=3 * settings.exchanged)


def _ranked(search: Search, pool: Pool, fine: float = torch.inf) -> Pool:
    """Return the pool ranked by the densities near by; see `Search.cost`."""
    cost = search.cost(pool.z, pool.cost < torch.inf, fine)
    return Pool.of(search.problem, pool.z, cost, pool.cost.shape[1])


def _rescued(
    problem: Problem, pool: Pool, kinds: Sequence[Kind], settings: GradientSettings
) -> Pool:
    """Return the pool with answers from training rows and from single pushes where it has none."""
    for rows, anchors, moves in kinds:
        own = rows[pool.best[rows] == torch.inf]
        if len(own) == 0:
            continue
        part = replace(problem.take(own), moves=moves)
        found = recall(part, anchors, Recall(), settings.pool)
        left = (found.best == torch.inf).nonzero()[:, 0]
        if len(left):
            found = found.scattered(left, climb(part.take(left), settings.pool))
        pool = pool.scattered(own, found)
    return pool


def _exact(problem: Problem, pool: Pool, baseline: torch.Tensor) -> Pool:
    """Return the pool with its costs computed by the densities themselves.

    The baseline meets every limit, so that it is an answer where nothing else turned out as one.
    """
    z = torch.cat([pool.z, baseline[:, None]], 1)
    there = torch.cat([pool.cost < torch.inf, torch.ones_like(pool.cost[:, :1]) > 0], 1)
    changed = problem.domain.changed(z)
    there &= changed.any(-1) & (changed.sum(-1) <= problem.max_changes[:, None])
    valid, plausibility = problem.appraised(z, there)
    cost = torch.where(valid, problem.sparse_distance(z) - plausibility, torch.inf)
    return Pool.of(problem, z, cost, pool.cost.shape[1])


def _open_rows(problem: Problem, pool: Pool) -> torch.Tensor:
    """Rows (k,) for which two changes could cost less than the best single one."""
    everything = torch.arange(len(problem), device=pool.z.device)
    least = 2 * problem.least_change_price - problem.objective.best_plausibility(everything)
    return (pool.best > least).nonzero()[:, 0]


# -- Survey: the best single changes, and where to start ------------------------------------------


def _survey(
    problem: Problem,
    limited: Problem,
    kinds: Sequence[Kind],
    baseline: torch.Tensor,
    settings: GradientSettings,
) -> tuple[Search, Pool, torch.Tensor]:
    """Return the search, the valid ones of the starts and single changes, and the starts."""
    factual = problem.domain.factual
    margin = problem.margin(factual[:, None])[:, 0]
    listed = 3 * settings.singles + settings.pairs
    single = factual[:, None].repeat(1, listed, 1)
    valid = torch.zeros(single.shape[:2], dtype=torch.bool, device=factual.device)
    rows = factual[:, None].repeat(1, settings.training_rows, 1)
    for own, anchors, moves in kinds:
        part = replace(problem.take(own), moves=moves)
        z, good = _best_singles(part, margin[own], settings)
        single[own, : z.shape[1]], valid[own, : z.shape[1]] = z, good
        z = hybrids(part.domain, nearest_anchors(part.domain, anchors, settings.training_rows))
        rows[own, : z.shape[1]] = z
    points = torch.cat([baseline[:, None], single, rows], 1)
    there = torch.cat([problem.domain.changed(points[:, :1]).any(-1), valid], 1)
    there = torch.cat([there, problem.domain.changed(rows).any(-1)], 1)
    there &= problem.domain.changed(points).sum(-1) <= problem.max_changes[:, None]
    ours = torch.ones_like(there)
    ours[:, 1 : 1 + listed] = False
    there &= ~ours | problem.valid(points, there & ours)
    near = limited.objective.neighbourhood(baseline[:, None], settings.points)
    sets = feature_sets(problem.domain)
    search = Search(problem, sets, near, (problem.floor - margin).clamp_min(0))
    # The likely ones first; of the others those that could cost less than the best of these.
    likely = ours.clone()
    likely[:, 1 : 1 + settings.singles] = True
    cost = torch.where(there & likely, _priced(search, limited, points, there & likely), torch.inf)
    least = problem.objective.best_plausibility(torch.arange(len(factual), device=factual.device))
    could = problem.sparse_distance(points) - least[:, None] < cost.amin(1, keepdim=True)
    rest = there & ~likely & could
    cost = torch.where(rest, _priced(search, limited, points, rest), cost)
    pool = Pool.of(problem, points, cost, settings.pool)
    best = _cheapest(single, cost[:, 1 : 1 + listed], 2)
    starts = torch.cat([factual[:, None], baseline[:, None], best, rows], 1)
    first = torch.where(pool.cost[:, :1, None] < torch.inf, pool.z[:, :1], rows[:, :1])
    centres = torch.cat([first, baseline[:, None]], 1)
    return (
        replace(search, near=limited.objective.neighbourhood(centres, settings.points)),
        pool,
        starts,
    )


def _priced(search: Search, limited: Problem, z: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Objective (n, K) by the densities themselves, a missed limit at the price `FINE`."""
    return search.price_of(z, limited.objective.log_densities(z, where), FINE)


def _best_singles(
    problem: Problem, margin: torch.Tensor, settings: GradientSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Single changes (n, K, D), those of the most promising features first, and which are valid.

    A number is set to where the margin is met, by interpolation between the values tried.
    """
    moves, factual = problem.moves, problem.domain.factual
    if len(moves) == 0:
        return factual[:, None].repeat(1, 0, 1), torch.zeros(len(factual), 0, dtype=torch.bool)
    permitted = moves.permitted(problem.domain)
    price = problem.move_price(moves)
    listed = _promising(problem, permitted, price, margin, settings.moves)
    permitted, price = permitted.gather(1, listed), price.gather(1, listed)
    z = moves.apply(factual[:, None], listed)
    reached = problem.margin(z, permitted)
    valid = permitted & (reached >= problem.floor)
    nearer, saved = _crossings(problem, listed, valid, reached, margin)
    merit = torch.where(valid, price - saved, torch.inf)
    # Those that are no answers by what a unit of margin costs, after all that are.
    rate = price / (reached - margin[:, None]).clamp_min(1e-12)
    merit = torch.where(permitted & ~valid, 1e12 + rate.clamp_max(1e12), merit)
    feature = moves.group[listed]
    least = merit.new_full((len(z), problem.domain.n_features), torch.inf)
    least = least.scatter_reduce(1, feature, merit, "amin")
    first = merit <= least.gather(1, feature)
    order = _least(torch.where(first, merit, torch.inf), settings.singles)
    rest = _least(torch.where(valid, price, torch.inf), 2 * settings.singles)
    moved = _picked(z, order).scatter(
        2,
        moves.coordinate[listed.gather(1, order)][..., None],
        nearer.gather(1, order)[..., None],
    )
    index = torch.arange(len(z), device=z.device).repeat_interleave(order.shape[1])
    moved = problem.domain.take(index).snap(moved.flatten(0, 1)).reshape(moved.shape)
    met = problem.valid(moved, valid.gather(1, order))
    moved = torch.where(met[..., None], moved, _picked(z, order))
    gain = torch.where(permitted, reached - margin[:, None], 0.0)
    pairs, good = _best_pairs(problem, listed, gain, price, margin, settings)
    return torch.cat([moved, _picked(z, rest), pairs], 1), torch.cat(
        [valid.gather(1, order), valid.gather(1, rest), good], 1
    )


def _best_pairs(
    problem: Problem,
    listed: torch.Tensor,
    gain: torch.Tensor,
    price: torch.Tensor,
    margin: torch.Tensor,
    settings: GradientSettings,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two changes at once (n, K, D), the cheapest of every two features, and which are valid.

    The margin of two changes is predicted as the sum of what each gains; the cheapest that
    should be valid are tried.
    """
    moves, domain = problem.moves, problem.domain
    count = settings.pairs if bool((problem.max_changes > 1).any()) else 0
    if count == 0:
        return domain.factual[:, None].repeat(1, 0, 1), gain[:, :0] > 0
    best = _least(torch.where(gain > 0, price / gain.clamp_min(1e-12), torch.inf), PAIRED)
    listed, gain, price = (part.gather(1, best) for part in (listed, gain, price))
    first, second = torch.triu_indices(best.shape[1], best.shape[1], 1, device=best.device)
    feature = moves.group[listed]
    one, other = feature[:, first], feature[:, second]
    reached = margin[:, None] + gain[:, first] + gain[:, second]
    cost = price[:, first] + price[:, second]
    fits = (one != other) & (gain[:, first] > 0) & (gain[:, second] > 0)
    cost = torch.where(fits & (reached >= problem.floor), cost, torch.inf)
    both = torch.minimum(one, other) * domain.n_features + torch.maximum(one, other)
    least = cost.new_full((len(cost), domain.n_features**2), torch.inf)
    least = least.scatter_reduce(1, both, cost, "amin")
    cost = torch.where(cost <= least.gather(1, both), cost, torch.inf)
    order = _least(cost, count)
    z = moves.apply(domain.factual[:, None], listed.gather(1, first[order]))
    z = moves.apply(z, listed.gather(1, second[order]))
    there = (cost.gather(1, order) < torch.inf) & (problem.max_changes > 1)[:, None]
    return z, problem.valid(z, there)


def _crossings(
    problem: Problem,
    listed: torch.Tensor,
    valid: torch.Tensor,
    reached: torch.Tensor,
    margin: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (n, K) on the way to valid moves where the margin is met, and what they save.

    The way begins at the factual value, or at the move before, if that is on it.
    """
    moves, domain = problem.moves, problem.domain
    coordinate, value = moves.coordinate[listed], moves.value[listed]
    origin = domain.factual.gather(1, coordinate)
    start, before = origin, margin[:, None].expand_as(reached)
    for shift in (1, -1):
        other, got = value.roll(shift, 1), reached.roll(shift, 1)
        between = (other - origin) * (other - value) < 0
        between &= (coordinate.roll(shift, 1) == coordinate) & (got < problem.floor)
        start, before = torch.where(between, other, start), torch.where(between, got, before)
    share = (problem.floor - before) / (reached - before).clamp_min(1e-12)
    share = (share + BEYOND * (1 - share)).clamp(0, 1)
    nearer = torch.where(domain.scalar[coordinate] & valid, start + share * (value - start), value)
    saved = (value - origin).square() - (nearer - origin).square()
    saved = saved * domain.scalar[coordinate]
    if problem.cost is not None:
        saved = saved * problem.cost.gather(1, moves.group[listed])
    return nearer, torch.where(valid, saved, torch.zeros_like(saved))


def _least(values: torch.Tensor, count: int) -> torch.Tensor:
    """Positions (n, K) of the least values of each row."""
    return values.topk(min(count, values.shape[1]), dim=1, largest=False).indices


def _promising(
    problem: Problem,
    permitted: torch.Tensor,
    price: torch.Tensor,
    margin: torch.Tensor,
    count: int,
) -> torch.Tensor:
    """Positions (n, K) of the moves that are tried: all, or the best by the margin's slope."""
    moves, factual = problem.moves, problem.domain.factual
    if len(moves) <= count:
        return torch.arange(len(moves), device=factual.device).expand(len(factual), -1)
    _, slope = problem.objective.margin_and_grad(factual)
    gain = moves.effect(slope, factual).clamp_min(1e-12)
    missing = (problem.floor - margin).clamp_min(0)[:, None]
    merit = price * torch.maximum(missing / gain, torch.ones_like(gain))
    return torch.where(permitted, merit, torch.inf).topk(count, dim=1, largest=False).indices


# -- Descent: proximal gradient over all features -------------------------------------------------


def _descend(
    search: Search,
    z: torch.Tensor,
    settings: GradientSettings,
    fine: float,
    demand: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cheapest valid points (n, S, D) on the ways from ``z`` (n, S, D), and costs."""
    part = Instances.of(search, z)
    budget, price = within(part.problem), part.problem.change_weight
    exponent = part.problem.exponent
    run = Run.of(part.changes(z))
    run.demand = demand * part.unit
    for step in range(settings.steps + 1):
        at = run.extrapolated() if settings.momentum else run.change
        here = part.evaluate(at, fine)
        run.keep(at, here)
        if step == settings.steps:
            break
        share = step / max(settings.steps - 1, 1)
        length = _between(settings.length, share)
        run.limit(part, here)
        ahead = at - length * (here.pull - run.price(part)[:, None] * here.lift)
        aim = part.short * _between(settings.overshoot, share) - here.margin

        def prox(v: torch.Tensor, length: float = length) -> torch.Tensor:
            return part.sets.prox(v, length, price, exponent, budget)

        run.move(
            prox_linear_step(
                prox, at, ahead, here.slope, length, aim, run.pull, settings.multipliers
            )
        )
    return part.points(run.best), run.least.reshape(z.shape[:2])


def _between(ends: tuple[float, float], share: float) -> float:
    """Geometric interpolation."""
    return ends[0] * (ends[1] / ends[0]) ** share


# -- Settling: inside of the supports, then onto the lattice --------------------------------------


def _settle(
    search: Search, pool: Pool, count: int, settings: GradientSettings, fine: float
) -> Pool:
    """Return the pool after proximal gradient inside the supports of its first points.

    Numbers that change are free in their intervals and leave their lattices for the time being;
    the step length follows the curvature that the last step met (Barzilai and Borwein). The
    last steps only meet the margin. Then the numbers return to their lattices, to the nearest
    point and to those on either side that the margin favours.
    """
    z, there = pool.z[:, :count], pool.cost[:, :count] < torch.inf
    part = Instances.of(search, z)
    domain = part.problem.domain
    start = part.changes(z)
    moving = (start.abs() > TOLERANCE) & domain.scalar
    low = torch.where(moving, domain.lower - domain.factual, start)
    high = torch.where(moving, domain.upper - domain.factual, start)
    run = Run.of(start)
    length = torch.full_like(part.short, FIRST_LENGTH)
    before = None

    def prox(v: torch.Tensor) -> torch.Tensor:
        return torch.minimum(torch.maximum(v, low), high)

    total = settings.settling + CORRECTIONS
    for step in range(total + 1):
        here = part.evaluate(run.change, fine).along(moving)
        run.keep(run.change, here)
        if step == total:
            break
        if step < settings.settling:
            run.limit(part, here)
            gradient = here.pull - run.price(part)[:, None] * here.lift
            if before is not None:
                length = _curvature_length(length, run.change - before[0], gradient - before[1])
            before = (run.change, gradient)
            ahead = run.change - length[:, None] * gradient
        else:
            # The nearest change that meets the margin, and the limit where that is missed more.
            ahead = run.change
            run.pull = torch.zeros_like(run.pull)
        # Beyond the floor by more than rounding, which must not decide what is valid.
        aim = CLEARANCE * (1 + part.short) - here.margin
        run.move(
            prox_linear_step(
                prox, run.change, ahead, here.slope, length, aim, run.pull, settings.multipliers
            )
        )
    found = part.points(torch.where(run.least[:, None] < torch.inf, run.best, start))
    points = _on_lattice(search.problem, found, part.points(start), here.slope.reshape(z.shape))
    asked = there.repeat(1, points.shape[1] // z.shape[1])
    return pool.merged(search.problem, points, search.cost(points, asked, fine))


def _curvature_length(
    length: torch.Tensor, change: torch.Tensor, bend: torch.Tensor
) -> torch.Tensor:
    """Return the shorter step length of Barzilai and Borwein; the last one where h is concave."""
    found = (change * bend).sum(1) / bend.square().sum(1)
    # The bend of a step that short is rounding.
    known = torch.isfinite(found) & (found > 0) & (change.abs().amax(1) > RESTING)
    return torch.where(known, torch.minimum(found, 4 * length).clamp(*LENGTHS), length)


def _on_lattice(
    problem: Problem, z: torch.Tensor, start: torch.Tensor, slope: torch.Tensor
) -> torch.Tensor:
    """Return points on the lattice (n, P K, D) around relaxed points ``z`` (n, K, D)."""
    domain = problem.domain
    moved = ((start - domain.factual[:, None]).abs() > TOLERANCE) & domain.scalar
    gridded = moved & (domain.step > 0)
    if not bool(gridded.any()):
        return z
    half = (0.5 - 1e-6) * domain.step * gridded
    uphill = z + half * torch.sign(slope)
    # All corners around the numbers with the coarsest lattices.
    width = min(int(gridded.sum(-1).max()), CORNERS)
    coarse = (domain.step * gridded).topk(width, dim=-1)
    found = [z, uphill]
    for corner in range(2**width):
        sign = [1.0 if corner >> k & 1 else -1.0 for k in range(width)]
        shift = coarse.values * torch.tensor(sign, dtype=z.dtype, device=z.device)
        found.append(uphill.scatter(-1, coarse.indices, z.gather(-1, coarse.indices) + shift * 0.5))
    points = torch.cat(found, 1)
    index = torch.arange(len(z), device=z.device).repeat_interleave(points.shape[1])
    return domain.take(index).snap(points.flatten(0, 1)).reshape(points.shape)


# -- Exchange: one changed feature for another ----------------------------------------------------


def _exchange(
    search: Search,
    limited: Problem,
    kinds: Sequence[Kind],
    pool: Pool,
    settings: GradientSettings,
    fine: float,
) -> Pool:
    """Return points one exchange away from the best of each row: one undone, one set anew.

    What an exchange does to margin and plausibility is predicted by their slopes at the best
    point; those that promise most are tried on the model.
    """
    problem = search.problem
    out = Pool.empty(problem, EXCHANGED)
    best = pool.z[:, 0]
    margin, slope = problem.objective.margin_and_grad(best)
    density, lift = search.near.log_density_and_grad(best[:, None])
    value, rise = density * search.near.weight[:, None], lift[:, 0] * search.near.weight[:, None]
    for rows, _, moves in kinds:
        own = rows[pool.best[rows] < torch.inf]
        if len(moves) == 0 or len(own) == 0:
            continue
        part = replace(problem.take(own), moves=moves)
        here = _Linear(best[own], margin[own], slope[own], value[own, 0], rise[own])
        trial, promising = _exchanges(part, here, settings)
        there = search.take(own)
        if fine == STRICT:
            could = there.problem.sparse_distance(trial) - there.ceiling[:, None]
            promising &= could < pool.best[own, None]
            promising &= there.problem.valid(trial, promising)
            density = limited.take(own).objective.log_densities(trial, promising)
            cost = torch.where(promising, there.price_of(trial, density, fine), torch.inf)
        else:
            cost = there.cost(trial, promising, fine)
        out = out.scattered(own, Pool.of(part, trial, cost, EXCHANGED))
    return out


@dataclass(frozen=True, eq=False)
class _Linear:
    """Points (k, D), their margins and plausibilities (k,) and the slopes of both (k, D)."""

    z: torch.Tensor
    margin: torch.Tensor
    slope: torch.Tensor
    plausibility: torch.Tensor
    lift: torch.Tensor

    def after(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict margin and plausibility (k, K) at points ``z`` (k, K, D)."""
        change = z - self.z[:, None]
        margin = self.margin[:, None] + (change @ self.slope[..., None])[..., 0]
        return margin, self.plausibility[:, None] + (change @ self.lift[..., None])[..., 0]


def _exchanges(
    problem: Problem, here: _Linear, settings: GradientSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """The most promising exchanges (k, K, D) at points of k rows, and which of them are some."""
    domain, moves = problem.domain, problem.moves
    changed = domain.changed(here.z[:, None])[:, 0]
    width = int(changed.sum(1).max())
    there, feature = first_flagged(changed, width)
    less = torch.where(
        domain.groups == feature[..., None], domain.factual[:, None], here.z[:, None]
    )
    # Nothing undone comes first: one more change.
    less = torch.cat([here.z[:, None], less], 1)
    there = torch.cat([torch.ones_like(there[:, :1]), there], 1)
    undone = torch.cat([torch.full_like(feature[:, :1], -1), feature], 1)
    margin, plausibility = here.after(less)
    price = problem.sparse_distance(less)
    gain = moves.effect(here.slope, domain.factual)
    lift = moves.effect(here.lift, domain.factual).clamp_max(MOST_LIFT)
    cost = (price - plausibility)[..., None] + (problem.move_price(moves) - lift)[:, None]
    missing = problem.floor - (margin[..., None] + gain[:, None])
    # A slope is no more than a hint: what misses the margin by little is tried as well.
    lost = problem.sparse_distance(here.z[:, None])[..., None] / (
        problem.floor - problem.margin(domain.factual[:, None])[..., None]
    ).clamp_min(1e-6)
    score = cost + 2 * lost * missing.clamp_min(0)
    fits = ~changed[:, None, :] | (undone[..., None] == torch.arange(changed.shape[1]))
    may = there[..., None] & moves.permitted(domain)[:, None] & fits[..., moves.group]
    count = changed.sum(1)[:, None] + (undone < 0).long()
    may &= (count <= problem.max_changes[:, None])[..., None]
    # To undo a change and set none.
    alone = price - plausibility + 2 * lost[..., 0] * (problem.floor - margin).clamp_min(0)
    alone = torch.where(there & (undone >= 0), alone, torch.inf)
    score = torch.cat([torch.where(may, score, torch.inf).flatten(1), alone], 1)
    best = score.topk(min(settings.exchanged, score.shape[1]), dim=1, largest=False)
    several = less.shape[1] * len(moves)
    drop = torch.where(best.indices < several, best.indices // len(moves), best.indices - several)
    base = _picked(less, drop)
    trial = moves.apply(base, best.indices.clamp_max(several - 1) % len(moves))
    trial = torch.where((best.indices < several)[..., None], trial, base)
    return trial, best.values < torch.inf


# -- Polishing: single steps on the lattice -------------------------------------------------------


def _polish(search: Search, pool: Pool, settings: GradientSettings) -> Pool:
    """Return the pool after small changes of the numbers of its best points, and undone changes.

    Plausibility has kinks and peaks along a number that no slope tells of: shares of the change
    are tried first, then single steps on the lattice as long as they help.
    """
    active = (pool.best < torch.inf).nonzero()[:, 0]
    for turn in range(settings.polishing):
        if len(active) == 0:
            break
        part, now = search.take(active), pool.take(active)
        shares = SHARES[turn] if turn < len(SHARES) else ()
        trial, there = _neighbours(part.problem, now.z[:, 0], shares)
        found = now.merged(part.problem, trial, part.cost(trial, there))
        pool = pool.scattered(active, found)
        if turn >= len(SHARES):
            active = active[found.best < now.best - 1e-9]
    return pool


def _neighbours(
    problem: Problem, z: torch.Tensor, shares: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (k, K, D) with one number of ``z`` (k, D) set anew, or one change undone.

    A number moves by shares of its change, and by a step of its lattice.
    """
    domain = problem.domain
    moved = ((z - domain.factual).abs() > TOLERANCE) & domain.scalar
    width = max(int(moved.sum(1).max()), 1)
    there, number = first_flagged(moved, width)
    offset, step = (z - domain.factual).gather(1, number), domain.step[number]
    shifts = [sign * share * offset for share in shares for sign in (1, -1)]
    shifts += [sign * step * torch.sign(offset) for sign in (1, -1)]
    shift = torch.stack(shifts, 1)
    one = z[:, None, None].expand(-1, len(shifts), width, -1)
    one = one.scatter_add(3, number[:, None, :, None].expand(*shift.shape, 1), shift[..., None])
    flags = there[:, None] & (shift.abs() > TOLERANCE)
    changed = domain.changed(z[:, None])[:, 0]
    there, feature = first_flagged(changed, max(int(changed.sum(1).max()), 1))
    less = torch.where(domain.groups == feature[..., None], domain.factual[:, None], z[:, None])
    trial = torch.cat([one.flatten(1, 2), less], 1)
    index = torch.arange(len(z), device=z.device).repeat_interleave(trial.shape[1])
    trial = domain.take(index).snap(trial.flatten(0, 1)).reshape(trial.shape)
    return trial, torch.cat([flags.flatten(1), there], 1)


def _picked(z: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    return z.gather(1, order[..., None].expand(-1, -1, z.shape[2]))


def _cheapest(z: torch.Tensor, cost: torch.Tensor, count: int) -> torch.Tensor:
    """Return the ``count`` cheapest points of each row."""
    return _picked(z, cost.topk(min(count, cost.shape[1]), dim=1, largest=False).indices)
