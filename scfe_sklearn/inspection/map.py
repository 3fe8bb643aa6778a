"""Two features as a map: decision boundary, people with the target, and the way to answers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from scfe_sklearn._utils import ignore_warnings
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.explanation.wording import feature_text, plain
from scfe_sklearn.inspection.base import (
    DOWN,
    GREY,
    INK,
    TARGET,
    TARGET_EDGE,
    Display,
    axes_of,
    check_row,
    count,
    heading,
    label,
    quiet,
    row_name,
)
from scfe_sklearn.inspection.strips import feature_values

__all__ = ["MapDisplay"]

_GRID = 100
_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the people outside each contour


@dataclass(eq=False, repr=False)
class MapDisplay(Display):
    """A plane of two numbers with the decision of the model, the target's people, and answers.

    The boundary (dashed) is that of the one person whose arrow is thick: everything else stays
    as it is for this person. The thin arrows are other people whose answers change nothing
    outside the plane.

    Parameters
    ----------
    features : tuple of str
        Names of the axes.
    grid : tuple of ndarray
        Places along both axes.
    inside : ndarray of shape (P, P), bool
        Whether the model gives the person the target there.
    density : ndarray of shape (P, P) or None
        Density of the training rows with the target.
    levels : ndarray
        Contours of it.
    start, end : ndarray of shape (n, 2)
        People and their answers; the first is the person of the boundary.
    target : str
        The wanted label.
    title : str
        What is seen.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.svm import SVC
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> from scfe_sklearn.inspection import MapDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["alcohol", "flavanoids"]]
    >>> explainer = CounterfactualExplainer(SVC()).fit(X, y)
    >>> display = MapDisplay.from_estimator(explainer, X[:5], 1, features=list(X.columns))
    >>> display.start.shape
    (5, 2)
    """

    features: tuple[str, str]
    grid: tuple[np.ndarray, np.ndarray]
    inside: np.ndarray
    density: np.ndarray | None
    levels: np.ndarray
    start: np.ndarray
    end: np.ndarray
    target: str
    title: str

    @classmethod
    def from_estimator(
        cls,
        explainer: Any,
        X: Any,
        target: Any,
        *,
        features: Any,
        row: int = 0,
        max_arrows: int = 40,
        ax: Any = None,
    ) -> Self:
        """Explain rows and draw those whose answers lie in a plane.

        Parameters
        ----------
        explainer : CounterfactualExplainer
            Fitted, of a classifier.
        X : DataFrame or array-like of shape (n, d)
            Rows.
        target : label
            The wanted class.
        features : pair of columns
            Two numeric columns.
        row : int, default=0
            Position in X of the person whose boundary is drawn.
        max_arrows : int, default=40
            Most other people that are drawn.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.
        """
        explanation = explainer.explain(X, target)
        return cls.from_explanation(
            explanation, explainer, features=features, row=row, max_arrows=max_arrows, ax=ax
        )

    @classmethod
    def from_explanation(
        cls,
        explanation: Explanation,
        explainer: Any,
        *,
        features: Any,
        row: int = 0,
        max_arrows: int = 40,
        ax: Any = None,
    ) -> Self:
        """Draw an explanation; the explainer gives boundary and density.

        Parameters
        ----------
        explanation : Explanation
        explainer : CounterfactualExplainer
            Fitted, of a classifier; the one that explained.
        features, row, max_arrows, ax
            As for `from_estimator`.
        """
        if not hasattr(explainer, "classes_"):
            raise ValueError(
                "The 'explainer' parameter of MapDisplay must explain a classifier. Got one of a "
                "regressor."
            )
        entry = check_row(row, len(explanation), cls.__name__)
        pair = _pair(explanation, features)
        rows = _in_plane(explanation, entry, pair, max_arrows)
        values = [feature_values(explanation, j, rows) for j in pair]
        start = np.array([before for before, _ in values], dtype=np.float64).T
        end = np.array([after for _, after in values], dtype=np.float64).T
        wanted = explanation.target[entry]
        grid = _grid(explainer, pair, start, end)
        density, levels = _density(explainer, wanted, pair, grid)
        names = [feature_text(explanation.feature_names[j]) for j in pair]
        elsewhere = explanation.changed[entry].sum() > explanation.changed[entry, pair].sum()
        title = f"{row_name(explanation.index[entry])} on the way to {plain(wanted)}"
        if elsewhere:
            title += " (its answer changes other features, too)"
        return cls(
            features=(names[0], names[1]),
            grid=grid,
            inside=_decision(explainer, explanation, entry, pair, grid) == wanted,
            density=density,
            levels=levels,
            start=start,
            end=end,
            target=plain(wanted),
            title=title,
        ).plot(ax)

    def _content(self) -> str:
        return f"{count(len(self.start), 'row')} by {' and '.join(self.features)}, {self.title}"

    def _draw(self, ax: Any) -> Any:
        from matplotlib.colors import LinearSegmentedColormap

        ax = axes_of(ax, 6.2, 4.6)
        quiet(ax, "bottom", "left")
        x, y = self.grid
        if self.density is not None and len(self.levels) > 1:
            shade = LinearSegmentedColormap.from_list("target", ["#eef5f1", TARGET])
            ax.contourf(x, y, self.density, levels=self.levels, cmap=shade, zorder=0)
        if self.inside.any() and not self.inside.all():
            ax.contour(x, y, self.inside.astype(float), levels=[0.5], colors=INK, linewidths=1.3,
                       linestyles="--", zorder=2)  # fmt: skip
        for k in range(len(self.start) - 1, -1, -1):
            self._arrow(ax, k)
        ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
        ax.set_xlabel(label(self.features[0], 40))
        ax.set_ylabel(label(self.features[1], 40))
        for side, text, colour in (
            (0, f"dashed: where this row becomes {self.target}", INK),
            (1, f"shade: training rows, {self.target}", TARGET_EDGE),
        ):
            ax.annotate(label(text, 48), (side, 1), (0, 4), xycoords="axes fraction", fontsize=8.5,
                        textcoords="offset points", ha="right" if side else "left",
                        color=colour)  # fmt: skip
        heading(ax, self.title, pad=19)
        return ax

    def _arrow(self, ax: Any, k: int) -> None:
        """The way of one person; that of the first is thick."""
        first = k == 0
        colour, alpha = (DOWN, 1.0) if first else (GREY, 0.55)
        if np.isfinite(self.end[k]).all():
            arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "color": colour}
            arrow |= {"linewidth": 2.4 if first else 0.9, "mutation_scale": 15 if first else 8}
            ax.annotate("", self.end[k], self.start[k], zorder=3 + first,
                        arrowprops={**arrow, "alpha": alpha})  # fmt: skip
        ax.plot(*self.start[k], "o", markersize=7 if first else 3.5, color=colour, alpha=alpha,
                zorder=3 + first)  # fmt: skip


def _pair(explanation: Explanation, features: Any) -> list[int]:
    """Positions of the two features."""
    names = list(explanation.feature_names)
    wanted: list[Hashable] = list(features)
    if len(wanted) != 2 or wanted[0] == wanted[1] or any(name not in names for name in wanted):
        raise ValueError(
            "The 'features' parameter of MapDisplay must be two different columns of the "
            f"explanation. Got {features!r} instead."
        )
    pair = [names.index(name) for name in wanted]
    for j, name in zip(pair, wanted, strict=True):
        if explanation.kinds[j] not in ("numeric", "integer"):
            raise ValueError(
                "The 'features' parameter of MapDisplay must be numeric columns. "
                f"Got {name!r}, which is {explanation.kinds[j]}."
            )
    return pair


def _in_plane(explanation: Explanation, entry: int, pair: list[int], most: int) -> np.ndarray:
    """The person, then the others whose answers lie in the plane."""
    outside = np.delete(explanation.changed, pair, axis=1).any(axis=1)
    others = np.flatnonzero(explanation.success & ~outside)
    others = others[others != entry][:most]
    return np.r_[entry, others]


def _grid(
    explainer: Any, pair: list[int], start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places along both axes: what most people have, and all the arrows."""
    places = []
    for k, j in enumerate(pair):
        known = explainer.background_.positions[j]
        every = np.r_[known[0], known[-1], start[:, k], end[:, k]]
        low, high = np.nanmin(every), np.nanmax(every)
        room = 0.04 * (high - low) or 0.5
        places.append(np.linspace(low - room, high + room, _GRID))
    return places[0], places[1]


def _decision(
    explainer: Any,
    explanation: Explanation,
    entry: int,
    pair: list[int],
    grid: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Prediction for the person at every point of the plane."""
    space = explainer.space_
    person = take_rows(explanation.by_feature[0], np.zeros(_GRID**2, dtype=np.intp) + entry)
    Z0 = space.encode(person)
    Z = Z0.copy()
    for j, places in zip(pair, np.meshgrid(*grid), strict=True):
        Z[:, space.slices_[j].start] = (places.ravel() - space.center_[j]) / space.scale_[j]
    model = explainer.inputs_.wrap_model(explainer.estimator_)
    answers = np.asarray(model.predict(space.decode(Z, person, reference=Z0)))
    return answers.reshape(_GRID, _GRID)


def _density(
    explainer: Any, wanted: Any, pair: list[int], grid: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray | None, np.ndarray]:
    """Density of the training rows with the target in the plane, and its contours."""
    from scipy.stats import gaussian_kde

    code = np.flatnonzero(np.asarray(explainer.classes_) == wanted)
    if not len(code):
        return None, np.empty(0)
    points = explainer.space_.ranks(explainer.reference_rows_[int(code[0])])[:, pair].T
    points = points[:, :: max(points.shape[1] // 2000, 1)]
    try:
        with ignore_warnings(RuntimeWarning):
            kernel = gaussian_kde(points)
    except (np.linalg.LinAlgError, ValueError):  # too few people, or all on one line
        return None, np.empty(0)
    x, y = np.meshgrid(*grid)
    density = kernel(np.stack([x.ravel(), y.ravel()])).reshape(x.shape)
    levels = np.unique(np.r_[np.quantile(kernel(points), _SHARES), density.max()])
    return density, levels
