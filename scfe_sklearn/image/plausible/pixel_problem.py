"""Images as rows of the recourse problem: pixels are the features, channels their coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.objective import ClassMargin, PlausibilityTerm, RowObjective
from scfe_sklearn.solvers.problem import Domain, Moves, Problem

FLOOR = 1e-3
"""Least lead of the wanted class: answers are judged again, in the model's own precision."""


def image_shape(images: Tensor) -> tuple[int, int, int]:
    """Return (C, H, W) of images (n, C, H, W)."""
    _, channels, height, width = images.shape
    return channels, height, width


@dataclass(frozen=True)
class PixelRows:
    """Images (n, C, H, W) as rows (n, H W C), the range of the pixels being [-1, 1], and back.

    Rows are in double precision, in which the solver compares; the model has its own.

    Parameters
    ----------
    shape : (C, H, W)
    bounds : (low, high)

    Examples
    --------
    >>> rows = PixelRows((3, 2, 2), (0.0, 1.0))
    >>> images = torch.rand(5, 3, 2, 2)
    >>> bool(torch.equal(rows.images(rows.rows(images)).float(), images))
    True
    """

    shape: tuple[int, int, int]
    bounds: tuple[float, float]

    @property
    def half(self) -> float:
        """Half the range of the pixels."""
        return (self.bounds[1] - self.bounds[0]) / 2

    def rows(self, images: Tensor) -> Tensor:
        """Return images as rows, from -1 to 1."""
        middle = sum(self.bounds) / 2
        return self.flat((images.double() - middle) / self.half)

    def images(self, rows: Tensor) -> Tensor:
        """Return rows as images, in the unit of the pixels."""
        return self.square(rows) * self.half + sum(self.bounds) / 2

    def flat(self, images: Tensor) -> Tensor:
        """Return images as rows: the channels of a pixel stand together."""
        return images.permute(0, 2, 3, 1).flatten(1)

    def square(self, rows: Tensor) -> Tensor:
        """Return rows as images, in the unit of the rows."""
        channels, height, width = self.shape
        return rows.reshape(-1, height, width, channels).permute(0, 3, 1, 2)

    def domain(self, rows: Tensor, region: Tensor | None = None) -> Domain:
        """Return the domain of rows: every channel from -1 to 1, a pixel being one feature.

        Pixels outside ``region`` (n, 1, H, W) stay.
        """
        channels, height, width = self.shape
        pixel = torch.arange(height * width, device=rows.device).repeat_interleave(channels)
        one, zero = torch.ones_like(rows), torch.zeros_like(rows[0])
        lower, upper, allowed = -one, one, one > 0
        if region is not None:
            allowed = self.flat(region.to(rows.device).expand(-1, channels, -1, -1))
            lower, upper = torch.where(allowed, lower, rows), torch.where(allowed, upper, rows)
        return Domain(
            factual=rows,
            lower=lower,
            upper=upper,
            allowed=allowed,
            groups=pixel,
            scalar=zero == 0,
            step=zero,
            offset=zero,
        )


@dataclass(frozen=True, eq=False)
class CountedObjective(RowObjective):
    """An objective that counts how often each image is shown to the model.

    Parameters
    ----------
    place : LongTensor of shape (n,)
        Position of each row in the counters.
    counts : LongTensor of shape (2, m)
        Forward and backward passes, added to.
    """

    place: Tensor | None = None
    counts: Tensor | None = None

    def take(self, index: Tensor) -> CountedObjective:
        """Return the objective of some of the rows, with the same counters."""
        part = super().take(index)
        place = None if self.place is None else self.place[index]
        return CountedObjective(
            part.models, part.has_gradient, part.parts, part.owner, part.criterion,
            part.constraints, place, self.counts,
        )  # fmt: skip

    def margin(self, z: Tensor, where: Tensor | None = None) -> Tensor:
        """Margins (n, K) of ``z`` (n, K, D), counted."""
        shown = torch.ones(z.shape[:2], dtype=torch.long, device=z.device)
        self._add(0, (shown if where is None else where.long()).sum(1))
        return super().margin(z, where)

    def _valid_where(self, z: Tensor, floor: float, where: Tensor | None, limited: bool) -> Tensor:
        """Whether points ``z`` (n, K, D) are valid: (n, K), counted."""
        shown = torch.ones(z.shape[:2], dtype=torch.long, device=z.device)
        self._add(0, (shown if where is None else where.long()).sum(1))
        return super()._valid_where(z, floor, where, limited)

    def margin_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (n,) of ``z`` (n, D) and their gradients (n, D), counted."""
        one = torch.ones(len(z), dtype=torch.long, device=z.device)
        self._add(0, one)
        self._add(1, one)
        return super().margin_and_grad(z)

    def _add(self, kind: int, count: Tensor) -> None:
        if self.counts is not None and self.place is not None:
            self.counts[kind].index_add_(0, self.place, count)


def pixel_problem(
    model: ImageModel,
    pixels: PixelRows,
    rows: Tensor,
    target: Tensor,
    parts: list[PlausibilityTerm],
    owner: Tensor,
    max_pixels: int | None,
    beta: float,
    counts: Tensor,
    region: Tensor | None = None,
) -> Problem:
    """Return the problem of images ``rows`` (n, D) that should be of the classes ``target`` (n,).

    ``owner`` (n,) is the position in ``parts`` of the density of an answer.
    """
    dtype, device = model.place(rows)

    def scores(points: Tensor) -> Tensor:
        # The bounds once more: rounding to the model's precision may leave them.
        images = pixels.images(points).to(device, dtype).clamp(*pixels.bounds)
        return model.logits(images).to("cpu", torch.float64)

    n, size = len(rows), pixels.shape[1] * pixels.shape[2]
    nothing = torch.zeros(0, dtype=torch.long, device=rows.device)
    domain = pixels.domain(rows, region)
    return Problem(
        objective=CountedObjective(
            [scores],
            True,
            parts,
            owner,
            ClassMargin(target),
            None,
            torch.arange(n, device=rows.device),
            counts,
        ),
        domain=domain,
        moves=Moves.from_values(nothing, rows.new_zeros(0), domain.groups),
        beta=rows.new_full((n,), beta),
        max_changes=torch.full_like(target, size if max_pixels is None else max_pixels),
        floor=FLOOR,
    )
