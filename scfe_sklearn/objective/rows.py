"""Objective of n rows: margins, plausibility and constraints, as the solvers use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.densities.around import around
from scfe_sklearn.objective.margins import Constraints, Margin
from scfe_sklearn.objective.plausibility import (
    LocalPlausibility,
    MixedPlausibility,
    Neighbourhood,
    PlausibilityTerm,
    RowCells,
)

CHUNK = 2**15
"""Points scored at once: large enough for a matrix product, small enough for a cache."""

Scores = Callable[[torch.Tensor], torch.Tensor]
"""Points (k, D) of solver space to scores (k, C)."""


@dataclass(frozen=True, eq=False)
class RowObjective(RowBatch):
    """Margin and plausibility of n rows with a target each.

    Parameters
    ----------
    models : sequence of callable
        Points (k, D) of solver space to scores (k, C). The least margin counts.
    has_gradient : bool
        Whether the scores can be differentiated.
    parts : sequence of PlausibilityTerm
        Plausibility term of each kind of target.
    owner : LongTensor of shape (n,)
        Position in ``parts`` of each row.
    criterion : Margin
        Turns scores into margins.
    constraints : Constraints or None
        Further constraints.
    """

    models: Sequence[Scores]
    has_gradient: bool
    parts: Sequence[PlausibilityTerm]
    owner: torch.Tensor
    criterion: Margin
    constraints: Constraints | None = None
    _by_row = ("owner", "criterion", "constraints")

    @torch.no_grad()
    def margin(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Margins (n, K) of ``z`` (n, K, D): positive where the target is reached."""
        rows = torch.arange(z.shape[0], device=z.device)[:, None].expand(z.shape[:2])
        if where is None:
            return self.margin_at(z.reshape(-1, z.shape[-1]), rows.reshape(-1)).reshape(z.shape[:2])
        out = torch.full(where.shape, -torch.inf, dtype=z.dtype, device=z.device)
        out[where] = self.margin_at(z[where], rows[where])
        return out

    @torch.no_grad()
    def margin_at(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Margins (k,) of points (k, D) of the rows ``rows`` (k,)."""
        parts = [
            self._margin(some, own)
            for some, own in zip(points.split(CHUNK), rows.split(CHUNK), strict=True)
            if len(some)  # some models refuse an empty batch
        ]
        return torch.cat(parts) if parts else points[:, 0]

    @torch.no_grad()
    def valid(
        self, z: torch.Tensor, floor: float, where: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Whether points ``z`` (n, K, D) have a margin of at least ``floor``: (n, K).

        Equal to ``margin(z) >= floor``, but the density is evaluated only where the models agree.
        """
        return self._valid_where(z, floor, where, limited=True)

    def evaluate(
        self, z: torch.Tensor, floor: float, where: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `valid` and `plausibility`; the density is evaluated once."""
        bound = self.plausibility_floor()
        good = self._valid_where(z, floor, where, limited=bound is None)
        value = self.plausibility(z, good)
        return (good if bound is None else good & (value >= bound[:, None])), value

    def plausibility_floor(self) -> torch.Tensor | None:
        """Least plausibility (n,) of valid points; None without limits or with a weight of 0."""
        limit = None if self.constraints is None else self.constraints.log_density_floor
        weight = self.weight()
        if limit is None or not bool((weight > 0).all()):
            return None
        return weight * limit

    @torch.no_grad()
    def valid_before_floor(
        self, points: torch.Tensor, rows: torch.Tensor, floor: float
    ) -> torch.Tensor:
        """Whether points (k, D) of the rows ``rows`` (k,) are `valid`: (k,).

        Limits that `plausibility_floor` covers are not checked.
        """
        return self._valid_at(points, rows, floor, limited=self.plausibility_floor() is None)

    def _valid_where(
        self, z: torch.Tensor, floor: float, where: torch.Tensor | None, limited: bool
    ) -> torch.Tensor:
        """Whether points ``z`` (n, K, D) are valid, with or without the limits: (n, K)."""
        rows = torch.arange(z.shape[0], device=z.device)[:, None].expand(z.shape[:2])
        out = torch.zeros(z.shape[:2], dtype=torch.bool, device=z.device)
        chosen = torch.ones_like(out) if where is None else where
        out[chosen] = self._valid_at(z[chosen], rows[chosen], floor, limited)
        return out

    def _valid_at(
        self, points: torch.Tensor, rows: torch.Tensor, floor: float, limited: bool
    ) -> torch.Tensor:
        """Whether points (k, D) of the rows ``rows`` (k,) are valid, in chunks."""
        pieces = [
            self._valid(some, own, floor, limited)
            for some, own in zip(points.split(CHUNK), rows.split(CHUNK), strict=True)
            if len(some)  # some models refuse an empty batch
        ]
        if not pieces:
            return torch.zeros(0, dtype=torch.bool, device=points.device)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    @torch.no_grad()
    def margins_after(
        self, factual: torch.Tensor, target: torch.Tensor, feature: torch.Tensor
    ) -> torch.Tensor | None:
        """Margins (n, M) of ``factual`` (n, D) after single moves; None if not cheaper.

        A move sets a ``feature`` (M,) to what it is in ``target`` (M, D).
        """
        constraints = self.constraints
        restored = factual
        if constraints is not None:
            if (
                constraints.requirements
                or constraints.shortfall
                or constraints.log_density_floor is not None
            ):
                return None
            restored = constraints.restore_missing(factual, torch.arange(len(factual)))
        rows = torch.arange(len(factual)).repeat_interleave(len(feature))
        margin = None
        for model in self.models:
            after_moves = getattr(model, "after_moves", None)
            scores = None if after_moves is None else after_moves(restored, target, feature)
            if scores is None:
                return None
            one = self.criterion.margin(scores.flatten(0, 1), rows)
            margin = one if margin is None else torch.minimum(margin, one)
        return None if margin is None else margin.reshape(len(factual), len(feature))

    def cells(self) -> RowCells | None:
        """Cells of trees; None if constraints, several models or a density matter too."""
        given = self.constraints
        limited = given is not None and (
            bool(given.requirements) or bool(given.shortfall) or given.log_density_floor is not None
        )
        if limited or len(self.models) != 1 or bool((self.weight() > 0).any()):
            return None
        cells = getattr(self.models[0], "cells", None)
        return None if cells is None else RowCells(cells, self)

    def margin_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Margins (n,) of ``z`` (n, D) and their gradients (n, D)."""
        rows = torch.arange(len(z), device=z.device)
        with torch.enable_grad():
            leaf = z.detach().requires_grad_(True)
            margin = self._differentiable(leaf, rows)
            (gradient,) = torch.autograd.grad(margin.sum(), leaf)
        margin = margin.detach()
        if self.constraints is not None and self.constraints.missing is not None:
            gradient = gradient.nan_to_num()  # no gradient along missing values
        for own, part, limit in self._limited(rows):
            slack, slope = part.slack_and_grad(z[own], limit)
            slack = slack + self._floor
            lower = slack < margin[own]
            margin[own] = torch.where(lower, slack, margin[own])
            gradient[own] = torch.where(lower[:, None], slope, gradient[own])
        return margin, gradient

    @torch.no_grad()
    def plausibility(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted log-densities (n, K) of ``z`` (n, K, D), for the target of each row."""
        out = torch.full(z.shape[:2], -torch.inf, dtype=z.dtype, device=z.device)
        for rows, part in self._present():
            chosen = None if where is None else where[rows]
            points = z[rows].flatten(0, 1) if chosen is None else z[rows][chosen]
            if len(points) == 0:
                continue
            value = part.value(points)
            if chosen is None:
                out[rows] = value.reshape(out[rows].shape)
            else:
                values = torch.full(chosen.shape, -torch.inf, dtype=z.dtype, device=z.device)
                values[chosen] = value
                out[rows] = values
        return out

    @torch.no_grad()
    def combined_plausibility(
        self, z: torch.Tensor, factual: torch.Tensor, target: torch.Tensor, keeps: torch.Tensor
    ) -> torch.Tensor | None:
        """Plausibility (n, B, M) of points after one further move each; None if not cheap."""
        present = self._present()
        found = []
        for rows, part in present:
            value = part.combined(z[rows], factual[rows], target, keeps)
            if value is None:
                return None
            found.append(value)
        if len(found) == 1:
            return found[0]
        out = torch.empty(*z.shape[:2], len(target), dtype=z.dtype, device=z.device)
        for (rows, _), value in zip(present, found, strict=True):
            out[rows] = value
        return out

    @torch.no_grad()
    def pair_plausibility(self, factual: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
        """Plausibility (n, M, M) after two of M = D V changes, approximate; None if not cheap."""
        present = self._present()
        found = [part.pairs(factual[rows], values[rows]) for rows, part in present]
        if any(value is None for value in found):
            return None
        if len(found) == 1:
            return found[0]
        moves = values.shape[1] * values.shape[2]
        out = factual.new_empty(len(factual), moves, moves)
        for (rows, _), value in zip(present, found, strict=True):
            assert value is not None
            out[rows] = value
        return out

    @torch.no_grad()
    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """Log-density (n,) of points ``z`` (n, D), for the target of each row."""
        out = torch.zeros_like(z[:, 0])
        for rows, part in self._present():
            out[rows] = part.log_density(z[rows])
        return out

    def needs_density(self) -> bool:
        """Return whether log-densities have a price or a limit."""
        limit = None if self.constraints is None else self.constraints.log_density_floor
        return bool((self.weight() > 0).any()) or limit is not None

    def log_densities(self, z: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        """Log-densities (n, K) of points ``z`` (n, K, D), 0 outside ``where`` (n, K)."""
        out = torch.zeros(z.shape[:2], dtype=z.dtype, device=z.device)
        if not self.needs_density():
            return out
        for rows, part in self._present():
            chosen = where[rows]
            values = torch.zeros(chosen.shape, dtype=z.dtype, device=z.device)
            values[chosen] = part.log_density(z[rows][chosen])
            out[rows] = values
        return out

    def lower_quartile(self) -> torch.Tensor:
        """Lower quartile (n,) of the training log-densities, for the target of each row."""
        values = torch.tensor([part.lower_quartile for part in self.parts], dtype=torch.float64)
        return values[self.owner]

    def weight(self) -> torch.Tensor:
        """Price of one unit of log-density (n,) for each row."""
        values = torch.tensor([part.weight for part in self.parts], dtype=torch.float64)
        return values[self.owner]

    def spread(self) -> torch.Tensor:
        """Size of one unit of log-density (n,) for each row."""
        values = torch.tensor([part.spread for part in self.parts], dtype=torch.float64)
        return values[self.owner]

    def limited(self, limit: torch.Tensor) -> RowObjective:
        """Return the objective with limits of log-density (n,) for its rows."""
        assert self.constraints is not None
        given = self.constraints.log_density_floor
        raised = limit if given is None else torch.maximum(limit, given)
        return replace(self, constraints=replace(self.constraints, log_density_floor=raised))

    def unlimited(self) -> RowObjective:
        """Return the objective without limits of log-density."""
        if self.constraints is None or self.constraints.log_density_floor is None:
            return self
        return replace(self, constraints=replace(self.constraints, log_density_floor=None))

    def neighbourhood(self, centres: torch.Tensor, size: int) -> Neighbourhood:
        """Log-densities near centres (n, C, D) of the rows, from ``size`` points around each."""
        n = len(centres)
        limit = None if self.constraints is None else self.constraints.log_density_floor
        parts = []
        for rows, part in self._present():
            index = torch.arange(n)[rows]
            limited = limit is not None and bool((limit[index] > -torch.inf).any())
            if part.density is not None and (part.weight or limited):
                parts.append((index, around(part.density, centres[rows], size)))
        if limit is None:
            limit = torch.full((n,), -torch.inf, dtype=centres.dtype)
        weight = self.weight()
        unit = torch.where(weight > 0, weight, 1 / self.spread())
        return Neighbourhood(parts, weight, unit, limit)

    def best_plausibility(self, rows: torch.Tensor) -> torch.Tensor:
        """Plausibility (k,) that few training rows with the target of ``rows`` (k,) exceed."""
        best = torch.tensor([part.best for part in self.parts], dtype=torch.float64)
        return best[self.owner[rows]]

    def around(
        self, z: torch.Tensor, support: torch.Tensor
    ) -> LocalPlausibility | MixedPlausibility:
        """Plausibility of points that differ from the rows of ``z`` along ``support`` only."""
        present = self._present()
        if len(present) == 1:
            return present[0][1].around(z, support)
        place = torch.empty_like(self.owner)
        locals_ = []
        for rows, part in present:
            place[rows] = torch.arange(len(self.owner[rows]), device=place.device)
            code = int(self.owner[rows][0])
            locals_.append((code, part.around(z[rows], support[rows])))
        return MixedPlausibility(locals_, self.owner, place)

    @property
    def _floor(self) -> float:
        return 0.0 if self.constraints is None else self.constraints.min_margin

    def _margin(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Least margin (k,) over models, relations and the limit of plausibility."""
        margin = self._differentiable(points, rows)
        for own, part, limit in self._limited(rows):
            margin[own] = torch.minimum(margin[own], part.slack(points[own], limit) + self._floor)
        return margin

    def _valid(
        self, points: torch.Tensor, rows: torch.Tensor, floor: float, limited: bool
    ) -> torch.Tensor:
        """Whether the margin of models, relations and plausibility is at least ``floor``."""
        good = self._differentiable(points, rows) >= floor
        if not limited or self.constraints is None or self.constraints.log_density_floor is None:
            return good
        left = good.nonzero()[:, 0]
        for own, part, limit in self._limited(rows[left]):
            good[left[own]] = part.slack(points[left[own]], limit) + self._floor >= floor
        return good

    def _differentiable(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Least margin (k,) over models and relations."""
        constraints = self.constraints
        if constraints is None:
            return self._agreed(points, rows)
        restored = constraints.restore_missing(points, rows)
        margin = self._agreed(restored, rows)
        short = constraints.partial_changes(points, rows)
        if short is not None:
            margin = torch.minimum(
                margin, self._agreed(constraints.restore_missing(short, rows), rows)
            )
        for requirement in constraints.requirements:
            slack = requirement.slack(restored, constraints.row[rows])
            margin = torch.minimum(margin, slack + constraints.min_margin)
        return margin

    def _agreed(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Least margin (k,) over the models."""
        margin = self.criterion.margin(self._scores(self.models[0], points, rows), rows)
        for model in self.models[1:]:
            other = self.criterion.margin(self._scores(model, points, rows), rows)
            margin = torch.minimum(margin, other)
        return margin

    def _scores(self, model: Scores, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Scores (k, C) of points of ``rows`` (k,); some models use their raw cells."""
        of_rows = getattr(model, "of_rows", None)
        if of_rows is None or self.constraints is None or self.constraints.origin is None:
            return model(points)
        scores: torch.Tensor = of_rows(points, self.constraints.origin[rows])
        return scores

    def _present(self) -> list[tuple[torch.Tensor | slice, PlausibilityTerm]]:
        """Rows of each kind of target that occurs; a slice if there is one kind only."""
        if len(self.parts) == 1:
            return [(slice(None), self.parts[0])]
        kinds = self.owner.unique().tolist()
        if len(kinds) == 1:
            return [(slice(None), self.parts[kinds[0]])]
        return [((self.owner == kind).nonzero()[:, 0], self.parts[kind]) for kind in kinds]

    def _limited(
        self, rows: torch.Tensor
    ) -> list[tuple[torch.Tensor, PlausibilityTerm, torch.Tensor]]:
        """Positions in ``rows`` with a limit of plausibility, for each kind of target."""
        if self.constraints is None or self.constraints.log_density_floor is None:
            return []
        limit, kind = self.constraints.log_density_floor[rows], self.owner[rows]
        found = []
        for code, part in enumerate(self.parts):
            own = ((kind == code) & (limit > -torch.inf)).nonzero()[:, 0]
            if len(own):
                found.append((own, part, limit[own]))
        return found
