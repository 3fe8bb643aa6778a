"""Base class of displays, and the colours and styles that they share."""

from __future__ import annotations

import re
from typing import Any, Self

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.tables import first_entries
from scfe_sklearn.explanation.wording import is_missing, is_number, plain, rounded_pair

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


_LONGEST = 90


class Display:
    """Base class of displays: what is drawn, where, and a short ``repr`` without the arrays.

    A display is a dataclass of what it draws. It defines ``_content`` and ``_draw``, and is made
    by its class methods ``from_estimator`` and ``from_explanation``.
    """

    ax_: Any
    figure_: Any

    def _content(self) -> str:
        """Return what is drawn in some words."""
        raise NotImplementedError

    def _draw(self, ax: Any) -> Any:
        """Draw in axes, or in those of a new figure for None; return the axes."""
        raise NotImplementedError

    def plot(self, ax: Any = None) -> Self:
        """Draw, in a new figure unless axes are given."""
        self.ax_ = self._draw(ax)
        self.figure_ = self.ax_.figure
        return self

    def __repr__(self) -> str:
        text = " ".join(self._content().split())
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST - 1].rstrip()}\u2026"
        return f"<{type(self).__name__}: {text}>"


def count(n: int, what: str) -> str:
    """Return a number with its noun: "1 change", "3 changes"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def people(explanation: Explanation) -> list[np.ndarray]:
    """Positions of the entries of each person: the options are counted from 0 anew.

    Returns
    -------
    list of ndarray
    """
    if not len(explanation):
        return []
    return list(np.split(np.arange(len(explanation)), first_entries(explanation)[1:]))


def check_explanation(explanation: Any, display: str) -> None:
    """Refuse what is no explanation, or has no rows."""
    if not isinstance(explanation, Explanation):
        raise TypeError(
            f"The 'explanation' parameter of {display} must be an Explanation. "
            f"Got {type(explanation).__name__} instead."
        )
    if not len(explanation):
        raise ValueError(
            f"The 'explanation' parameter of {display} must have at least one row. Got none."
        )


def check_row(row: Any, n: int, display: str) -> int:
    """A position among n, as a plain number."""
    whole = isinstance(row, int | np.integer) and not isinstance(row, bool)
    if not whole or not -n <= row < n:
        raise ValueError(
            f"The 'row' parameter of {display} must be an int in [{-n}, {n}). Got {row!r} instead."
        )
    return int(row) % n


def verdict(explanation: Explanation, entry: int) -> str:
    """Prediction before and after: "refused \u2192 approved, 12 % \u2192 58 %"."""
    now, then = explanation.prediction[entry], explanation.prediction_after[entry]
    text = plain(now) if is_missing(then) else " \u2192 ".join(rounded_pair(now, then))
    before, after = explanation.probability_before[entry], explanation.probability_after[entry]
    if np.isfinite(before) and np.isfinite(after):
        text += f", probability {percent(before)} \u2192 {percent(after)}"
    return text


def headline(explanation: Explanation, entry: int) -> str:
    """Name of the row of an entry, and its prediction before and after."""
    return f"{row_name(explanation.index[entry])}: {verdict(explanation, entry)}"


def row_name(label: Any) -> str:
    """Return the name of a row; the number of a row is a name, without separators."""
    return f"Row {label}" if is_number(label) else plain(label)


def percent(share: float) -> str:
    """A share in whole per cent; a sign where it is nearly, but not, nothing or all."""
    if 0 < share < 0.005:
        return "<\u00a01\u00a0%"
    if 0.995 <= share < 1:
        return ">\u00a099\u00a0%"
    return f"{100 * share:.0f}\u00a0%"
