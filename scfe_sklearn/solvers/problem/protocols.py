"""Protocols of objectives, densities and cells, on which the solvers depend."""

from __future__ import annotations

from typing import Protocol

import torch


class Local(Protocol):
    """Plausibility of n instances, each of which moves along some coordinates only."""

    def value(self, offset: torch.Tensor, instances: torch.Tensor) -> torch.Tensor:
        """Plausibilities (k, K) at offsets (k, K, w) from ``instances`` (k,)."""

    def value_and_grad(
        self, offset: torch.Tensor, instances: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Plausibilities (k,) at offsets (k, w) from ``instances`` (k,), and gradients (k, w)."""


class Along(Protocol):
    """Log-densities of N instances, each along w coordinates of its own."""

    def log_density(self, offset: torch.Tensor) -> torch.Tensor:
        """Log-densities (N, K) at offsets (N, K, w)."""

    def log_density_and_grad(self, offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-densities (N,) at offsets (N, w) and their gradients (N, w)."""


class Neighbourhood(Protocol):
    """Log-densities of n rows near some centres of each."""

    @property
    def weight(self) -> torch.Tensor:
        """Price (n,) of one unit of log-density."""

    @property
    def unit(self) -> torch.Tensor:
        """The price (n,), or a default one where it is 0."""

    @property
    def limit(self) -> torch.Tensor:
        """Least log-density (n,) of an answer, minus infinity without a floor."""

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """Log-densities (n, S) of points ``z`` (n, S, D)."""

    def log_density_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-densities (n, S) of points ``z`` (n, S, D), and their gradients (n, S, D)."""

    def along(self, z: torch.Tensor, row: torch.Tensor, support: torch.Tensor) -> Along:
        """Densities around points ``z`` (N, D) of rows ``row`` (N,), in rising order.

        Supports (N, w) are coordinates, padded with D.
        """

    def take(self, index: torch.Tensor) -> Neighbourhood:
        """Return the neighbourhood of some distinct rows."""


class Cells(Protocol):
    """Boxes on which the scores of a model are constant, for n rows.

    A state is known by its places (d,), one number for each feature.
    """

    @property
    def coordinate(self) -> torch.Tensor:
        """Coordinate (M,) of each value that enters a cell."""

    @property
    def value(self) -> torch.Tensor:
        """The values (M,); for numbers the nearest one beyond a threshold."""

    @property
    def side(self) -> torch.Tensor:
        """1 (M,) where a number grows into the cell, -1 where it shrinks, 0 for levels."""

    def places(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Places (n, d) of points (n, D), and whether they determine the output (n,)."""

    def places_of_values(self, target: torch.Tensor) -> torch.Tensor:
        """Places (M, d) of points (M, D) of which one feature is used."""

    def margins(
        self,
        rows: torch.Tensor,
        places: torch.Tensor,
        state: torch.Tensor,
        feature: torch.Tensor,
        place: torch.Tensor,
    ) -> torch.Tensor:
        """Margins (k,) of states (S, d) after one feature of each changes its place.

        ``rows`` (S,) are the rows of the states; ``state``, ``feature`` and ``place`` have shape
        (k,), and states ascend.
        """


class Objective(Protocol):
    """The model, and for each of n rows its target class and the density of that class.

    Arguments have one entry per row; `take` picks rows.
    """

    @property
    def has_gradient(self) -> bool:
        """Whether the margin can be differentiated."""

    def margin(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Margins (n, K) of the points ``z`` (n, K, D), positive where the target is predicted.

        Points outside ``where`` (n, K) are not evaluated; their margin is minus infinity.
        """

    def valid(
        self, z: torch.Tensor, floor: float, where: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Whether the margins (n, K) of the points ``z`` (n, K, D) are at least ``floor``.

        Points outside ``where`` (n, K) are not evaluated: they are not.
        """

    def evaluate(
        self, z: torch.Tensor, floor: float, where: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `valid` and `plausibility`, (n, K) each."""

    def valid_before_floor(
        self, points: torch.Tensor, rows: torch.Tensor, floor: float
    ) -> torch.Tensor:
        """Whether points (k, D) of the rows ``rows`` (k,) are `valid`: (k,).

        Limits that `plausibility_floor` covers are not checked.
        """

    def plausibility_floor(self) -> torch.Tensor | None:
        """Least plausibility (n,) of valid points; None without such a limit."""

    def margin_at(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Margins (k,) of points (k, D) that belong to the rows ``rows`` (k,)."""

    def margins_after(
        self, factual: torch.Tensor, target: torch.Tensor, feature: torch.Tensor
    ) -> torch.Tensor | None:
        """Margins (n, M) of the rows ``factual`` (n, D) after each of M single moves.

        A move sets a ``feature`` (M,) to what it is in ``target`` (M, D). None if not
        cheaper than one by one.
        """

    def margin_and_grad(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Margins (n,) of ``z`` (n, D) and their gradients (n, D)."""

    def plausibility(self, z: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted log-densities (n, K) of ``z`` (n, K, D), in squared solver units."""

    def combined_plausibility(
        self, z: torch.Tensor, factual: torch.Tensor, target: torch.Tensor, keeps: torch.Tensor
    ) -> torch.Tensor | None:
        """Plausibilities (n, B, M) of points ``z`` (n, B, D) after one of M further moves each.

        A move writes ``target`` (M, D) over the coordinates that ``keeps`` (M, D) does not keep.
        None if not cheaper than one by one.
        """

    def pair_plausibility(self, factual: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
        """Approximate plausibilities (n, M, M) of ``factual`` (n, D) after two of M changes.

        Change number ``j V + v`` sets coordinate j to its v-th of ``values`` (n, D, V); the two
        are of different coordinates. None if not cheap.
        """

    def log_densities(self, z: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        """Log-densities (n, K) of points ``z`` (n, K, D), 0 outside ``where`` (n, K)."""

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """Log-densities (n,) of points ``z`` (n, D)."""

    def lower_quartile(self) -> torch.Tensor:
        """Lower quartile (n,) of the training log-densities, for the target of each row."""

    def spread(self) -> torch.Tensor:
        """Size of one unit of log-density (n,)."""

    def weight(self) -> torch.Tensor:
        """Price (n,) of one unit of log-density."""

    def limited(self, limit: torch.Tensor) -> Objective:
        """Return the objective with limits of log-density (n,) for its rows."""

    def best_plausibility(self, rows: torch.Tensor) -> torch.Tensor:
        """Plausibility (k,) that few training rows of the target class of ``rows`` (k,) exceed."""

    def cells(self) -> Cells | None:
        """The cells that decide about the rows; None if anything else matters."""

    def take(self, rows: torch.Tensor) -> Objective:
        """Return the objective of some of the rows."""

    def unlimited(self) -> Objective:
        """Return the objective without limits of log-density."""

    def neighbourhood(self, centres: torch.Tensor, size: int) -> Neighbourhood:
        """Log-densities near centres (n, C, D) of the rows, from ``size`` points around each."""

    def around(self, z: torch.Tensor, support: torch.Tensor) -> Local:
        """Plausibility of points that differ from the rows of ``z`` along ``support`` only.

        ``support`` (n, w) holds coordinates, padded with D.
        """
