"""The model and the density of one target class, as the solvers see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from scfe_sklearn.densities.base import Density
from scfe_sklearn.densities.kernel import GaussianKDE
from scfe_sklearn.densities.nearby import Nearby, near

CHUNK = 2**15
"""Points scored at once: large enough for a matrix product, small enough for a cache."""

COMBINATIONS = 2**25
"""Kernels evaluated at once for combinations of moves; above, these are predicted as sums."""


@dataclass(frozen=True, eq=False)
class TargetObjective:
    """Margin of a target class and plausibility under its density.

    Parameters
    ----------
    scores : callable
        Points (k, D) of solver space to class scores (k, C), whose largest is predicted.
    has_gradient : bool
        Whether ``scores`` can be differentiated.
    target : int
        Position of the target class.
    density : Density
        Density of the target class.
    weight : float
        Price of one unit of log-density, in squared solver units.
    ceiling : float
        Log-density that few training rows of the class exceed.
    """

    scores: Callable[[torch.Tensor], torch.Tensor]
    has_gradient: bool
    target: int
    density: Density
    weight: float
    ceiling: float

    @torch.no_grad()
    def margin(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Score of the target minus the best other score: (n, K) of ``z`` (n, K, D)."""

        def function(points: torch.Tensor) -> torch.Tensor:
            parts = [self._margin(self.scores(part)) for part in points.split(CHUNK)]
            return torch.cat(parts) if parts else points[:, 0]

        return _masked(function, z, where)

    def margin_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Margin (n,) of ``z`` (n, D) and its gradient (n, D)."""
        with torch.enable_grad():
            leaf = z.detach().requires_grad_(True)
            margin = self._margin(self.scores(leaf))
            (gradient,) = torch.autograd.grad(margin.sum(), leaf)
        return margin.detach(), gradient

    @torch.no_grad()
    def plausibility(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted log-density of the target class: (n, K) of ``z`` (n, K, D)."""
        if self.weight == 0:
            return _masked(lambda points: torch.zeros_like(points[:, 0]), z, where)
        return _masked(lambda points: self.weight * self.density.log_prob(points), z, where)

    @torch.no_grad()
    def combined_plausibility(
        self, z: torch.Tensor, factual: torch.Tensor, target: torch.Tensor, keeps: torch.Tensor
    ) -> torch.Tensor | None:
        """Plausibility (n, B, M) of points ``z`` (n, B, D) after one of M further moves each.

        A move writes ``target`` (M, D) over the coordinates that ``keeps`` (M, D) does not keep,
        which in ``z`` are still those of ``factual`` (n, D). None where it is not cheap.
        """
        density = self.density
        if self.weight == 0 or not isinstance(density, GaussianKDE):
            return None
        samples = torch.as_tensor(density.samples_, dtype=z.dtype, device=z.device)
        if len(z) * len(samples) * (z.shape[1] + len(target)) > COMBINATIONS:
            return None
        clears = 1 - keeps
        squared = (z.square().sum(-1, keepdim=True) - 2 * z @ samples.T).add_(
            samples.square().sum(1)
        )
        after = clears @ (samples**2).T - 2 * target @ samples.T + (target**2).sum(1)[:, None]
        before = ((factual[:, None] - samples) ** 2) @ clears.T
        change = after[None] - before.transpose(1, 2)
        return self.weight * density.from_sums(squared, change)

    def best_plausibility(self, rows: torch.Tensor) -> torch.Tensor:
        """Plausibility that few training rows of the target class exceed, for ``rows`` (k,)."""
        return torch.full((len(rows),), self.weight * self.ceiling, dtype=torch.float64)

    def take(self, rows: torch.Tensor) -> TargetObjective:
        """Return the objective of some of the rows, which all have the same target."""
        return self

    def around(self, z: torch.Tensor, support: torch.Tensor) -> LocalPlausibility:
        """Plausibility of points that differ from the rows of ``z`` along ``support`` only."""
        density = near(self.density, z, support) if self.weight else None
        return LocalPlausibility(density, self.weight)

    def _margin(self, scores: torch.Tensor) -> torch.Tensor:
        return margins(scores, torch.full((len(scores),), self.target, device=scores.device))


@dataclass(frozen=True, eq=False)
class MixedObjective:
    """Objectives of several target classes of one model, for rows of which each has its own.

    Parameters
    ----------
    parts : sequence of TargetObjective
        One per class, of the same model.
    owner : LongTensor of shape (n,)
        Position in ``parts`` of each row.
    """

    parts: Sequence[TargetObjective]
    owner: torch.Tensor

    @property
    def has_gradient(self) -> bool:
        """Whether the margin can be differentiated."""
        return self.parts[0].has_gradient

    def take(self, rows: torch.Tensor) -> MixedObjective:
        """Return the objective of some of the rows."""
        return MixedObjective(self.parts, self.owner[rows])

    @torch.no_grad()
    def margin(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Score of each row's target minus the best other score: (n, K) of ``z`` (n, K, D)."""
        target = self._target()[:, None].expand(z.shape[:2])
        chosen = torch.ones_like(target, dtype=torch.bool) if where is None else where
        out = torch.full(z.shape[:2], -torch.inf, dtype=z.dtype, device=z.device)
        points, wanted = z[chosen], target[chosen]
        out[chosen] = torch.cat(
            [
                margins(self.parts[0].scores(part), label)
                for part, label in zip(points.split(CHUNK), wanted.split(CHUNK), strict=True)
            ]
        )
        return out

    def margin_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Margin (n,) of ``z`` (n, D) and its gradient (n, D)."""
        with torch.enable_grad():
            leaf = z.detach().requires_grad_(True)
            margin = margins(self.parts[0].scores(leaf), self._target())
            (gradient,) = torch.autograd.grad(margin.sum(), leaf)
        return margin.detach(), gradient

    def plausibility(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted log-density of each row's target class: (n, K) of ``z`` (n, K, D)."""
        out = torch.empty(z.shape[:2], dtype=z.dtype, device=z.device)
        for rows, part in self._present():
            out[rows] = part.plausibility(z[rows], None if where is None else where[rows])
        return out

    def combined_plausibility(
        self, z: torch.Tensor, factual: torch.Tensor, target: torch.Tensor, keeps: torch.Tensor
    ) -> torch.Tensor | None:
        """Plausibility (n, B, M) of points after one further move each; None if not cheap."""
        out = torch.empty(*z.shape[:2], len(target), dtype=z.dtype, device=z.device)
        for rows, part in self._present():
            found = part.combined_plausibility(z[rows], factual[rows], target, keeps)
            if found is None:
                return None
            out[rows] = found
        return out

    def best_plausibility(self, rows: torch.Tensor) -> torch.Tensor:
        """Plausibility that few training rows of the target class exceed, for ``rows`` (k,)."""
        best = [part.weight * part.ceiling for part in self.parts]
        return torch.tensor(best, dtype=torch.float64)[self.owner[rows]]

    def around(self, z: torch.Tensor, support: torch.Tensor) -> MixedPlausibility:
        """Plausibility of points that differ from the rows of ``z`` along ``support`` only."""
        place = torch.empty_like(self.owner)
        locals_ = []
        for rows, part in self._present():
            place[rows] = torch.arange(len(rows), device=place.device)
            locals_.append((self.owner[rows[0]], part.around(z[rows], support[rows])))
        return MixedPlausibility(locals_, self.owner, place)

    def _target(self) -> torch.Tensor:
        return torch.tensor([part.target for part in self.parts])[self.owner]

    def _present(self) -> list[tuple[torch.Tensor, TargetObjective]]:
        """Rows of each class that occurs."""
        return [
            ((self.owner == code).nonzero()[:, 0], self.parts[int(code)])
            for code in self.owner.unique()
        ]


@dataclass(frozen=True, eq=False)
class MixedPlausibility:
    """Weighted log-densities around instances of several target classes.

    Parameters
    ----------
    parts : list of (class, LocalPlausibility)
        One per class that occurs.
    owner, place : LongTensor of shape (n,)
        Class of each instance, and its position among the instances of that class.
    """

    parts: list[tuple[torch.Tensor, LocalPlausibility]]
    owner: torch.Tensor
    place: torch.Tensor

    def value(self, offset: torch.Tensor, instances: torch.Tensor) -> torch.Tensor:
        """Plausibilities (k, K) at offsets (k, K, w) from ``instances`` (k,)."""
        out = torch.empty_like(offset[..., 0])
        for code, part in self.parts:
            rows = (self.owner[instances] == code).nonzero()[:, 0]
            if len(rows):
                out[rows] = part.value(offset[rows], self.place[instances[rows]])
        return out

    def value_and_grad(
        self, offset: torch.Tensor, instances: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Plausibilities (k,) at offsets (k, w) from ``instances`` (k,), and gradients (k, w)."""
        value, gradient = torch.empty_like(offset[:, 0]), torch.empty_like(offset)
        for code, part in self.parts:
            rows = (self.owner[instances] == code).nonzero()[:, 0]
            if len(rows):
                value[rows], gradient[rows] = part.value_and_grad(
                    offset[rows], self.place[instances[rows]]
                )
        return value, gradient


@dataclass(frozen=True, eq=False)
class LocalPlausibility:
    """Weighted log-density around n instances, along the coordinates that they change.

    Parameters
    ----------
    density : Nearby or None
        The density around the instances; None where it has no weight.
    weight : float
        Price of one unit of log-density.
    """

    density: Nearby | None
    weight: float

    @torch.no_grad()
    def value(self, offset: torch.Tensor, instances: torch.Tensor) -> torch.Tensor:
        """Plausibilities (k, K) at offsets (k, K, w) from ``instances`` (k,)."""
        if self.density is None:
            return torch.zeros_like(offset[..., 0])
        return self.weight * self.density.log_prob(offset, instances)

    @torch.no_grad()
    def value_and_grad(
        self, offset: torch.Tensor, instances: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Plausibilities (k,) at offsets (k, w) from ``instances`` (k,), and gradients (k, w)."""
        if self.density is None:
            return torch.zeros_like(offset[:, 0]), torch.zeros_like(offset)
        value, gradient = self.density.log_prob_and_grad(offset, instances)
        return self.weight * value, self.weight * gradient


def margins(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Score of the target (k,) minus the largest of the other scores (k, C)."""
    own = scores.gather(1, target[:, None])
    if scores.shape[1] == 2:
        # Their difference, also where one of them is infinite.
        return (own - scores.gather(1, 1 - target[:, None]))[:, 0]
    return own[:, 0] - scores.scatter(1, target[:, None], -torch.inf).amax(1)


def _masked(
    function: Callable[[torch.Tensor], torch.Tensor],
    z: torch.Tensor,
    where: torch.Tensor | None,
) -> torch.Tensor:
    """Evaluate points (n, K, D) one by one, or only those ``where`` (n, K) says; else -inf."""
    if where is None:
        return function(z.reshape(-1, z.shape[-1])).reshape(z.shape[:-1])
    out = torch.full(where.shape, -torch.inf, dtype=z.dtype, device=z.device)
    if bool(where.any()):
        out[where] = function(z[where])
    return out
