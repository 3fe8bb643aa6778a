"""Counterfactual images along growing radii, and in several norms: what people should move."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scfe_sklearn._utils import write_file
from scfe_sklearn.image.explanation import ImageExplanation
from scfe_sklearn.image.visual.explainer import AutoFrankWolfe
from scfe_sklearn.image.visual.path_page import path_page


@dataclass(frozen=True, eq=False)
class VisualPaths:
    """Counterfactuals of the same images for several norms and radii.

    Parameters
    ----------
    radii : dict of float to tuple of float
        Per norm p, rising.
    explanations : dict of float to list of ImageExplanation
        Per norm p, one for each of its radii.
    """

    radii: dict[float, tuple[float, ...]]
    explanations: dict[float, list[ImageExplanation]]

    def confidence(self, p: float) -> np.ndarray:
        """Return the confidence in the wanted class, (n_radii, n_images); it never falls."""
        return np.stack([part.confidence_after for part in self.explanations[p]])

    def to_html(
        self,
        file: str | Path | None = None,
        title: str = "What would make it another class?",
        labels: Sequence[str] | None = None,
    ) -> str:
        """Return a page with a choice of norms and a slider over radii, and write it.

        Parameters
        ----------
        file : path or None, default=None
            None: only return it.
        title : str
        labels : sequence of str or None, default=None
            Names of the classes.
        """
        names = {p: _name(p) for p in self.radii}
        page = path_page(
            {names[p]: self.explanations[p] for p in self.radii},
            {names[p]: self.radii[p] for p in self.radii},
            title,
            labels,
        )
        if file is not None:
            write_file(file, page)
        return page


def visual_paths(
    explainer: AutoFrankWolfe,
    images: Any,
    radii: Mapping[float, Iterable[float]],
    target: Any = None,
    region: Any = None,
) -> VisualPaths:
    """Explain images within balls of several norms and radii.

    A ball holds the smaller ones of its norm, so an image keeps the answer of a smaller radius
    where it is the more convincing one.

    Parameters
    ----------
    explainer : AutoFrankWolfe
        Whose other parameters count.
    images : array or Tensor of shape (n, channels, height, width)
    radii : mapping of float to iterable of float
        Per norm p in [1, inf] as many radii, in the unit of the pixels.
    target, region : see :meth:`AutoFrankWolfe.explain`

    Returns
    -------
    VisualPaths

    Raises
    ------
    ValueError
        Where norms or radii are no such numbers.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> explainer = AutoFrankWolfe(net, n_iter=10, n_restarts=1)
    >>> paths = visual_paths(
    ...     explainer, torch.rand(2, 1, 4, 4), {1.5: [0.5, 1.0], 2: [0.3, 0.6]}
    ... )
    >>> paths.confidence(2).shape
    (2, 2)
    """
    known = _read_radii(radii)
    found: dict[float, list[ImageExplanation]] = {}
    for p, sizes in known.items():
        path: list[ImageExplanation] = []
        for radius in sizes:
            answer = _like(explainer, p, radius).explain(images, target, region)
            path.append(_more_convincing(path[-1], answer) if path else answer)
        found[p] = path
    return VisualPaths(known, found)


def _like(explainer: AutoFrankWolfe, p: float, radius: float) -> AutoFrankWolfe:
    parameters = {**explainer.get_params(deep=False), "p": p, "radius": radius}
    return type(explainer)(**parameters)


def _read_radii(radii: Any) -> dict[float, tuple[float, ...]]:
    if not isinstance(radii, Mapping) or not radii:
        raise ValueError(
            "The 'radii' of visual_paths must be a dict of norms p to their radii. "
            f"Got {radii!r} instead."
        )
    known: dict[float, tuple[float, ...]] = {}
    for p, sizes in radii.items():
        sizes = tuple(sizes)
        numbers = all(isinstance(x, Real) and not isinstance(x, bool) for x in (p, *sizes))
        if not (numbers and p >= 1 and sizes and all(0 < r < math.inf for r in sizes)):
            raise ValueError(
                "The 'radii' of visual_paths must be positive and belong to norms in [1, inf]. "
                f"Got {p!r}: {list(sizes)} instead."
            )
        if list(sizes) != sorted(set(sizes)):
            raise ValueError(f"The 'radii' of visual_paths must rise. Got {list(sizes)} instead.")
        known[float(p)] = tuple(float(r) for r in sizes)
    if len({len(sizes) for sizes in known.values()}) > 1:
        raise ValueError(
            "The 'radii' of visual_paths must be equally many for all norms. "
            f"Got {[len(sizes) for sizes in known.values()]}."
        )
    return known


def _more_convincing(before: ImageExplanation, now: ImageExplanation) -> ImageExplanation:
    """Return ``now``, with the rows of ``before`` that are closer to their class."""
    keep = ~(now.confidence_after >= before.confidence_after) & ~np.isnan(before.confidence_after)
    if not keep.any():
        return now
    changed: dict[str, Any] = {}
    for part in fields(ImageExplanation):
        new, old = getattr(now, part.name), getattr(before, part.name)
        if part.name in ("images", "bounds", "n_forward", "n_backward") or new is None:
            continue
        if isinstance(new, torch.Tensor):
            rows = torch.as_tensor(keep, device=new.device)
            changed[part.name] = torch.where(rows.reshape(-1, 1, 1, 1), old, new)
        else:
            rows = keep.reshape(-1, *(1,) * (new.ndim - 1))
            changed[part.name] = np.where(rows, old, new)
    return replace(now, **changed)


def _name(p: float) -> str:
    return "\u221e" if math.isinf(p) else f"{p:g}"
