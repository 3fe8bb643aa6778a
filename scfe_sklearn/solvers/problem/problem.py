"""The recourse problem of a batch: objective, domain, budget and penalty in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from scfe_sklearn.solvers.problem.domain import TOLERANCE, Domain
from scfe_sklearn.solvers.problem.moves import Moves
from scfe_sklearn.solvers.problem.protocols import Objective


@dataclass(frozen=True, eq=False)
class Problem:
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

    def __len__(self) -> int:
        return len(self.beta)

    def take(self, index: torch.Tensor) -> Problem:
        """Return the problem of some of the instances, repetitions included."""
        return replace(
            self,
            objective=self.objective.take(index),
            domain=self.domain.take(index),
            beta=self.beta[index],
            max_changes=self.max_changes[index],
            cost=None if self.cost is None else self.cost[index],
        )

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
