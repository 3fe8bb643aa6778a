"""Colours and styles that all pictures share."""

from __future__ import annotations

import re
from typing import Any

INK, GREY, LINE = "#22303c", "#6b7b8a", "#c9d2da"
UP, DOWN, SWITCH = "#20639b", "#d9702b", "#7d8f45"
TARGET, TARGET_EDGE = "#b7dac8", "#4f8a6c"
OPTIONS = ("#20639b", "#d9702b", "#4f8a6c", "#8b5fa8", "#b8860b", "#c0504d")


def direction_colour(upward: bool | None) -> str:
    """Blue for up, orange for down, green for a switch without an order."""
    if upward is None:
        return SWITCH
    return UP if upward else DOWN


def literal(text: Any) -> str:
    """Text that matplotlib draws as it is: a dollar sign starts no formula."""
    return str(text).replace("$", r"\$")


def shortened(text: Any, longest: int = 28) -> str:
    """Text for a label beside a picture, cut where it is long."""
    whole = " ".join(str(text).split())
    return whole if len(whole) <= longest else f"{whole[: longest - 1].rstrip()}\u2026"


def label(text: Any, longest: int = 28) -> str:
    """A name or a value as a label: short, and drawn as it is."""
    return literal(shortened(text, longest))


def wrapped(text: Any, width: int = 16, lines: int = 4) -> str:
    r"""A name over several lines, broken at spaces and signs; cut only after the last line.

    Examples
    --------
    >>> wrapped("number_of_late_payments", 12)
    'number_of_\nlate_\npayments'
    """
    pieces = re.findall(r"[^\s_/.:-]*[\s_/.:-]*", " ".join(str(text).split()))
    rows = [""]
    for piece in pieces:
        while piece:
            if len(f"{rows[-1]}{piece}".rstrip()) <= width:
                rows[-1] += piece
                break
            if rows[-1]:
                rows.append("")
                continue
            rows[-1], piece = piece[:width], piece[width:]
            if piece:
                rows.append("")
    rows = [row.strip() for row in rows if row.strip()]
    if len(rows) > lines:
        rows = [*rows[: lines - 1], shortened(f"{rows[lines - 1]}\u2026\u2026", width)]
    return literal("\n".join(rows))


def axes_of(ax: Any, width: float, height: float) -> Any:
    """The axes to draw in: those of the user, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def quiet(ax: Any, *sides: str) -> None:
    """Keep only the spines that carry numbers, in a quiet colour."""
    for side, spine in ax.spines.items():
        spine.set_visible(side in sides)
        spine.set_color(LINE)
    ax.tick_params(colors=GREY, length=3 if sides else 0, labelsize=9)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_color(INK)


def heading(ax: Any, text: str, pad: float = 6.0) -> None:
    """A title at the left, where reading starts."""
    ax.set_title(literal(text), loc="left", fontsize=11, fontweight="bold", color=INK, pad=pad)
