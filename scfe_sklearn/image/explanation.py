"""Result of an image explainer: one entry per image, failures included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scfe_sklearn.image.metrics import lengths, n_clusters, n_patches, n_pixels
from scfe_sklearn.status import Status

__all__ = ["ImageExplanation"]


@dataclass(frozen=True, eq=False)
class ImageExplanation:
    """Counterfactual images, aligned with the images of the call.

    Parameters
    ----------
    images, counterfactuals : array or Tensor of shape (n, C, H, W)
        As given; NaN in ``counterfactuals`` where nothing was found.
    target : int array of shape (n,) or None
        Target classes; None: any other one.
    before, after : int array of shape (n,)
        Predicted classes of the images, and of their counterfactuals (-1 where there is none).
    confidence_before, confidence_after : float array of shape (n,)
        Probability of the wanted class, or of all others, at the image and its counterfactual.
    status : str array of shape (n,)
        Words of :class:`scfe_sklearn.status.Status`.
    n_forward, n_backward : int array of shape (n,)
        Passes of the model that each image took part in.
    bounds : (low, high)
        Range of the pixels.
    """

    images: Any
    counterfactuals: Any
    target: np.ndarray | None
    before: np.ndarray
    after: np.ndarray
    confidence_before: np.ndarray
    confidence_after: np.ndarray
    status: np.ndarray
    n_forward: np.ndarray
    n_backward: np.ndarray
    bounds: tuple[float, float]

    @property
    def success(self) -> np.ndarray:
        """Whether the model gives the counterfactual its target, per image."""
        return np.isin(self.status, (Status.FOUND, Status.ALREADY_TARGET))

    @property
    def changes(self) -> Any:
        """Counterfactuals minus images, in the unit of the pixels; 0 where nothing was found."""
        change = self._tensor(self.counterfactuals) - self._tensor(self.images)
        change = torch.nan_to_num(change)
        if isinstance(self.images, torch.Tensor):
            return change.to(self.images.device)
        return change.numpy()

    def measures(self, patch: int = 8) -> dict[str, np.ndarray]:
        """Return pixels, clusters, windows (d_{2,0}, of side ``patch``) and 2-norm of each change.

        "share" is that of the changed pixels: its mean is the ACP of the GSE paper's formula, the
        mean of "pixels" that of its tables. The 2-norm is in units in which the range of the
        pixels is 2 wide, as published for GSE. Images without an answer have NaN.
        """
        low, high = self.bounds
        w = self._tensor(self.changes).double() * 2 / (high - low)
        values = {
            "pixels": n_pixels(w),
            "share": n_pixels(w) / (w.shape[2] * w.shape[3]),
            "clusters": n_clusters(w),
            "patches": n_patches(w, patch),
            "length": lengths(w),
        }
        return {
            name: np.where(self.success, value.double().numpy(), np.nan)
            for name, value in values.items()
        }

    def summary(self, patch: int = 8) -> dict[str, float]:
        """Return the success rate, and the means of the measures over the changed images."""
        found = self.status == Status.FOUND
        means = {
            name: float(value[found].mean()) if found.any() else float("nan")
            for name, value in self.measures(patch).items()
        }
        asked = self.status != Status.ALREADY_TARGET
        rate = float(found.sum() / asked.sum()) if asked.any() else float("nan")
        return {"success": rate, **means}

    def __len__(self) -> int:
        return len(self.status)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={value:.3g}" for name, value in self.summary().items())
        return f"ImageExplanation(n={len(self)}, {parts})"

    @staticmethod
    def _tensor(images: Any) -> Tensor:
        return torch.as_tensor(images).detach().cpu()
