"""Subspaces of the few coordinates that points change."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scfe_sklearn._utils.selection import first_flagged
from scfe_sklearn.solvers.problem.problem import Problem
from scfe_sklearn.solvers.problem.protocols import Local


@dataclass(frozen=True, eq=False)
class Subspace:
    """n instances of a problem, each restricted to w coordinates of its own.

    Local search changes a handful of numbers of each row. Everything that does not change is
    accounted for once: the distance of the other coordinates, and the distances to the
    training points near by.

    Parameters
    ----------
    problem : Problem
        The problem of the n instances.
    centre : Tensor of shape (n, D)
        Their points.
    support : LongTensor of shape (n, w)
        Their free coordinates, padded with D.
    local : Local
        Plausibility around the centres.
    factual, lower, upper, step, start : Tensor of shape (n, w)
        Factual value, interval, lattice step and present value of the free coordinates.
    rest : Tensor of shape (n,)
        Weighted squared distance of all other coordinates.
    weight : Tensor of shape (n, w)
        Weights of the free coordinates.
    """

    problem: Problem
    centre: torch.Tensor
    support: torch.Tensor
    local: Local
    factual: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    step: torch.Tensor
    start: torch.Tensor
    rest: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def around(cls, problem: Problem, centre: torch.Tensor, free: torch.Tensor) -> Subspace:
        """Build the subspace of the coordinates that ``free`` (n, D) flags."""
        domain = problem.domain
        width = max(int(free.sum(1).max()), 1)
        there, support = first_flagged(free, width)

        def along(values: torch.Tensor) -> torch.Tensor:
            picked = values.expand_as(centre).gather(1, support)
            return torch.where(there, picked, torch.zeros_like(picked))

        factual, start = along(domain.factual), along(centre)
        whole, weight = (centre - domain.factual) ** 2, torch.ones_like(start)
        if problem.cost is not None:
            weight = torch.where(there, problem.cost[:, domain.groups].gather(1, support), weight)
            whole = whole * problem.cost[:, domain.groups]
        rest = whole.sum(1) - (weight * (start - factual) ** 2).sum(1)
        columns = torch.where(there, support, torch.full_like(support, centre.shape[1]))
        return cls(
            problem,
            centre,
            columns,
            problem.objective.around(centre, columns),
            factual,
            along(domain.lower),
            along(domain.upper),
            along(domain.step[None]),
            start,
            rest,
            weight,
        )

    def take(self, rows: torch.Tensor, local: bool = True) -> Subspace:
        """Return the subspace of some of the instances, for margins only unless ``local``."""
        centre, support = self.centre[rows], self.support[rows]
        problem = self.problem.take(rows)
        return Subspace(
            problem,
            centre,
            support,
            problem.objective.around(centre, support) if local else self.local,
            *(
                getattr(self, name)[rows]
                for name in ("factual", "lower", "upper", "step", "start", "rest", "weight")
            ),
        )

    def embed(self, x: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Return the points (k, ..., D) with the values ``x`` (k, ..., w) along the support."""
        centre, support = self.centre, self.support
        if rows is not None:
            centre, support = centre[rows], support[rows]
        padded = torch.cat([centre, torch.zeros_like(centre[:, :1])], 1)
        if x.dim() == 3:
            padded = padded[:, None].expand(-1, x.shape[1], -1)
            support = support[:, None].expand_as(x)
        return padded.scatter(-1, support, x)[..., :-1]

    def margin(self, x: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Return the margins (n, K) at the values ``x`` (n, K, w)."""
        return self.problem.objective.margin(self.embed(x), where)
