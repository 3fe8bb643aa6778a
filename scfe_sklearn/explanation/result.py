"""The row-aligned result of a call of ``explain``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn._utils import is_damage, write_file
from scfe_sklearn.explanation import notebook, tables
from scfe_sklearn.explanation.alignment import ByLabel, aligned, joined
from scfe_sklearn.explanation.containers import (
    columns_in_order,
    narrowed,
    positions,
    take_rows,
)
from scfe_sklearn.explanation.tables import outcomes
from scfe_sklearn.explanation.wording import sentence

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Explanation"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Explanation:
    """Counterfactuals of some rows, and what is known about each of them.

    Everything is aligned with the rows of the query, in its units and labels. A row without an
    answer holds missing values in every column, a `Status` and mostly a reason. An explainer
    builds this object; nothing in it calls a model, and the arrays are read-only.

    Parameters
    ----------
    factual : DataFrame or ndarray of shape (n, d)
        The rows of the query (pandas, polars or array), their columns in any order.
    counterfactuals : DataFrame or ndarray of shape (n, d)
        The answers, in the same kind of container.
    target : array-like of shape (n,)
        The wanted label of each row; None where any of several would have done, or a label must
        not be probable.
    prediction : array-like of shape (n,)
        The label that the model predicts for the factual.
    success : array-like of shape (n,) and bool
        Whether the counterfactual is valid for the model and its changes keep every rule.
    status : array-like of shape (n,)
        One of `Status` per row.
    reason : array-like of shape (n,)
        Details of a status, "" where there are none. An answer to a `Probability` that is
        predicted to be of another class has a note here.
    probability_before, probability_after : array-like of shape (n,)
        Probability of the target, or of the class that a `Probability` names, for the factual
        and for the counterfactual; NaN if unknown.
    n_changes : array-like of shape (n,)
        Number of changed features; NaN where there is no answer.
    distance : array-like of shape (n,)
        ``sqrt(sum_j (change_j / std_j)^2 + number of changed categories)``; NaN where there is
        no answer.
    log_density, density_quantile : array-like of shape (n,)
        Log-density of the counterfactual under the target class, and the share of the training
        rows of that class that are less likely; NaN where there is no answer.
    changed : array-like of shape (n, d) and bool
        Which features change, in the order of ``feature_names``; none in a row without success,
        unless it holds what came closest.
    feature_names : sequence of length d
        Labels of the features in the order of training, positions for arrays. They name the
        columns of data frames.
    kinds : sequence of {"numeric", "integer", "ordinal", "categorical", "held"} of length d
        Kinds of the features.
    levels : sequence of length d, default=None
        Per feature the levels in their order, or None; sentences about ordinal features need
        it for the direction of a change.
    solver : str, default=""
        Name of the solver.
    rules_text : sequence of str, default=()
        The rules in plain sentences.
    prediction_after : array-like of shape (n,), default=None
        What the model predicts for the counterfactual; None or NaN where there is no answer.
    option : array-like of int, shape (n,), default=None
        Which of several answers for the same row this is, counted from 0; default: all 0.
    gap : array-like of shape (n,), default=None
        Share by which an answer may cost more than the cheapest one: 0 where it is proved to be
        the cheapest, NaN where nothing is proved.
    outside_rules : array-like of bool, shape (n,), default=None
        Whether a counterfactual breaks a range, relation or implication, as its factual did
        already; default: none does. Strict rules leave no such answer.
    seen : pair of DataFrames or None, default=None
        Factual and counterfactual rows by the features that are changed, where these are not the
        columns of ``factual``: one-hot blocks as one feature, derived columns left out.
    background : Marginals or None, default=None
        How training rows are spread over each feature: what pictures show the answers against.
    front : bool, default=False
        Whether the options of a row are those that `pareto` keeps; `plot` then draws the front.
    index : pandas.Index, default=None
        Labels of the rows. None means those of ``factual``, or positions where it has none.

    Raises
    ------
    ValueError
        If an argument is not aligned with the rows or features of ``factual``, a status or
        kind is unknown, or a row without success has changes.

    Examples
    --------
    >>> import numpy as np
    >>> explanation = Explanation(
    ...     factual=np.array([[31000.0, 2.0], [52000.0, 0.0]]),
    ...     counterfactuals=np.array([[36500.0, 2.0], [np.nan, np.nan]]),
    ...     target=["yes", "yes"], prediction=["no", "no"],
    ...     success=[True, False], status=["found", "not reachable under these rules"],
    ...     reason=["", ""], probability_before=[0.2, 0.1], probability_after=[0.7, np.nan],
    ...     n_changes=[1, np.nan], distance=[0.4, np.nan], log_density=[-3.1, np.nan],
    ...     density_quantile=[0.6, np.nan], changed=[[True, False], [False, False]],
    ...     feature_names=["income", "late_payments"], kinds=["integer", "integer"],
    ... )
    >>> explanation
    Explanation: 1 of 2 rows found, target 'yes'
      0: Increase income from 31,000 to 36,500.
      1: No change found: not reachable under these rules.
    >>> explanation.changes
             row feature     from       to
    position
    0          0  income  31000.0  36500.0
    >>> explanation[explanation.success].sentences()
    ['Increase income from 31,000 to 36,500.']
    """

    factual: Any
    counterfactuals: Any
    target: np.ndarray
    prediction: np.ndarray
    success: np.ndarray
    status: np.ndarray
    reason: np.ndarray
    probability_before: np.ndarray
    probability_after: np.ndarray
    n_changes: np.ndarray
    distance: np.ndarray
    log_density: np.ndarray
    density_quantile: np.ndarray
    changed: np.ndarray
    feature_names: Any
    kinds: Any
    levels: Sequence[Any] | None = None
    solver: str = ""
    rules_text: Sequence[str] = ()
    prediction_after: Any = None
    option: Any = None
    gap: Any = None
    outside_rules: Any = None
    seen: Any = None
    background: Any = None
    front: bool = False
    index: Any = None

    def __post_init__(self) -> None:
        """Turn the arguments into read-only arrays and check that they are aligned."""
        for name, value in aligned(self).items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.success)

    @cached_property
    def by_feature(self) -> tuple[Any, Any]:
        """Factual and counterfactual rows, their columns in the order of ``feature_names``.

        The columns of data frames are paired with the features by their names.
        """
        if self.seen is not None:
            return tuple(self.seen)
        return (
            columns_in_order(self.factual, self.feature_names),
            columns_in_order(self.counterfactuals, self.feature_names),
        )

    @property
    def loc(self) -> ByLabel:
        """Some rows by label, as in pandas: a label, a list, a slice of labels or a mask.

        A label gives all of its entries, such as the options of a row. A list keeps its order.
        A slice includes both ends. KeyError for labels that are not there.
        """
        return ByLabel(self)

    @classmethod
    def concat(cls, parts: Iterable[Explanation]) -> Explanation:
        """Return several explanations of the same features as one, part after part.

        Targets, rules, solvers and explainers may differ. Rules that do not hold in all parts
        are marked with "some rows:" in ``rules_text``. Labels of rows stay as they are, also
        where they repeat. The background of pictures is kept where all parts have the same.

        Parameters
        ----------
        parts : iterable of Explanation
            At least one, with the same features, kinds and levels, and in the same kind of
            container. Columns in another order are paired by name.

        Returns
        -------
        Explanation

        Raises
        ------
        TypeError
            If a part is no Explanation, or the containers differ.
        ValueError
            If there is no part, or columns, features, kinds or levels differ.
        """
        return joined(parts)

    def __getitem__(self, rows: Any) -> Explanation:
        """Some rows by position: a number, a slice, an array of positions or a mask."""
        where = positions(rows, len(self))
        taken = {name: getattr(self, name)[where] for name in tables.ALIGNED}
        for name in ("factual", "counterfactuals"):
            taken[name] = take_rows(getattr(self, name), where)
        taken["counterfactuals"] = narrowed(taken["counterfactuals"], taken["factual"])
        if self.seen is not None:
            before, after = (take_rows(part, where) for part in self.seen)
            taken["seen"] = (before, narrowed(after, before))
        return dataclasses.replace(self, **taken)

    @property
    def changes(self) -> pd.DataFrame:
        """Only what changes: one line per changed feature.

        Returns
        -------
        DataFrame
            Columns ``row`` (label), ``feature``, ``from`` and ``to`` (raw values), in the
            order of the rows and then of the features. The index is the position of the row,
            which stays unique where labels are not.
        """
        return tables.changes(self)

    def to_frame(self) -> Any:
        """Counterfactuals and everything known about them, side by side.

        Returns
        -------
        DataFrame
            The counterfactual columns, then success, status, reason, target, prediction,
            prediction_after, probability_before, probability_after, n_changes, distance,
            log_density, density_quantile, gap, option and outside_rules; polars for a polars
            query, else pandas. A name that a column has already is prefixed with "explanation_".
        """
        return tables.frame(self)

    def to_records(self) -> list[dict[str, Any]]:
        """Entries as plain dicts, which ``json.dumps`` takes: what a service returns.

        Returns
        -------
        list of dict
            Per entry the label "row", the columns of `to_frame` that are no features, the
            "sentence", the "changes" as dicts of "feature", "from" and "to", and the
            "counterfactual" as a dict by column, or None where there is no answer. Values are
            Python's own. Missing values are None, infinite ones the texts "inf" and "-inf",
            dates ISO texts, and tuples lists.

        See Also
        --------
        to_json : Everything, to be read back by `from_json`.
        """
        return tables.as_dicts(self)

    def summary(self) -> pd.DataFrame:
        """Counts and means in one line.

        Returns
        -------
        DataFrame of one row
            ``rows``; ``found``, the rows with an answer; ``coverage``, their share among the
            rows that did not have the target already; ``answers``, the options of all rows
            together; ``validity``, the share of successes among the entries that hold an
            answer; means of the number of changes, the distance and the probability of the
            target and the median quantile of the density over the answers; then the count of
            rows of each other status. "no further option" counts options: they are no failed
            rows. A share or mean of nothing is NaN.
        """
        return tables.summary(self)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Everything in it as JSON: for another process, another program, or later.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write; None returns the text.

        Returns
        -------
        str or None
            An object with "schema", "version" and "fields"; the fields have the names of the
            parameters. Columns are lists of values beside their types; numbers that JSON does
            not know are the texts "nan", "inf" and "-inf".

        Raises
        ------
        TypeError
            If a value cannot be written, such as an object of the user's own class.

        See Also
        --------
        from_json : Reads it.
        """
        text = tables.as_json(self)
        if path is None:
            return text
        # JSON has an escape for a lone surrogate, UTF-8 has none.
        write_file(path, text.encode("utf-8", "backslashreplace"))
        return None

    @classmethod
    def from_json(cls, source: str | os.PathLike[str]) -> Explanation:
        """Read what `to_json` wrote; no code in it is run.

        Parameters
        ----------
        source : str or path-like
            The text, or the path of a file.

        Returns
        -------
        Explanation
            In the containers and types of the original.

        Raises
        ------
        ValueError
            If this is no explanation, is damaged, claims much more memory than its text, or is
            of a later version of the package.

        Examples
        --------
        >>> import numpy as np
        >>> row, none = np.array([[1.0, 2.0]]), np.array([np.nan])
        >>> explanation = Explanation(
        ...     factual=row, counterfactuals=row + [[3.0, 0.0]], target=[1], prediction=[0],
        ...     success=[True], status=["found"], reason=[""], probability_before=none,
        ...     probability_after=none, n_changes=[1], distance=[3.0], log_density=none,
        ...     density_quantile=none, changed=[[True, False]], feature_names=["a", "b"],
        ...     kinds=["numeric", "numeric"],
        ... )
        >>> Explanation.from_json(explanation.to_json()).sentences()
        ['Increase a from 1 to 4.']
        """
        try:
            return cls(**tables.from_json(source))
        except (OSError, ValueError):
            raise
        except BaseException as error:
            if not is_damage(error):
                raise
            raise ValueError(f"The 'source' of from_json is damaged: {error!r}.") from error

    def sentences(self, max_features: int | None = None) -> list[str]:
        """Changes in plain English, one sentence per row.

        Parameters
        ----------
        max_features : int, default=None
            At most this many changes are spelled out per row; the others are counted.

        Returns
        -------
        list of str
            Such as "Increase income from 31,000 to 36,500 and change housing from 'rent' to
            'own'.", or "No change found: ..." with the status and its reason.

        Notes
        -----
        Every number is written in full: without its thousands separators it reads as the value
        that was judged, and as the value of the factual row.
        """
        if max_features is not None and (
            isinstance(max_features, bool)
            or not isinstance(max_features, int | np.integer)
            or max_features < 1
        ):
            raise ValueError(
                "The 'max_features' parameter of Explanation.sentences must be an int in "
                f"[1, inf) or None. Got {max_features!r} instead."
            )
        return [sentence(outcome, max_features) for outcome in outcomes(self)]

    def plot(self, kind: str | None = None, *, ax: Any = None) -> Any:
        """Draw the answers; needs matplotlib.

        Parameters
        ----------
        kind : {"change", "options", "pareto", "frequency"}, default=None
            The answer of the first row; several answers for it; its trade-offs, of what `pareto`
            returns; or how often each feature is changed. None: "pareto" for what `pareto`
            returns (the front of the first row), else "change" for a single row, "options" for
            several answers of one row, "frequency" for many rows.
        ax : matplotlib Axes, default=None
            Where to draw; default: a new figure.

        Returns
        -------
        Display
            One of `scfe_sklearn.inspection`, with ``ax_`` and ``figure_``.
        """
        from scfe_sklearn.inspection.options import draw

        return draw(self, kind, ax)

    def to_html(self, path: Any = None, *, title: str | None = None) -> str:
        """Write a page for people: their stories, pictures, the rules; needs jinja2.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write; None to write none.
        title : str, default=None
            Heading of the page.

        Returns
        -------
        str
            The page: a single file that loads nothing, is readable on a phone, in print and
            without scripts, and in which names and values are escaped.
        """
        from scfe_sklearn.inspection.report import write_report

        return write_report(self, path, title)

    def __repr__(self) -> str:
        return notebook.as_text(self)

    def _repr_html_(self) -> str:
        return notebook.as_html(self)
