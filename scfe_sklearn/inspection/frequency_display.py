"""Many people: how often each feature is changed, and which way: the global explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.outcomes import outcomes
from scfe_sklearn.inspection.entries import check_explanation, percent
from scfe_sklearn.inspection.palette import (
    DOWN,
    GREY,
    INK,
    SWITCH,
    UP,
    axes_of,
    heading,
    label,
    quiet,
)
from scfe_sklearn.inspection.short_repr import ShortRepr, count
from scfe_sklearn.presentation.sentences import feature_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FrequencyDisplay", "change_frequencies"]

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
class FrequencyDisplay(ShortRepr):
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

    def plot(self, ax: Any = None) -> Self:
        """Draw, in a new figure unless axes are given."""
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
        self.ax_, self.figure_ = ax, ax.figure
        return self
