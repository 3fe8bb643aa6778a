"""Trade-offs of the answers of a person: few changes, near, or plausible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.inspection.entries import check_explanation, check_row, people, row_name
from scfe_sklearn.inspection.palette import GREY, INK, LINE, OPTIONS, axes_of, heading, quiet
from scfe_sklearn.inspection.short_repr import ShortRepr, count

__all__ = ["ParetoDisplay"]


@dataclass(eq=False, repr=False)
class ParetoDisplay(ShortRepr):
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

    def plot(self, ax: Any = None) -> Self:
        """Draw, in a new figure unless axes are given."""
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
        self.ax_, self.figure_ = ax, ax.figure
        return self
