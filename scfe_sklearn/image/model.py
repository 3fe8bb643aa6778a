"""A torch module as the solvers see it: images in the user's range in, logits and gradients out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Normalization = tuple[object, object]


@dataclass(eq=False)
class ImageModel:
    """A module of images, its range of pixels, and the number of its passes.

    Everything around it works on a change ``w``; the image shown is x + w * scale. By default
    the unit of ``w`` is half the range of the pixels, so that constants published for pixels
    from -1 to 1 hold for any range.

    Parameters
    ----------
    module : nn.Module
        Images (n, C, H, W) to logits (n, K). Has to be in eval mode with constant parameters:
        see :func:`scfe_sklearn.models.classifiers.torch_module.as_constant_function`.
    bounds : (low, high)
        Range of the pixels.
    normalization : (mean, std) or None
        One number, or one per channel; applied before the module.
    unit : float or None
        The unit of changes, in that of the pixels; None for half their range.
    autocast : bool
        Whether the module runs in mixed precision (bfloat16); logits and gradients of images
        keep the type of the images.
    """

    module: nn.Module
    bounds: tuple[float, float] = (0.0, 1.0)
    normalization: Normalization | None = None
    unit: float | None = None
    autocast: bool = False
    calls: int = field(default=0, init=False)
    _kept: dict[Any, list[Tensor]] = field(default_factory=dict, init=False, repr=False)

    @property
    def scale(self) -> float:
        """The unit of changes."""
        if self.unit is not None:
            return self.unit
        return (self.bounds[1] - self.bounds[0]) / 2

    def place(self, images: Tensor) -> tuple[torch.dtype, torch.device]:
        """Type and device of the module's parameters; those of the images without any."""
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype, tensor.device
        return images.dtype, images.device

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (n, K)."""
        self.calls += 1
        if self.normalization is not None:
            mean, std = self._statistics(images)
            images = (images - mean) / std
        # Without it, what the caller has set for the whole call stays.
        mixed = torch.autocast(images.device.type, torch.bfloat16) if self.autocast else None
        with mixed or nullcontext():
            out = self.module(images)
        out = out[0] if isinstance(out, tuple) else out
        if not isinstance(out, Tensor) or not out.is_floating_point():
            got = f"numbers of {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
            raise TypeError(f"The model must return logits, a tensor of floats. Got {got}.")
        if out.ndim != 2 or len(out) != len(images) or out.shape[1] < 2:
            raise ValueError(
                "The model must return logits of shape (n, n_classes) with two classes or more. "
                f"Got {tuple(out.shape)} for {len(images)} images."
            )
        return out.to(images.dtype) if self.autocast else out

    def _statistics(self, images: Tensor) -> list[Tensor]:
        """Return mean and standard deviation beside the images: a device gets them once."""
        key = images.dtype, images.device
        if key not in self._kept:
            self._kept[key] = [
                torch.as_tensor(part, dtype=images.dtype, device=images.device).reshape(1, -1, 1, 1)
                for part in self.normalization or ()
            ]
        return self._kept[key]

    def perturbation_box(self, x: Tensor, region: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the bounds of the change of images ``x``: lower <= 0 <= upper.

        Both are 0 outside ``region`` (n, 1, H, W).
        """
        low, high = self.bounds
        lower = ((low - x) / self.scale).clamp(max=0)
        upper = ((high - x) / self.scale).clamp(min=0)
        if region is None:
            return lower, upper
        return torch.where(region, lower, 0.0), torch.where(region, upper, 0.0)

    def perturbed(self, x: Tensor, w: Tensor) -> Tensor:
        """Return the images x + w; pixels that do not change come back bit for bit."""
        return torch.where(w == 0, x, (x + w * self.scale).clamp(*self.bounds))

    def with_gradient(
        self,
        x: Tensor,
        w: Tensor,
        loss: Callable[[Tensor], Tensor],
        region: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, ``loss(logits)`` (n,) and its gradients in w, at the images x + w.

        Losses are added up, so an image does not feel its batch. Gradients are 0 outside
        ``region`` (n, 1, H, W).
        """
        image = self.perturbed(x, w).detach().requires_grad_(True)
        with torch.enable_grad():
            logits = self.logits(image)
            if not logits.requires_grad:
                raise ValueError(
                    "The model must be differentiable: its logits have no gradient. "
                    "SparseRandomSearch needs none."
                )
            value = loss(logits)
            (gradient,) = torch.autograd.grad(value.sum(), image)
        gradient = gradient * self.scale
        if region is not None:
            gradient = torch.where(region, gradient, 0.0)
        return logits.detach(), value.detach(), gradient
