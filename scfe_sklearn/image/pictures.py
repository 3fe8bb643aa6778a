"""Pictures of image explanations: panels, and a page with a slider over radii."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from scfe_sklearn.image.explanation import ImageExplanation
from scfe_sklearn.image.panels import AMPLIFIED, colours, marked, panels
from scfe_sklearn.image.visual.path_page import path_page
from scfe_sklearn.image.visual.paths import VisualPaths


def plot_panels(
    explanation: ImageExplanation,
    rows: Sequence[int] | None = None,
    maps: Any = None,
    factor: float = AMPLIFIED,
) -> Any:
    """Draw image, counterfactual, changed pixels in red, and amplified change of some images.

    Parameters
    ----------
    explanation : ImageExplanation
    rows : sequence of int or None, default=None
        None: the first eight that were found.
    maps : array or Tensor of shape (n, H, W) or (n, channels, H, W), or None, default=None
        A further column, of all images: where the model looks, by one of
        :mod:`scfe_sklearn.image.saliency`. Channels are added up.
    factor : float, default=3
        Of the amplified change; grey is no change.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    chosen = list(np.flatnonzero(explanation.success)[:8] if rows is None else rows)
    if not chosen:
        raise ValueError("The 'rows' of plot_panels must name an image. Got none.")
    titles = ["image", "counterfactual", "changed pixels", "change, amplified"]
    heat = None if maps is None else _heat(maps, explanation)
    if heat is not None:
        titles.append("saliency")
    size = (2 * len(titles), 2 * len(chosen))
    figure, axes = plt.subplots(
        len(chosen), len(titles), figsize=size, squeeze=False, layout="constrained"
    )
    for k, (row, index) in enumerate(zip(axes, chosen, strict=True)):
        image, answer, mask, change = panels(explanation, int(index), factor)
        shown = [colours(image), colours(answer), marked(image, mask), colours(change)]
        if heat is not None:
            shown.append(heat[index])
        for axis, panel, title in zip(row, shown, titles, strict=True):
            _draw(axis, panel, "" if k else title)
        row[0].set_ylabel(f"class {explanation.before[index]}")
        row[1].set_ylabel(f"class {explanation.after[index]}")
    return figure


def plot_radii(paths: VisualPaths, p: float, rows: Sequence[int] | None = None) -> Any:
    """Draw images and their counterfactuals over the radii of one norm, with confidences.

    Parameters
    ----------
    paths : VisualPaths
    p : float
        One of its norms.
    rows : sequence of int or None, default=None
        None: the first eight.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    if p not in paths.radii:
        raise ValueError(
            f"The 'p' of plot_radii must be one of the norms {list(paths.radii)}. Got {p!r}."
        )
    steps = paths.explanations[p]
    chosen = range(min(len(steps[0]), 8)) if rows is None else rows
    titles = ["image", *(f"radius {radius:.4g}" for radius in paths.radii[p])]
    size = (1.6 * len(titles), 1.8 * len(chosen))
    figure, axes = plt.subplots(
        len(chosen), len(titles), figsize=size, squeeze=False, layout="constrained"
    )
    for k, (row, index) in enumerate(zip(axes, chosen, strict=True)):
        shown = [panels(step, int(index)) for step in steps]
        pictures = [shown[0][0], *(answer for _, answer, _, _ in shown)]
        share = [steps[0].confidence_before, *(step.confidence_after for step in steps)]
        for axis, panel, title, values in zip(row, pictures, titles, share, strict=True):
            _draw(axis, colours(panel), "" if k else title)
            axis.set_xlabel(f"{values[index]:.3g}")
        row[0].set_ylabel(f"class {steps[0].before[index]}")
    return figure


def _draw(axis: Any, panel: np.ndarray, title: str) -> None:
    axis.imshow(panel)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title)


def _heat(maps: Any, explanation: ImageExplanation) -> np.ndarray:
    """Return one map (H, W) per image."""
    heat = torch.as_tensor(maps).detach().cpu().double().numpy()
    heat = heat.sum(axis=1) if heat.ndim == 4 else heat
    n, _, height, width = explanation.images.shape
    if heat.shape != (n, height, width):
        raise ValueError(
            f"The 'maps' of plot_panels must have shape {(n, height, width)}, with channels or "
            f"without. Got {tuple(maps.shape)} instead."
        )
    return heat


def radius_page(
    explanations: Sequence[ImageExplanation],
    radii: Sequence[float],
    title: str = "Radii",
    labels: Sequence[str] | None = None,
) -> str:
    """Return a page of HTML in which a slider moves through counterfactuals of growing radius.

    The page holds everything it needs, and shows for each image and radius the counterfactual,
    its difference from the image and the confidence in the wanted class. For several norms on
    one page see :func:`scfe_sklearn.image.visual.paths.visual_paths`.

    Parameters
    ----------
    explanations : sequence of ImageExplanation
        Of the same images, one per radius.
    radii : sequence of float
        Rising.
    title : str
    labels : sequence of str or None, default=None
        Names of the classes.

    Returns
    -------
    str

    Examples
    --------
    >>> pages = [AutoFrankWolfe(net, radius=r).explain(images) for r in radii]  # doctest: +SKIP
    >>> Path("radii.html").write_text(radius_page(pages, radii))  # doctest: +SKIP
    """
    if len(explanations) != len(radii) or not radii:
        raise ValueError(
            "The 'radii' of radius_page must have one entry per explanation. "
            f"Got {len(radii)} for {len(explanations)}."
        )
    if list(radii) != sorted(radii) or len({len(part) for part in explanations}) != 1:
        raise ValueError("The 'explanations' of radius_page must be of the same images, by radius.")
    return path_page({"": list(explanations)}, {"": list(radii)}, title, labels)
