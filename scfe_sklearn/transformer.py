"""CounterfactualTransformer: an explainer as a step of a pipeline that changes rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn._utils import Documented, HasMethods, KeepsLists, fit_context
from scfe_sklearn.data import as_table
from scfe_sklearn.explanation.containers import columns_in_order, is_polars, take_rows
from scfe_sklearn.models import warn_if_fitted
from scfe_sklearn.status import Status

__all__ = ["CounterfactualTransformer"]


class CounterfactualTransformer(
    KeepsLists,
    Documented,
    OneToOneFeatureMixin,
    TransformerMixin,
    MetaEstimatorMixin,
    BaseEstimator,
):
    """Turn rows into their counterfactuals, in the same columns.

    A thin wrapper around `CounterfactualExplainer`, for places where scikit-learn needs a
    `transform`: the last step of a Pipeline, or a part of a FeatureUnion. The explainer
    itself returns reasons, statuses and several answers.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Cloned and fitted by `fit`.
    target : default=None
        The wanted class, as for `CounterfactualExplainer.explain`; None for the nearest other
        class.

    Attributes
    ----------
    explainer_ : CounterfactualExplainer
        The fitted explainer.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (d,)
        Column names, where X had names.

    See Also
    --------
    RecoursePipeline : Preprocessing and explainer in one, for raw rows.

    Notes
    -----
    A row that has the target already stays as it is; a row without an answer has missing
    values in every column.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explainer = CounterfactualExplainer(LogisticRegression(), max_changes=2)
    >>> pipeline = make_pipeline(
    ...     StandardScaler().set_output(transform="pandas"),
    ...     CounterfactualTransformer(explainer, target=1),
    ... ).fit(X, y)
    >>> answers = pipeline.transform(X[:2])
    >>> pipeline[-1].explainer_.estimator_.predict(answers)
    array([1, 1])
    """

    _parameter_constraints: dict[str, Any] = {
        "explainer": [HasMethods(["fit", "explain"])],
        "target": "no_validation",
    }

    def __init__(self, explainer: Any, target: Any = None) -> None:
        self.explainer = explainer
        self.target = target

    def __sklearn_tags__(self) -> Any:
        """Return the tags of the explainer; values keep their types."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.explainer)
        tags.input_tags = inner.input_tags
        tags.target_tags = inner.target_tags
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the explainer.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Training rows.
        y : array-like of shape (n,)
            Their labels.

        Returns
        -------
        CounterfactualTransformer
            Self.
        """
        warn_if_fitted(getattr(self.explainer, "estimator", None), stacklevel=3)
        self.explainer_ = clone(self.explainer).fit(X, y)
        self.n_features_in_ = self.explainer_.n_features_in_
        if hasattr(self.explainer_, "feature_names_in_"):
            self.feature_names_in_ = self.explainer_.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def transform(self, X: Any) -> Any:
        """Find the counterfactual of every row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Rows.

        Returns
        -------
        DataFrame or ndarray of shape (n, d)
            In the container of X, unless `set_output` chooses another one. The columns of a data
            frame are in the order of training, as in `get_feature_names_out`.

        Raises
        ------
        ValueError
            If the model cannot read a row.

        Warns
        -----
        UserWarning
            If rows remain without an answer.
        """
        check_is_fitted(self, "explainer_")
        X = as_table(X)
        # By name, in the order of training: `set_output` names the columns by their position.
        X = columns_in_order(X, self._columns())
        result = self.explainer_.explain(X, self.target)
        unread = np.flatnonzero(result.status == Status.INVALID_INPUT)
        if len(unread):
            raise ValueError(
                "X must hold no NaN, inf or unknown category where the model cannot read it. "
                f"Got {result.reason[unread[0]]} in row {unread[0]}."
            )
        return _filled(result.counterfactuals, X, result.status == Status.ALREADY_TARGET)

    def _columns(self) -> Sequence[Any]:
        """Labels of the training columns; none where they are known by position."""
        inner = getattr(self.explainer_, "explainer_", self.explainer_)
        if hasattr(self, "feature_names_in_") or not hasattr(inner, "space_"):
            return tuple(getattr(self, "feature_names_in_", ()))
        space, inputs = inner.space_, inner.inputs_
        return (space.names_ if inputs.plain else inputs.names_) if space.labelled_ else ()


def _filled(answers: Any, X: Any, keep: np.ndarray) -> Any:
    """Rows of ``X`` where ``keep`` is true, and of ``answers`` elsewhere."""
    if not keep.any():
        return answers
    if keep.all():
        return X
    order = np.argsort(np.concatenate([np.flatnonzero(keep), np.flatnonzero(~keep)]))
    kept, new = (
        take_rows(part, np.flatnonzero(rows)) for part, rows in ((X, keep), (answers, ~keep))
    )
    if is_polars(answers):
        import polars as pl

        both = pl.concat([kept, new], how="vertical_relaxed")
    elif hasattr(answers, "iloc"):
        import pandas as pd

        both = pd.concat([kept, new])
    else:
        both = np.concatenate([kept, new])
    return take_rows(both, order)
