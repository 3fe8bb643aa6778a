"""Check for fitted estimators, of which another fit would replace what was learned."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted


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
