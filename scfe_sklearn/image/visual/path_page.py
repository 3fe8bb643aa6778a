"""One page of HTML on which people move norm and radius of counterfactual images."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from scfe_sklearn.image.explanation import ImageExplanation
from scfe_sklearn.image.panels import panels, png_address
from scfe_sklearn.status import Status

LEAD = (
    "The most convincing image of another class within a distance of the image. The larger the "
    "radius, the more may change{norms}. Differences are amplified; grey is no change."
)
NORMS = "; the norm decides whether few pixels change much or many a little"


def path_page(
    explanations: Mapping[str, Sequence[ImageExplanation]],
    radii: Mapping[str, Sequence[float]],
    title: str,
    labels: Sequence[str] | None = None,
) -> str:
    """Return the page; it holds everything it needs.

    Parameters
    ----------
    explanations : mapping of str to sequence of ImageExplanation
        Per name of a norm, one per radius. All of the same images and of equally many radii.
    radii : mapping of str to sequence of float
        Per name of a norm.
    title : str
    labels : sequence of str or None, default=None
        Names of the classes.
    """
    norms = list(explanations)
    if labels is not None:
        _check_labels(explanations, labels)
    first = explanations[norms[0]][0]
    data = [
        [
            [_step(explanation, index, labels) for explanation in explanations[norm]]
            for norm in norms
        ]
        for index in range(len(first))
    ]
    several = "" if len(norms) == 1 else NORMS
    parts = {
        "TITLE": html.escape(title),
        "LEAD": LEAD.format(norms=several),
        "RATIO": f"{first.images.shape[3]} / {first.images.shape[2]}",
        "NORMS": _choices(norms),
        "LAST": str(len(radii[norms[0]]) - 1),
        "BODY": "".join(_card(first, index, labels) for index in range(len(first))),
        "DATA": _script(data),
        "NAMES": _script(norms),
        "RADII": _script([[float(f"{radius:.4g}") for radius in radii[norm]] for norm in norms]),
    }
    page = files(__package__).joinpath("templates", "paths.html").read_text(encoding="utf-8")
    # In one go: what a part holds must not be taken for a place.
    return re.sub("@([A-Z]+)@", lambda place: parts[place[1]], page)


def _check_labels(
    explanations: Mapping[str, Sequence[ImageExplanation]], labels: Sequence[str]
) -> None:
    parts = [part for path in explanations.values() for part in path]
    shown = [part.before for part in parts] + [part.after for part in parts]
    shown += [part.target for part in parts if part.target is not None]
    needed = max((int(classes.max()) + 1 for classes in shown if len(classes)), default=0)
    if len(labels) < needed:
        raise ValueError(
            f"The 'labels' must name all classes up to {needed - 1}. Got {len(labels)} instead."
        )


def _script(value: Any) -> str:
    """Return JSON that cannot end the script."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _choices(norms: list[str]) -> str:
    if len(norms) == 1:
        return f"<span>{html.escape(norms[0]) or 'as given'}</span>"
    return "".join(
        f'<label><input type="radio" name="norm" value="{k}"{" checked" if k == 0 else ""}>'
        f"{html.escape(norm)}</label>"
        for k, norm in enumerate(norms)
    )


def _card(explanation: ImageExplanation, index: int, labels: Sequence[str] | None) -> str:
    before = html.escape(_name(int(explanation.before[index]), labels))
    wanted = "another class"
    if explanation.target is not None:
        wanted = html.escape(_name(int(explanation.target[index]), labels))
    before_share = round(float(np.nan_to_num(explanation.confidence_before[index])), 4)
    image = png_address(panels(explanation, index)[0])
    share = _percent(explanation.confidence_before[index])
    return (
        f'<section class="card" data-row="{index}" data-share="{before_share}">'
        f'<figure><img alt="image {index + 1}" src="{image}">'
        f"<figcaption>now: {before}</figcaption></figure>"
        '<figure><img alt="counterfactual" class="answer">'
        '<figcaption>then: <span class="after"></span></figcaption></figure>'
        '<figure><img alt="difference, amplified" class="difference">'
        '<figcaption><span class="size"></span></figcaption></figure>'
        '<div class="words"><p class="verdict"></p>'
        f"<p>{wanted}: {share} &rarr; <b class='confidence'></b></p>"
        '<div class="meter"><i class="bar"></i></div>'
        '<svg viewBox="0 0 100 30" preserveAspectRatio="none" role="img" '
        'aria-label="confidence by radius"><g class="path"></g>'
        '<ellipse class="dot" rx="1" ry="1.6"></ellipse></svg>'
        '<p class="quiet">confidence by radius</p></div></section>'
    )


def _step(
    explanation: ImageExplanation, index: int, labels: Sequence[str] | None
) -> dict[str, Any]:
    _, answer, mask, difference = panels(explanation, index)
    confidence = float(explanation.confidence_after[index])
    pixels = int(mask.sum())
    after = int(explanation.after[index])
    return {
        "answer": png_address(answer),
        "difference": png_address(difference),
        "after": "none" if after < 0 else _name(after, labels),
        "confidence": _percent(confidence),
        "share": None if np.isnan(confidence) else round(confidence, 4),
        "size": f"{pixels} pixel{'s' * (pixels != 1)} changed",
        "status": str(explanation.status[index]),
        "good": explanation.status[index] in (Status.FOUND, Status.ALREADY_TARGET),
    }


def _name(label: int, labels: Sequence[str] | None) -> str:
    return f"class {label}" if labels is None else str(labels[label])


def _percent(confidence: float) -> str:
    return "no answer" if np.isnan(confidence) else f"{100 * confidence:.1f} %"
