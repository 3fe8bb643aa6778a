"""Find shortcuts: features that a model uses although they do not determine the label."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom
from sklearn.metrics import precision_score, recall_score
from sklearn.utils import check_random_state, column_or_1d

from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.image.explainer import ImageExplainer
from scfe_sklearn.learning.candidates import Columns, Windows

LEAST_SCORE = 0.1
"""Least score of a candidate with an alarm."""

USEFUL = 1 / 3
"""Most turned predictions that become right if a candidate determines the label (share)."""

LEVEL = 0.05
"""Level of the test that this share is larger."""

PRIOR = 0.25
"""Assumed share if no prediction turns."""

FORBIDDEN_USE = 0.05
"""Least share of the changes for an alarm of an irrelevant candidate."""

TESTED = 3
"""Number of first candidates that are tested on clean rows, as are those with an alarm."""

MOST_CANDIDATES = 100
"""Most windows that are examined: those that counterfactuals change most."""


@dataclass(frozen=True, eq=False)
class Shortcuts:
    """Candidates for shortcuts of a model, the most suspicious first.

    Parameters
    ----------
    ranking : DataFrame
        One row per candidate. ``name``: the column, or the row and column of the first pixel of a
        window. ``used``: share of the counterfactuals that change the column, or of the squared
        changes within the window. ``turned``: share of predictions that turn when the candidate
        comes from another row. ``right``: share of these that become right. ``score`` and
        ``alarm``: see `find_shortcuts`. ``reason``: of the alarm.
    tests : DataFrame
        The first candidates, pasted on the clean rows with the content that counterfactuals
        towards a class give them: accuracy, and precision and recall of this class, before and
        after.
    contents : dict
        ``{(name, label): value or pixels}`` of what was pasted.
    side : int or None
        Side of the windows; None for tables.
    mean_image : ndarray of shape (C, H, W) or None
        Mean of the clean images.
    bounds : (low, high) or None
        Range of the pixels.
    """

    ranking: pd.DataFrame
    tests: pd.DataFrame
    contents: dict[Any, Any]
    side: int | None = None
    mean_image: np.ndarray | None = None
    bounds: tuple[float, float] | None = None

    @property
    def alarms(self) -> list[Any]:
        """Names of the candidates that raise an alarm."""
        return self.ranking.loc[self.ranking["alarm"], "name"].tolist()

    def __repr__(self) -> str:
        first = self.ranking.iloc[0]
        alarms = ", ".join(repr(name) for name in self.alarms) or "none"
        return f"Shortcuts(first={first['name']!r}, score={first['score']:.2f}, alarms: {alarms})"

    def to_html(self, path: Any = None, title: str = "What a model should not use") -> str:
        """Write a page of the candidates, with pictures of the regions of images.

        Parameters
        ----------
        path : str, path or None, default=None
            Where to write it.
        title : str
            Heading of the page.

        Returns
        -------
        str
            The page; it loads nothing.
        """
        from scfe_sklearn.learning.shortcut_page import shortcut_page

        return shortcut_page(self, path, title)


def find_shortcuts(
    explainer: Any,
    X: Any,
    y: Any,
    *,
    irrelevant: Sequence[Hashable] | np.ndarray | None = None,
    side: int | None = None,
    max_rows: int = 100,
    n_permutations: int = 10,
    random_state: Any = None,
) -> Shortcuts:
    r"""Rank features that a model uses although they do not determine the label.

    Counterfactuals towards every class show what the model uses: the columns that they change, or
    the windows of an image in which their changes fall. Then each candidate is exchanged between
    clean rows, at random. If a candidate determines the label, most of the predictions that turn
    become wrong; if it is irrelevant, half of them become right. The score of a candidate is

    .. math:: \sqrt{\text{used} \cdot \text{turned}} \; \min(1, 2 \cdot \text{right}),

    and it raises an alarm from a score of 0.1 if more than a third of the predictions that
    turn become right (binomial test at level 0.05), or if it must not matter and is used.

    Parameters
    ----------
    explainer : CounterfactualExplainer or image explainer
        Fitted.
    X : DataFrame or array-like of shape (n, d), or images of shape (n, C, H, W)
        Clean rows, in which shortcuts do not correlate with the label. Rows with the bias of the
        training rows hide shortcuts; then only `irrelevant` raises alarms.
    y : array-like of shape (n,)
        Their labels; positions among the model's outputs for images.
    irrelevant : list of columns, or bool array of shape (H, W), default=None
        Columns that must not matter, or the pixels that must not (outside of the object).
    side : int or None, default=None
        Side of the windows of images; None for a quarter of the smaller side.
    max_rows : int, default=100
        Rows that are explained towards each class, at most.
    n_permutations : int, default=10
        Number of exchanges of each candidate.
    random_state : int, RandomState or None, default=None
        Seed of the rows and exchanges.

    Returns
    -------
    Shortcuts

    References
    ----------
    Boreiko, Augustin, Croce, Berens, Hein, "Sparse visual counterfactual explanations in image
    space", GCPR 2022: spurious features are seen in counterfactuals, and tested by pasting them
    on clean images.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> random = np.random.default_rng(0)
    >>> biased = X.assign(lot=y + random.normal(0, 0.2, len(X)))
    >>> clean = X.assign(lot=random.permutation(biased["lot"]))
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> explainer = CounterfactualExplainer(model, density="knn").fit(biased, y)
    >>> find_shortcuts(explainer, clean, y, random_state=0).ranking["name"][0]
    'lot'
    """
    truth = column_or_1d(np.asarray(y))
    random = check_random_state(random_state)
    found = _candidates(explainer, X, side)
    X = found.read(X)
    if len(X) != len(truth) or len(truth) == 0:
        raise ValueError(
            "y must have one label for each row of X, at least one. "
            f"Got {len(truth)} labels for {len(X)} rows instead."
        )
    predicted = found.predict(X)
    used, contents = _usage(found, X, truth, predicted, max_rows, random)
    kept = np.argsort(-used, kind="stable")[:MOST_CANDIDATES]
    worse, better = _exchanged(found, X, truth, predicted, kept, n_permutations, random)
    ranking = _ranked(used[kept], worse, better, len(truth))
    ranking.insert(0, "name", [found.names[k] for k in kept])
    _raise_alarms(ranking, _forbidden(found, irrelevant)[kept], worse, better)
    order = np.argsort(-ranking["score"].to_numpy(), kind="stable")
    ranking, kept = ranking.iloc[order].reset_index(drop=True), kept[order]
    _join_alarms(ranking, found, kept)
    shown = np.flatnonzero(ranking["alarm"] | (ranking.index < TESTED))
    tests, values = _tested(found, X, truth, predicted, kept[shown], contents)
    if not isinstance(found, Windows):
        return Shortcuts(ranking, tests, values)
    low, high = explainer.bounds
    bounds = float(low), float(high)
    return Shortcuts(ranking, tests, values, found.side, X.mean(axis=0), bounds)


def _candidates(explainer: Any, X: Any, side: int | None) -> Any:
    if not isinstance(explainer, ImageExplainer):
        return Columns(explainer)
    shape = tuple(X.shape[1:])
    if len(shape) != 3:
        raise ValueError(
            "X must be images of shape (n, channels, height, width) for an image explainer. "
            f"Got shape {tuple(X.shape)} instead."
        )
    smaller = min(shape[1:])
    side = max(1, round(smaller / 4)) if side is None else side
    if not 1 <= side <= smaller:
        raise ValueError(
            f"The 'side' parameter of find_shortcuts must be an int in [1, {smaller}] or None. "
            f"Got {side!r} instead."
        )
    return Windows(explainer, shape, side, max(1, side // 4))


def _usage(
    found: Any, X: Any, y: np.ndarray, predicted: np.ndarray, most: int, random: Any
) -> tuple[np.ndarray, dict[Any, list[Any]]]:
    """Return the mean use (k,) over the classes, and the new contents."""
    used, contents = [], {}
    for label in np.unique(y):
        rows = np.flatnonzero(predicted != label)
        if len(rows) == 0:
            continue
        rows = np.sort(random.permutation(rows)[:most])
        share, contents[label] = found.use(take_rows(X, rows), label)
        used.append(share)
    if not used:
        raise ValueError("The model must predict two classes for X at least. Got one.")
    return np.mean(used, axis=0), contents


def _exchanged(
    found: Any,
    X: Any,
    y: np.ndarray,
    predicted: np.ndarray,
    kept: np.ndarray,
    n_permutations: int,
    random: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean numbers of rows that an exchange of a candidate makes wrong, and right."""
    worse, better = np.zeros((2, len(kept)))
    right = predicted == y
    for _ in range(n_permutations):
        origin = random.permutation(len(y))
        for place, k in enumerate(kept):
            after = found.predict(found.replaced(X, k, origin)) == y
            worse[place] += (right & ~after).sum() / n_permutations
            better[place] += (~right & after).sum() / n_permutations
    return worse, better


def _ranked(used: np.ndarray, worse: np.ndarray, better: np.ndarray, n: int) -> pd.DataFrame:
    """Return use, turned predictions and score of each candidate."""
    turned = worse + better
    right = (better + PRIOR) / (turned + 1)
    return pd.DataFrame(
        {
            "used": used,
            "turned": turned / n,
            "right": right,
            "score": np.sqrt(used * turned / n) * np.minimum(1.0, 2 * right),
        }
    )


def _raise_alarms(
    ranking: pd.DataFrame, forbidden: np.ndarray, worse: np.ndarray, better: np.ndarray
) -> None:
    """Flag the candidates that raise an alarm, with the reason."""
    turned = np.rint(worse + better)
    chance = binom.sf(np.rint(better) - 1, turned, USEFUL)
    useless = (ranking["score"].to_numpy() >= LEAST_SCORE) & (chance < LEVEL)
    broken = forbidden & (ranking["used"].to_numpy() >= FORBIDDEN_USE)
    ranking["alarm"] = useless | broken
    ranking["reason"] = np.where(
        broken, "must not matter", np.where(useless, "does not tell the label", "")
    )


def _join_alarms(ranking: pd.DataFrame, found: Any, kept: np.ndarray) -> None:
    """Keep the first alarm of overlapping windows."""
    first: list[int] = []
    for place in np.flatnonzero(ranking["alarm"]):
        if any(found.overlap(kept[place], kept[other]) for other in first):
            ranking.loc[place, ["alarm", "reason"]] = False, "overlaps an alarm"
        else:
            first.append(int(place))


def _forbidden(found: Any, irrelevant: Any) -> np.ndarray:
    """Return whether candidates must not matter, (k,)."""
    if irrelevant is None:
        return np.zeros(len(found.names), dtype=bool)
    if isinstance(found, Windows):
        mask = np.asarray(irrelevant)
        if mask.shape != found.shape[1:] or mask.dtype != bool:
            raise ValueError(
                "The 'irrelevant' parameter of find_shortcuts must be a bool array of shape "
                f"{found.shape[1:]} for images. Got {mask.dtype} of shape {mask.shape} instead."
            )
        return found.outside(~mask)
    unknown = [name for name in irrelevant if name not in found.names]
    if unknown:
        raise ValueError(
            f"The 'irrelevant' parameter of find_shortcuts must be among {found.names}. "
            f"Got {unknown[0]!r} instead."
        )
    return np.array([name in list(irrelevant) for name in found.names])


def _tested(
    found: Any,
    X: Any,
    y: np.ndarray,
    predicted: np.ndarray,
    shown: np.ndarray,
    contents: dict[Any, list[Any]],
) -> tuple[pd.DataFrame, dict[Any, Any]]:
    """Paste candidates on all rows, with the new content for each class."""
    rows, values = [], {}
    for k in shown:
        name = found.names[k]
        for label, content in contents.items():
            if content[k] is None:
                continue
            values[name, label] = content[k]
            after = found.predict(found.pasted(X, k, content[k]))
            row = {"name": name, "towards": label}
            for when, labels in (("before", predicted), ("after", after)):
                only: dict[str, Any] = {"labels": [label], "average": "micro", "zero_division": 0}
                row[f"accuracy_{when}"] = float((labels == y).mean())
                row[f"precision_{when}"] = float(precision_score(y, labels, **only))
                row[f"recall_{when}"] = float(recall_score(y, labels, **only))
            rows.append(row)
    measured = [f"{kind}_{when}" for kind in ("accuracy", "precision", "recall")
                for when in ("before", "after")]  # fmt: skip
    return pd.DataFrame(rows, columns=["name", "towards", *measured]), values
