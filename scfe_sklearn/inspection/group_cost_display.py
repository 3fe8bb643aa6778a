"""Fairness of recourse: what an answer costs the people of each group, and who gets one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.inspection.entries import check_explanation
from scfe_sklearn.inspection.group_costs import COSTS, group_costs
from scfe_sklearn.inspection.palette import GREY, INK, LINE, UP, axes_of, heading, label, quiet
from scfe_sklearn.inspection.short_repr import ShortRepr, count
from scfe_sklearn.presentation.wording import plain

__all__ = ["GroupCostDisplay"]

_FEW = 10  # people; means of fewer are drawn hollow


@dataclass(eq=False, repr=False)
class GroupCostDisplay(ShortRepr):
    """Cost of an answer by group, with bootstrap limits, and the share of people who get one.

    The mean of fewer than ten people is a hollow point, with a note.

    Parameters
    ----------
    costs : DataFrame
        As `group_costs` returns it.
    cost : {"distance", "n_changes"}
        What was measured.
    by : str
        What the groups are called.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> from scfe_sklearn.inspection import GroupCostDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explainer = CounterfactualExplainer(RandomForestClassifier(20, random_state=0)).fit(X, y)
    >>> result = explainer.explain(X[:6], target=1)
    >>> display = GroupCostDisplay.from_explanation(result, X[:6]["alcohol"] > 14)
    >>> display.costs["n"].tolist()
    [3, 3]
    """

    costs: Any
    cost: str = "distance"
    by: str = "group"

    @classmethod
    def from_estimator(
        cls,
        explainer: Any,
        X: Any,
        group: Any,
        target: Any = None,
        *,
        cost: str = "distance",
        level: float = 0.95,
        n_bootstrap: int = 1000,
        random_state: int = 0,
        bins: int | None = 5,
        ax: Any = None,
    ) -> Self:
        """Explain rows and draw what it costs each group.

        Parameters
        ----------
        explainer : CounterfactualExplainer
            Fitted.
        X : DataFrame or array-like of shape (n, d)
            Rows.
        group : column name or array-like of shape (n,)
            What they are grouped by.
        target : label or other target, default=None
            As for `CounterfactualExplainer.explain`.
        cost, level, n_bootstrap, random_state, bins, ax
            As for `from_explanation`.
        """
        return cls.from_explanation(
            explainer.explain(X, target),
            group,
            cost=cost,
            level=level,
            n_bootstrap=n_bootstrap,
            random_state=random_state,
            bins=bins,
            ax=ax,
        )

    @classmethod
    def from_explanation(
        cls,
        explanation: Explanation,
        group: Any,
        *,
        cost: str = "distance",
        level: float = 0.95,
        n_bootstrap: int = 1000,
        random_state: int = 0,
        bins: int | None = 5,
        ax: Any = None,
    ) -> Self:
        """Draw what the answers of an explanation cost each group.

        Parameters
        ----------
        explanation : Explanation
        group : column name or array-like of shape (n,)
            What the rows are grouped by: a column of the factuals, or a value per row.
        cost : {"distance", "n_changes"}, default="distance"
            What an answer costs.
        level : float, default=0.95
            Coverage of the bootstrap limits.
        n_bootstrap : int, default=1000
            How often people are drawn again.
        random_state : int, default=0
            Seed of the drawing.
        bins : int or None, default=5
            Numbers of more than ten different values are grouped into this many ranges with about
            as many rows each. None: a group for each value.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.
        """
        check_explanation(explanation, cls.__name__)
        costs = group_costs(
            explanation,
            group,
            cost=cost,
            level=level,
            n_bootstrap=n_bootstrap,
            random_state=random_state,
            bins=bins,
        )
        by = group if isinstance(group, str) else getattr(group, "name", None) or "group"
        return cls(costs, cost, str(by)).plot(ax)

    def _content(self) -> str:
        return f"{self.cost} of {count(len(self.costs), 'group')} by {self.by}"

    def plot(self, ax: Any = None) -> Self:
        """Draw, in a new figure unless axes are given."""
        n = len(self.costs)
        ax = axes_of(ax, 6.4, 1.5 + 0.5 * max(n, 1))
        quiet(ax, "bottom")
        places = np.arange(n)[::-1]
        mean, low, high = (
            self.costs[name].to_numpy(float) for name in ("cost", "cost_low", "cost_high")
        )
        ax.grid(axis="x", color=LINE, linewidth=0.5, alpha=0.6)
        ax.set_axisbelow(True)
        ax.hlines(places, low, high, color=UP, linewidth=3.2, alpha=0.35)
        few = self.costs["n"].to_numpy() < _FEW
        ax.plot(mean[~few], places[~few], "o", color=UP, markersize=8)
        ax.plot(mean[few], places[few], "o", color=UP, markersize=8, markerfacecolor="white",
                markeredgewidth=1.6)  # fmt: skip
        names = [label(plain(name), 24) for name in self.costs["group"]]
        counts = [
            f"{name}\n{people:,} {'person' if people == 1 else 'people'}"
            for name, people in zip(names, self.costs["n"], strict=True)
        ]
        ax.set_yticks(places, counts, color=INK, fontsize=9.5)
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(-0.6, max(n - 1, 0) + 0.75)
        top = np.nanmax(high, initial=0.0)
        ax.set_xlim(0, 1.05 * top if top > 0 else 1)
        ax.set_xlabel(COSTS[self.cost], fontsize=9)
        shares = self.costs[["success", "success_low", "success_high"]].to_numpy(float)
        across = ax.get_yaxis_transform()
        ax.text(1.03, max(n - 1, 0) + 0.62, "have an answer", transform=across, color=GREY,
                fontsize=8.5, va="center")  # fmt: skip
        for y, (share, least, most) in zip(places, shares, strict=True):
            text = f"{100 * share:.0f} %  ({100 * least:.0f} to {100 * most:.0f})"
            ax.text(1.03, y, text, transform=across, va="center", color=INK, fontsize=9)
        if few.any():
            ax.text(1.03, -0.55, f"hollow: fewer than\n{_FEW} people", transform=across,
                    color=GREY, fontsize=8.5, va="center")  # fmt: skip
        heading(ax, f"What recourse costs, by {self.by}")
        self.ax_, self.figure_ = ax, ax.figure
        return self
