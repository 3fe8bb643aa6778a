"""All single changes, all pairs of changes on a grid, and ascents of the margin."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn._utils import RowBatch, first_flagged
from scfe_sklearn.solvers.fallback.ledger import COORDINATES, Ledger, with_value
from scfe_sklearn.solvers.fallback.lines import Columns, chosen, close_in, peaks
from scfe_sklearn.solvers.problem import TOLERANCE, VERTEX, Problem

LEAST = 3
"""Least number of values of a feature on the grid of pairs."""

FOCUS = 64
"""Most features that an ascent may change: those with the largest single margins."""

COARSE = 12
"""Training values of a number that an ascent tries."""


@dataclass(frozen=True)
class FallbackSettings:
    """Limits of the systematic search: evaluated points per row, about.

    Parameters
    ----------
    singles : int
        Single changes.
    pairs : int
        Pairs of changes.
    copies : int
        Training rows from which features are copied one by one.
    starts : int
        Points from which the margin is raised change by change.
    steps : int
        Changes of each of these.
    brackets : int
        Intervals of one number that are divided together.
    inner : int
        Values that divide an interval.
    rounds : int
        Divisions of an interval.
    wide : int
        The same for more than 64 features.
    """

    singles: int = 4096
    pairs: int = 4096
    copies: int = 12
    starts: int = 2
    steps: int = 6
    brackets: int = 24
    inner: int = 7
    rounds: int = 8
    wide: int = 3

    def divisions(self, problem: Problem) -> int:
        """Return the number of divisions of an interval."""
        return self.rounds if problem.domain.n_features <= FOCUS else self.wide


@dataclass(frozen=True, eq=False)
class Swept(RowBatch):
    """Margins of all single changes of n points.

    Parameters
    ----------
    coordinate : LongTensor of shape (S,)
        The coordinate of each line.
    value, margin : Tensor of shape (n, S, P)
        Values in rising order, padded with infinity, and the margins there.
    level : LongTensor of shape (L,)
        Coordinates of levels.
    entered : Tensor of shape (n, L)
        Margins after entering each level; minus infinity where that is not permitted.
    """

    coordinate: torch.Tensor
    value: torch.Tensor
    margin: torch.Tensor
    level: torch.Tensor
    entered: torch.Tensor
    _by_row = ("value", "margin", "entered")


def sweep_singles(
    ledger: Ledger,
    columns: Columns,
    base: torch.Tensor,
    limits: FallbackSettings,
    count: int | None = None,
    focus: torch.Tensor | None = None,
) -> Swept:
    """Evaluate one further change of points ``base`` (n, D) of n rows, and close in.

    Parameters
    ----------
    ledger : Ledger
        n rows.
    columns : Columns
        Training values.
    base : Tensor of shape (n, D)
        Points within the budget.
    limits : FallbackSettings
        How much is evaluated.
    count : int or None
        Training values of each number; None for as many as the limits permit.
    focus : BoolTensor of shape (n, d) or None
        Features that may change; None for all.

    Returns
    -------
    Swept
    """
    count = count or limits.singles // max(len(columns.coordinate), 1)
    swept = sweep(ledger, columns, base, count, focus)
    n, lines = swept.value.shape[:2]
    if lines:
        rows = torch.arange(n, device=base.device).repeat_interleave(lines)
        step = ledger.problem.domain.step[swept.coordinate][:, None]
        loss = peaks(swept.value, swept.margin, swept.value.diff(dim=2) > 1.5 * step)
        at = swept.coordinate.repeat(n)[:, None]
        value, margin, loss = (part.flatten(0, 1) for part in (swept.value, swept.margin, loss))
        brackets = chosen(rows, base, rows, at, value, margin, loss, limits.brackets)
        close_in(ledger, brackets, limits.brackets, limits.inner, limits.divisions(ledger.problem))
    return swept


def sweep(
    ledger: Ledger,
    columns: Columns,
    base: torch.Tensor,
    count: int,
    focus: torch.Tensor | None = None,
) -> Swept:
    """Margins after single changes of points ``base`` (n, D)."""
    problem, domain = ledger.problem, ledger.problem.domain
    # Without budget left only changed features may change.
    changed = domain.changed(base[:, None])[:, 0]
    free = changed | (changed.sum(1) < problem.max_changes)[:, None]
    free = free if focus is None else free & focus
    at, level = columns.coordinate, (~columns.scalar).nonzero()[:, 0]
    present = problem.margin(base[:, None])[:, 0]
    value = columns.values(domain, base, max(count, 2))
    value = torch.where(free[:, domain.groups[at], None], value, torch.inf)
    same = (value - base[:, at, None]).abs() <= TOLERANCE
    margin = torch.where(same, present[:, None, None], -torch.inf)
    row, line, place = ((value < torch.inf) & ~same).nonzero().T
    margin[row, line, place] = ledger.evaluate(row, base, row, (at[line], value[row, line, place]))
    may = domain.allowed[:, level] | (domain.factual[:, level] > TOLERANCE)
    may &= free[:, domain.groups[level]] & (base[:, level] <= TOLERANCE)
    entered = torch.full(may.shape, -torch.inf, dtype=base.dtype, device=base.device)
    row, place = may.nonzero().T
    entered[row, place] = ledger.evaluate(
        row, base, row, (level[place], torch.full_like(base[row, 0], VERTEX))
    )
    return Swept(at, value, margin, level, entered)


def sweep_pairs(ledger: Ledger, swept: Swept, limits: FallbackSettings) -> None:
    """Evaluate pairs of changes of the rows on a grid, and close in.

    Parameters
    ----------
    ledger : Ledger
        n rows.
    swept : Swept
        Their single changes.
    limits : FallbackSettings
        How much is evaluated.
    """
    problem, domain = ledger.problem, ledger.problem.domain
    two = (problem.max_changes >= 2).nonzero()[:, 0]
    if len(two) < len(problem):
        part = ledger.part(two)
        if len(two):
            sweep_pairs(part, swept.take(two), limits)
            ledger.put_back(two, part)
        return
    size = int((2 * limits.pairs) ** 0.5)
    most = max(COORDINATES // (size * domain.factual.shape[1]), 1)
    if len(problem) > most:
        for rows in two.split(most):
            part = ledger.part(rows)
            sweep_pairs(part, swept.take(rows), limits)
            ledger.put_back(rows, part)
        return
    coordinate, value, live = _grid(problem, swept, size)
    n, q = value.shape
    number = domain.scalar[coordinate]
    group = domain.groups[coordinate]
    a, b = torch.triu_indices(q, q, 1, device=value.device)
    selected = live[:, a] & live[:, b] & (group[:, a] != group[:, b])
    row, pair = selected.nonzero().T
    margin = torch.full((n, q, q), -torch.inf, dtype=value.dtype, device=value.device)
    first, second = a[pair], b[pair]
    got = ledger.evaluate(
        row,
        domain.factual,
        row,
        (coordinate[row, first], value[row, first]),
        (coordinate[row, second], value[row, second]),
    )
    margin[row, first, second] = got
    margin[row, second, first] = got
    left = ledger.missing()
    if len(left) == 0:
        return
    joined = (coordinate[:, 1:] == coordinate[:, :-1]) & number[:, 1:] & live[:, 1:] & live[:, :-1]
    joined &= value.diff(dim=1) > 1.5 * domain.step[coordinate[:, 1:]]
    joined, margin = joined[left], margin[left]
    lines = value[left][:, None].expand(-1, q, -1)
    loss = peaks(lines, margin, joined[:, None].expand(-1, q, -1)).flatten(0, 1)
    # The line of a move starts from the row after this move.
    rows = left.repeat_interleave(q)
    at = coordinate[left]
    bases = with_value(problem, domain.factual[rows], at.flatten(), value[left].flatten())
    owner = torch.arange(len(rows), device=rows.device)
    along = at[:, None].expand(-1, q, -1).flatten(0, 1)
    brackets = chosen(
        rows, bases, owner, along, lines.flatten(0, 1), margin.flatten(0, 1), loss, limits.brackets
    )
    close_in(ledger, brackets, limits.brackets, limits.inner, limits.divisions(ledger.problem))


def _grid(
    problem: Problem, swept: Swept, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coordinates, values and presence (n, Q) of the changes to pair.

    All levels, and a few values of each number; if there are too many features for that, of
    those whose single changes have the largest margins.
    """
    domain = problem.domain
    value = swept.value
    width = value.shape[2]
    known = value < torch.inf
    best = by_feature(problem, swept)
    rank = best.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    count = (best > -torch.inf).sum(1)
    each = (size // count.clamp_min(1)).clamp(LEAST, max(width, LEAST))
    taken = (rank < (size // each)[:, None]) & (best > -torch.inf)
    # Evenly spread by rank.
    place = torch.arange(width, device=value.device)
    total, wanted = known.sum(2, keepdim=True).clamp_min(1), each[:, None, None]
    spread = ((place + 1) * wanted // total > place * wanted // total) | (wanted >= total)
    own = (value - domain.factual[:, swept.coordinate, None]).abs() <= TOLERANCE
    picked = known & (spread | own) & taken[:, domain.groups[swept.coordinate], None]
    levels = (swept.entered > -torch.inf) & taken[:, domain.groups[swept.level]]
    flags = torch.cat([picked.flatten(1), levels], 1)
    at = torch.cat([swept.coordinate.repeat_interleave(width), swept.level])
    values = torch.cat([value.flatten(1), torch.full_like(swept.entered, VERTEX)], 1)
    most = max(int(flags.sum(1).max()), 1) if len(flags) else 1
    live, position = first_flagged(flags, min(most, 2 * size))
    return at[position], torch.where(live, values.gather(1, position), torch.inf), live


def by_feature(problem: Problem, swept: Swept) -> torch.Tensor:
    """Return the largest margin of every feature alone (n, d); minus infinity for none."""
    domain, known = problem.domain, swept.value < torch.inf
    feature = torch.cat([domain.groups[swept.coordinate], domain.groups[swept.level]])
    numbers = torch.where(known.sum(2) > 1, swept.margin.amax(2), -torch.inf)
    alone = torch.cat([numbers, swept.entered], 1)
    best = torch.full((len(alone), domain.n_features), -torch.inf).to(alone)
    return best.scatter_reduce(1, feature.expand(len(alone), -1), alone, "amax")


def ascend(ledger: Ledger, columns: Columns, limits: FallbackSettings, alone: torch.Tensor) -> None:
    """Raise the margin change by change from the points of the largest margins.

    Parameters
    ----------
    ledger : Ledger
        n rows.
    columns : Columns
        Training values.
    limits : FallbackSettings
        How much is evaluated.
    alone : Tensor of shape (n, d)
        The largest margin of every feature alone.
    """
    order = alone.argsort(dim=1, descending=True, stable=True)
    focus = order.argsort(dim=1) < FOCUS
    near = ledger.near.take(slice(None))
    rows, entry = (near.cost[:, : limits.starts] < torch.inf).nonzero().T
    here, margin = near.z[rows, entry], -near.cost[rows, entry]
    for _ in range(limits.steps):
        keep = (ledger.valid.best[rows] == torch.inf).nonzero()[:, 0]
        if len(keep) == 0:
            return
        rows, here, margin = rows[keep], here[keep], margin[keep]
        part = Ledger(ledger.problem.take(rows), 1)
        may = focus[rows] | part.problem.domain.changed(here[:, None])[:, 0]
        sweep_singles(part, columns, here, limits, COARSE, may)
        found = part.near
        ledger.note(rows, found.z[:, 0], -found.best)
        better = (-found.best > margin + TOLERANCE).nonzero()[:, 0]
        rows, here, margin = rows[better], found.z[better, 0], -found.best[better]
