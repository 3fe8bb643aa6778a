"""Predictions of the model that an explainer explains, under the explainer's own name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import nn

__all__ = ["Predicts", "take_kind"]


def _has(method: str) -> Callable[[Any], bool]:
    """Return whether the model of an explainer, trained or not, has a method."""
    return lambda explainer: hasattr(explainer._any_model(), method)


class Predicts:
    """The prediction methods that the model has, and the tags of its kind.

    With them an explainer of a classifier is a classifier to scikit-learn: `cross_validate` and
    the searches keep the classes in every fold.
    """

    estimator: Any
    estimator_: Any

    def _any_model(self) -> Any:
        """Return the model, trained or not."""
        return getattr(self, "estimator_", None) or self.estimator

    def _fitted_model(self) -> Any:
        """Return the trained model; raise if `fit` was not called."""
        check_is_fitted(self, "solver_")
        return self.estimator_

    @available_if(_has("predict"))
    def predict(self, X: Any) -> Any:
        """Labels or values that the model gives rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,)
        """
        return self._fitted_model().predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Probabilities that the model gives rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n, C)
        """
        return self._fitted_model().predict_proba(X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """Decisions of the model about rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,) or (n, C)
        """
        return self._fitted_model().decision_function(X)


def take_kind(tags: Tags, model: Any) -> None:
    """Write into tags what `fit` takes of a model, and whether it is a classifier or regressor."""
    if isinstance(model, nn.Module):
        from sklearn.utils import ClassifierTags

        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
    with contextlib.suppress(AttributeError, TypeError):  # a model of another world has none
        inner = get_tags(model)
        tags.input_tags = replace(inner.input_tags, sparse=False)
        if inner.estimator_type in ("classifier", "regressor"):
            tags.estimator_type = inner.estimator_type
            tags.regressor_tags = inner.regressor_tags
            tags.classifier_tags = inner.classifier_tags and replace(
                inner.classifier_tags, multi_label=False
            )
