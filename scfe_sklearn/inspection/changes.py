"""Displays of changes: those of one person, and how often each feature changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.tables import outcomes
from scfe_sklearn.explanation.wording import (
    Change,
    exact,
    feature_text,
    is_missing,
    plain,
    value_pair,
)
from scfe_sklearn.inspection.base import (
    DOWN,
    GREY,
    INK,
    LINE,
    SWITCH,
    TARGET,
    TARGET_EDGE,
    UP,
    Display,
    axes_of,
    check_explanation,
    check_row,
    count,
    direction_colour,
    heading,
    headline,
    label,
    literal,
    percent,
    quiet,
)
from scfe_sklearn.inspection.strips import Strip, strip

if TYPE_CHECKING:
    import pandas as pd


_RIDGE = 0.42  # height of a curve; a strip is 1 high


@dataclass(eq=False, repr=False)
class ChangeDisplay(Display):
    """Changes of one answer, each feature on a scale of its own.

    The shade is how the training rows with the target are spread; the ring is the value now, the
    arrow ends at the new one.

    Parameters
    ----------
    title : str
        Prediction before and after.
    changes : sequence of Change
        What moves.
    strips : sequence of Strip
        The scale of each.
    target : label
        The wanted label.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> from scfe_sklearn.inspection import ChangeDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> explainer = CounterfactualExplainer(model, max_changes=2).fit(X, y)
    >>> display = ChangeDisplay.from_estimator(explainer, X[:1], target=1)
    >>> len(display.changes) <= 2
    True
    """

    title: str
    changes: Any
    strips: Any
    target: Any

    @classmethod
    def from_estimator(cls, explainer: Any, X: Any, target: Any = None, *, ax: Any = None) -> Self:
        """Explain the first row of X and draw the answer.

        Parameters
        ----------
        explainer : CounterfactualExplainer
            Fitted.
        X : DataFrame or array-like of shape (n, d)
            Rows; the first one is explained.
        target : label or other target, default=None
            As for `CounterfactualExplainer.explain`.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.
        """
        return cls.from_explanation(explainer.explain(X[:1], target), ax=ax)

    @classmethod
    def from_explanation(cls, explanation: Explanation, *, row: int = 0, ax: Any = None) -> Self:
        """Draw one entry of an explanation.

        Parameters
        ----------
        explanation : Explanation
        row : int, default=0
            Position of the entry.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.
        """
        check_explanation(explanation, cls.__name__)
        entry = check_row(row, len(explanation), cls.__name__)
        one = explanation[entry]
        (outcome,) = outcomes(one)
        wanted = one.target[0]
        strips = [
            strip(one, change.position, [change.before, change.after], wanted)
            for change in outcome.changes
        ]
        title = headline(one, 0)
        if not outcome.changes:
            title = one.sentences()[0]
        return cls(title, outcome.changes, strips, wanted).plot(ax)

    def _content(self) -> str:
        return f"{count(len(self.changes), 'change')}, {self.title}"

    def _draw(self, ax: Any) -> Any:
        n = len(self.changes)
        ax = axes_of(ax, 7.2, 0.95 + 0.95 * max(n, 0.2))
        quiet(ax)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.5 - (n == 0), max(n, 1) - 0.32), xticks=[])
        names = [label(feature_text(change.feature)) for change in self.changes]
        ax.set_yticks(np.arange(n)[::-1], names, color=INK, fontsize=10.5)
        for k, (change, scale) in enumerate(zip(self.changes, self.strips, strict=True)):
            _draw_strip(ax, n - 1 - k, change, scale)
        heading(ax, self.title)
        if n:
            ax.text(0, -0.02, "hollow dot: value now; arrow or diamond: new value", color=GREY,
                    transform=ax.transAxes, va="top", fontsize=8.5)  # fmt: skip
        known = [scale for scale in self.strips if len(scale.places)]
        if known:
            own = known[0].own and not is_missing(self.target)
            who = f"training rows, {plain(self.target)}" if own else "all training rows"
            ax.text(1, -0.02, label(f"shade: {who}", 48), transform=ax.transAxes, ha="right",
                    va="top", color=TARGET_EDGE, fontsize=8.5)  # fmt: skip
        return ax


def _draw_strip(ax: Any, y: float, change: Change, scale: Strip) -> None:
    """One feature: its axis, its people, and the move."""
    ax.plot([0, 1], [y, y], color=LINE, linewidth=1, zorder=1, clip_on=False)
    if scale.levels is None:
        _draw_curve(ax, y, scale)
    else:
        _draw_levels(ax, y, scale, (change.before, change.after))
    start, end = scale.place(change.before), scale.place(change.after)
    colour = direction_colour(change.upward)
    if np.isfinite(start):
        ax.plot([start], [y], "o", markersize=7.5, markerfacecolor="white", markeredgecolor=GREY,
                markeredgewidth=1.8, zorder=4)  # fmt: skip
    if np.isfinite(start) and np.isfinite(end) and abs(end - start) > 0.025:
        arrow: dict[str, Any] = {"arrowstyle": "-|>,head_width=0.3,head_length=0.6"}
        arrow |= {"color": colour, "linewidth": 2.6, "shrinkA": 5, "shrinkB": 0}
        ax.annotate("", (end, y), (start, y), arrowprops=arrow, zorder=5)
    elif np.isfinite(end):
        ax.plot([end], [y], "D", markersize=6, color=colour, zorder=5)
    if scale.levels is None:
        _write_values(ax, y, change, start, end, colour)


def _draw_curve(ax: Any, y: float, scale: Strip) -> None:
    if len(scale.places):
        heights = y + _RIDGE * scale.heights
        ax.fill_between(scale.places, y, heights, color=TARGET, linewidth=0, zorder=0)
        ax.plot(scale.places, heights, color=TARGET_EDGE, linewidth=0.8, zorder=0)


def _draw_levels(ax: Any, y: float, scale: Strip, pair: tuple[Any, Any]) -> None:
    """A bar per level, as high as its share, and its name below."""
    assert scale.levels is not None
    n = len(scale.levels)
    if len(scale.places):
        heights = _RIDGE * scale.heights / max(scale.heights.max(), 1e-9)
        ax.bar(scale.places, heights, 0.6 / n, bottom=y, color=TARGET, linewidth=0.8,
               edgecolor=TARGET_EDGE, zorder=0)  # fmt: skip
    for k, level in enumerate(scale.levels):
        strong = any(level == value for value in pair)
        ax.annotate(label(exact(level), max(72 // n, 6)), ((k + 0.5) / n, y), (0, -8),
                    textcoords="offset points", ha="center", va="top", fontsize=8.5,
                    color=INK if strong else GREY,
                    fontweight="bold" if level == pair[1] else "normal")  # fmt: skip


def _write_values(ax: Any, y: float, change: Change, start: float, end: float, colour: str) -> None:
    """Both numbers under their places, pushed apart where these are close."""
    before, after = value_pair(change.before, change.after, quotes=False)
    apart = 0.035 + 0.006 * (len(before) + len(after))
    places = [start, end]
    if np.isfinite(start) and np.isfinite(end) and abs(end - start) < 2 * apart:
        middle, side = (start + end) / 2, 1 if end >= start else -1
        places = [middle - side * apart, middle + side * apart]
    for text, place, style in (
        (before, places[0], {"color": GREY}),
        (after, places[1], {"color": colour, "fontweight": "bold"}),
    ):
        if not np.isfinite(place):
            place = 0.0
        align = "left" if place < 0.06 else "right" if place > 0.94 else "center"
        ax.annotate(literal(text), (min(max(place, 0), 1), y), (0, -8), ha=align, va="top",
                    textcoords="offset points", fontsize=9.5, **style)  # fmt: skip


DIRECTIONS = ("raised", "lowered", "switched")
_COLOURS = {"raised": UP, "lowered": DOWN, "switched": SWITCH}


def change_frequencies(explanation: Explanation) -> pd.DataFrame:
    """Share of the answers that change each feature, by direction.

    Parameters
    ----------
    explanation : Explanation
        Rows without an answer do not count.

    Returns
    -------
    DataFrame
        A line per feature that changes, the most frequent first: columns "feature", "raised",
        "lowered", "switched" (no order, or filled) and "any".

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explainer = CounterfactualExplainer(RandomForestClassifier(20, random_state=0)).fit(X, y)
    >>> shares = change_frequencies(explainer.explain(X[:3], target=1))
    >>> bool((shares["any"] == shares[["raised", "lowered", "switched"]].sum(axis=1)).all())
    True
    """
    import pandas as pd

    found = explanation[explanation.success]
    counts = np.zeros((len(found.kinds), 3))
    for outcome in outcomes(found):
        for change in outcome.changes:
            kind = 2 if change.upward is None else 0 if change.upward else 1
            counts[change.position, kind] += 1
    shares = counts / max(len(found), 1)
    table = pd.DataFrame(shares, columns=list(DIRECTIONS))
    table.insert(0, "feature", pd.Series(found.feature_names, dtype=object))
    table["any"] = shares.sum(axis=1)
    table = table[table["any"] > 0]
    return table.sort_values("any", ascending=False, kind="stable").reset_index(drop=True)


@dataclass(eq=False, repr=False)
class FrequencyDisplay(Display):
    """Frequency of the changes of each feature over many rows, by direction.

    Parameters
    ----------
    shares : DataFrame
        As `change_frequencies` returns it.
    n_answers : int
        Number of answers.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> from scfe_sklearn.inspection import FrequencyDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explainer = CounterfactualExplainer(RandomForestClassifier(20, random_state=0)).fit(X, y)
    >>> display = FrequencyDisplay.from_estimator(explainer, X[:5], target=1)
    >>> display.n_answers
    5
    """

    shares: Any
    n_answers: int

    @classmethod
    def from_estimator(
        cls,
        explainer: Any,
        X: Any,
        target: Any = None,
        *,
        max_features: int = 12,
        ax: Any = None,
    ) -> Self:
        """Explain rows and draw how often features change.

        Parameters
        ----------
        explainer : CounterfactualExplainer
            Fitted.
        X : DataFrame or array-like of shape (n, d)
            Rows.
        target : label or other target, default=None
            As for `CounterfactualExplainer.explain`.
        max_features, ax
            As for `from_explanation`.
        """
        explanation = explainer.explain(X, target)
        return cls.from_explanation(explanation, max_features=max_features, ax=ax)

    @classmethod
    def from_explanation(
        cls, explanation: Explanation, *, max_features: int = 12, ax: Any = None
    ) -> Self:
        """Draw how often the features of an explanation change.

        Parameters
        ----------
        explanation : Explanation
        max_features : int, default=12
            Most features that are drawn, the most frequent ones.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.
        """
        check_explanation(explanation, cls.__name__)
        shares = change_frequencies(explanation)[:max_features]
        return cls(shares, int(explanation.success.sum())).plot(ax)

    def _content(self) -> str:
        return f"{count(len(self.shares), 'feature')} of {count(self.n_answers, 'answer')}"

    def _draw(self, ax: Any) -> Any:
        n = len(self.shares)
        ax = axes_of(ax, 6.2, 1.1 + 0.32 * max(n, 2))
        quiet(ax, "bottom")
        places = np.arange(n)[::-1]
        left = np.zeros(n)
        for name in DIRECTIONS:
            share = 100 * self.shares[name].to_numpy()
            if share.any():
                ax.barh(places, share, 0.66, left=left, color=_COLOURS[name], label=name)
            left += share
        for y, share in zip(places, left, strict=True):
            ax.annotate(percent(share / 100), (share, y), (4, 0), textcoords="offset points",
                        va="center", color=GREY, fontsize=8.5)  # fmt: skip
        names = [label(feature_text(name)) for name in self.shares["feature"]]
        ax.set_yticks(places, names, color=INK, fontsize=9.5)
        ax.tick_params(axis="y", length=0)
        plural = "" if self.n_answers == 1 else "s"
        ax.set_xlim(0, 1.16 * max(left.max(initial=0), 1))
        ax.set_xlabel(f"% of the {self.n_answers:,} answer{plural}", fontsize=9)
        if n:
            ax.legend(frameon=False, loc="lower right", fontsize=9, labelcolor=INK)
        heading(ax, "What the answers change")
        return ax
