"""Raw columns that a fitted estimator reads as categories."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.naive_bayes import CategoricalNB
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, TargetEncoder

from scfe_sklearn.data import BlockExpander
from scfe_sklearn.models.compiled import branches, unwrap

# For every column between two steps: the raw column that it still is, or None.
Lineage = list[int | None]


def categorical_columns(estimator: Any, names: Sequence[Hashable]) -> list[Hashable]:
    """Raw columns that some encoder inside a fitted estimator reads as categories.

    One-hot, ordinal and target encoders are found in nested pipelines, column transformers,
    unions and meta-estimators, also in front of models that have no torch version; the
    categorical features of histogram gradient boosting and of CategoricalNB count as well.

    Parameters
    ----------
    estimator : fitted estimator
        Most often a Pipeline.
    names : sequence
        The raw columns: labels of the data frame, or ``range(d)`` for an array.

    Returns
    -------
    list
        Some of `names`, in their order.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> model = make_pipeline(OneHotEncoder(), LogisticRegression())
    >>> categorical_columns(model.fit(np.array([[0], [1], [2], [1]]), [0, 1, 1, 0]), ["job"])
    ['job']
    """
    found: set[int] = set()
    _trace(estimator, list(range(len(names))), list(names), found)
    return [name for k, name in enumerate(names) if k in found]


def _trace(
    estimator: Any, lineage: Lineage | None, names: list[Hashable] | None, found: set[int]
) -> Lineage | None:
    """Collect what `estimator` reads as categories; return the lineage of its output."""
    estimator = unwrap(estimator)
    if estimator is None or isinstance(estimator, str):
        return lineage
    if lineage is None:
        return None
    lineage = _by_name(estimator, lineage, names)
    if isinstance(estimator, Pipeline):
        out: Lineage | None = lineage
        for _, step in estimator.steps:
            out = _trace(step, out, None, found)
        return out
    if isinstance(estimator, ColumnTransformer):
        return _trace_columns(estimator, lineage, found)
    if isinstance(estimator, FeatureUnion):
        parts = [_trace(part.step, lineage, None, found) for part in branches(estimator)]
        known = [part for part in parts if part is not None]
        return [k for part in known for k in part] if len(known) == len(parts) else None
    _read_categories(estimator, lineage, found)
    _trace_members(estimator, lineage, found)
    return _output_lineage(estimator, lineage)


def _by_name(estimator: Any, lineage: Lineage, names: list[Hashable] | None) -> Lineage:
    expected = getattr(estimator, "feature_names_in_", None)
    if names is None or expected is None or not set(expected) <= set(names):
        return lineage
    return [names.index(name) for name in expected]


def _trace_columns(estimator: Any, lineage: Lineage, found: set[int]) -> Lineage:
    out: Lineage = []
    for given in branches(estimator):
        assert given.columns is not None
        part = _trace(given.step, [lineage[k] for k in given.columns], None, found)
        span = estimator.output_indices_.get(given.name, slice(0, 0))
        width = span.stop - span.start
        out += part if part is not None and len(part) == width else [None] * width
    return out


def _read_categories(estimator: Any, lineage: Lineage, found: set[int]) -> None:
    if isinstance(estimator, (OneHotEncoder, OrdinalEncoder, TargetEncoder, CategoricalNB)):
        found.update(k for k in lineage if k is not None)
    mask = getattr(estimator, "is_categorical_", None)  # histogram gradient boosting
    if mask is not None and len(mask) == len(lineage):
        found.update(k for k, flag in zip(lineage, mask, strict=True) if flag and k is not None)


def _trace_members(estimator: Any, lineage: Lineage, found: set[int]) -> None:
    """Look into the members of calibrated, voting, stacking, bagging and one-vs-rest models."""
    members = [c.estimator for c in getattr(estimator, "calibrated_classifiers_", ())]
    members += list(np.ravel(np.asarray(getattr(estimator, "estimators_", ()), dtype=object)))
    if hasattr(estimator, "estimator_"):
        members.append(estimator.estimator_)
    subsets = getattr(estimator, "estimators_features_", [range(len(lineage))] * len(members))
    for member, subset in zip(members, subsets, strict=False):
        if hasattr(member, "fit"):
            _trace(member, [lineage[int(k)] for k in subset], None, found)


def _output_lineage(estimator: Any, lineage: Lineage) -> Lineage | None:
    if isinstance(estimator, BlockExpander):
        return [lineage[k] for k, _, _ in estimator.column_sources()]
    if isinstance(estimator, SelectorMixin):
        support = estimator.get_support()
        return [k for k, keep in zip(lineage, support, strict=True) if keep]
    try:
        width = len(estimator.get_feature_names_out())
    except (AttributeError, ValueError, TypeError):
        width = len(lineage) if isinstance(estimator, FunctionTransformer) else -1
    keeps = isinstance(estimator, (SimpleImputer, OrdinalEncoder)) or (
        isinstance(estimator, FunctionTransformer) and estimator.func is None
    )
    if keeps and width == len(lineage):
        return lineage
    return [None] * width if width >= 0 else None
