"""Accuracy within groups: labels by the values of an irrelevant attribute."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.utils import check_consistent_length, column_or_1d


def group_report(y_true: Any, y_pred: Any, *, groups: Any) -> pd.DataFrame:
    """Accuracy of every group: a label with a value of an attribute.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels, and what a model predicts.
    groups : array-like of shape (n,)
        Values of an attribute, such as the background. Values that stand for label and attribute
        together give the same groups.

    Returns
    -------
    DataFrame
        One row per group that has members, with ``label``, ``group``, ``n`` and ``accuracy``, the
        worst first.

    Examples
    --------
    >>> group_report([0, 0, 1, 1], [0, 0, 1, 0], groups=["land", "land", "sea", "land"])
       label group  n  accuracy
    0      1  land  1       0.0
    1      0  land  2       1.0
    2      1   sea  1       1.0
    """
    columns = [column_or_1d(values) for values in (y_true, y_pred, groups)]
    check_consistent_length(*columns)
    truth, predicted, attribute = columns
    if len(truth) == 0:
        raise ValueError("y_true must have at least one label. Got none.")
    table = pd.DataFrame({"label": truth, "group": attribute, "hit": truth == predicted})
    hits = table.groupby(["label", "group"], sort=True, dropna=False)["hit"]
    report = hits.agg(n="size", accuracy="mean").reset_index()
    return report.sort_values("accuracy", kind="stable", ignore_index=True)


def worst_group_score(y_true: Any, y_pred: Any, *, groups: Any) -> float:
    r"""Accuracy of the worst group: a label with a value of an attribute.

    .. math:: \min_{g} \; \frac{1}{|g|} \sum_{i \in g} [\hat y_i = y_i]

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels, and what a model predicts.
    groups : array-like of shape (n,)
        Values of an attribute, such as the background. Values that stand for label and attribute
        together give the same groups. Groups without members do not count.

    Returns
    -------
    float

    See Also
    --------
    group_report : The accuracy of each group.

    Examples
    --------
    >>> worst_group_score([0, 0, 1, 1], [0, 0, 1, 0], groups=["land", "land", "sea", "sea"])
    0.5

    In searches and cross-validation, with scikit-learn's routing of metadata:

    >>> import numpy as np
    >>> from sklearn import config_context
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.metrics import make_scorer
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = load_wine(return_X_y=True)
    >>> with config_context(enable_metadata_routing=True):
    ...     scorer = make_scorer(worst_group_score).set_score_request(groups=True)
    ...     scores = cross_val_score(
    ...         RidgeClassifier(), X, y, scoring=scorer, cv=3, params={"groups": X[:, 0] > 13}
    ...     )
    >>> scores.shape, bool((scores <= 1).all())
    ((3,), True)
    """
    return float(group_report(y_true, y_pred, groups=groups)["accuracy"].iloc[0])
