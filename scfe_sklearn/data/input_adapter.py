"""The user's columns as a search sees them: blocks as one column, derived columns left out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Self

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from scfe_sklearn.data.blocks import BlockExpander
from scfe_sklearn.data.derived import Derived
from scfe_sklearn.data.frames import open_table


class ExplainerDerived(Derived):
    """The derived columns of an explainer, whose parameter messages name."""

    _named = ("derived", "CounterfactualExplainer")


class InputAdapter:
    """Between the rows of the user and the rows of a search.

    Parameters
    ----------
    blocks : dict or None
        One-hot blocks of the user, as for `BlockExpander`.
    derived : dict or None
        ``{column: function of a data frame}``: columns that follow from the others.
    """

    def __init__(
        self,
        blocks: Mapping[Hashable, Any] | None = None,
        derived: Mapping[Hashable, Callable[[Any], Any]] | None = None,
    ) -> None:
        self.blocks = blocks
        self.derived = derived

    @property
    def plain(self) -> bool:
        """Whether both kinds of rows are the same."""
        return not self.blocks and not self.derived

    def fit(self, X: Any) -> Self:
        """Learn the layout of the training rows.

        Raises
        ------
        ValueError
            If a block or function does not fit the columns, training rows do not hold what a
            function gives, or functions depend on their own columns.
        """
        if self.plain:
            return self
        if not hasattr(X, "iloc"):
            raise ValueError(
                "The 'blocks' and 'derived' parameters of CounterfactualExplainer need X as a "
                f"pandas data frame. Got {type(X).__name__} instead."
            )
        self.names_ = list(X.columns)
        self.expander_ = BlockExpander(self.blocks).fit(X) if self.blocks else None
        self.derived_ = ExplainerDerived(self.derived) if self.derived else None
        if self.derived_ is not None:
            self.derived_.arrange(X)
            self.example_ = X[list(self.derived_.names)].iloc[:1]
        return self

    def block_problems(self, X: Any, seen: Any) -> np.ndarray | None:
        """Return for each row (n,) None or what is wrong with its blocks; None if nothing is."""
        if self.plain or self.expander_ is None:
            return None
        blocks = [block.name for block in self.expander_.blocks_]
        if not seen[blocks].isna().to_numpy().any():
            return None
        return self.expander_.input_problems(X)

    def to_search(self, X: Any) -> Any:
        """Rows as a search sees them."""
        if self.plain:
            return X
        if self.derived_ is not None:
            open_table(X)
            missing = [name for name in self.names_ if name not in X.columns]
            if missing:
                raise ValueError(
                    "X must have the columns that CounterfactualExplainer was fitted on. "
                    f"Got missing columns {missing}."
                )
        if self.expander_ is not None:
            X = self.expander_.collapse(X)
        if self.derived_ is not None:
            X = X.drop(columns=list(self.derived_.names))
        return X

    def stale(self, X: Any) -> np.ndarray | None:
        """Why rows of the user are none, (n,): a derived column holds another value; or None."""
        if self.plain or self.derived_ is None:
            return None
        return _stale(self.derived_, X[self.names_])

    def to_user(self, X: Any) -> Any:
        """Rows as the user has them, of rows that a search has seen."""
        if self.plain:
            return X
        if self.derived_ is not None:
            # Stand-ins: every one of them is computed from the others.
            X = X.copy()
            for name in self.derived_.names:
                X[name] = self.example_[name].repeat(len(X)).set_axis(X.index)
        if self.expander_ is not None:
            X = self.expander_.transform(X)
        if self.derived_ is not None:
            X = self.derived_.recompute(X[self.names_])
        return X

    def wrap_model(self, model: Any) -> Any:
        """Return a model of the user's rows as a model of the rows that a search sees."""
        if self.plain:
            return model
        if self.derived_ is None and hasattr(model, "fit"):
            # A pipeline, of which the gradient is known where that of the model is.
            return Pipeline(
                [("blocks", FrozenEstimator(self.expander_)), ("model", FrozenEstimator(model))]
            )
        return AdaptedModel(model, self)


class AdaptedModel:
    """A model of the user's rows that predicts rows in the columns of the search."""

    def __init__(self, model: Any, adapter: InputAdapter) -> None:
        self.model = model
        self.adapter = adapter
        if hasattr(model, "classes_"):
            self.classes_ = np.asarray(model.classes_)

    def __getattr__(self, name: str) -> Any:
        if name not in ("predict", "predict_proba", "decision_function"):
            raise AttributeError(name)
        method = getattr(self.model, name)
        return lambda X: method(self.adapter.to_user(X))


def _stale(derived: Derived, X: Any) -> np.ndarray:
    """Why rows hold other values than functions give, or that a function cannot read them."""
    try:
        return derived.stale(X)
    except Exception as error:  # of the user's function; halves find the row in a few steps
        if len(X) == 1:
            return np.array([f"a function in 'derived' fails here: {error}"], dtype=object)
        half = len(X) // 2
        return np.concatenate([_stale(derived, X.iloc[:half]), _stale(derived, X.iloc[half:])])
