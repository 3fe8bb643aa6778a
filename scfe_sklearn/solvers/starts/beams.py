"""Single moves and combinations of moves of a screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from scfe_sklearn._utils import RowBatch, least
from scfe_sklearn.solvers.problem import Pool, Problem

AT_ONCE = 2**24
"""Coordinates of points that are held at once."""


@dataclass(frozen=True)
class ScreenSettings:
    """Settings of `screen`.

    Parameters
    ----------
    width : int
        Combinations that are extended by another move.
    parents : int
        Single moves that are extended to pairs.
    evaluations : int
        Combinations of each size that are tried on the model.
    shortlist : int
        Valid points of each size whose density is evaluated.
    pool : int
        Points that are kept, with distinct supports.
    """

    width: int = 16
    parents: int = 48
    evaluations: int = 32
    shortlist: int = 10
    pool: int = 10


Picked = Callable[[torch.Tensor], torch.Tensor]
"""Positions (n, k) in a list of points of each row to the points (n, k, D)."""


@dataclass(frozen=True, eq=False)
class Singles(RowBatch):
    """Effects of single moves on rows: (n, M) each."""

    permitted: torch.Tensor
    price: torch.Tensor
    gain: torch.Tensor
    lift: torch.Tensor
    margin: torch.Tensor
    plausibility: torch.Tensor


@dataclass(frozen=True, eq=False)
class Beam(RowBatch):
    """Combinations to extend: points (n, B, D) and their evaluation, (n, B) each."""

    z: torch.Tensor
    margin: torch.Tensor
    price: torch.Tensor
    plausibility: torch.Tensor
    live: torch.Tensor


def collect(
    problem: Problem,
    settings: ScreenSettings,
    picked: Picked,
    margin: torch.Tensor,
    price: torch.Tensor,
    plausibility: torch.Tensor,
    live: torch.Tensor,
) -> tuple[Pool, torch.Tensor]:
    """Evaluate the density of the most promising points; the valid ones make a pool."""
    infinite = torch.full_like(price, torch.inf)
    valid = live & (margin >= problem.floor)
    guess = torch.where(live, price - plausibility, infinite)
    order = least(torch.where(valid, guess, guess + 1e6), settings.shortlist)
    chosen = picked(order)
    selected = valid.gather(1, order)
    value = problem.plausibility(chosen, selected)
    value = torch.where(selected, value, plausibility.gather(1, order))
    plausibility = plausibility.scatter(1, order, value)
    cost = torch.where(valid.gather(1, order), price.gather(1, order) - value, torch.inf)
    return Pool.of(problem, chosen, cost, settings.pool), plausibility


def gather(
    z: torch.Tensor,
    margin: torch.Tensor,
    price: torch.Tensor,
    plausibility: torch.Tensor,
    live: torch.Tensor,
    order: torch.Tensor,
) -> Beam:
    """Return the beam of points ``z`` (n, B, D), with their evaluation at ``order`` (n, B)."""
    return Beam(
        z,
        margin.gather(1, order),
        price.gather(1, order),
        plausibility.gather(1, order),
        live.gather(1, order),
    )
