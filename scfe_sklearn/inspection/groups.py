"""Costs of answers in groups of people, and their display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.stats import norm

from scfe_sklearn._utils import by_label, row_index
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.containers import column_values, objects
from scfe_sklearn.explanation.wording import is_missing, is_number, plain
from scfe_sklearn.inspection.base import (
    GREY,
    INK,
    LINE,
    UP,
    Display,
    axes_of,
    check_explanation,
    count,
    heading,
    label,
    quiet,
)
from scfe_sklearn.status import Status

if TYPE_CHECKING:
    import pandas as pd


_MANY = 10  # different numbers; more are grouped into ranges

COSTS = {
    "distance": "mean distance of the answers (standard deviations)",
    "n_changes": "mean number of changes",
}


def group_costs(
    explanation: Explanation,
    group: Any,
    *,
    cost: str = "distance",
    level: float = 0.95,
    n_bootstrap: int = 1000,
    random_state: int = 0,
    bins: int | None = 5,
) -> pd.DataFrame:
    """Mean cost of an answer and share of people with an answer, by group.

    Each person counts once, with the first answer. Rows that have the target already are left
    out. The limits of the cost are percentiles of means of people drawn again, with replacement,
    within the group; those of the share are Wilson's.

    Parameters
    ----------
    explanation : Explanation
    group : column name or array-like of shape (n,)
        What the rows are grouped by: a column of the factuals, or a value per row. A pandas
        Series is taken by the labels of the rows.
    cost : {"distance", "n_changes"}, default="distance"
        What an answer costs.
    level : float, default=0.95
        Coverage of the limits.
    n_bootstrap : int, default=1000
        How often people are drawn again.
    random_state : int, default=0
        Seed of the drawing.
    bins : int or None, default=5
        Numbers of more than ten different values are grouped into this many ranges with about as
        many rows each, named by their lowest and highest value. None: a group for each value.

    Returns
    -------
    DataFrame
        A line per group, in the order of their names: "group", "n", "cost", "cost_low",
        "cost_high", "success", "success_low", "success_high".
    """
    import pandas as pd

    _check(cost, level, n_bootstrap, bins)
    labels = _groups(explanation, group)
    ranges: list[Any] = []
    if bins is not None:
        labels, ranges = _binned(labels, bins)
    people = (explanation.option == 0) & (explanation.status != Status.ALREADY_TARGET)
    price = np.where(explanation.success, getattr(explanation, cost), np.nan)
    lines = []
    names = _ordered(explanation, group, labels[people])
    if ranges:
        names = [name for name in [*ranges, None] if name in names]
    for name in names:
        here = np.flatnonzero(people & np.array([_same(label, name) for label in labels]))
        random = np.random.default_rng(random_state)
        drawn = random.integers(len(here), size=(n_bootstrap, len(here)))
        means = _mean(price[here][drawn])
        low, high = np.nan, np.nan
        if np.isfinite(means).any():
            low, high = np.nanpercentile(means, [50 * (1 - level), 50 * (1 + level)])
        line: dict[str, Any] = {"group": name, "n": len(here)}
        line |= {"cost": _mean(price[here][None])[0], "cost_low": low, "cost_high": high}
        share = float(explanation.success[here].mean())
        least, most = _wilson(share, len(here), level)
        lines.append(line | {"success": share, "success_low": least, "success_high": most})
    return pd.DataFrame(lines)


def _wilson(share: float, n: int, level: float) -> tuple[float, float]:
    """Limits of a share that are wider than nothing where all of a few people succeed.

    Drawing people again would never draw a failure there.
    """
    z = float(norm.ppf((1 + level) / 2))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Means (b,) of the known values of rows (b, n); NaN where none is known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def _binned(labels: np.ndarray, bins: int) -> tuple[np.ndarray, list[str]]:
    """Numbers of many values as texts of ranges, and the ranges; other labels as they are."""
    known = np.array([not is_missing(label) for label in labels], dtype=bool)
    if not all(is_number(label) for label in labels[known]):
        return labels, []
    values = labels[known].astype(np.float64)
    distinct = np.unique(values)
    if len(distinct) <= _MANY:
        return labels, []
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, values)
    texts = {}
    for k in np.unique(place):
        low, high = (plain(end(values[place == k])) for end in (np.min, np.max))
        texts[int(k)] = low if low == high else f"{low} to {high}"
    out = np.full(len(labels), None, dtype=object)
    out[known] = [texts[int(k)] for k in place]
    return out, list(dict.fromkeys(texts.values()))


def _check(cost: Any, level: Any, n_bootstrap: Any, bins: Any) -> None:
    if cost not in COSTS:
        raise ValueError(
            "The 'cost' parameter of group_costs must be a str among "
            f"{sorted(COSTS)}. Got {cost!r} instead."
        )
    if not 0 < level < 1:
        raise ValueError(
            f"The 'level' parameter of group_costs must be a float in (0, 1). Got {level!r} "
            "instead."
        )
    if isinstance(n_bootstrap, bool) or not isinstance(n_bootstrap, int) or n_bootstrap < 1:
        raise ValueError(
            "The 'n_bootstrap' parameter of group_costs must be an int in [1, inf). "
            f"Got {n_bootstrap!r} instead."
        )

    whole = isinstance(bins, int | np.integer) and not isinstance(bins, bool)
    if bins is not None and (not whole or bins < 1):
        raise ValueError(
            "The 'bins' parameter of group_costs must be an int in [1, inf) or None. "
            f"Got {bins!r} instead."
        )


def _groups(explanation: Explanation, group: Any) -> np.ndarray:
    """One value per row, from a column or from the user."""
    n = len(explanation)
    if isinstance(group, str | int | np.integer):
        factual = explanation.factual
        names = list(getattr(factual, "columns", range(factual.shape[1])))
        if group not in names:
            raise ValueError(
                "The 'group' parameter of group_costs must be a column or one value per row. "
                f"Got {group!r}, which is no column."
            )
        return objects(column_values(factual, names.index(group), np.arange(n)))
    what = "The 'group' parameter of group_costs"
    values = objects(list(by_label(group, row_index(explanation.factual), what)))
    if len(values) != n:
        raise ValueError(
            f"The 'group' parameter of group_costs must have one value for each of {n} rows. "
            f"Got {len(values)}."
        )
    return values


def _ordered(explanation: Explanation, group: Any, labels: np.ndarray) -> list[Any]:
    """The groups in the order of their levels, else by name or size; missing last."""
    known = list(dict.fromkeys(value for value in labels if not is_missing(value)))
    names = list(explanation.feature_names)
    if isinstance(group, str) and group in names and explanation.levels is not None:
        levels = explanation.levels[names.index(group)]
        if levels is not None and set(known) <= set(levels):
            return [level for level in levels if level in known] + _blank(labels)
    try:
        known = sorted(known)
    except TypeError:
        known = sorted(known, key=str)
    return known + _blank(labels)


def _blank(labels: np.ndarray) -> list[Any]:
    return [None] if any(map(is_missing, labels)) else []


def _same(value: Any, name: Any) -> bool:
    return is_missing(value) if name is None else not is_missing(value) and bool(value == name)


_FEW = 10  # people; means of fewer are drawn hollow


@dataclass(eq=False, repr=False)
class GroupCostDisplay(Display):
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

    def _draw(self, ax: Any) -> Any:
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
        return ax
