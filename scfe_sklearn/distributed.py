"""Answer partitions of a data frame on a cluster: Dask, Ray, Spark or anything with workers."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from scfe_sklearn.explanation.tables import COLUMNS, NUMBERS
from scfe_sklearn.persistence import load
from scfe_sklearn.rules import Rules

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PartitionExplainer"]

_TEXTS = ("status", "reason")
_LABELS = ("target", "prediction", "prediction_after")


class PartitionExplainer:
    """Function of a pandas data frame that returns its answers with the same columns and types.

    An engine calls it with one partition after the other. Rows do not depend on one another, so
    that the partitions together have the answers of one call. Every partition, also an empty
    one, has the columns and types of `meta`: whole numbers and booleans are nullable, because a
    row without an answer has missing values; categories are their plain values, because a
    partition may hold one that no training row has.

    Parameters
    ----------
    explainer : CounterfactualExplainer, RecoursePipeline, str or path-like
        Fitted on a pandas data frame; or the file of `scfe_sklearn.save`, which every worker
        reads once. With a file, this object is pickled in less than a kilobyte.
    target : label, Probability, set of these, Interval or None, default=None
        As for `explain`, for all rows.
    rules : Rules or None, default=None
        Further rules, the same for all rows.
    n_counterfactuals : int, default=1
        Answers per row.
    best_effort : bool, default=False
        As for `explain`.
    keep : dict or None, default=None
        ``{column: type}`` of columns that are no features, such as an identifier: they stand in
        front of the answers.
    trusted : sequence of str, default=()
        Types that the file may hold, as for `scfe_sklearn.load`.

    Examples
    --------
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> from scfe_sklearn.datasets import make_loan_applications
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> X, y = make_loan_applications(120, random_state=0)
    >>> X = X[["income", "age", "credit_score"]]
    >>> model = HistGradientBoostingClassifier(max_iter=5)
    >>> partition = PartitionExplainer(CounterfactualExplainer(model).fit(X, y), "approved")
    >>> answers = partition(X[:3])
    >>> (answers.dtypes == partition.meta.dtypes).all(), len(answers)
    (np.True_, 3)
    """

    def __init__(
        self,
        explainer: Any,
        target: Any = None,
        *,
        rules: Rules | None = None,
        n_counterfactuals: int = 1,
        best_effort: bool = False,
        keep: Mapping[Hashable, Any] | None = None,
        trusted: Sequence[str] = (),
    ) -> None:
        self.explainer = os.fspath(explainer) if isinstance(explainer, os.PathLike) else explainer
        self.target = target
        self.rules = rules
        self.n_counterfactuals = n_counterfactuals
        self.best_effort = best_effort
        self.keep = dict(keep or {})
        self.trusted = tuple(trusted)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed from the explainer."""
        return {name: value for name, value in vars(self).items() if name != "_like"}

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Answer the rows of a partition.

        Parameters
        ----------
        frame : DataFrame of shape (n, d)
            The features and the columns of ``keep``.

        Returns
        -------
        DataFrame
            The columns of `meta`, the index of the rows.

        Raises
        ------
        ValueError
            If a column is missing, or `explain` refuses the rows.
        """
        if len(frame) == 0:
            return self.meta.set_axis(frame.index[:0], axis=0)
        absent = [name for name in (*self.keep, *self._like.columns) if name not in frame.columns]
        if absent:
            raise ValueError(
                "The 'frame' parameter of PartitionExplainer must have the columns of the "
                f"training data and of 'keep'. Got none called {absent}."
            )
        rows = self._as_trained(frame[list(self._like.columns)])
        inner = getattr(self._explainer, "explainer_", self._explainer)
        result = inner._explain(
            rows,
            self.target,
            rules=self.rules,
            n_counterfactuals=self.n_counterfactuals,
            best_effort=self.best_effort,
        )
        answers = result.to_frame()
        place = np.repeat(np.arange(len(frame)), self.n_counterfactuals)
        for at, name in enumerate(self.keep):
            answers.insert(at, name, frame[name].iloc[place].to_numpy(), allow_duplicates=False)
        return self.conform(answers)

    def over(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Answer one frame after the other: what ``mapInPandas`` of Spark takes."""
        for frame in frames:
            yield self(frame)

    @cached_property
    def _like(self) -> pd.DataFrame:
        """Training rows, whose types the features have."""
        import pandas as pd

        inner = getattr(self._explainer, "explainer_", self._explainer)
        sample = inner.inputs_.to_user(inner.sample_)
        if not isinstance(sample, pd.DataFrame):
            raise TypeError(
                "The 'explainer' parameter of PartitionExplainer must be fitted on a pandas data "
                f"frame. Got one that was fitted on a {type(sample).__name__} instead."
            )
        return sample

    @property
    def _explainer(self) -> Any:
        """The explainer; a file is read once in each process."""
        if not isinstance(self.explainer, str):
            return self.explainer
        return _loaded(self.explainer, os.stat(self.explainer).st_mtime_ns, self.trusted)

    @property
    def meta(self) -> pd.DataFrame:
        """Empty data frame with the columns and types of the answers."""
        return self.conform(self._example()[:0])

    @property
    def arrow_schema(self) -> Any:
        """Columns and types as a schema of pyarrow.

        ``pyspark.sql.pandas.types.from_arrow_schema`` turns it into one of Spark.
        """
        schema = import_module("pyarrow").Schema
        return schema.from_pandas(self.conform(self._example()), preserve_index=False)

    def conform(self, answers: pd.DataFrame) -> pd.DataFrame:
        """Return answers in the types of `meta`, such as after a way through Arrow.

        Parameters
        ----------
        answers : DataFrame
            The columns of `meta`, in any order.

        Returns
        -------
        DataFrame
        """
        import pandas as pd

        types = self._types()
        columns: dict[Any, Any] = {}
        for name, kind in types.items():
            column = answers[name]
            if kind == np.dtype(object):
                values = column.astype(object)
                column = values.where(values.notna(), None)
            elif column.dtype != kind:
                column = column.astype(kind)
            columns[name] = column
        return pd.DataFrame(columns, index=answers.index)

    def _types(self) -> dict[Any, Any]:
        """Type of every column of the answers."""
        import pandas as pd

        inner = getattr(self._explainer, "explainer_", self._explainer)
        label = np.asarray(inner.classes_).dtype if hasattr(inner, "classes_") else None
        own: dict[str, Any] = dict.fromkeys((*NUMBERS, "gap"), np.dtype(np.float64))
        own |= {"success": np.dtype(bool), "outside_rules": np.dtype(bool)}
        own |= {"option": np.dtype(np.int64), **dict.fromkeys(_TEXTS, np.dtype(object))}
        for name in _LABELS:
            own[name] = _nullable(label) if label is not None else np.dtype(np.float64)
        if label is None:
            own["target"] = np.dtype(object)
        features = {name: _nullable(kind) for name, kind in self._like.dtypes.items()}
        kept = {name: pd.api.types.pandas_dtype(kind) for name, kind in self.keep.items()}
        return kept | features | {_free(name, features): own[name] for name in COLUMNS}

    def _example(self) -> pd.DataFrame:
        """One row of answers, from which types are read."""
        features = self._like.bfill().iloc[:1].reset_index(drop=True)
        types = self._types()
        others = [name for name in types if name not in features.columns]
        texts = [types[name] == np.dtype(object) or str(types[name]) == "str" for name in others]
        for name, text in zip(others, texts, strict=True):
            features[name] = [""] if text else [0]
        return features

    def _as_trained(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows whose categories came as plain values, as categories again."""
        import pandas as pd

        changed = rows.copy()
        for name, kind in self._like.dtypes.items():
            given = rows[name]
            if not isinstance(kind, pd.CategoricalDtype) or given.dtype == kind:
                continue
            if not isinstance(given.dtype, pd.CategoricalDtype):
                unseen = [v for v in given.dropna().unique() if v not in kind.categories]
                levels = [*kind.categories, *unseen]  # an unseen level stays what it is
                changed[name] = pd.Categorical(given, categories=levels, ordered=kind.ordered)
        return changed


@lru_cache(maxsize=4)
def _loaded(path: str, changed: int, trusted: tuple[str, ...]) -> Any:
    """Read an explainer; again if the file has changed."""
    return load(path, trusted=trusted)


def _nullable(kind: Any) -> Any:
    """Return the type of a column that may have missing values."""
    import pandas as pd

    if isinstance(kind, pd.CategoricalDtype):
        kind = kind.categories.dtype
    if not isinstance(kind, np.dtype):
        return kind
    if kind.kind in "iu":
        return pd.array(np.zeros(1, dtype=kind), dtype=None).dtype
    if kind.kind == "b":
        return pd.BooleanDtype()
    return np.dtype(object) if kind.kind in "US" else kind


def _free(name: str, taken: Any) -> str:
    """Return a name that is not taken, as `Explanation.to_frame` chooses it."""
    while name in taken:
        name = f"explanation_{name}"
    return name
