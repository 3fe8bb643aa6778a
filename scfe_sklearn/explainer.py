"""CounterfactualExplainer: fit a model and its surroundings, explain rows, score."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn.answering import answer, ask, report
from scfe_sklearn.densities import ClassConditionalDensity, Density
from scfe_sklearn.engine import Engine, thorough
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.features import FeatureSpace, Rules
from scfe_sklearn.features.frames import Table, open_table
from scfe_sklearn.judge import Judge
from scfe_sklearn.models import TorchClassifier, as_torch, categorical_columns, verify
from scfe_sklearn.presentation.containers import take_rows
from scfe_sklearn.solvers.recourse import Effort
from scfe_sklearn.validation import HasMethods, Integral, Interval, Real, StrOptions, fit_context

VERIFIED_ROWS = 256
"""Training rows on which the differentiable model is compared with the estimator."""


class CounterfactualExplainer(MetaEstimatorMixin, BaseEstimator):
    r"""Sparse, plausible and actionable counterfactuals of a classifier, for many rows at once.

    For a row x with coordinates z_0, and every class t that would answer it, S-CFE [1]_ solves

    .. math::
        \min_{z \in A(x)} \; \|z - z_0\|^2 + \beta \, \#\{\text{changed features}\}
        - \tau \, \frac{\log q(z \mid t)}{s_t}
        \quad \text{s.t.} \quad f_t(z) > \max_{j \ne t} f_j(z),
        \;\; \#\{\text{changed features}\} \le m

    where numbers are measured in training standard deviations, a changed category adds 1 to the
    squared distance, A(x) is what the rules allow, q is a density of the training rows of class
    t and s_t the distance between the lower quartile and the median of their log-densities.
    Supports are found by a beam over single moves, then accelerated proximal gradient and a
    pattern search on the lattice refine them. An answer counts only if ``estimator_.predict``
    gives the target for the decoded row and every rule holds.

    Parameters
    ----------
    estimator : classifier, Pipeline or torch.nn.Module
        The model to explain. Wrap a fitted one in ``sklearn.frozen.FrozenEstimator``;
        otherwise a clone of it is trained by `fit`. A torch module is taken as trained.
    density : {"lof", "kde", "gmm", "knn"} or Density, default="lof"
        Density of each class, see `scfe_sklearn.densities`.
    tau : float, default=2.5
        Weight of plausibility: how much squared distance the way from the lower quartile to
        the median of plausibility may cost.
    beta : float, default=4.0
        Price of a changed feature in squared standard deviations.
    max_changes : int or None, default=None
        Budget of changed features; None for no limit.
    immutable, increasing, decreasing : list of columns, default=None
        Columns that never change, or in one direction only.
    ranges : dict, default=None
        ``{column: (low, high)}`` or ``{column: Relative(low, high)}`` for new values.
    transitions : dict, default=None
        ``{column: {level: [levels it may become]}}``.
    categorical, integer, continuous : list of columns, default=None
        Kinds of columns where the dtypes do not say it.
    ordinal : dict or list of columns, default=None
        ``{column: [levels in order]}``.
    steps : dict, default=None
        ``{column: step}``.
    scale : {"std", None}, default="std"
        What a numeric unit of distance is: the training standard deviation of the column, or
        (None) one unit of the data, for columns that are comparable as they are, such as pixels.
    chunk_size : int, default=256
        Rows solved together: bounds the memory, not the answers.

    Attributes
    ----------
    estimator_ : classifier
        The fitted model.
    classes_ : ndarray of shape (C,)
        Class labels.
    space_ : FeatureSpace
        Kinds, scales and coordinates of the columns.
    density_ : ClassConditionalDensity
        Densities of the classes, each fitted on the training rows that have the class and are
        given it by the model (if there are none, that are given it).
    anchors_ : list of ndarray of shape (T, D)
        These rows, per class.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (d,)
        Column names, where X had names.

    References
    ----------
    .. [1] Sadiku, Wagner, Nagarajan, Pokutta. S-CFE: Simple Counterfactual Explanations.
       AISTATS 2025.

    Examples
    --------
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn.datasets import load_wine
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> explainer = CounterfactualExplainer(FrozenEstimator(model), max_changes=2).fit(X, y)
    >>> result = explainer.explain(X[:3], target=1)
    >>> bool(result.success.all()), bool((result.n_changes <= 2).all())
    (True, True)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "estimator": [HasMethods(["fit", "predict"]), torch.nn.Module],
        "density": [StrOptions({"lof", "kde", "gmm", "knn"}), HasMethods(["log_prob"])],
        "tau": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "max_changes": [Interval(Integral, 1, None, closed="left"), None],
        "immutable": ["array-like", None],
        "increasing": ["array-like", None],
        "decreasing": ["array-like", None],
        "ranges": [dict, None],
        "transitions": [dict, None],
        "categorical": ["array-like", None],
        "ordinal": [dict, "array-like", None],
        "integer": ["array-like", None],
        "continuous": ["array-like", None],
        "steps": [dict, None],
        "scale": [StrOptions({"std"}), None],
        "chunk_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        density: str | Density = "lof",
        tau: float = 2.5,
        beta: float = 4.0,
        max_changes: int | None = None,
        immutable: Sequence[Hashable] | None = None,
        increasing: Sequence[Hashable] | None = None,
        decreasing: Sequence[Hashable] | None = None,
        ranges: Mapping[Hashable, Any] | None = None,
        transitions: Mapping[Hashable, Any] | None = None,
        categorical: Sequence[Hashable] | None = None,
        ordinal: Mapping[Hashable, Sequence[Any]] | Sequence[Hashable] | None = None,
        integer: Sequence[Hashable] | None = None,
        continuous: Sequence[Hashable] | None = None,
        steps: Mapping[Hashable, float] | None = None,
        scale: str | None = "std",
        chunk_size: int = 256,
    ) -> None:
        self.estimator = estimator
        self.density = density
        self.tau = tau
        self.beta = beta
        self.max_changes = max_changes
        self.immutable = immutable
        self.increasing = increasing
        self.decreasing = decreasing
        self.ranges = ranges
        self.transitions = transitions
        self.categorical = categorical
        self.ordinal = ordinal
        self.integer = integer
        self.continuous = continuous
        self.steps = steps
        self.scale = scale
        self.chunk_size = chunk_size

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any) -> Self:
        """Train or take over the model, and learn the features and the densities of the classes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Training rows.
        y : array-like of shape (n,)
            Their labels.

        Returns
        -------
        CounterfactualExplainer
            Self.

        Raises
        ------
        ValueError
            If a parameter, rule or column is not as it has to be, or the differentiable model
            does not reproduce the estimator.
        UnsupportedModelError
            If no exact gradient of the model is known.
        """
        X = as_table(X)
        labels = _labels(y, open_table(X))
        self.estimator_ = self._fitted_estimator(X, labels)
        self.classes_ = _classes(self.estimator_, labels)
        self.space_ = FeatureSpace(
            categorical=self.categorical,
            ordinal=self.ordinal,
            integer=self.integer,
            continuous=self.continuous,
            steps=self.steps,
            scale=self.scale,
        )
        names = list(open_table(X).names)
        self.space_.fit(X, categorical_hint=categorical_columns(self.estimator_, names))
        self.n_features_in_ = self.space_.n_features_in_
        if hasattr(self.space_, "feature_names_in_"):
            self.feature_names_in_ = self.space_.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._fit_surroundings(X, labels)
        return self

    def _fitted_estimator(self, X: Any, y: np.ndarray) -> Any:
        """Return a trained model: the user's if it is frozen, else a clone trained here."""
        present = np.unique(y)
        if len(present) < 2 and not isinstance(self.estimator, FrozenEstimator):
            raise ValueError(f"y must hold at least two classes. Got only {present.tolist()}.")
        if isinstance(self.estimator, torch.nn.Module):
            return TorchClassifier(self.estimator).fit(X, y)
        return clone(self.estimator).fit(X, y)

    def _fit_surroundings(self, X: Any, y: np.ndarray) -> None:
        """Check model and rules on the training rows, then fit the densities on them."""
        Z = self.space_.encode(X)
        whole = np.isfinite(Z).all(axis=1)
        if not whole.any():
            raise ValueError(
                "X must have at least one row without missing or infinite values. Got none."
            )
        rows = np.flatnonzero(whole)
        checked = rows[np.linspace(0, len(rows) - 1, min(VERIFIED_ROWS, len(rows))).astype(int)]
        model = as_torch(self.estimator_, self.space_.columns_)
        columns = self.space_.to_columns(torch.from_numpy(Z[checked]))
        verify(model, self.estimator_, take_rows(X, checked), columns)
        self._rules().bind(self.space_, take_rows(X, checked[:1]), Z[checked[:1]])
        predicted = np.full(len(y), -1)
        predicted[rows] = self._judge(len(y)).predict(take_rows(X, rows))
        groups = []
        for code, label in enumerate(self.classes_):
            given = predicted == code
            both = given & (y == label)
            groups.append(both if both.any() else given if given.any() else whole & (y == label))
        absent = ~np.array([group.any() for group in groups])
        if absent.any():
            raise ValueError(
                "Every class must have a training row without missing or infinite values. "
                f"Got none for {self.classes_[absent].tolist()}."
            )
        self.anchors_ = [Z[group] for group in groups]
        codes = np.repeat(np.arange(len(groups)), [len(part) for part in self.anchors_])
        self.density_ = ClassConditionalDensity(self.density)
        self.density_.fit(np.concatenate(self.anchors_), codes)

    def explain(self, X: Any, target: Any = None, *, rules: Rules | None = None) -> Explanation:
        """Find a counterfactual for every row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Rows to explain, with the columns of the training rows.
        target : label, set of labels, array-like of shape (n,) or None, default=None
            The wanted class; None for the nearest other one.
        rules : Rules or None, default=None
            Further rules for these rows, which may differ from row to row.

        Returns
        -------
        Explanation
            One entry per row. A row without an answer has missing values and a status.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X, target or rules do not fit the training data.

        Warns
        -----
        UserWarning
            If rows remain without an answer.
        """
        check_is_fitted(self, "density_")
        if not (rules is None or isinstance(rules, Rules)):
            raise ValueError(
                f"The 'rules' parameter of explain must be a Rules or None. Got {rules!r} instead."
            )
        X = as_table(X)
        judge = self._judge(open_table(X).n_rows, rules)
        with one_thread():
            engine = self._engine()
            query = ask(engine, judge, X, target)
            return report(engine, judge, query, answer(engine, judge, query))

    def score(self, X: Any, y: Any = None) -> float:
        r"""Quality of the counterfactuals of some rows for their nearest other class.

        .. math::
            \frac1n \sum_{i\ \text{answered}} \frac13 \Big( p_i
            + \frac{1}{n_i} + \frac{1}{1 + d_i} \Big)

        with the plausibility quantile p_i, the number of changes n_i and the distance d_i: in
        [0, 1], 0 for a row without an answer, and never saturated by validity alone.

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            result = self.explain(X)
        if len(result) == 0:
            raise ValueError("X must have at least one row to be scored. Got none.")
        good = result.success
        parts = (
            result.density_quantile[good]
            + 1 / result.n_changes[good]
            + 1 / (1 + result.distance[good])
        )
        return float(parts.sum() / 3 / len(result))

    def _rules(self) -> Rules:
        return Rules(
            immutable=self.immutable,
            increasing=self.increasing,
            decreasing=self.decreasing,
            ranges=self.ranges,
            transitions=self.transitions,
        )

    def _judge(self, n_rows: int, rules: Rules | None = None) -> Judge:
        """Return the judge of some rows, for which there may be further rules."""
        every = self._rules() if rules is None else self._rules().merged(rules)
        return Judge(self.estimator_, self.space_, every, self.max_changes, n_rows)

    def _engine(self) -> Engine:
        """Build what the solvers need; nothing of it is kept, so that the explainer pickles."""
        model = as_torch(self.estimator_, self.space_.columns_)
        columns = self.space_.column_map_.compiled(torch.float64)

        def scores(z: torch.Tensor) -> torch.Tensor:
            return model.scores(columns(z))

        effort = Effort() if self.max_changes is None else thorough(Effort())
        return Engine(
            self.space_,
            self.density_,
            scores,
            True,
            self.anchors_,
            self.tau,
            self.beta,
            self.max_changes,
            effort,
            self.chunk_size,
            model.single_precision,
        )


def as_table(X: Any) -> Any:
    """Return a data frame as it is, and anything else array-like as an array."""
    return X if hasattr(X, "columns") or hasattr(X, "tocsr") else np.asarray(X)


def _labels(y: Any, table: Table) -> np.ndarray:
    """Training labels as an array, one for each row of a table that can be read."""
    import pandas as pd

    for j in range(len(table.names)):
        table.storage(j)  # names a column that is neither numbers nor levels
    if y is None:
        raise ValueError("y must be an array of class labels. Got None instead.")
    labels = np.asarray(y)
    if labels.dtype.kind == "O" and {type(v) for v in labels.flat} <= {int, bool}:
        labels = np.array(labels.tolist())  # a nullable dtype of pandas
    if labels.ndim != 1 or len(labels) != table.n_rows:
        raise ValueError(
            "y must be a 1-D array with one label for each row of X. "
            f"Got shape {labels.shape} for {table.n_rows} rows instead."
        )
    if not (table.n_rows and table.names):
        raise ValueError(
            "X must have at least one row and one column. "
            f"Got shape ({table.n_rows}, {len(table.names)}) instead."
        )
    if pd.isna(labels).any():
        raise ValueError("y must not hold missing labels. Got some.")
    check_classification_targets(labels)
    return labels


def _classes(estimator: Any, labels: np.ndarray) -> np.ndarray:
    """Labels that a fitted estimator gives, which must cover those of the training rows."""
    if not hasattr(estimator, "classes_"):
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must be a classifier. "
            f"Got {estimator!r} instead."
        )
    classes = np.asarray(estimator.classes_)
    if len(classes) < 2:
        raise ValueError(f"The model must know at least two classes. Got {classes.tolist()}.")
    known = set(classes.tolist())
    strange = [label for label in labels.tolist() if label not in known]
    if strange:
        raise ValueError(
            f"y must hold classes of the model, {classes.tolist()}. Got {strange[0]!r} instead."
        )
    return classes


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch on one thread: the tensors are small, and waiting threads cost more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
