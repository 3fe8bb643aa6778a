"""CounterfactualExplainer: fit a model and its surroundings, explain rows, score."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from scfe_sklearn.answering import answer, answer_fewest
from scfe_sklearn.asking import ask
from scfe_sklearn.densities import Density
from scfe_sklearn.engine import Engine, several, thorough
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.features import FeatureSpace, Rules
from scfe_sklearn.features.frames import Table, open_table
from scfe_sklearn.judge import Judge
from scfe_sklearn.models import (
    AdapterMismatchError,
    BlackBox,
    UnsupportedModelError,
    adopt,
    categorical_columns,
    resampled,
    retrained,
)
from scfe_sklearn.presentation.containers import take_rows
from scfe_sklearn.reporting import report
from scfe_sklearn.solvers.recourse import Effort
from scfe_sklearn.surroundings import Learned, Surroundings, learn, rows_of_classes
from scfe_sklearn.targets import ClassWishes, ValueWishes, class_wishes, value_wishes
from scfe_sklearn.validation import HasMethods, Integral, Interval, Real, StrOptions, fit_context
from scfe_sklearn.voices import Voice, asked_voice, check_gradient, gradient_voice

VERIFIED_ROWS = 256
"""Training rows on which the differentiable model is compared with the estimator."""

SAMPLE_ROWS = 2000
"""Training rows that are kept for models which are asked by raw rows."""


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
    max_changes : int, "fewest" or None, default=None
        Budget of changed features; None for no limit, "fewest" for the smallest budget of each
        row that an answer is found within.
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
    solver : {"auto", "apg", "search"}, default="auto"
        "apg" descends along the exact gradient of the model; "search" only asks it, and works for
        whatever has predictions; "auto" takes the first where the gradient is known.
    min_plausibility : float in [0, 1), default=0.0
        Share of the training rows of its class that an answer must be more plausible than: a
        limit beside the weight tau.
    ensemble : int or list of models, default=None
        Further models that must give the target, too: so many clones trained on bootstrap
        samples, or trained models.
    shortfall : float in [0, 1), default=0.0
        Share of every change of a number that may be left undone without losing the target.
    chunk_size : int, default=256
        Rows solved together: bounds the memory, not the answers.
    random_state : int, RandomState or None, default=None
        Seed of the bootstrap samples.

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
        "estimator": [HasMethods(["predict"]), HasMethods(["predict_proba"]), callable],
        "density": [StrOptions({"lof", "kde", "gmm", "knn"}), HasMethods(["log_prob"])],
        "tau": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "max_changes": [Interval(Integral, 1, None, closed="left"), StrOptions({"fewest"}), None],
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
        "solver": [StrOptions({"auto", "apg", "search"})],
        "min_plausibility": [Interval(Real, 0, 1, closed="left")],
        "ensemble": [Interval(Integral, 1, None, closed="left"), list, tuple, None],
        "shortfall": [Interval(Real, 0, 1, closed="left")],
        "chunk_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        density: str | Density = "lof",
        tau: float = 2.5,
        beta: float = 4.0,
        max_changes: int | str | None = None,
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
        solver: str = "auto",
        min_plausibility: float = 0.0,
        ensemble: int | Sequence[Any] | None = None,
        shortfall: float = 0.0,
        chunk_size: int = 256,
        random_state: Any = None,
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
        self.solver = solver
        self.min_plausibility = min_plausibility
        self.ensemble = ensemble
        self.shortfall = shortfall
        self.chunk_size = chunk_size
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any) -> Self:
        """Train or take over the model, and learn the features and the densities of the classes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Training rows.
        y : array-like of shape (n,)
            Their labels; values for a regressor.

        Returns
        -------
        CounterfactualExplainer
            Self.

        Raises
        ------
        ValueError
            If a parameter, rule or column is not as it has to be.
        UnsupportedModelError
            If ``solver="apg"`` and no exact gradient of the model is known.
        """
        X = as_table(X)
        y = _outcomes(y, open_table(X))
        self.estimator_ = self._fitted_estimator(X, y)
        if hasattr(self.estimator_, "classes_"):
            self.classes_ = _classes(self.estimator_, y)
        else:
            y = _values(y)
            if hasattr(self, "classes_"):
                del self.classes_
        self.ensemble_ = self._fitted_ensemble(X, y)
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
        self._fit_surroundings(X, y)
        return self

    def _fitted_estimator(self, X: Any, y: np.ndarray) -> Any:
        """Return a trained model: the user's if it is frozen, else a clone trained here."""
        present = np.unique(y)
        if len(present) < 2 and not isinstance(self.estimator, FrozenEstimator):
            raise ValueError(f"y must hold at least two classes. Got only {present.tolist()}.")
        return adopt(self.estimator, X, y)

    def _fitted_ensemble(self, X: Any, y: np.ndarray) -> list[Any]:
        """Return the other models that must agree: those given, or clones on resampled rows."""
        if self.ensemble is None:
            return []
        if not isinstance(self.ensemble, (int, np.integer)):
            others = [adopt(model, X, y) for model in self.ensemble]
            for other in others:
                _check_same_answers(self.estimator_, other)
            return others
        random = check_random_state(self.random_state)
        return [
            retrained(self.estimator, take_rows(X, rows), y[rows])
            for rows in resampled(y, int(self.ensemble), random, hasattr(self, "classes_"))
        ]

    def _fit_surroundings(self, X: Any, y: np.ndarray) -> None:
        """Check model and rules on the training rows, then fit the densities on them."""
        space = self.space_
        judge = self._judge(len(y))
        learned = learn(judge, X)
        spread = np.linspace(0, len(learned.Z) - 1, min(SAMPLE_ROWS, len(learned.Z))).astype(int)
        self.sample_ = take_rows(X, learned.position[spread])
        self.solver_ = self._chosen_solver(X, learned)
        self._asked = self._black_boxes() if self.solver_ == "search" else None
        for model in self._asked or ():
            _check_finite(asked_voice(model, space), learned.Z[spread])
        first = learned.position[:1]
        self._rules().bind(space, take_rows(X, first), space.encode(take_rows(X, first)))
        if hasattr(self, "classes_"):
            surroundings = Surroundings.of_rows(
                self.density, rows_of_classes(learned, y, self.classes_)
            )
            self.density_, self.anchors_ = surroundings.density, surroundings.anchors
        else:
            self.training_rows_, self.training_values_ = learned.Z, learned.value
            self.unit_ = float(np.std(learned.value)) or 1.0

    def _chosen_solver(self, X: Any, learned: Learned) -> str:
        """Say whether the gradients of all models are known."""
        if self.solver == "search":
            return "search"
        whole = np.isfinite(self.space_.encode(take_rows(X, learned.position))).all(axis=1)
        rows = np.flatnonzero(whole if whole.any() else ~whole)
        rows = rows[np.linspace(0, len(rows) - 1, min(VERIFIED_ROWS, len(rows))).astype(int)]
        checked = take_rows(X, learned.position[rows])
        try:
            for estimator in (self.estimator_, *self.ensemble_):
                check_gradient(estimator, self.space_, checked, self.space_.encode(checked))
        except (UnsupportedModelError, AdapterMismatchError):
            if self.solver == "apg":
                raise
            return "search"
        return "apg"

    def _black_boxes(self) -> list[BlackBox]:
        return [
            BlackBox(model, self.space_.columns_, self.sample_, getattr(self, "classes_", None))
            for model in (self.estimator_, *self.ensemble_)
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is built of the rest: functions cannot be saved."""
        state = dict(super().__getstate__())
        state.pop("_asked", None)
        return state

    def explain(
        self,
        X: Any,
        target: Any = None,
        *,
        rules: Rules | None = None,
        n_counterfactuals: int = 1,
    ) -> Explanation:
        """Find a counterfactual for every row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Rows to explain, with the columns of the training rows.
        target : label, Probability, set of these, array-like of shape (n,), Interval or None
            The wanted class; None for the nearest other one. For a regressor an `Interval` or
            a pair ``(low, high)``.
        rules : Rules or None, default=None
            Further rules for these rows, which may differ from row to row.
        n_counterfactuals : int, default=1
            Answers per row: with different sets of features as far as there are, then with
            different values.

        Returns
        -------
        Explanation
            ``n_counterfactuals`` entries per row, one after the other. A row without an answer
            has missing values and a status.

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
        check_is_fitted(self, "solver_")
        if not (rules is None or isinstance(rules, Rules)):
            raise ValueError(
                f"The 'rules' parameter of explain must be a Rules or None. Got {rules!r} instead."
            )
        if not _is_count(n_counterfactuals):
            raise ValueError(
                "The 'n_counterfactuals' parameter of explain must be an int in [1, inf). "
                f"Got {n_counterfactuals!r} instead."
            )
        X = as_table(X)
        n = open_table(X).n_rows
        judge = self._judge(n, rules)

        def read_target(predicted: np.ndarray) -> ClassWishes | ValueWishes:
            if not hasattr(self, "classes_"):
                return value_wishes(target, n, self.training_values_)
            wishes = class_wishes(target, predicted, self.classes_)
            _check_probabilities(wishes, [self.estimator_, *self.ensemble_])
            return wishes

        with one_thread():
            voices = self._voices()
            query = ask(judge, [voice.scores for voice in voices], X, read_target)
            engine = self._engine(voices, query.wishes, n_counterfactuals)
            solve = answer_fewest if self.max_changes == "fewest" else answer
            answers = solve(engine, judge, query, n_counterfactuals)
            return report(engine, judge, query, answers, self.solver_)

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
        return Judge(
            self.estimator_,
            self.space_,
            every,
            self._budget(),
            n_rows,
            self.ensemble_,
            self.shortfall,
        )

    def _budget(self) -> int | None:
        """Budget to start with; the fewest changes are looked for after that."""
        return (
            None
            if self.max_changes is None or isinstance(self.max_changes, str)
            else int(self.max_changes)
        )

    def _voices(self) -> list[Voice]:
        """Build the models as functions; nothing of it is kept, so that the explainer pickles."""
        if self.solver_ == "apg":
            models = (self.estimator_, *self.ensemble_)
            return [gradient_voice(model, self.space_) for model in models]
        asked = getattr(self, "_asked", None) or self._black_boxes()
        return [asked_voice(model, self.space_) for model in asked]

    def _engine(self, voices: list[Voice], wishes: ClassWishes | ValueWishes, count: int) -> Engine:
        """Build what the solvers need."""
        if isinstance(wishes, ValueWishes):
            around = Surroundings.of_values(self.density, wishes, self.training_rows_)
        else:
            around = Surroundings(self.density_, self.anchors_)
        if wishes.asks_probability and any(voice.guides_only for voice in voices):
            # Its scores say nothing of the probabilities; the models themselves do.
            voices = [asked_voice(model, self.space_) for model in self._black_boxes()]
        budget = self._budget()
        effort = Effort() if budget is None else thorough(Effort())
        return Engine(
            self.space_,
            around.density,
            [voice.scores for voice in voices],
            all(voice.has_gradient for voice in voices),
            around.anchors,
            self.tau,
            self.beta,
            budget,
            several(effort, count),
            self.chunk_size,
            any(voice.single_precision for voice in voices),
            getattr(self, "unit_", 1.0),
            float(self.shortfall),
            float(self.min_plausibility),
        )


def as_table(X: Any) -> Any:
    """Return a data frame as it is, and anything else array-like as an array."""
    return X if hasattr(X, "columns") or hasattr(X, "tocsr") else np.asarray(X)


def _outcomes(y: Any, table: Table) -> np.ndarray:
    """Labels or values as an array, one for each row of a table that can be read."""
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
    return labels


def _values(y: np.ndarray) -> np.ndarray:
    """Values for a regressor."""
    if y.dtype.kind not in "biuf" or not np.isfinite(y).all():
        raise ValueError(f"y must hold finite numbers for a regressor. Got {y.dtype} values.")
    return y.astype(np.float64)


def _check_finite(voice: Voice, Z: np.ndarray) -> None:
    """Refuse a model that has no answer on training rows."""
    bad = int((~torch.isfinite(voice.scores(torch.from_numpy(Z)))).any(1).sum())
    if bad:
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must have finite output on the "
            f"training rows. Got one that returns NaN for {bad} of {len(Z)} rows."
        )


def _check_same_answers(estimator: Any, other: Any) -> None:
    """Refuse a model that answers in other words than the one that is explained."""
    ours, theirs = (
        None if not hasattr(model, "classes_") else np.asarray(model.classes_).tolist()
        for model in (estimator, other)
    )
    if ours != theirs:
        raise ValueError(
            "The 'ensemble' parameter of CounterfactualExplainer must hold models with the "
            f"classes {ours}. Got one with {theirs} instead."
        )


def _check_probabilities(wishes: ClassWishes, models: list[Any]) -> None:
    """Refuse a wish for a probability that no model tells."""
    if wishes.asks_probability and not all(hasattr(model, "predict_proba") for model in models):
        raise ValueError(
            "The 'target' parameter of explain must be a class for a model without predict_proba. "
            "Got a Probability instead."
        )


def _is_count(value: Any) -> bool:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and bool(value >= 1)


def _classes(estimator: Any, labels: np.ndarray) -> np.ndarray:
    """Labels that a fitted estimator gives, which must cover those of the training rows."""
    check_classification_targets(labels)
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
