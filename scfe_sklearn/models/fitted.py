"""Fitted models: checks before another fit, comparison with a torch version, passed-on methods."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from scfe_sklearn.models.compiled import AdapterMismatchError, ScoreModel, unwrap
from scfe_sklearn.models.predictions import handed


def is_fitted(estimator: Any) -> bool:
    """Return whether an estimator is fitted and would lose that by another ``fit``.

    A frozen estimator keeps what it has learned, and an object without ``fit`` is not trained;
    so both give False. A pipeline is as fitted as its last step that is neither frozen nor
    stateless.

    Parameters
    ----------
    estimator : object
        An estimator or any other model.

    Returns
    -------
    bool

    Examples
    --------
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> tree = DecisionTreeClassifier()
    >>> is_fitted(tree), is_fitted(tree.fit([[0], [1]], [0, 1])), is_fitted(FrozenEstimator(tree))
    (False, True, False)
    """
    if not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        return False
    if isinstance(estimator, FrozenEstimator):
        return False
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if _learns(step)]
        return bool(steps) and is_fitted(steps[-1])
    if isinstance(estimator, FixedThresholdClassifier) and is_fitted(estimator.estimator):
        return True  # it predicts without a fit of its own
    try:
        if not get_tags(estimator).requires_fit:
            return False
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    except (AttributeError, TypeError):  # has the methods, but is no estimator of scikit-learn
        return any(
            name.endswith("_") and not name.startswith("_")
            for name in getattr(estimator, "__dict__", ())
        )
    return True


def warn_if_fitted(estimator: Any, stacklevel: int) -> None:
    """Warn if an estimator that is about to be trained is fitted already.

    Parameters
    ----------
    estimator : object
        The model that was given.
    stacklevel : int
        Frames between this function and the code of the user, itself included.
    """
    if is_fitted(estimator):
        name = type(estimator).__name__
        warnings.warn(
            f"The 'estimator' parameter of CounterfactualExplainer is a fitted {name}, but fit "
            "trains a clone of it, so that another model is explained. To explain it as it is, "
            "wrap it: CounterfactualExplainer(FrozenEstimator(model)), from sklearn.frozen. To "
            "have it trained, give it unfitted, as sklearn.base.clone(model).",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def _learns(step: Any) -> bool:
    """Return whether a step of a pipeline is changed by its ``fit``."""
    if step is None or isinstance(step, (str, FrozenEstimator)):
        return False
    if isinstance(step, Pipeline):
        return any(_learns(inner) for _, inner in step.steps)
    try:
        return bool(get_tags(step).requires_fit)
    except (AttributeError, TypeError):
        return True


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


# --------------------------------------------------------------- comparison with a torch version


_SINGLE_PRECISION_TOLERANCE = 1e-3


def verify(
    model: ScoreModel, estimator: Any, X_raw: Any, u: Tensor | np.ndarray, tol: float = 1e-6
) -> None:
    """Compare a torch version with its estimator on rows.

    Probabilities may differ by `tol`, decisions by ``tol * (1 + |decision|)``, and the largest
    score must be the predicted class wherever it leads by more than that. Where a part of the
    model computes in float32, `tol` is at least 1e-3: the inputs alone are rounded to seven
    digits.

    Parameters
    ----------
    model : ScoreModel
        From `as_torch`.
    estimator : fitted classifier or Pipeline
        What it stands for.
    X_raw : DataFrame or array of shape (n, d)
        Rows as the estimator reads them.
    u : Tensor or ndarray of shape (n, U)
        The same rows in column space.
    tol : float, default=1e-6
        Largest difference.

    Raises
    ------
    AdapterMismatchError
        They differ, or the torch version returns NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from scfe_sklearn.data import Column
    >>> from scfe_sklearn.models import as_torch
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]
    >>> estimator = GaussianNB().fit(X, y)
    >>> verify(as_torch(estimator, [Column(0, None)]), estimator, X, X)
    """
    name = type(unwrap(estimator)).__name__
    tol = max(tol, _SINGLE_PRECISION_TOLERANCE) if model.single_precision else tol
    rows = _as_rows(model, u)
    with torch.no_grad():
        got = model.response(rows).double().cpu().numpy()
        scores = model.scores(rows).double().cpu().numpy()
    expected = np.asarray(getattr(estimator, model.response_method)(handed(X_raw)), dtype=float)
    if got.shape != expected.shape:
        raise AdapterMismatchError(
            f"The torch version of {name} returns an array of shape {got.shape}, "
            f"its {model.response_method} one of shape {expected.shape}."
        )
    bad = np.isnan(got).reshape(len(got), -1).any(axis=1) | np.isnan(scores).any(axis=1)
    if bad.any():
        raise AdapterMismatchError(
            f"The torch version of {name} returns NaN for {int(bad.sum())} of {len(bad)} rows; "
            f"the first is row {int(np.argmax(bad))}."
        )
    allowed = tol if model.response_method == "predict_proba" else tol * (1 + np.abs(expected))
    gap = np.abs(got - expected)
    if not np.all(gap <= allowed):  # a NaN of the estimator is a mismatch as well
        raise AdapterMismatchError(
            f"The torch version of {name} differs from its {model.response_method} by up to "
            f"{np.max(gap):.3g} on {len(got)} rows (tolerance {tol:.3g})."
        )
    if not model.surrogate:
        _compare_predictions(scores, estimator, X_raw, name, tol)


def _compare_predictions(
    scores: np.ndarray, estimator: Any, X_raw: Any, name: str, tol: float
) -> None:
    """Refuse another predicted class where the scores are clear about it."""
    classes = np.asarray(estimator.classes_)
    predicted = np.asarray(estimator.predict(handed(X_raw)))
    codes = np.argmax(predicted[:, None] == classes[None, :], axis=1)
    best = scores.max(axis=1)
    lead = best - np.take_along_axis(scores, codes[:, None], axis=1)[:, 0]
    wrong = lead > tol * (1 + np.abs(best))
    if wrong.any():
        raise AdapterMismatchError(
            f"The torch version of {name} prefers another class than its predict for "
            f"{int(wrong.sum())} of {len(wrong)} rows; the first is row {int(np.argmax(wrong))}."
        )


def _as_rows(model: ScoreModel, u: Tensor | np.ndarray) -> Tensor:
    constant = next(iter(model.buffers()), torch.empty(0))
    return torch.as_tensor(u, dtype=model.dtype, device=constant.device)
