"""What the solvers see of a model, its densities and all further conditions, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from scfe_sklearn.densities.around import around
from scfe_sklearn.objective.cells import RowCells
from scfe_sklearn.objective.conditions import Conditions
from scfe_sklearn.objective.neighbourhood import Neighbourhood
from scfe_sklearn.objective.plausible import LocalPlausibility, MixedPlausibility, Plausible
from scfe_sklearn.objective.readings import Reading

CHUNK = 2**15
"""Points scored at once: large enough for a matrix product, small enough for a cache."""

Scores = Callable[[torch.Tensor], torch.Tensor]
"""Points (k, D) of solver space to scores (k, C)."""


@dataclass(frozen=True, eq=False)
class RowObjective:
    """Margin and plausibility of n rows, each with a wish and a kind of answers of its own.

    Parameters
    ----------
    models : sequence of callable
        Points (k, D) of solver space to scores (k, C); all of them must agree.
    has_gradient : bool
        Whether the scores can be differentiated.
    parts : sequence of Plausible
        Densities of the kinds of answers.
    owner : LongTensor of shape (n,)
        Position in ``parts`` of each row.
    reading : Reading
        What each row wants of the scores.
    conditions : Conditions or None
        What else must hold.
    """

    models: Sequence[Scores]
    has_gradient: bool
    parts: Sequence[Plausible]
    owner: torch.Tensor
    reading: Reading
    conditions: Conditions | None = None

    def take(self, index: torch.Tensor) -> RowObjective:
        """Return the objective of some of the rows."""
        return RowObjective(
            self.models,
            self.has_gradient,
            self.parts,
            self.owner[index],
            self.reading.take(index),
            None if self.conditions is None else self.conditions.take(index),
        )

    @torch.no_grad()
    def margin(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Margins (n, K) of ``z`` (n, K, D): positive where the row has what it wants."""
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

        As `margin` tells; but what a model refuses is not asked for its density.
        """
        return self._valid_where(z, floor, where, limited=True)

    def appraised(
        self, z: torch.Tensor, floor: float, where: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Which points are `valid`, and their `plausibility`: one density for both."""
        bound = self.bound()
        good = self._valid_where(z, floor, where, limited=bound is None)
        value = self.plausibility(z, good)
        return (good if bound is None else good & (value >= bound[:, None])), value

    def bound(self) -> torch.Tensor | None:
        """Plausibility (n,) that the limits stand for; None where it tells nothing of them."""
        limit = None if self.conditions is None else self.conditions.limit
        weight = self.weight()
        if limit is None or not bool((weight > 0).all()):
            return None
        return weight * limit

    @torch.no_grad()
    def accepted_at(self, points: torch.Tensor, rows: torch.Tensor, floor: float) -> torch.Tensor:
        """Whether points (k, D) of the rows ``rows`` (k,) are `valid`: (k,).

        Whatever the limits of plausibility that `bound` stands for.
        """
        return self._valid_at(points, rows, floor, limited=self.bound() is None)

    def _valid_where(
        self, z: torch.Tensor, floor: float, where: torch.Tensor | None, limited: bool
    ) -> torch.Tensor:
        """Whether points ``z`` (n, K, D) are valid, with or without the limits: (n, K)."""
        rows = torch.arange(z.shape[0], device=z.device)[:, None].expand(z.shape[:2])
        out = torch.zeros(z.shape[:2], dtype=torch.bool, device=z.device)
        asked = torch.ones_like(out) if where is None else where
        out[asked] = self._valid_at(z[asked], rows[asked], floor, limited)
        return out

    def _valid_at(
        self, points: torch.Tensor, rows: torch.Tensor, floor: float, limited: bool
    ) -> torch.Tensor:
        """Whether points (k, D) of the rows ``rows`` (k,) are valid, a part after the other."""
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
        """Margins (n, M) of ``factual`` (n, D) after single moves; None where nothing is won.

        A move sets a ``feature`` (M,) to what it is in ``target`` (M, D).
        """
        conditions = self.conditions
        opened = factual
        if conditions is not None:
            if conditions.requirements or conditions.shortfall or conditions.limit is not None:
                return None
            opened = conditions.opened(factual, torch.arange(len(factual)))
        rows = torch.arange(len(factual)).repeat_interleave(len(feature))
        margin = None
        for model in self.models:
            ask = getattr(model, "after_moves", None)
            scores = None if ask is None else ask(opened, target, feature)
            if scores is None:
                return None
            one = self.reading.margin(scores.flatten(0, 1), rows)
            margin = one if margin is None else torch.minimum(margin, one)
        return None if margin is None else margin.reshape(len(factual), len(feature))

    def cells(self) -> RowCells | None:
        """The cells of trees; None where more than their scores decides, or has a price."""
        given = self.conditions
        limited = given is not None and (
            bool(given.requirements) or bool(given.shortfall) or given.limit is not None
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
        if self.conditions is not None and self.conditions.holes is not None:
            gradient = gradient.nan_to_num()  # nothing moves along what is missing
        for own, part, limit in self._limited(rows):
            slack, slope = part.slack_and_grad(z[own], limit)
            slack = slack + self._floor
            lower = slack < margin[own]
            margin[own] = torch.where(lower, slack, margin[own])
            gradient[own] = torch.where(lower[:, None], slope, gradient[own])
        return margin, gradient

    @torch.no_grad()
    def plausibility(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted log-density of each row's kind of answers: (n, K) of ``z`` (n, K, D)."""
        out = torch.full(z.shape[:2], -torch.inf, dtype=z.dtype, device=z.device)
        for rows, part in self._present():
            asked = None if where is None else where[rows]
            points = z[rows].flatten(0, 1) if asked is None else z[rows][asked]
            if len(points) == 0:
                continue
            value = part.value(points)
            if asked is None:
                out[rows] = value.reshape(out[rows].shape)
            else:
                here = torch.full(asked.shape, -torch.inf, dtype=z.dtype, device=z.device)
                here[asked] = value
                out[rows] = here
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
        """Plausibility (n, M, M) after any two of M = D V changes, about; None if not cheap."""
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
        """Log-density (n,) of points ``z`` (n, D) among the answers that each row wants."""
        out = torch.zeros_like(z[:, 0])
        for rows, part in self._present():
            out[rows] = part.log_density(z[rows])
        return out

    def needs_density(self) -> bool:
        """Return whether log-densities have a price or a limit."""
        limit = None if self.conditions is None else self.conditions.limit
        return bool((self.weight() > 0).any()) or limit is not None

    def log_densities(self, z: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        """Log-densities (n, K) of points ``z`` (n, K, D), 0 outside ``where`` (n, K)."""
        out = torch.zeros(z.shape[:2], dtype=z.dtype, device=z.device)
        if not self.needs_density():
            return out
        for rows, part in self._present():
            asked = where[rows]
            here = torch.zeros(asked.shape, dtype=z.dtype, device=z.device)
            here[asked] = part.log_density(z[rows][asked])
            out[rows] = here
        return out

    def common(self) -> torch.Tensor:
        """Log-density (n,) that is common among the answers that each row wants."""
        values = torch.tensor([part.common for part in self.parts], dtype=torch.float64)
        return values[self.owner]

    def weight(self) -> torch.Tensor:
        """Price of one unit of log-density (n,) for each row."""
        values = torch.tensor([part.weight for part in self.parts], dtype=torch.float64)
        return values[self.owner]

    def spread(self) -> torch.Tensor:
        """What counts as one unit of log-density (n,) for each row."""
        values = torch.tensor([part.spread for part in self.parts], dtype=torch.float64)
        return values[self.owner]

    def limited(self, limit: torch.Tensor) -> RowObjective:
        """Return the objective with limits of log-density (n,) for its rows."""
        assert self.conditions is not None
        given = self.conditions.limit
        raised = limit if given is None else torch.maximum(limit, given)
        return replace(self, conditions=replace(self.conditions, limit=raised))

    def unlimited(self) -> RowObjective:
        """Return the objective without limits of log-density."""
        if self.conditions is None or self.conditions.limit is None:
            return self
        return replace(self, conditions=replace(self.conditions, limit=None))

    def neighbourhood(self, centres: torch.Tensor, size: int) -> Neighbourhood:
        """Log-densities near centres (n, C, D) of the rows, from ``size`` points around each."""
        n = len(centres)
        limit = None if self.conditions is None else self.conditions.limit
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
        """Plausibility that few training rows of the kind exceed, for ``rows`` (k,)."""
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
        return 0.0 if self.conditions is None else self.conditions.floor

    def _margin(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Least margin (k,) over models, relations and the limit of plausibility."""
        margin = self._differentiable(points, rows)
        for own, part, limit in self._limited(rows):
            margin[own] = torch.minimum(margin[own], part.slack(points[own], limit) + self._floor)
        return margin

    def _valid(
        self, points: torch.Tensor, rows: torch.Tensor, floor: float, limited: bool
    ) -> torch.Tensor:
        """Whether models, relations and the limit of plausibility leave a margin of ``floor``."""
        good = self._differentiable(points, rows) >= floor
        if not limited or self.conditions is None or self.conditions.limit is None:
            return good
        left = good.nonzero()[:, 0]
        for own, part, limit in self._limited(rows[left]):
            good[left[own]] = part.slack(points[left[own]], limit) + self._floor >= floor
        return good

    def _differentiable(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Least margin (k,) over models and relations."""
        conditions = self.conditions
        if conditions is None:
            return self._agreed(points, rows)
        opened = conditions.opened(points, rows)
        margin = self._agreed(opened, rows)
        short = conditions.fallen_short(points, rows)
        if short is not None:
            margin = torch.minimum(margin, self._agreed(conditions.opened(short, rows), rows))
        for requirement in conditions.requirements:
            slack = requirement.slack(opened, conditions.row[rows])
            margin = torch.minimum(margin, slack + conditions.floor)
        return margin

    def _agreed(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Least margin (k,) over the models."""
        margin = self.reading.margin(self._scores(self.models[0], points, rows), rows)
        for model in self.models[1:]:
            other = self.reading.margin(self._scores(model, points, rows), rows)
            margin = torch.minimum(margin, other)
        return margin

    def _scores(self, model: Scores, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Scores (k, C) of points of the rows ``rows``, whose own cells some models read."""
        of_rows = getattr(model, "of_rows", None)
        if of_rows is None or self.conditions is None or self.conditions.origin is None:
            return model(points)
        scores: torch.Tensor = of_rows(points, self.conditions.origin[rows])
        return scores

    def _present(self) -> list[tuple[torch.Tensor | slice, Plausible]]:
        """Rows of each kind that occurs; a slice where there is one kind only."""
        if len(self.parts) == 1:
            return [(slice(None), self.parts[0])]
        kinds = self.owner.unique().tolist()
        if len(kinds) == 1:
            return [(slice(None), self.parts[kinds[0]])]
        return [((self.owner == kind).nonzero()[:, 0], self.parts[kind]) for kind in kinds]

    def _limited(self, rows: torch.Tensor) -> list[tuple[torch.Tensor, Plausible, torch.Tensor]]:
        """Positions in ``rows`` that have a limit of plausibility, for each kind of answers."""
        if self.conditions is None or self.conditions.limit is None:
            return []
        limit, kind = self.conditions.limit[rows], self.owner[rows]
        found = []
        for code, part in enumerate(self.parts):
            own = ((kind == code) & (limit > -torch.inf)).nonzero()[:, 0]
            if len(own):
                found.append((own, part, limit[own]))
        return found
