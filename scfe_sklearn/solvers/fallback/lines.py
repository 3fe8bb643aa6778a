"""Search along single coordinates, by brackets that are divided.

The margin of a target with two sides rises to a peak within a line and falls behind it, and the
peak may be narrower than the distance of two training values. So between the best value of a
line and its neighbours more values are tried, and again between the best of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.solvers.fallback.ledger import Ledger, smallest_of_rows
from scfe_sklearn.solvers.problem import TOLERANCE, Domain

EVEN = 6
"""Evenly spread values of a line; twice as many training values are added."""

PEAKS = 4
"""Brackets of one line at most."""

FINEST = 1e-9
"""Least width of a bracket that is divided."""


@dataclass(frozen=True, eq=False)
class Columns:
    """The distinct training values of every number.

    Parameters
    ----------
    samples : Tensor of shape (T, D)
        Training rows.
    scalar : BoolTensor of shape (D,)
        Which coordinates are numbers.
    """

    samples: torch.Tensor
    scalar: torch.Tensor

    @cached_property
    def coordinate(self) -> torch.Tensor:
        """Coordinates (S,) of the numbers."""
        return self.scalar.nonzero()[:, 0]

    @cached_property
    def value(self) -> torch.Tensor:
        """Distinct values (S, T) of each number in rising order, padded with infinity."""
        ordered = self.samples[:, self.coordinate].T.contiguous().sort(dim=1).values
        again = torch.zeros_like(ordered, dtype=torch.bool)
        again[:, 1:] = ordered.diff(dim=1) <= TOLERANCE
        ordered = torch.where(again, torch.inf, ordered).sort(dim=1).values
        width = int((ordered < torch.inf).sum(1).max()) if len(ordered) else 0
        return ordered[:, :width].contiguous()

    def values(self, domain: Domain, present: torch.Tensor, count: int) -> torch.Tensor:
        """Return the values (n, S, P) of every line, rising and padded with infinity.

        Up to ``count`` training values within the range of the row, evenly spread by rank, some
        evenly spread by value if ``count`` is not small, the ends of the range, the factual value
        and the ``present`` one of a point (n, D).
        """
        at, known = self.coordinate, self.value
        lower, upper = (part[:, at].T.contiguous() for part in (domain.lower, domain.upper))
        size = (known < torch.inf).sum(1, keepdim=True)
        first = torch.searchsorted(known, lower - TOLERANCE)
        last = torch.searchsorted(known, upper + TOLERANCE, right=True).minimum(size)
        inside = (last - first).clamp_min(0)[..., None]
        step = torch.arange(min(count, known.shape[1]), device=known.device)
        share = step / max(len(step) - 1, 1)
        rank = torch.where(inside <= len(step), step, (share * (inside - 1)).round().long())
        rank = (first[..., None] + rank).clamp(0, known.shape[1] - 1)
        taken = known.gather(1, rank.flatten(1)).reshape(rank.shape)
        taken = torch.where(step < inside, taken, torch.inf)
        ends = torch.stack([lower, upper], 2)
        least, most = known[:, :1], known.gather(1, (size - 1).clamp_min(0))
        low, high = lower.maximum(least), upper.minimum(most)
        outside = low > high
        low, high = torch.where(outside, lower, low), torch.where(outside, upper, high)
        even = low[..., None] + (high - low)[..., None] * torch.linspace(0, 1, EVEN).to(known)
        parts = [taken, ends, even] if count >= 2 * EVEN else [taken, ends]
        found = torch.cat(parts, 2).transpose(0, 1)
        found = torch.where(found.isfinite(), found, torch.inf)
        found = snapped(domain, at[:, None], found)
        may = domain.allowed[:, at] & (domain.lower[:, at] <= domain.upper[:, at])
        found = torch.where(may[..., None], found, torch.inf)
        own = torch.stack([domain.factual[:, at], present[:, at]], 2)
        found = torch.cat([own, found], 2).sort(dim=2, stable=True).values
        again = torch.zeros_like(found, dtype=torch.bool)
        again[..., 1:] = found.diff(dim=2) <= TOLERANCE
        return torch.where(again, torch.inf, found).sort(dim=2).values


def snapped(domain: Domain, coordinate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return values (n, S, P) of coordinates (S, 1) on their lattice and within their interval."""
    at = coordinate[:, 0]
    lower, upper = domain.lower[:, at, None], domain.upper[:, at, None]
    return _snapped(value, domain.step[at, None], domain.offset[at, None], lower, upper)


def _snapped(
    value: torch.Tensor,
    step: torch.Tensor,
    offset: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
) -> torch.Tensor:
    safe = torch.where(step > 0, step, 1.0)
    near = torch.where(step > 0, offset + ((value - offset) / safe).round() * safe, value)
    near = near.maximum(lower).minimum(upper)
    return torch.where(value < torch.inf, near, torch.inf)


@dataclass(frozen=True, eq=False)
class Brackets(RowBatch):
    """k intervals of one coordinate each.

    Parameters
    ----------
    row : LongTensor of shape (k,)
        The row of each.
    base : Tensor of shape (k, D)
        The point of which the coordinate moves.
    coordinate : LongTensor of shape (k,)
        The coordinate.
    low, high : Tensor of shape (k,)
        Its ends.
    margin_low, margin_high : Tensor of shape (k,)
        The margins there.
    """

    row: torch.Tensor
    base: torch.Tensor
    coordinate: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    margin_low: torch.Tensor
    margin_high: torch.Tensor


def peaks(value: torch.Tensor, margin: torch.Tensor, joined: torch.Tensor) -> torch.Tensor:
    """Return the losses (..., P - 1) of the intervals between values; infinite for none.

    The loss is minus the larger margin of the ends, if this is a peak of the line.

    Parameters
    ----------
    value, margin : Tensor of shape (..., P)
        Values in rising order, and the margins there.
    joined : BoolTensor of shape (..., P - 1)
        Whether neighbours belong to one line.
    """
    edge = torch.zeros_like(joined[..., :1])
    left, right = margin[..., :-1], margin[..., 1:]
    least = torch.full_like(margin[..., :1], -torch.inf)
    before, after = torch.cat([least, left], -1), torch.cat([right, least], -1)
    before = torch.where(torch.cat([edge, joined], -1), before, -torch.inf)
    after = torch.where(torch.cat([joined, edge], -1), after, -torch.inf)
    peak = (margin >= before) & (margin >= after) & (margin > -torch.inf)
    gap = value.diff(dim=-1)
    wide = (gap > FINEST * (1 + value[..., :-1].abs())) & (gap < torch.inf)
    good = joined & wide & (peak[..., :-1] | peak[..., 1:])
    # Intervals between equal margins come last.
    level = 1e-6 * (left == right)
    return torch.where(good, level - left.maximum(right), torch.inf)


def close_in(ledger: Ledger, brackets: Brackets, count: int, inner: int, rounds: int) -> None:
    """Divide the brackets of least loss of each row repeatedly.

    Parameters
    ----------
    ledger : Ledger
        Holds the evaluated points; rows with a valid point leave the search.
    brackets : Brackets
        First brackets.
    count : int
        Brackets per row.
    inner : int
        Values that divide a bracket.
    rounds : int
        Number of divisions.
    """
    domain = ledger.problem.domain
    share = torch.linspace(0, 1, inner + 2).to(domain.factual)[1:-1]
    for _ in range(rounds):
        open_ = (ledger.valid.best == torch.inf)[brackets.row]
        brackets = brackets.take(open_.nonzero()[:, 0])
        k = len(brackets.row)
        if k == 0:
            return
        at, row = brackets.coordinate, brackets.row
        low, high = brackets.low[:, None], brackets.high[:, None]
        step = domain.step[at][:, None]
        value = _snapped(
            low + (high - low) * share,
            step,
            domain.offset[at][:, None],
            domain.lower[row, at][:, None],
            domain.upper[row, at][:, None],
        )
        value = value.maximum(low).minimum(high)
        margin = torch.where(value - low <= TOLERANCE, brackets.margin_low[:, None], -torch.inf)
        margin = torch.where(high - value <= TOLERANCE, brackets.margin_high[:, None], margin)
        pick, place = (margin == -torch.inf).nonzero().T
        margin[pick, place] = ledger.evaluate(
            row[pick], brackets.base, pick, (at[pick], value[pick, place])
        )
        value = torch.cat([low, value, high], 1)
        margin = torch.cat([brackets.margin_low[:, None], margin, brackets.margin_high[:, None]], 1)
        joined = value.diff(dim=1) > 1.5 * step
        loss = peaks(value, margin, joined)
        own = torch.arange(k, device=row.device)
        brackets = chosen(row, brackets.base, own, at[:, None], value, margin, loss, count)


def chosen(
    row: torch.Tensor,
    base: torch.Tensor,
    owner: torch.Tensor,
    coordinate: torch.Tensor,
    value: torch.Tensor,
    margin: torch.Tensor,
    loss: torch.Tensor,
    count: int,
) -> Brackets:
    """Return the ``count`` intervals of least loss of each row, a few per line at most.

    Parameters
    ----------
    row : LongTensor of shape (m,)
        The row of each line.
    base : Tensor of shape (b, D)
        Points of which a coordinate moves.
    owner : LongTensor of shape (m,)
        The point of each line.
    coordinate : LongTensor of shape (m, P) or (m, 1)
        The coordinates.
    value, margin : Tensor of shape (m, P)
        Values and margins.
    loss : Tensor of shape (m, P - 1)
        As `peaks` returns it.
    count : int
        Intervals per row.
    """
    line, place = (loss < torch.inf).nonzero().T
    key = loss[line, place]
    few, _ = smallest_of_rows(line, key, PEAKS)
    best, _ = smallest_of_rows(row[line[few]], key[few], count)
    line, place = line[few[best]], place[few[best]]
    return Brackets(
        row[line],
        base[owner[line]],
        coordinate.expand(len(coordinate), value.shape[1])[line, place],
        value[line, place],
        value[line, place + 1],
        margin[line, place],
        margin[line, place + 1],
    )
