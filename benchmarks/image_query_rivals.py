"""Sparse attacks of others that follow no gradient, and one with a mask, written from their papers.

* OnePixel (Su, Vargas, Sakurai, IEEE TEVC 2019): differential evolution of the places and colours
  of k pixels, without crossover; the margin is what counts, not the probability.
* CornerSearch (Croce and Hein, ICCV 2019): every pixel in every corner of the colour cube by
  itself; then random sets of the best of these, drawn with falling probabilities, larger and
  larger.
* SAPF (Fan, Wu, Li et al., ECCV 2020): a change is a dense one times a mask of k pixels. The mask
  is continuous, and copies of it are kept in the box and on the sphere whose common points are
  binary (lp-box ADMM). Without its superpixels.

Changes are in units of the range of the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scfe_sklearn.image.active_batch import top_pixels
from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.explainer import ImageExplainer, Proposal, one_after_another
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.metrics import lengths
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.image.random import uniform
from scfe_sklearn.proximal.operators import clip

AT_ONCE = 4096
"""Images that the model is shown at once."""


class _Queries:
    """Margins of painted images, and how many each image took."""

    def __init__(self, model: ImageModel, x: Tensor, goal: Goal) -> None:
        self.model, self.x, self.goal = model, x, goal
        self.count = torch.zeros(len(x), dtype=torch.long, device=x.device)

    def paint(self, rows: Tensor, place: Tensor, colour: Tensor) -> Tensor:
        """Return images (m, q, C, H W): x[rows] with pixels (m, q, k) in colours (m, q, C, k)."""
        m, q, k = place.shape
        base = self.x[rows].flatten(2)
        if self.goal.region is not None:
            # Outside of the region pixels keep their colours.
            inside = self.goal.region[rows].flatten(1)[:, None].expand(m, q, -1).gather(2, place)
            own = (
                base[:, None]
                .expand(m, q, -1, -1)
                .gather(3, place[:, :, None].expand(m, q, base.shape[1], k))
            )
            colour = torch.where(inside[:, :, None], colour, own)
        image = base[:, None].expand(m, q, -1, -1).clone()
        for pixel in range(k):
            # One after the other: a place that is named twice has the last colour.
            index = place[:, :, None, pixel : pixel + 1].expand(m, q, base.shape[1], 1)
            image.scatter_(3, index, colour[..., pixel : pixel + 1])
        return image

    def margins(self, rows: Tensor, place: Tensor, colour: Tensor) -> Tensor:
        """Return minus the margins (m, q) of painted images."""
        q, parts = place.shape[1], max(1, AT_ONCE // max(1, len(rows)))
        self.count[rows] += q
        out = []
        for first in range(0, q, parts):
            some = slice(first, first + parts)
            image = self.paint(rows, place[:, some], colour[:, some])
            flat = image.reshape(-1, *self.x.shape[1:])
            goal = self.goal.take(rows.repeat_interleave(image.shape[1]))
            with torch.no_grad():
                loss = goal.margin_loss(self.model.logits(flat))
            out.append(loss.reshape(len(rows), -1))
        return torch.cat(out, dim=1)

    def proposal(self, place: Tensor, colour: Tensor, value: Tensor) -> Proposal:
        """Return the changes by pixels (n, k) in colours (n, C, k) whose value is negative."""
        everyone = torch.arange(len(self.x), device=self.x.device)
        image = self.paint(everyone, place[:, None], colour[:, None]).reshape(self.x.shape)
        w = (image - self.x) / self.model.scale
        w = torch.where(per_image(value < 0), w, torch.zeros_like(w))
        return Proposal(w, self.count, torch.zeros_like(self.count))


@dataclass(eq=False, repr=False, kw_only=True)
class OnePixel(ImageExplainer):
    """Differential evolution of the places and colours of k pixels."""

    _unit = 1.0

    n_pixels: int = 1
    population: int = 100
    n_generations: int = 30
    factor: float = 0.5
    random_state: int = 0

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        queries = _Queries(model, x, goal)
        channels, k, many = x.shape[1], self.n_pixels, self.population
        size = k * (2 + channels)
        genes = self._draw(indices, 0, many * size, x).reshape(len(x), many, size)
        everyone = torch.arange(len(x), device=x.device)
        value = queries.margins(everyone, *self._read(genes, x, model))
        for generation in range(1, self.n_generations + 1):
            rows = (value.amin(dim=1) >= 0).nonzero()[:, 0]
            if len(rows) == 0:
                break
            draws = self._draw(indices[rows], generation, 3 * many, x)
            a, b, c = (draws * many).long().reshape(len(rows), 3, many).unbind(1)
            now = genes[rows]
            parent, plus, minus = (
                now.gather(1, pick[:, :, None].expand(-1, -1, size)) for pick in (a, b, c)
            )
            child = (parent + self.factor * (plus - minus)).clamp(0, 1)
            new = queries.margins(rows, *self._read(child, x, model))
            better = new < value[rows]
            genes[rows] = torch.where(better[:, :, None], child, now)
            value[rows] = torch.where(better, new, value[rows])
        best = value.argmin(dim=1)
        place, colour = self._read(genes[everyone, best][:, None], x, model)
        return queries.proposal(place[:, 0], colour[:, 0], value.amin(dim=1))

    def _draw(self, indices: Tensor, stream: int, size: int, x: Tensor) -> Tensor:
        return uniform(self.random_state, indices, stream, size, x.dtype)

    def _read(self, genes: Tensor, x: Tensor, model: ImageModel) -> tuple[Tensor, Tensor]:
        """Return places (n, q, k) and colours (n, q, C, k) of genes in [0, 1]."""
        channels, height, width = x.shape[1:]
        part = genes.reshape(*genes.shape[:2], 2 + channels, self.n_pixels)
        row = (part[:, :, 0] * height).long().clamp(max=height - 1)
        column = (part[:, :, 1] * width).long().clamp(max=width - 1)
        low, high = model.bounds
        return row * width + column, low + (high - low) * part[:, :, 2:]


@dataclass(eq=False, repr=False, kw_only=True)
class CornerSearch(ImageExplainer):
    """Random sets of the best single pixels in corners of the colour cube, larger and larger."""

    _unit = 1.0

    n_pixels: int = 20
    n_best: int = 100
    n_draws: int = 100
    random_state: int = 0

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        queries = _Queries(model, x, goal)
        n, channels = x.shape[:2]
        size = x[0, 0].numel()
        corners = torch.cartesian_prod(*[torch.tensor(model.bounds)] * channels)
        corners = corners.reshape(-1, channels).to(x)
        pixel = torch.arange(size, device=x.device).repeat(len(corners))
        paint = corners.repeat_interleave(size, dim=0)
        everyone = torch.arange(n, device=x.device)
        single = queries.margins(
            everyone,
            pixel[None, :, None].expand(n, -1, -1),
            paint[None, :, :, None].expand(n, -1, -1, -1),
        )
        many = min(self.n_best, single.shape[1])
        values, order = single.topk(many, dim=1, largest=False)
        place = order[:, :1].new_zeros(n, self.n_pixels)
        place[:] = pixel[order[:, :1]]
        colour = paint[order[:, 0]][:, :, None].expand(n, channels, self.n_pixels).clone()
        value = values[:, 0].clone()
        for k in range(2, self.n_pixels + 1):
            rows = (value >= 0).nonzero()[:, 0]
            if len(rows) == 0:
                break
            chosen = order[rows[:, None, None], self._sets(indices[rows], k, many, x)]
            spots, colours = pixel[chosen], paint[chosen].movedim(-1, 2)
            loss, best = queries.margins(rows, spots, colours).min(dim=1)
            value[rows] = loss
            pick = torch.arange(len(rows), device=x.device)
            # Pixels that are left repeat the last one.
            place[rows] = _filled(spots[pick, best], self.n_pixels)
            colour[rows] = _filled(colours[pick, best], self.n_pixels)
        return queries.proposal(place, colour, value)

    def _sets(self, indices: Tensor, k: int, many: int, x: Tensor) -> Tensor:
        """Return ranks (n, draws, k): rank i of m has the probability (2 m - 2 i - 1) / m^2."""
        draws = uniform(self.random_state, indices, k, self.n_draws * k, x.dtype)
        rank = (many * (1 - (1 - draws).sqrt())).long().clamp(max=many - 1)
        return rank.reshape(len(indices), self.n_draws, k)


def _filled(values: Tensor, size: int) -> Tensor:
    """Repeat the last entries until there are ``size``."""
    missing = size - values.shape[-1]
    return torch.cat([values, values[..., -1:].expand(*values.shape[:-1], missing)], dim=-1)


@dataclass(eq=False, repr=False, kw_only=True)
class SAPF(ImageExplainer):
    """A dense change times a mask of k pixels, factorised by lp-box ADMM."""

    _unit = 0.5

    n_pixels: int = 40
    n_weights: int = 3
    first_weight: float = 3.0
    n_rounds: int = 10
    n_iter: int = 20
    rate: float = 0.05
    penalty: float = 0.05
    growth: float = 1.5

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        def search(turn: int, rows: Tensor) -> Proposal:
            weight = self.first_weight * 10**turn
            return self._factorised(model, x[rows], goal.take(rows), weight)

        return one_after_another(search, x, self.n_weights)

    def _factorised(self, model: ImageModel, x: Tensor, goal: Goal, weight: float) -> Proposal:
        """Change and mask by turns, then the change alone with the k largest of the mask."""
        lower, upper = model.perturbation_box(x, goal.region)
        size = x[0, 0].numel()
        k = min(self.n_pixels, size)
        change = torch.zeros_like(x)
        mask = torch.ones(len(x), 1, *x.shape[2:], dtype=x.dtype, device=x.device)
        duals, rho = [torch.zeros_like(mask) for _ in range(3)], self.penalty
        for _ in range(self.n_rounds):
            for _ in range(self.n_iter):
                _, slope = self._slope(model, x, change * mask, goal, weight)
                change = clip(change - self.rate * _scaled(slope * mask), lower, upper)
            for _ in range(self.n_iter):
                pair, copies = duals[:2], _copies(mask, duals, rho)
                _, slope = self._slope(model, x, change * mask, goal, weight)
                pull = sum(
                    dual + rho * (mask - copy) for dual, copy in zip(pair, copies, strict=True)
                )
                pull = pull + duals[2] + rho / size * per_image(mask.flatten(1).sum(1) - k)
                slope = (slope * change).sum(dim=1, keepdim=True)
                mask = (mask - self.rate * _scaled(slope + pull)).clamp(0, 1)
            pair, copies = duals[:2], _copies(mask, duals, rho)
            duals[:2] = [d + rho * (mask - copy) for d, copy in zip(pair, copies, strict=True)]
            duals[2] = duals[2] + rho / size * per_image(mask.flatten(1).sum(1) - k)
            rho *= self.growth
        top = top_pixels(mask.flatten(1), k).reshape(mask.shape)
        w = change * top
        best, least = torch.zeros_like(x), torch.full((len(x),), torch.inf).to(x)
        for _ in range(2 * self.n_iter):
            loss, slope = self._slope(model, x, w, goal, weight)
            better = (loss < 0) & (lengths(w) < least)
            best = torch.where(per_image(better), w, best)
            least = torch.where(better, lengths(w), least)
            w = clip(w - self.rate * _scaled(slope * top), lower, upper)
        total = 2 * self.n_iter * (self.n_rounds + 1)
        count = torch.full((len(x),), total, dtype=torch.long, device=x.device)
        return Proposal(best, count, count)

    def _slope(
        self, model: ImageModel, x: Tensor, w: Tensor, goal: Goal, weight: float
    ) -> tuple[Tensor, Tensor]:
        """Return minus the margins, and the gradient of length squared + weight * hinge."""
        _, loss, slope = model.with_gradient(x, w, goal.margin_loss, goal.region)
        return loss, 2 * w + weight * per_image((loss >= 0).to(x.dtype)) * slope


def _copies(mask: Tensor, duals: list[Tensor], rho: float) -> tuple[Tensor, Tensor]:
    """Return the nearest masks in the box [0, 1] and on the sphere through its corners."""
    boxed = (mask + duals[0] / rho).clamp(0, 1)
    off = mask + duals[1] / rho - 0.5
    radius = 0.5 * off[0].numel() ** 0.5
    size = off.flatten(1).norm(dim=1).clamp(min=1e-30)
    return boxed, 0.5 + off * per_image(radius / size)


def _scaled(slope: Tensor) -> Tensor:
    """Return slopes whose largest size is 1 in each image."""
    return slope / slope.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)
