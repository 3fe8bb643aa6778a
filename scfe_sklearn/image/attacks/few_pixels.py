"""Shared parts of the attacks that change at most k pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scfe_sklearn._utils import Integral, Interval
from scfe_sklearn.image.explainer import ImageExplainer


@dataclass(eq=False, repr=False, kw_only=True)
class FewPixels(ImageExplainer):
    """Base of the attacks that change at most k pixels, and draw where they begin.

    Parameters
    ----------
    n_pixels : int in [1, inf), default=20
        At most as many pixels change; all of an image where it has fewer.
    random_state : int, default=0
        Seed. An image's draws depend on its place among the images.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ImageExplainer._parameter_constraints,
        "n_pixels": [Interval(Integral, 1, None, closed="left")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }
    _unit = 1.0

    n_pixels: int = 20
    random_state: int = 0
