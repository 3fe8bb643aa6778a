"""Sparse attacks of others that follow gradients, written from their papers, for whole batches.

* SparseFool (Modas, Moosavi-Dezfooli, Frossard, CVPR 2019): DeepFool finds a boundary, whose
  linear model is reached by the values with the largest slopes, each moved to its end.
* GreedyFool (Dong, Han, Chen et al., NeurIPS 2020): pixels are added one by one by the size of
  their gradient, and given up where the change holds without them. Its map of visible distortion
  is a trained generator, which is not public: all pixels count alike.
* C&W l0 (Carlini and Wagner, S&P 2017): shortest changes of fewer and fewer pixels, those with the
  least product of slope and change go first. A share of the pixels per round, and the range by
  clipping instead of tanh.
* Homotopy attack (Zhu, Chen, Wang, ICML 2021): proximal gradient of the 0-norm, whose weight
  falls, each time from the answer before. Single values instead of superpixels, steps by the
  largest slope at the image instead of their nonmonotone line search.

Changes are in units of the range of the pixels. An evaluation is a forward and a backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scfe_sklearn.image.active_batch import top_pixels
from scfe_sklearn.image.batches import per_image
from scfe_sklearn.image.explainer import ImageExplainer, Proposal
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.metrics import lengths
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.proximal.operators import clip, prox_l0

TINY = 1e-30


class _Search:
    """A batch of images, and the evaluations that each of them took."""

    def __init__(self, model: ImageModel, x: Tensor, goal: Goal) -> None:
        self.model, self.x, self.goal = model, x, goal
        self.lower, self.upper = model.perturbation_box(x, goal.region)
        self.count = torch.zeros(len(x), dtype=torch.long, device=x.device)

    def evaluate(self, w: Tensor, pending: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return minus the margins (n,) and their gradients; count the pending images."""
        _, loss, gradient = self.model.with_gradient(
            self.x, w, self.goal.margin_loss, self.goal.region
        )
        self.count += 1 if pending is None else pending.long()
        return loss, gradient

    def clip(self, w: Tensor) -> Tensor:
        """Return changes that keep to the range and the region."""
        return clip(w, self.lower, self.upper)

    def proposal(self, w: Tensor, reached: Tensor) -> Proposal:
        """Return the changes that reach their goal."""
        w = torch.where(per_image(reached), w, torch.zeros_like(w))
        return Proposal(w, self.count, self.count)


@dataclass(eq=False, repr=False, kw_only=True)
class SparseFool(ImageExplainer):
    """Few values, by the linear models of boundaries."""

    _unit = 1.0

    n_rounds: int = 20
    n_iter: int = 50
    stretch: float = 3.0
    overshoot: float = 0.02

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        run = _Search(model, x, goal)
        with torch.no_grad():
            logits = model.logits(x)
        classes = goal.label[:, None] if goal.targeted else logits.topk(min(10, logits.shape[1]))[1]
        w, best = torch.zeros_like(x), torch.zeros_like(x)
        reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for _ in range(self.n_rounds):
            boundary, normal = self._deep_fool(run, logits.argmax(1), classes, w, ~reached)
            w = cross_plane(w, normal, boundary, run.lower, run.upper)
            shown = run.clip((1 + self.overshoot) * w)
            loss, _ = run.evaluate(shown, ~reached)
            new = (loss < 0) & ~reached
            best, reached = torch.where(per_image(new), shown, best), reached | new
            if bool(reached.all()):
                break
        return run.proposal(best, reached)

    def _deep_fool(
        self, run: _Search, own: Tensor, classes: Tensor, start: Tensor, pending: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return a point beyond the nearest boundary, and the slope of the new class there."""
        total, nearest, going = torch.zeros_like(start), classes[:, 0], pending.clone()
        for _ in range(self.n_iter):
            at = start + total
            ratio = torch.full((len(at),), torch.inf, dtype=at.dtype, device=at.device)
            step = torch.zeros_like(at)
            for wanted in classes.T:
                gap, slope = self._gap(run, at, own, wanted, going)
                size = lengths(slope).clamp(min=TINY)
                near = (gap.abs() / size < ratio) & (wanted != own)
                move = per_image((gap.abs() + 1e-4) / size**2) * slope
                step = torch.where(per_image(near), move, step)
                nearest = torch.where(near & going, wanted, nearest)
                ratio = torch.where(near, gap.abs() / size, ratio)
            total = torch.where(per_image(going), total + step, total)
            loss, _ = run.evaluate(run.clip(start + (1 + self.overshoot) * total), going)
            going = going & (loss >= 0)
            if not bool(going.any()):
                break
        _, normal = self._gap(run, run.clip(start + total), own, nearest, pending)
        return start + self.stretch * total, normal

    @staticmethod
    def _gap(
        run: _Search, at: Tensor, own: Tensor, wanted: Tensor, going: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return Z_wanted - Z_own (n,) and its gradient."""

        def gap(logits: Tensor) -> Tensor:
            return (logits.gather(1, wanted[:, None]) - logits.gather(1, own[:, None]))[:, 0]

        _, value, slope = run.model.with_gradient(run.x, at, gap, run.goal.region)
        run.count += going.long()
        return value, slope


def cross_plane(
    w: Tensor, normal: Tensor, boundary: Tensor, lower: Tensor, upper: Tensor
) -> Tensor:
    """Return points beyond a plane: the values of the steepest slopes are moved, to their ends.

    The fractional knapsack of SparseFool's linear solver: all but the last value that moves are at
    an end of their range.
    """
    missing = (normal * (boundary - w)).flatten(1).sum(dim=1, keepdim=True).clamp(min=0) + 1e-3
    slope = normal.flatten(1)
    room = torch.where(normal > 0, upper - w, w - lower).flatten(1).clamp(min=0)
    order = slope.abs().argsort(dim=1, descending=True, stable=True)
    gain = (slope.abs() * room).gather(1, order)
    share = ((missing - (gain.cumsum(1) - gain)) / gain.clamp(min=TINY)).clamp(0, 1)
    moves = torch.zeros_like(slope).scatter(1, order, share) * room * slope.sign()
    return w + moves.reshape(w.shape)


@dataclass(eq=False, repr=False, kw_only=True)
class GreedyFool(ImageExplainer):
    """Pixels added one by one by their gradients, then given up where they are not needed."""

    _unit = 1.0

    n_iter: int = 100
    per_round: int = 1
    step: float = 0.4

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        run = _Search(model, x, goal)
        w, best = torch.zeros_like(x), torch.zeros_like(x)
        chosen = torch.zeros(len(x), x[0, 0].numel(), dtype=torch.bool, device=x.device)
        reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for _ in range(self.n_iter + 1):
            loss, gradient = run.evaluate(w, ~reached)
            new = (loss < 0) & ~reached
            best, reached = torch.where(per_image(new), w, best), reached | new
            if bool(reached.all()):
                break
            size = gradient.flatten(2).norm(dim=1)
            fresh = torch.where(chosen, -1.0, size)
            chosen = chosen | (top_pixels(fresh, min(self.per_round, fresh.shape[1])) & (fresh > 0))
            slope = gradient * chosen.reshape(len(x), 1, *x.shape[2:])
            slope = slope / slope.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=TINY)
            w = run.clip(w - self.step * slope)
        return run.proposal(give_up_pixels(run, best, reached), reached)


def give_up_pixels(run: _Search, w: Tensor, reached: Tensor) -> Tensor:
    """Try every changed pixel once, the least change first, and restore it if the goal stays."""
    size = w.flatten(2).norm(dim=1)
    count = (size > 0).sum(dim=1)
    order = torch.where(size > 0, size, torch.inf).argsort(dim=1, stable=True)
    for k in range(int(count.max()) if len(w) else 0):
        tried = reached & (k < count)
        keep = torch.ones_like(size, dtype=torch.bool).scatter(1, order[:, k : k + 1], False)
        fewer = w * keep.reshape(len(w), 1, *w.shape[2:])
        loss, _ = run.evaluate(fewer, tried)
        w = torch.where(per_image(tried & (loss < 0)), fewer, w)
    return w


@dataclass(eq=False, repr=False, kw_only=True)
class CarliniL0(ImageExplainer):
    """Shortest changes of fewer and fewer pixels."""

    _unit = 1.0

    n_rounds: int = 30
    n_iter: int = 40
    n_weights: int = 4
    first_weight: float = 0.1
    rate: float = 0.02
    share: float = 0.2

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        run = _Search(model, x, goal)
        allowed = torch.ones(len(x), 1, *x.shape[2:], dtype=torch.bool, device=x.device)
        best = torch.zeros_like(x)
        going, ever = (torch.full((len(x),), flag, device=x.device) for flag in (True, False))
        weight = torch.full((len(x),), self.first_weight, dtype=x.dtype, device=x.device)
        for _ in range(self.n_rounds):
            w, reached, weight = self._shortest(run, best, allowed, weight, going)
            new = reached & going
            best, ever, going = torch.where(per_image(new), w, best), ever | new, going & reached
            if not bool(going.any()):
                break
            _, gradient = run.evaluate(best, going)
            worth = (gradient * best).sum(dim=1, keepdim=True).abs()
            allowed = torch.where(per_image(going), self._fewer(allowed, worth), allowed)
        return run.proposal(best, ever)

    def _fewer(self, allowed: Tensor, worth: Tensor) -> Tensor:
        """Return the pixels (n, 1, H, W) without a share of the allowed ones, one at least."""
        ordered = torch.where(allowed, worth, torch.inf).flatten(1).argsort(dim=1, stable=True)
        rank = torch.empty_like(ordered).scatter(
            1, ordered, torch.arange(ordered.shape[1], device=worth.device).expand_as(ordered)
        )
        out = (self.share * allowed.flatten(1).sum(dim=1)).long().clamp(min=1)
        return allowed & (rank >= out[:, None]).reshape(allowed.shape)

    def _shortest(
        self, run: _Search, start: Tensor, allowed: Tensor, weight: Tensor, going: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Adam on length squared + weight * hinge; a failure raises the weight and tries again."""
        answer, found = torch.zeros_like(start), torch.zeros_like(going)
        for _ in range(self.n_weights):
            w = start * allowed
            first, second = torch.zeros_like(w), torch.zeros_like(w)
            for k in range(1, self.n_iter + 1):
                loss, gradient = run.evaluate(w, going & ~found)
                new = (loss < 0) & ~found
                answer, found = torch.where(per_image(new), w, answer), found | new
                slope = (2 * w + per_image(weight) * gradient) * allowed
                first = 0.9 * first + 0.1 * slope
                second = 0.999 * second + 0.001 * slope**2
                size = (second / (1 - 0.999**k)).sqrt() + 1e-8
                w = run.clip(w - self.rate * first / (1 - 0.9**k) / size)
            if bool((found | ~going).all()):
                break
            weight = torch.where(found, weight, 4 * weight)
        return answer, found, weight


@dataclass(eq=False, repr=False, kw_only=True)
class Homotopy(ImageExplainer):
    """Proximal gradient of the 0-norm along a path of falling weights."""

    _unit = 0.5

    n_weights: int = 60
    n_iter: int = 8
    fall: float = 0.9
    first_move: float = 0.2

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        run = _Search(model, x, goal)
        w, best = torch.zeros_like(x), torch.zeros_like(x)
        reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        loss, gradient = run.evaluate(w)
        # The largest weight at which a value moves: half the step times its squared slope.
        largest = gradient.abs().amax(dim=(1, 2, 3)).clamp(min=TINY)
        step = self.first_move / largest
        weight = step / 2 * largest**2
        for k in range(self.n_weights * self.n_iter):
            if k % self.n_iter == 0:
                weight = self.fall * weight
            v, price = (w - per_image(step) * gradient).flatten(1), weight[:, None]
            flat = prox_l0(v, step, price, run.lower.flatten(1), run.upper.flatten(1))
            w = torch.where(per_image(reached), w, flat.reshape(w.shape))
            loss, gradient = run.evaluate(w, ~reached)
            new = (loss < 0) & ~reached
            best, reached = torch.where(per_image(new), w, best), reached | new
            if bool(reached.all()):
                break
        return run.proposal(give_up_pixels(run, best, reached), reached)
