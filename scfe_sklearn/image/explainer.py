"""Base of all image explainers: input and output, chunks, and the judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from scfe_sklearn._utils import Documented, Integral, Interval
from scfe_sklearn.image.batches import (
    channels_first,
    check_bounds,
    check_normalization,
    chunk_size,
    in_chunks,
    per_image,
    read_images,
    read_labels,
    read_region,
    restore_type,
)
from scfe_sklearn.image.docstrings import with_inherited_parameters
from scfe_sklearn.image.explanation import ImageExplanation
from scfe_sklearn.image.margins import Goal
from scfe_sklearn.image.model import ImageModel
from scfe_sklearn.models.classifiers import as_constant_function
from scfe_sklearn.status import Status

ROUNDING = 2.0**-7
"""Of bfloat16, relative."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """Proposal of a method for a batch: changes, and their passes.

    Parameters
    ----------
    w : Tensor of shape (n, C, H, W)
        In the unit of the model.
    n_forward, n_backward : LongTensor of shape (n,)
        Passes that each image took part in.
    """

    w: Tensor
    n_forward: Tensor
    n_backward: Tensor


def one_after_another(
    search: Callable[[int, Tensor], Proposal], x: Tensor, n_turns: int
) -> Proposal:
    """Search in turns, each of them for the images that the ones before found no change of.

    Parameters
    ----------
    search : callable
        The number of the turn and the rows (m,) that are left to a Proposal for those rows, with
        zeros where nothing was found.
    x : Tensor of shape (n, C, H, W)
    n_turns : int

    Examples
    --------
    >>> def search(turn, rows):
    ...     w = (rows == turn).float().reshape(-1, 1, 1, 1)
    ...     return Proposal(w, torch.ones_like(rows), torch.zeros_like(rows))
    >>> one_after_another(search, torch.zeros(3, 1, 1, 1), 3).n_forward
    tensor([1, 2, 3])
    """
    rows = torch.arange(len(x), device=x.device)
    w, forward, backward = torch.zeros_like(x), torch.zeros_like(rows), torch.zeros_like(rows)
    for turn in range(n_turns):
        found = search(turn, rows)
        w[rows] = found.w
        forward[rows] += found.n_forward
        backward[rows] += found.n_backward
        rows = rows[~(found.w != 0).flatten(1).any(dim=1)]
        if len(rows) == 0:
            break
    return Proposal(w, forward, backward)


@dataclass(eq=False, repr=False)
class ImageExplainer(Documented, BaseEstimator):
    """Base of the image explainers; a subclass searches, this class reads and judges.

    Subclasses are dataclasses too: their fields are their parameters, after the ones of this
    class, by keyword, and their docstrings need not describe the latter again. They write
    ``_search``.

    Parameters
    ----------
    model : torch.nn.Module
        Images (n, C, H, W) to logits (n, K).
    bounds : (low, high), default=(0.0, 1.0)
        Range of the pixels.
    normalization : (mean, std) or None, default=None
        Applied to the images before the module: numbers, or one per channel.
    batch_size : int in [1, inf), default=512
        Images at a time.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [nn.Module],
        "bounds": [tuple, list],
        "normalization": [tuple, list, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }
    _keeps_closest = False
    # The unit of changes, as a share of the range of the pixels; None: the unit of the pixels.
    _unit: ClassVar[float | None] = 0.5

    model: Any
    _: KW_ONLY
    bounds: tuple[float, float] = (0.0, 1.0)
    normalization: Any = None
    batch_size: int = 512

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Complete the docstring by the inherited parameters."""
        super().__init_subclass__(**keywords)
        if "__doc__" in vars(cls) and cls.__doc__:
            cls.__doc__ = with_inherited_parameters(cls.__doc__, cls.__mro__[1].__doc__ or "")

    def explain(self, images: Any, target: Any = None, region: Any = None) -> ImageExplanation:
        """Change images so that the model answers differently.

        The module is used in eval mode without gradients of its parameters; both are as before
        afterwards. Every answer is shown to the model once more before it counts.

        Parameters
        ----------
        images : array or Tensor of shape (n, channels, height, width)
            Within ``bounds``.
        target : int, array of shape (n,) or None, default=None
            Classes to reach.
        region : bool array or Tensor of shape (H, W) or (n, H, W), or None, default=None
            Pixels that may change; all others stay as they are. None: all may.

        Returns
        -------
        ImageExplanation
            Arrays of the type of ``images``; whole numbers, and floats of less precision than
            the model's, become the model's.

        Raises
        ------
        ValueError, TypeError
            For parameters or images of a wrong kind.
        """
        self._validate_params()
        who = type(self).__name__
        bounds = check_bounds(self.bounds, who)
        given = read_images(images, bounds, who)
        check_normalization(self.normalization, given, who)
        inside = None if region is None else read_region(region, given, who)
        model = self._image_model(bounds)
        dtype, device = model.place(given)
        # Gradients are needed whatever the caller does without them.
        with (
            torch.inference_mode(False),
            as_constant_function(self.model),
            channels_first(given, who),
        ):
            x = given.to(dtype)
            labels = self._labels(model, x, target, who)

            def explain_some(first: int, last: int) -> dict[str, Any]:
                wanted = None if labels is None else labels[first:last].to(device)
                may = None if inside is None else inside[first:last].to(device)
                return self._explain_batch(model, x[first:last].to(device), wanted, first, may)

            parts = in_chunks(explain_some, len(x), chunk_size(x, self.batch_size, device))
        if not parts:
            parts = [_nothing(x, target)]
        columns: dict[str, Any] = {
            name: np.concatenate([part[name] for part in parts])
            for name in parts[0]
            if name != "counterfactuals"
        }
        found = torch.cat([part["counterfactuals"].cpu() for part in parts])
        # Pixels that no method touched are the user's own, whatever the model's type is.
        # Others keep the precision in which the model judged them, and the range in the images'.
        kept = torch.promote_types(given.dtype, found.dtype)
        answer = found.to(kept).clamp(*bounds)
        answer = torch.where(found == x.cpu(), given.cpu().to(kept), answer)
        if target is None and not self._chooses_target():
            columns["target"] = None
        return ImageExplanation(
            images=images, counterfactuals=restore_type(answer, images), bounds=bounds, **columns
        )

    def _search(self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor) -> Proposal:
        """Propose changes of images that are not at their goal yet.

        ``indices`` (n,) are their positions among the images of the call: what is drawn
        for an image may depend on nothing else.
        """
        raise NotImplementedError

    def _chooses_target(self) -> bool:
        """Whether the method has a class in mind where none is given."""
        return False

    def _stops_at_target(self) -> bool:
        """Return whether images that have their target already come back unchanged."""
        return True

    def _image_model(self, bounds: tuple[float, float]) -> ImageModel:
        low, high = bounds
        unit = 1.0 if self._unit is None else self._unit * (high - low)
        return ImageModel(self.model, bounds, self.normalization, unit=unit)

    def _labels(self, model: ImageModel, x: Tensor, target: Any, who: str) -> Tensor | None:
        if target is None or len(x) == 0:
            return None
        _, device = model.place(x)
        with torch.no_grad():
            n_classes = model.logits(x[:1].to(device)).shape[1]
        return read_labels(target, len(x), n_classes, who, "target")

    def _explain_batch(
        self,
        model: ImageModel,
        x: Tensor,
        wanted: Tensor | None,
        first: int,
        region: Tensor | None,
    ) -> dict[str, Any]:
        with torch.no_grad():
            logits = model.logits(x)
        before = logits.argmax(dim=1)
        if wanted is None and self._chooses_target():
            others = logits.scatter(1, before[:, None], -torch.inf)
            wanted = others.argmax(dim=1)
        goal = Goal(before if wanted is None else wanted, wanted is not None, region=region)
        finite = torch.isfinite(logits).all(dim=1)
        there = finite & goal.reached(logits)
        searched = finite & ~there if self._stops_at_target() else finite
        proposal = self._proposal(model, x, goal, first, searched)
        changed = (proposal.w != 0).flatten(1).any(dim=1)
        shown = model.perturbed(x, proposal.w)
        with torch.no_grad():
            judged = model.logits(shown)
        reached = torch.isfinite(judged).all(dim=1) & goal.reached(judged)
        # A change of an image that has its target already must raise the target's probability.
        gain = goal.log_probability(judged) > goal.log_probability(logits)
        found = reached & changed & searched & (gain | ~there)
        already = there & ~found
        shown = torch.where(per_image(already), x, shown)
        lost = ~found & ~already
        status = np.full(len(x), Status.NOT_FOUND, dtype=object)
        if self._keeps_closest:
            lost, status[:] = lost & ~changed, Status.CLOSEST
            status[lost.cpu().numpy()] = Status.NOT_FOUND
        status[found.cpu().numpy()] = Status.FOUND
        status[already.cpu().numpy()] = Status.ALREADY_TARGET
        status[(~finite).cpu().numpy()] = Status.MODEL_FAILED
        lost = lost | ~finite
        shown = torch.where(per_image(lost), torch.nan, shown)
        after = torch.where(already, before, judged.argmax(dim=1))
        judged = torch.where(already[:, None], logits, judged)
        return {
            "counterfactuals": shown.cpu(),
            "target": goal.label.cpu().numpy(),
            "before": before.cpu().numpy(),
            "after": torch.where(lost, -1, after).cpu().numpy(),
            "confidence_before": self._confidence(goal, logits),
            "confidence_after": np.where(
                lost.cpu().numpy(), np.nan, self._confidence(goal, judged)
            ),
            "status": status.astype(str),
            "n_forward": (proposal.n_forward + 2).cpu().numpy(),
            "n_backward": proposal.n_backward.cpu().numpy(),
        }

    def _proposal(
        self, model: ImageModel, x: Tensor, goal: Goal, first: int, asked: Tensor
    ) -> Proposal:
        """Search for the images that need it, and spare the others."""
        rows = asked.nonzero()[:, 0]
        zero = torch.zeros(len(x), dtype=torch.long, device=x.device)
        if len(rows) == 0:
            return Proposal(torch.zeros_like(x), zero, zero)
        search = self._search_quickly if getattr(self, "autocast", False) else self._search
        found = search(model, x[rows], goal.take(rows), first + rows)
        if goal.region is not None:
            found = replace(found, w=torch.where(goal.region[rows], found.w, 0.0))
        return Proposal(
            torch.zeros_like(x).index_copy(0, rows, found.w),
            zero.index_copy(0, rows, found.n_forward),
            zero.index_copy(0, rows, found.n_backward),
        )

    def _search_quickly(
        self, model: ImageModel, x: Tensor, goal: Goal, indices: Tensor
    ) -> Proposal:
        """Search in mixed precision; once more in full where the answer holds only there."""
        quick = replace(model, autocast=True)
        with torch.no_grad():
            size = quick.logits(x).abs().amax(dim=1)
        # Rounding of the logits should not decide.
        careful = replace(goal, reserve=ROUNDING * size)
        found = self._search(quick, x, careful, indices)
        shown = model.perturbed(x, found.w)
        with torch.no_grad():
            claimed = goal.reached(quick.logits(shown))
            if not self._keeps_closest:
                claimed = claimed | (found.w != 0).flatten(1).any(dim=1)
            lost = claimed & ~goal.reached(model.logits(shown))
        rows = lost.nonzero()[:, 0]
        w, n_forward, n_backward = found.w, found.n_forward + 3, found.n_backward
        if len(rows):
            again = self._search(model, x[rows], goal.take(rows), indices[rows])
            w = w.index_copy(0, rows, again.w)
            n_forward = n_forward.index_add(0, rows, again.n_forward)
            n_backward = n_backward.index_add(0, rows, again.n_backward)
        return Proposal(w, n_forward, n_backward)

    def _temperature(self) -> float:
        return 1.0

    def _confidence(self, goal: Goal, logits: Tensor) -> np.ndarray:
        # On the processor: not every device has double precision.
        here = Goal(goal.label.cpu(), goal.targeted)
        probability = here.log_probability(logits.cpu().double(), self._temperature()).exp()
        probability = probability if goal.targeted else 1 - probability
        return probability.numpy()


def _nothing(x: Tensor, target: Any) -> dict[str, Any]:
    """Return the answer to no images."""
    whole, real = np.zeros(0, dtype=np.int64), np.zeros(0)
    return {
        "counterfactuals": x,
        "target": whole,
        "before": whole,
        "after": whole,
        "confidence_before": real,
        "confidence_after": real,
        "status": np.zeros(0, dtype=str),
        "n_forward": whole,
        "n_backward": whole,
    }
