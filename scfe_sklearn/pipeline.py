"""RecoursePipeline: preprocessing and explainer in one pipeline that explains raw rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Self

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch, get_tags
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn._utils import Documented
from scfe_sklearn.explainer import CounterfactualExplainer
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.models import is_fitted, warn_if_fitted
from scfe_sklearn.models.fitted import Predicts
from scfe_sklearn.progress import Progress
from scfe_sklearn.rules import Rules

__all__ = ["RecoursePipeline"]


def _of_step(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``fit`` of the only step, without its name; refuse others."""
    own = {key.removeprefix(f"{name}__"): value for key, value in params.items()}
    for key in params:
        if key in own:
            raise ValueError(
                f"RecoursePipeline.fit does not accept the {key} parameter. Pass it to a step by "
                f"its name: {name}__{key}."
            )
    return own


class RecoursePipeline(Documented, Predicts, Pipeline):
    """A Pipeline whose last step is a `CounterfactualExplainer`, with `explain` for raw rows.

    The steps before the explainer and the explainer's own model are trained as one pipeline,
    and that is what is explained: rules, distances, numbers of changes and answers are in the
    columns and units of the raw rows, whatever the steps make of them. A one-hot encoded
    category is one feature, and a step needs no ``inverse_transform``.

    Parameters
    ----------
    steps : list of (name, estimator)
        Transformers, then a `CounterfactualExplainer`; its ``estimator`` is trained on what
        the transformers return, and its rules name raw columns.
    transform_input : list of str, default=None
        See `sklearn.pipeline.Pipeline`.
    memory : str or joblib.Memory, default=None
        Caches the fitted transformers, see `sklearn.pipeline.Pipeline`.
    verbose : bool, default=False
        Whether the time of every step is printed.

    Attributes
    ----------
    explainer_ : CounterfactualExplainer
        The explainer around the fitted pipeline of the steps and the model; it takes raw rows.
    steps_ : list of (name, estimator)
        The fitted steps; `steps` stay as they are. Positions and names of the pipeline, as in
        ``pipeline[-1]``, lead to these.
    classes_ : ndarray of shape (C,)
        Class labels.

    See Also
    --------
    CounterfactualTransformer : For answers in the columns that the steps before it return.

    Examples
    --------
    >>> from sklearn.compose import make_column_selector, make_column_transformer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> from scfe_sklearn.datasets import make_loan_applications
    >>> X, y = make_loan_applications(400, random_state=0)
    >>> columns = make_column_transformer(
    ...     (StandardScaler(), make_column_selector(dtype_include="number")),
    ...     (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
    ... )
    >>> explainer = CounterfactualExplainer(LogisticRegression(), immutable=["sex"])
    >>> pipeline = RecoursePipeline([("columns", columns), ("explain", explainer)]).fit(X, y)
    >>> refused = X[pipeline.predict(X) == "refused"][:3]
    >>> result = pipeline.explain(refused, target="approved")
    >>> list(result.counterfactuals.columns) == list(X.columns)
    True
    """

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` was called."""
        return hasattr(self, "explainer_")

    def __sklearn_tags__(self) -> Any:
        """Return the tags of the explainer's kind: classifier, regressor or neither."""
        tags = super().__sklearn_tags__()
        if self.steps:
            inner = get_tags(self.steps[-1][1])
            tags.estimator_type, tags.target_tags = inner.estimator_type, inner.target_tags
            tags.classifier_tags, tags.regressor_tags = inner.classifier_tags, inner.regressor_tags
            tags.transformer_tags = None
        return tags

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Train the steps and the model as one pipeline, and the explainer around it.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Training rows.
        y : array-like of shape (n,)
            Their labels.
        **params : dict
            Passed to the ``fit`` of the steps, as by `sklearn.pipeline.Pipeline`.

        Returns
        -------
        RecoursePipeline
            Self.

        Raises
        ------
        ValueError
            If the last step is no `CounterfactualExplainer`, or its model is not an estimator.
        """
        name, explainer = self._explainer_step()
        model = explainer.estimator
        if is_fitted(model):
            warn_if_fitted(model, stacklevel=2)
            model = clone(model)
        fitted: list[tuple[str, Any]] = []
        if len(self.steps) > 1 and y is not None:  # else the explainer raises
            whole = Pipeline(
                [*self.steps[:-1], (name, model)],
                transform_input=self.transform_input,
                memory=self.memory,
                verbose=self.verbose,
            )
            whole = clone(whole).fit(X, y, **params)
            fitted, model = whole.steps[:-1], FrozenEstimator(whole)
            params = {}
        own = _of_step(name, params)
        self.explainer_ = clone(explainer).set_params(estimator=model).fit(X, y, **own)
        self.steps_ = [*fitted, (name, self.explainer_)]
        return self

    def explain(
        self,
        X: Any,
        target: Any = None,
        *,
        rules: Rules | None = None,
        n_counterfactuals: int = 1,
        best_effort: bool = False,
        callback: Callable[[Progress], Any] | None = None,
        time_limit: float | None = None,
        progress: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        n_jobs: int | None = None,
    ) -> Explanation:
        """Find a counterfactual for every raw row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Rows to explain, with the columns of the training rows.
        target, rules, n_counterfactuals, best_effort, callback, time_limit, progress
            As for `CounterfactualExplainer.explain`.
        checkpoint, n_jobs
            As there.

        Returns
        -------
        Explanation
            In the columns and units of X.
        """
        check_is_fitted(self)
        return self.explainer_.explain(
            X,
            target,
            rules=rules,
            n_counterfactuals=n_counterfactuals,
            best_effort=best_effort,
            callback=callback,
            time_limit=time_limit,
            progress=progress,
            checkpoint=checkpoint,
            n_jobs=n_jobs,
        )

    def score(self, X: Any, y: Any = None) -> float:
        """Quality of the counterfactuals of raw rows, as by `CounterfactualExplainer.score`.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        return self.explainer_.score(X, y)

    def _any_model(self) -> Any:
        """Return the model of the last step, trained or not."""
        return getattr(self.steps[-1][1], "estimator", None)

    def _fitted_model(self) -> Any:
        """Return the pipeline of the steps and the model; raise if `fit` was not called."""
        check_is_fitted(self)
        return self.explainer_.estimator_

    @property
    def classes_(self) -> Any:
        """Class labels."""
        return self.explainer_.classes_

    @property
    def n_features_in_(self) -> int:
        """Number of raw columns."""
        return int(self.explainer_.n_features_in_)

    @property
    def feature_names_in_(self) -> Any:
        """Names of the raw columns."""
        return self.explainer_.feature_names_in_

    def __getitem__(self, ind: Any) -> Any:
        """Return a step; of several steps an ordinary Pipeline, which knows how to transform."""
        steps = self._steps()
        if isinstance(ind, slice):
            return Pipeline(steps[ind], memory=self.memory, verbose=self.verbose)
        return dict(steps)[ind] if isinstance(ind, str) else steps[ind][1]

    @property
    def named_steps(self) -> Bunch:
        """The steps by name, fitted once `fit` was called."""
        return Bunch(**dict(self._steps()))

    def _steps(self) -> list[tuple[str, Any]]:
        """Return the fitted steps, or the given ones before `fit`."""
        return list(self.steps_ if hasattr(self, "steps_") else self.steps)

    def _explainer_step(self) -> tuple[str, CounterfactualExplainer]:
        """Return the last step; refuse what is no explainer around an estimator."""
        name, explainer = self.steps[-1]
        if not isinstance(explainer, CounterfactualExplainer):
            raise ValueError(
                "The 'steps' parameter of RecoursePipeline must end with a "
                f"CounterfactualExplainer. Got {explainer!r} instead."
            )
        if len(self.steps) > 1 and not hasattr(explainer.estimator, "fit"):
            raise ValueError(
                "The 'steps' parameter of RecoursePipeline must end with an explainer of an "
                f"estimator, or of a frozen one. Got one of {explainer.estimator!r} instead."
            )
        return name, explainer
