"""Displays of several answers for one person, and ``Explanation.plot``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.wording import exact, feature_text, plain, value_pair
from scfe_sklearn.inspection.base import (
    GREY,
    INK,
    LINE,
    OPTIONS,
    TARGET,
    Display,
    axes_of,
    check_explanation,
    check_row,
    count,
    heading,
    label,
    literal,
    people,
    quiet,
    row_name,
    wrapped,
)
from scfe_sklearn.inspection.changes import ChangeDisplay, FrequencyDisplay
from scfe_sklearn.inspection.strips import feature_values, strip

_WIDTH = 0.3  # of a curve beside its axis
_PLATE = {"color": "white", "alpha": 0.7, "pad": 0.4, "linewidth": 0}  # behind a value
_APART = 0.055  # of two labels at one axis


@dataclass(eq=False, repr=False)
class OptionsDisplay(Display):
    """Several answers for one person: an axis per feature that any of them changes.

    The dashed line with hollow dots is the person now; a line leaves it where an option moves a
    feature. The shade along an axis is how the training rows with the target are spread.

    Parameters
    ----------
    title : str
        Whose options.
    features : list of str
        Names of the axes.
    strips : list of Strip
        Scale of each axis.
    now : ndarray of shape (k,)
        Places of the person.
    places : ndarray of shape (n_options, k)
        Places of the options.
    texts : list of list of str
        Per option and axis the new value, "" where it stays.
    names : list of str
        What the options are called.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> from scfe_sklearn.inspection import OptionsDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explainer = CounterfactualExplainer(RandomForestClassifier(20, random_state=0)).fit(X, y)
    >>> display = OptionsDisplay.from_estimator(explainer, X[1:2], target=1, n_options=2)
    >>> display.places.shape == (len(display.names), len(display.features))
    True
    """

    title: str
    features: list[str]
    strips: list[Any]
    now: np.ndarray
    places: np.ndarray
    texts: list[list[str]]
    names: list[str]

    @classmethod
    def from_estimator(
        cls, explainer: Any, X: Any, target: Any = None, *, n_options: int = 4, ax: Any = None
    ) -> Self:
        """Find several answers for the first row of X and draw them.

        Parameters
        ----------
        explainer : CounterfactualExplainer
            Fitted.
        X : DataFrame or array-like of shape (n, d)
            Rows; the first one is explained.
        target : label or other target, default=None
            As for `CounterfactualExplainer.explain`.
        n_options : int, default=4
            How many answers to look for.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.
        """
        found = explainer.explain(X[:1], target, n_counterfactuals=n_options)
        return cls.from_explanation(found, ax=ax)

    @classmethod
    def from_explanation(cls, explanation: Explanation, *, row: int = 0, ax: Any = None) -> Self:
        """Draw the options of one person.

        Parameters
        ----------
        explanation : Explanation
            With several entries per person, as `explain` gives with `n_counterfactuals`, or
            `pareto`.
        row : int, default=0
            Which person, counted from 0.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.
        """
        check_explanation(explanation, cls.__name__)
        everyone = people(explanation)
        entries = everyone[check_row(row, len(everyone), cls.__name__)]
        own = explanation[entries]
        found = own[own.success]
        title = f"{row_name(own.index[0])}: {len(found)} way{'' if len(found) == 1 else 's'}"
        title += f" from {plain(own.prediction[0])}"
        targets = {plain(target) for target in found.target}
        title += f" to {targets.pop()}" if len(targets) == 1 else ""
        features = np.flatnonzero(found.changed.any(axis=0))
        strips, now, places = [], [], []
        texts: list[list[str]] = [[] for _ in range(len(found))]
        for j in features:
            before, after = feature_values(found, int(j), np.arange(len(found)))
            scale = strip(found, int(j), [before[0], *after], found.target[0])
            strips.append(scale)
            now.append(scale.place(before[0]))
            places.append([scale.place(value) for value in after])
            for k, value in enumerate(after):
                moved = found.changed[k, j]
                texts[k].append(value_pair(before[0], value, quotes=False)[1] if moved else "")
        names = [
            f"option {k + 1}: {count(int(changes), 'change')}"
            for k, changes in enumerate(found.n_changes)
        ]
        return cls(
            title=title,
            features=[feature_text(found.feature_names[j]) for j in features],
            strips=strips,
            now=np.array(now),
            places=np.array(places).reshape(len(features), len(found)).T,
            texts=texts,
            names=names,
        ).plot(ax)

    def _content(self) -> str:
        return f"{count(len(self.names), 'option')}, {self.title}"

    def _draw(self, ax: Any) -> Any:
        k = len(self.features)
        ax = axes_of(ax, 1.8 + 1.45 * max(k, 2), 4.2)
        quiet(ax)
        ax.set(xlim=(-0.35, max(k - 1, 0) + 0.6), ylim=(-0.06, 1.06), yticks=[])
        names = [wrapped(name) for name in self.features]
        ax.set_xticks(range(k), names, color=INK, fontsize=10)
        for x, scale in enumerate(self.strips):
            _draw_axis(ax, x, scale)
        colours = [OPTIONS[k % len(OPTIONS)] for k in range(len(self.places))]
        for places, name, colour in zip(self.places, self.names, colours, strict=True):
            ax.plot(range(k), places, "-o", color=colour, linewidth=1.9, markersize=5,
                    label=name, zorder=3)  # fmt: skip
        ax.plot(range(k), self.now, "--o", color=GREY, linewidth=1.6, markersize=6.5,
                markerfacecolor="white", label="hollow: as it is now", zorder=4)  # fmt: skip
        for x in range(k):
            self._write(ax, x, colours)
        lines = max((name.count("\n") + 1 for name in names), default=1)
        if k:
            ax.legend(frameon=False, fontsize=9, loc="upper center", labelcolor=INK,
                      bbox_to_anchor=(0.5, -0.06 - 0.055 * lines),
                      ncols=min(len(self.names) + 1, 3))  # fmt: skip
        heading(ax, self.title)
        return ax

    def _write(self, ax: Any, x: int, colours: list[str]) -> None:
        """New values beside their places, moved apart upwards where these are close."""
        if self.strips[x].levels is not None:
            return  # named beside the axis
        named = sorted((self.places[o, x], o) for o in range(len(colours)) if self.texts[o][x])
        last, seen = -np.inf, set()
        for place, o in named:
            if self.texts[o][x] in seen:
                continue
            seen.add(self.texts[o][x])
            last = max(place, last + _APART)
            ax.annotate(literal(self.texts[o][x]), (x, last), (-7, 0), ha="right", va="center",
                        textcoords="offset points", fontsize=9, fontweight="bold",
                        color=colours[o], zorder=6, bbox=_PLATE)  # fmt: skip


def _draw_axis(ax: Any, x: int, scale: Any) -> None:
    """An axis, with its people and its ends or levels."""
    ax.plot([x, x], [0, 1], color=LINE, linewidth=1, zorder=1)
    if scale.levels is None:
        if len(scale.places):
            ax.fill_betweenx(scale.places, x, x + _WIDTH * scale.heights, color=TARGET,
                             linewidth=0, zorder=0)  # fmt: skip
        marks = [(0.0, scale.ends[0]), (1.0, scale.ends[1])]
    else:
        n = len(scale.levels)
        marks = [((k + 0.5) / n, exact(level)) for k, level in enumerate(scale.levels)]
        if len(scale.places):
            ax.barh(scale.places, _WIDTH * scale.heights / max(scale.heights.max(), 1e-9), 0.5 / n,
                    left=x, color=TARGET, zorder=0)  # fmt: skip
    for y, text in marks:
        ax.annotate(label(text, 14), (x, y), (5, 0), textcoords="offset points", va="center",
                    fontsize=8, color=GREY, zorder=5,
                bbox={"color": "white", "alpha": 0.55, "pad": 0.6, "linewidth": 0})  # fmt: skip


@dataclass(eq=False, repr=False)
class ParetoDisplay(Display):
    """The front of one person: distance against plausibility, one colour per number of changes.

    Parameters
    ----------
    title : str
        Whose front.
    distance, plausibility, n_changes : ndarray of shape (n,)
        Of the answers; plausibility is the share of the training rows with the target that are
        less plausible.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> from scfe_sklearn.inspection import ParetoDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explainer = CounterfactualExplainer(RandomForestClassifier(20, random_state=0)).fit(X, y)
    >>> display = ParetoDisplay.from_estimator(explainer, X[:1], target=1)
    >>> len(display.distance) == len(display.plausibility)
    True
    """

    title: str
    distance: np.ndarray
    plausibility: np.ndarray
    n_changes: np.ndarray

    @classmethod
    def from_estimator(cls, explainer: Any, X: Any, target: Any = None, *, ax: Any = None) -> Self:
        """Compute the front of the first row of X with `pareto` and draw it.

        Parameters
        ----------
        explainer : CounterfactualExplainer
            Fitted.
        X : DataFrame or array-like of shape (n, d)
            Rows; the first one is explained.
        target : label or other target, default=None
            As for `CounterfactualExplainer.pareto`.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.
        """
        return cls.from_explanation(explainer.pareto(X[:1], target), ax=ax)

    @classmethod
    def from_explanation(cls, explanation: Explanation, *, row: int = 0, ax: Any = None) -> Self:
        """Draw the front of one person.

        Parameters
        ----------
        explanation : Explanation
            As `CounterfactualExplainer.pareto` returns it.
        row : int, default=0
            Which person, counted from 0.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.
        """
        check_explanation(explanation, cls.__name__)
        everyone = people(explanation)
        own = explanation[everyone[check_row(row, len(everyone), cls.__name__)]]
        title = f"{row_name(own.index[0])}: few changes, near, or plausible"
        found = own[own.success]
        return cls(title, found.distance, found.density_quantile, found.n_changes).plot(ax)

    def _content(self) -> str:
        return f"{count(len(self.distance), 'answer')}, {self.title}"

    def _draw(self, ax: Any) -> Any:
        ax = axes_of(ax, 5.6, 4.0)
        quiet(ax, "bottom", "left")
        ax.grid(color=LINE, linewidth=0.5, alpha=0.6)
        ax.set_axisbelow(True)
        for k, changes in enumerate(np.unique(self.n_changes)):
            rows = np.flatnonzero(self.n_changes == changes)
            rows = rows[np.argsort(self.distance[rows])]
            name = count(int(changes), "change")
            ax.plot(self.distance[rows], self.plausibility[rows], "-o", markersize=7,
                    color=OPTIONS[k % len(OPTIONS)], linewidth=1.4, label=name)  # fmt: skip
        if len(self.distance):
            ax.legend(frameon=False, fontsize=9, labelcolor=INK)
            ax.set_xlim(0, 1.08 * max(self.distance.max(), 1e-9))
        else:
            ax.text(0.5, 0.5, "no answer was found", transform=ax.transAxes, ha="center",
                    color=GREY)  # fmt: skip
        ax.set_ylim(-0.02, 1.02)
        ax.set_xlabel("distance (standard deviations)", fontsize=9)
        ax.set_ylabel("plausibility: share of the target's\nrows that are less plausible",
                      fontsize=9)  # fmt: skip
        heading(ax, self.title)
        return ax


_DISPLAYS: dict[str, Any] = {
    "change": ChangeDisplay,
    "options": OptionsDisplay,
    "pareto": ParetoDisplay,
    "frequency": FrequencyDisplay,
}


def draw(explanation: Explanation, kind: str | None, ax: Any) -> Any:
    """Draw an explanation with the display of that kind, or with the one that suits it."""
    if kind is not None and kind not in _DISPLAYS:
        raise ValueError(
            "The 'kind' parameter of Explanation.plot must be None or a str among "
            f"{sorted(_DISPLAYS)}. Got {kind!r} instead."
        )
    check_explanation(explanation, "Explanation.plot")
    if kind is None and explanation.front:
        kind = "pareto"
    if kind is None:
        single = len(people(explanation)) == 1
        kind = "frequency" if not single else "change" if len(explanation) == 1 else "options"
    return _DISPLAYS[kind].from_explanation(explanation, ax=ax)
