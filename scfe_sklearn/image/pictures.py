"""Pictures of image explanations: panels, and one page with a slider over radii."""

from __future__ import annotations

import base64
import html
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from scfe_sklearn.image.explanation import ImageExplanation

AMPLIFIED = 3.0


def plot_panels(explanation: ImageExplanation, rows: Sequence[int] | None = None) -> Any:
    """Draw image, counterfactual, changed pixels and amplified change of some images.

    Parameters
    ----------
    explanation : ImageExplanation
    rows : sequence of int or None, default=None
        None: the first eight that were found.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    chosen = list(np.flatnonzero(explanation.success)[:8] if rows is None else rows)
    if not chosen:
        raise ValueError("The 'rows' of plot_panels must name an image. Got none.")
    titles = ("image", "counterfactual", "changed pixels", "change, amplified")
    figure, axes = plt.subplots(
        len(chosen), 4, figsize=(8, 2 * len(chosen)), squeeze=False, layout="constrained"
    )
    for row, index in zip(axes, chosen, strict=True):
        panels = [_colours(panel) for panel in _panels(explanation, int(index))]
        for axis, panel, title in zip(row, panels, titles, strict=True):
            axis.imshow(panel)
            axis.set_xticks([])
            axis.set_yticks([])
            if row is axes[0]:
                axis.set_title(title)
        row[0].set_ylabel(f"class {explanation.before[index]}")
        row[1].set_ylabel(f"class {explanation.after[index]}")
    return figure


def radius_page(
    explanations: Sequence[ImageExplanation], radii: Sequence[float], title: str = "Radii"
) -> str:
    """Return a page of HTML in which a slider moves through counterfactuals of growing radius.

    The page holds everything it needs, and shows for each image and radius the counterfactual,
    its difference from the image and the confidence in the wanted class.

    Parameters
    ----------
    explanations : sequence of ImageExplanation
        Of the same images, one per radius.
    radii : sequence of float
        Rising.
    title : str

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
    n_images = len(explanations[0])
    cells = []
    for index in range(n_images):
        steps = []
        for explanation in explanations:
            _, answer, _, difference = _panels(explanation, index)
            steps.append({
                "answer": _png(answer),
                "difference": _png(difference),
                "confidence": _percent(explanation.confidence_after[index]),
                "status": str(explanation.status[index]),
            })  # fmt: skip
        image = _panels(explanations[0], index)[0]
        cells.append({"image": _png(image), "steps": steps})
    body = "".join(
        f'<tr><td><img alt="image" src="{cell["image"]}"></td>'
        f'<td><img alt="counterfactual" class="answer" data-row="{k}"></td>'
        f'<td><img alt="difference" class="difference" data-row="{k}"></td>'
        f'<td class="words" data-row="{k}"></td></tr>'
        for k, cell in enumerate(cells)
    )
    # A status must not be able to end the script.
    data = json.dumps([cell["steps"] for cell in cells]).replace("<", "\\u003c")
    return _PAGE.format(
        title=html.escape(title),
        last=len(radii) - 1,
        body=body,
        data=data,
        radii=json.dumps([float(radius) for radius in radii]),
    )


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; margin: 2em; }}
img {{ width: 128px; height: 128px; image-rendering: pixelated; }}
td {{ padding: 4px 12px; }}
</style></head><body><h1>{title}</h1>
<label>radius <input id="radius" type="range" min="0" max="{last}" value="0" step="1">
<output id="shown" for="radius"></output></label>
<table><tr><th>image</th><th>counterfactual</th><th>difference</th><th>confidence</th></tr>{body}
</table><script>
const data = {data}, radii = {radii};
function show() {{
  const k = Number(document.getElementById("radius").value);
  document.getElementById("shown").textContent = radii[k];
  for (const name of ["answer", "difference"])
    for (const img of document.getElementsByClassName(name))
      img.src = data[img.dataset.row][k][name];
  for (const cell of document.getElementsByClassName("words")) {{
    const step = data[cell.dataset.row][k];
    cell.textContent = step.confidence + " (" + step.status + ")";
  }}
}}
document.getElementById("radius").addEventListener("input", show);
show();
</script></body></html>
"""


def _percent(confidence: float) -> str:
    return "no answer" if np.isnan(confidence) else f"{100 * confidence:.1f} %"


def _panels(explanation: ImageExplanation, index: int) -> list[np.ndarray]:
    """Return image, counterfactual, mask and amplified change as (H, W, C) from 0 to 1."""
    low, high = explanation.bounds
    image, answer = (
        (torch.as_tensor(part[index]).detach().cpu().double().numpy() - low) / (high - low)
        for part in (explanation.images, explanation.counterfactuals)
    )
    change = np.nan_to_num(answer - image)
    mask = (change != 0).any(axis=0, keepdims=True).astype(float)
    amplified = (0.5 + AMPLIFIED * change / 2).clip(0, 1)
    parts = (image, np.nan_to_num(answer), mask, amplified)
    return [part.clip(0, 1).transpose(1, 2, 0) for part in parts]


def _colours(panel: np.ndarray) -> np.ndarray:
    """Return red, green and blue; other numbers of channels are averaged to grey."""
    if panel.shape[2] == 3:
        return panel
    return np.repeat(panel.mean(axis=2, keepdims=True), 3, axis=2)


def _png(panel: np.ndarray) -> str:
    """Return a picture as a data address, written by hand so that nothing has to be installed."""
    pixels = np.round(255 * _colours(panel)).astype(np.uint8)
    height, width = pixels.shape[:2]
    lines = np.concatenate(
        [np.zeros((height, 1), dtype=np.uint8), pixels.reshape(height, -1)], axis=1
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    picture += chunk(b"IDAT", zlib.compress(lines.tobytes())) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(picture).decode()
