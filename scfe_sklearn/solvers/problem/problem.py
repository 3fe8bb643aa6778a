"""The recourse problem of a batch, and the same along the few coordinates that points change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from scfe_sklearn._utils import RowBatch, first_flagged
from scfe_sklearn.solvers.problem.domain import TOLERANCE, Domain
from scfe_sklearn.solvers.problem.moves import Moves
from scfe_sklearn.solvers.problem.protocols import Local, Objective

ROUNDING = 1e-9
"""Largest difference of the log-density of a point between batches."""


@dataclass(frozen=True, eq=False)
class Problem(RowBatch):
    r"""Find, for each of n rows, the cheapest admissible point with the target.

    .. math::
        \min_{z \in A} \; \sum_j w_j \big( \|z_j - z_{0j}\|^2
        + \beta \, \|z_j - z_{0j}\|^p \big) - \tau \log q(z \mid t)
        \quad \text{s.t.} \quad m(z) \ge c, \;\; \#\{\text{changed features}\} \le k

    with the margin m of the target; for p = 0 the penalty counts the changed features. The
    constraint on the margin is the exact-penalty form of the hinge loss: at the solution its
    multiplier is the weight gamma of the row.

    Parameters
    ----------
    objective : Objective
        Margin and plausibility.
    domain : Domain
        The admissible points A of each row.
    moves : Moves
        Single-feature moves for the screen.
    beta : Tensor of shape (n,)
        Price of a changed feature.
    cost : Tensor of shape (n, d) or None
        Weights w of the raw features; None for ones.
    exponent : {0.0, 0.5, 2 / 3, 1.0}
        p of the penalty.
    max_changes : Tensor of shape (n,), long
        Budget k of changed features.
    floor : float
        Least margin c of a valid point.
    """

    objective: Objective
    domain: Domain
    moves: Moves
    beta: torch.Tensor
    max_changes: torch.Tensor
    floor: float
    cost: torch.Tensor | None = None
    exponent: float = 0.0
    _by_row = ("objective", "domain", "beta", "max_changes", "cost")

    def __len__(self) -> int:
        return len(self.beta)

    def sparse_distance(self, z: torch.Tensor) -> torch.Tensor:
        """Return squared distance plus the price of the changes of ``z`` (n, K, D): (n, K)."""
        offset = z - self.domain.factual[:, None]
        changes = self._price(self._sizes(offset))
        distance = offset.square_()
        if self.cost is not None:
            distance *= self.cost[:, None, self.domain.groups]
        return distance.sum(-1) + changes

    def change_price(self, z: torch.Tensor) -> torch.Tensor:
        """Return the price of the changes of ``z`` (n, K, D), without the distance: (n, K)."""
        return self._price(self._sizes(z - self.domain.factual[:, None]))

    def _sizes(self, offset: torch.Tensor) -> torch.Tensor:
        """Terms (n, K, d) of the penalty: powers of the changes of features."""
        changed = self.domain.features_of(offset.abs() > TOLERANCE)
        if self.exponent == 0:
            return changed
        sizes = torch.zeros_like(changed, dtype=offset.dtype)
        sizes = sizes.index_add_(2, self.domain.groups, offset.square())
        return torch.where(changed, sizes.pow(self.exponent / 2), 0.0)

    def _price(self, sizes: torch.Tensor) -> torch.Tensor:
        """Price (n, K) of changes of the features (n, K, d)."""
        if self.cost is None:
            return self.beta[:, None] * sizes.sum(-1)
        return self.beta[:, None] * (sizes * self.cost[:, None]).sum(-1)

    def move_price(self, moves: Moves) -> torch.Tensor:
        """Return the costs (n, M) of moves from the factual, distance included."""
        distance = moves.distance(self.domain)
        # The zeroth power of a distance is 1.
        price = distance + self.beta[:, None] * distance.pow(self.exponent / 2)
        return price if self.cost is None else price * self.cost[:, moves.group]

    @property
    def change_weight(self) -> torch.Tensor:
        """Weight of the penalty of each feature, (n, 1) or (n, d)."""
        price = self.beta[:, None]
        return price if self.cost is None else price * self.cost

    @property
    def least_change_price(self) -> torch.Tensor:
        """Least penalty (n,) of a changed feature."""
        return self.beta * self.least_cost * (self.exponent == 0)

    @property
    def least_cost(self) -> torch.Tensor:
        """Least weight of a feature of each row, (n,)."""
        return torch.ones_like(self.beta) if self.cost is None else self.cost.amin(1)

    def margin(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Return margins (n, K) of ``z`` (n, K, D); minus infinity outside ``where`` (n, K)."""
        return self.objective.margin(z, where)

    def valid(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Return whether ``z`` (n, K, D) are valid: (n, K), false outside ``where`` (n, K)."""
        return self.objective.valid(z, self.floor, where)

    def evaluate(
        self, z: torch.Tensor, where: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return whether ``z`` (n, K, D) are valid, and their plausibilities: (n, K) each."""
        return self.objective.evaluate(z, self.floor, where)

    def plausibility(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Return plausibilities (n, K) of ``z`` (n, K, D); minus infinity outside ``where``."""
        return self.objective.plausibility(z, where)


Kind = tuple[torch.Tensor, torch.Tensor, Moves]
"""Rows (k,) with one kind of target, training rows of that kind, and their moves."""


def of_rows(kinds: Sequence[Kind], rows: torch.Tensor) -> list[Kind]:
    """Return the kinds with the positions of their rows among ``rows`` (k,)."""
    return [
        (torch.isin(rows, own).nonzero()[:, 0], anchors, moves) for own, anchors, moves in kinds
    ]


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
