"""CounterfactualExplainer: fit, explain and score."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from scfe_sklearn._utils import (
    Documented,
    HasMethods,
    Integral,
    Interval,
    KeepsLists,
    Real,
    StrOptions,
    fit_context,
    keep_filters,
    listed,
    row_index,
)
from scfe_sklearn.checkpoint import Checkpoint
from scfe_sklearn.data import (
    FeatureSpace,
    InputAdapter,
    Table,
    as_table,
    cached,
    note_columns,
    open_table,
    plain_level,
)
from scfe_sklearn.densities import Density
from scfe_sklearn.densities.class_conditional import DENSITIES
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.explanation.marginals import Marginals, summarise
from scfe_sklearn.models import (
    BlackBox,
    categorical_columns,
    check_predict_proba,
    handed,
    warn_if_fitted,
)
from scfe_sklearn.models.fitted import Predicts, take_kind
from scfe_sklearn.progress import Progress, ProgressMonitor, answer_in_parts
from scfe_sklearn.recourse.answers import Answers, add_closest, answer, answer_fewest
from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.exact import ExactSolver, refuse_unknown
from scfe_sklearn.recourse.judge import Judge, in_order
from scfe_sklearn.recourse.model_calls import Deadline, TimeUp, guarded
from scfe_sklearn.recourse.preparation import (
    EXPONENTS,
    CompiledModels,
    ScoreFunction,
    black_box_scores,
    check_best_effort,
    check_count,
    check_finite,
    check_probabilities,
    check_rules,
    choose_solver,
    exponent_of,
    fit_surrogate,
    read_classes,
    read_outcomes,
    read_values,
    read_weights,
    trained,
    trained_others,
    whole_row_scores,
)
from scfe_sklearn.recourse.proofs import LinearProver
from scfe_sklearn.recourse.query import Query, build_query
from scfe_sklearn.recourse.question import Question
from scfe_sklearn.recourse.reference_data import (
    ReferenceData,
    drawn,
    encode_without_gaps,
    predict_training_rows,
    rows_of_classes,
)
from scfe_sklearn.recourse.reporting import report, warn_unanswered
from scfe_sklearn.recourse.shortening import shorten
from scfe_sklearn.recourse.threads import one_thread
from scfe_sklearn.recourse.trade_offs import (
    BUDGETS,
    FACTORS,
    check_trade_offs,
    collect,
    undominated,
)
from scfe_sklearn.rules import PARAMETERS, Linear, Rules
from scfe_sklearn.scoring import default_target, recourse_score
from scfe_sklearn.slices import answer_in_slices
from scfe_sklearn.solvers.descent import GradientSettings
from scfe_sklearn.solvers.problem import Moves
from scfe_sklearn.solvers.search_solver import SearchSettings
from scfe_sklearn.targets import (
    ClassTarget,
    IntervalTarget,
    class_target,
    in_row_order,
    interval_target,
)
from scfe_sklearn.workers import answer_by_workers, number_of_workers

FIRST = 32
"""Rows of the first part of a front under a time limit."""

SAMPLE_ROWS = 2000
"""Training rows that are kept for models which predict raw rows."""

CHECKED_ROWS = 256
"""Training rows on which probabilities of a model are checked."""


PARTS = 16
"""Most chunks of rows that are answered together without a callback."""

PROGRAMS = 8
"""Rows between two reports of progress of the solver "milp"."""

UNFITTED = (
    "This %(name)s instance is not fitted yet. Call 'fit' with training rows and labels before "
    "using it; a model in a FrozenEstimator is explained as it is."
)
"""Message of a call before `fit`."""


class CounterfactualExplainer(KeepsLists, Predicts, Documented, MetaEstimatorMixin, BaseEstimator):
    r"""Sparse, plausible and actionable counterfactuals of a classifier, for many rows at once.

    For a row x with coordinates z_0, and every class t that would answer it, S-CFE [1]_ solves

    .. math::
        \min_{z \in A(x)} \; \|z - z_0\|^2 + \beta \sum_g \|z_g - z_{0g}\|^p
        - \tau \, \frac{\log q(z \mid t)}{s_t}
        \quad \text{s.t.} \quad f_t(z) > \max_{j \ne t} f_j(z),
        \;\; \#\{\text{changed features}\} \le m

    where numbers are measured in training standard deviations, a changed category adds 1 to the
    squared distance, p = 0 (the default `penalty`) counts the changed features g, A(x) is what
    the rules allow, q is a density of the training rows of class t and s_t the distance between
    the lower quartile and the median of their log-densities.
    For models with a gradient, proximal gradient runs over all features from several starts per
    row: penalty, budget, box, lattice and levels are one exact proximal map, and the margin is
    linearised in each step. Where at most two numbers out of a few may change, it starts from
    the best of all pairs. An answer counts only if ``estimator_.predict``
    (or, for a `Probability`, ``predict_proba``) gives the target for the decoded row and every
    change keeps the rules.

    Parameters
    ----------
    estimator : classifier, Pipeline or torch.nn.Module
        The model to explain. Wrap a fitted one in ``sklearn.frozen.FrozenEstimator``;
        otherwise a clone of it is trained by `fit`, which warns. A torch module is taken as
        trained. The model is compiled once, in `fit`. If you change a fitted model afterwards,
        such as its ``coef_``, call `fit` again.
    density : {"lof", "kde", "gmm", "knn"} or Density, default="lof"
        Density of each class, see `scfe_sklearn.densities`.
    tau : float, default=2.0
        Weight of the plausibility term. Log-densities are scaled so that the gap between the
        lower quartile and the median of the class is 1; tau is the squared distance traded
        for it.
    beta : float, default=4.0
        Price of a changed feature in squared standard deviations.
    penalty : {"l0", "l1/2", "l2/3", "l1"}, default="l0"
        Penalty of the changes: `beta` times the sum of the p-th powers of how far each feature
        moves, with p = 0 (the number of changed features), 1/2, 2/3 or 1 [1]_. Models without
        a gradient have "l0" only.
    max_changes : int, "fewest" or None, default=None
        Budget of changed features; None for no limit, "fewest" for the smallest budget of each
        row that an answer is found within.
    immutable, increasing, decreasing : list of columns, default=None
        Columns that never change, or in one direction only. Those that never change may hold
        anything that the model takes, such as dates, texts and identifiers.
    ranges : dict, default=None
        ``{column: (low, high)}`` or ``{column: Relative(low, high)}`` for new values.
    transitions : dict, default=None
        ``{column: {level: [levels it may become]}}``.
    relations : list of str or Linear, default=None
        Linear relations between numbers that an answer keeps, such as ``"rent <= 0.4 * income"``.
    implications : list of (condition, consequence), default=None
        Pairs of dicts ``{column: level, set of levels or (low, high)}``: where the first holds
        in an answer, so does the second.
    costs : dict, default=None
        ``{column: price of its changes, relative to 1 for the others}``.
    fillable : list of columns, default=None
        Numeric columns whose missing values may become known ones.
    strict : bool, default=False
        Whether an answer must end within all ranges, relations and implications, also where the
        row breaks one already. Otherwise a value that breaks a rule already may stay as it is;
        `Explanation.outside_rules` marks such answers. A row that has the target already needs
        no answer, also where it is outside of the rules; the reason mentions it.
    blocks : dict, default=None
        ``{name: [0/1 columns] or {level: column}}``: one-hot blocks that the user encoded before
        the model; each moves as one categorical feature of that name.
    derived : dict, default=None
        ``{column: function of a data frame}``: columns that follow from the others; they are
        computed again in every answer, and are no changes of their own. A row in which such a
        column holds another value than its function gives is invalid input.
    categorical, integer, continuous : list of columns, default=None
        Kinds of columns that their dtypes do not show.
    ordinal : dict or list of columns, default=None
        ``{column: [levels in order]}``.
    steps : dict, default=None
        ``{column: step}``.
    scale : {"std", None}, default="std"
        What a numeric unit of distance is: the training standard deviation of the column, or
        (None) one unit of the data, for columns that are comparable as they are, such as pixels.
    solver : {"auto", "apg", "search", "milp"}, default="auto"
        "apg" descends along the exact gradient of the model; "search" needs predictions
        only, and works for all models; "auto" takes the first where the gradient is known. "milp"
        finds, for tree ensembles of moderate size, answers that are proved to be the cheapest by
        distance and `beta` (with ``max_changes="fewest"``: to have the fewest changes), or
        proves that there is none; plausibility does not count.
    effort : {"default", "thorough"}, default="default"
        How hard to search: "thorough" adds a wider and longer search to the default one, which
        takes about ten times as long. "milp" proves its answers with either.
    min_plausibility : float in [0, 1) or "auto", default="auto"
        Share of the training rows of its class that an answer must be more plausible than: a
        limit beside the weight tau. "auto", where there is neither a budget of changes nor a
        tau of 0: an answer below the lower quartile of its class must be at least as plausible
        as a greedy baseline, which copies features of the nearest training row of the class
        that the rules permit until the prediction flips. Tables of very many columns have no
        such limit.
    ensemble : int or list of models, default=None
        Further models that must give the target, too: a number of clones trained on
        bootstrap samples, or a list of models. Fitted ones are kept as they are, others are
        trained by `fit`. A clone of the explainer, as in a grid search, keeps those in a
        FrozenEstimator.
    shortfall : float in [0, 1), default=0.0
        Share of every change of a number that may be left undone without losing the target.
    surrogate : bool, default=False
        Whether a small network learns the model for "search", and its answers are tried as
        further starts: about one answer in ten gets cheaper, in two to three times the time.
    milp_seconds : float or None, default=60.0
        Seconds that "milp" may take for a row; `Explanation.gap` shows what is not proved.
    chunk_size : int, default=600
        Rows solved together: bounds the memory, not the answers.
    random_state : int, RandomState or None, default=None
        Seed of the bootstrap samples and of the surrogate.
    memory : str, joblib.Memory or None, default=None
        Where trained models and fitted densities are kept: a search over tau, beta or
        max_changes then fits them once per fold. They are found again by the content of the
        parameters and of the training rows.

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
    reference_rows_, extra_reference_rows_ : list of ndarray of shape (T, D)
        These rows, per class; and further rows that the model predicts to have the class. At
        most 20,000 of each, drawn uniformly: the search starts at the nearest of them.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (d,)
        Column names, where X had names.
    background_ : Marginals
        How training rows are spread over each feature, for pictures of the answers.

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
        "density": [StrOptions(set(DENSITIES)), HasMethods(["log_prob"])],
        "tau": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "penalty": [StrOptions(set(EXPONENTS))],
        "max_changes": [Interval(Integral, 1, None, closed="left"), StrOptions({"fewest"}), None],
        "immutable": ["array-like", None],
        "increasing": ["array-like", None],
        "decreasing": ["array-like", None],
        "ranges": [dict, None],
        "transitions": [dict, None],
        "relations": [list, tuple, None],
        "implications": [list, tuple, None],
        "costs": [dict, None],
        "fillable": ["array-like", None],
        "strict": ["boolean"],
        "blocks": [dict, None],
        "derived": [dict, None],
        "categorical": ["array-like", None],
        "ordinal": [dict, "array-like", None],
        "integer": ["array-like", None],
        "continuous": ["array-like", None],
        "steps": [dict, None],
        "scale": [StrOptions({"std"}), None],
        "solver": [StrOptions({"auto", "apg", "search", "milp"})],
        "effort": [StrOptions({"default", "thorough"})],
        "min_plausibility": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "ensemble": [Interval(Integral, 1, None, closed="left"), list, tuple, None],
        "shortfall": [Interval(Real, 0, 1, closed="left")],
        "surrogate": ["boolean"],
        "milp_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "chunk_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "memory": [str, HasMethods(["cache"]), None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        density: str | Density = "lof",
        tau: float = 2.0,
        beta: float = 4.0,
        penalty: str = "l0",
        max_changes: int | str | None = None,
        immutable: Sequence[Hashable] | None = None,
        increasing: Sequence[Hashable] | None = None,
        decreasing: Sequence[Hashable] | None = None,
        ranges: Mapping[Hashable, Any] | None = None,
        transitions: Mapping[Hashable, Any] | None = None,
        relations: Sequence[str | Linear] | None = None,
        implications: Sequence[Any] | None = None,
        costs: Mapping[Hashable, float] | None = None,
        fillable: Sequence[Hashable] | None = None,
        strict: bool = False,
        blocks: Mapping[Hashable, Any] | None = None,
        derived: Mapping[Hashable, Callable[[Any], Any]] | None = None,
        categorical: Sequence[Hashable] | None = None,
        ordinal: Mapping[Hashable, Sequence[Any]] | Sequence[Hashable] | None = None,
        integer: Sequence[Hashable] | None = None,
        continuous: Sequence[Hashable] | None = None,
        steps: Mapping[Hashable, float] | None = None,
        scale: str | None = "std",
        solver: str = "auto",
        effort: str = "default",
        min_plausibility: float | str = "auto",
        ensemble: int | Sequence[Any] | None = None,
        shortfall: float = 0.0,
        surrogate: bool = False,
        milp_seconds: float | None = 60.0,
        chunk_size: int = 600,
        random_state: Any = None,
        memory: Any = None,
    ) -> None:
        self.estimator = estimator
        self.density = density
        self.tau = tau
        self.beta = beta
        self.penalty = penalty
        self.max_changes = max_changes
        self.immutable = immutable
        self.increasing = increasing
        self.decreasing = decreasing
        self.ranges = ranges
        self.transitions = transitions
        self.relations = relations
        self.implications = implications
        self.costs = costs
        self.fillable = fillable
        self.strict = strict
        self.blocks = blocks
        self.derived = derived
        self.categorical = categorical
        self.ordinal = ordinal
        self.integer = integer
        self.continuous = continuous
        self.steps = steps
        self.scale = scale
        self.solver = solver
        self.effort = effort
        self.min_plausibility = min_plausibility
        self.ensemble = ensemble
        self.shortfall = shortfall
        self.surrogate = surrogate
        self.milp_seconds = milp_seconds
        self.chunk_size = chunk_size
        self.random_state = random_state
        self.memory = memory

    def __sklearn_tags__(self) -> Any:
        """Return the tags of the model, which decides about the input of `fit`."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        take_kind(tags, self.estimator)
        return tags

    @fit_context(prefer_skip_nested_validation=False)
    @keep_filters()
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train or take over the model, and learn the features and the densities of the classes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Training rows.
        y : array-like of shape (n,)
            Their labels; values for a regressor, -1 and 1 for an outlier detector.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows, for the ``fit`` of an estimator that is trained here; those of
            the last step of a pipeline.

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

        Warns
        -----
        UserWarning
            If the estimator is fitted already and not frozen: a clone of it is trained, so that
            another model is explained.
        """
        X = as_table(X)
        # pandas.NA is no name, and cannot be compared with one: it is refused with the rules.
        given = () if self.immutable is None else self.immutable
        immutable = [plain_level(name) for name in given]
        y = read_outcomes(y, open_table(X), immutable)
        weights = read_weights(sample_weight, len(y))
        self.__dict__.pop("_compiled_models", None)
        self.inputs_ = InputAdapter(self.blocks, self.derived).fit(X)
        warn_if_fitted(self.estimator, stacklevel=4)
        self.estimator_ = trained(self.estimator, X, y, self.memory, weights)
        if hasattr(self.estimator_, "classes_"):
            self.classes_ = read_classes(self.estimator_, y)
        else:
            y = read_values(y)
            if hasattr(self, "classes_"):
                del self.classes_
        self.ensemble_ = trained_others(
            self.ensemble, self.estimator, self.estimator_, X, y, self.random_state, weights
        )
        self.space_ = FeatureSpace(
            categorical=self.categorical,
            ordinal=self.ordinal,
            integer=self.integer,
            continuous=self.continuous,
            steps=self.steps,
            scale=self.scale,
        )
        note_columns(self, open_table(X))
        X = self.inputs_.to_search(X)
        names = list(open_table(X).names)
        self.space_.fit(
            X,
            categorical_hint=categorical_columns(self._models()[0], names),
            immutable=[name for name in immutable if name in names],
        )
        self._fit_reference_data(X, y)
        return self

    def _fit_reference_data(self, X: Any, y: np.ndarray) -> None:
        """Check model and rules on the training rows, then fit the densities on them."""
        space = self.space_
        judge = self._judge(len(y))
        learned = predict_training_rows(judge, X)
        total = len(learned.position)
        spread = np.linspace(0, total - 1, min(SAMPLE_ROWS, total)).astype(int)
        self.sample_ = take_rows(X, learned.position[spread])
        few = take_rows(self.sample_, np.arange(0, len(spread), -(-len(spread) // CHECKED_ROWS)))
        for k, model in enumerate(self._models()):
            check_predict_proba(model, handed(few), "ensemble" if k else "estimator")
        self._compiled_models = CompiledModels(
            self._models(), space, self.sample_, getattr(self, "classes_", None)
        )
        kept = take_rows(X, drawn(learned.position))
        self.solver_ = choose_solver(self.solver, self._compiled_models, kept)
        self._alphabets: dict[int, Moves] = {}
        self._limits: dict[Any, Any] = {}
        self.background_ = self._background(learned.code[spread])
        if self.solver_ != "apg":
            self._learn_black_boxes(encode_without_gaps(space, kept), self._sample_points())
        first = learned.position[:1]
        self._rules().bind(space, take_rows(X, first), space.encode(take_rows(X, first)))
        if hasattr(self, "classes_"):
            groups, others = rows_of_classes(learned, y, self.classes_)
            examples, self.extra_reference_rows_ = (
                [encode_without_gaps(space, take_rows(X, rows)) for rows in parts]
                for parts in (groups, others)
            )
            reference = ReferenceData.of_rows(self.density, examples, self.memory)
            self.density_, self.reference_rows_ = reference.density, reference.reference_rows
        else:
            self.training_rows_ = encode_without_gaps(space, kept)
            self.training_values_ = drawn(learned.value)
            self.unit_ = float(np.std(learned.value)) or 1.0

    def _learn_black_boxes(self, Z: np.ndarray, sample: np.ndarray) -> None:
        """Check the scores at the kept training rows, and learn the surrogate on rows ``Z``."""
        boxes = self._compiled.black_boxes
        scores = [black_box_scores(model, self.space_) for model in boxes]
        if self.surrogate:
            random = check_random_state(self.random_state)
            self.surrogates_ = [
                fit_surrogate(one.scores, Z, self.space_.slices_, random) for one in scores
            ]
        for model, one in zip(boxes, scores, strict=True):
            if model.fast or not self.space_.holds_:  # else it predicted these rows themselves
                check_finite(one, sample)

    def _background(self, codes: np.ndarray) -> Marginals:
        """Summarise the kept training rows, for pictures of the answers."""
        space = self.space_
        values = space.ranks(space.encode(self.sample_))
        n_levels = [0 if levels is None else len(levels) for levels in space.levels_]
        return summarise(values, space.step_, n_levels, codes, getattr(self, "classes_", ()))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out functions, which cannot be saved; they are built again."""
        state = dict(super().__getstate__())
        for name in ("_compiled_models", "_alphabets", "_limits"):
            state.pop(name, None)
        return state

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
        """Find a counterfactual for every row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, d)
            Rows to explain, with the columns of the training rows.
        target : label, Probability, set of these, array-like of shape (n,), Interval or None
            The wanted class; None for the nearest other one. A `Probability` decides alone,
            whatever is predicted. For a regressor an `Interval` or a pair ``(low, high)``. A pandas
            Series is taken by the labels of the rows.
        rules : Rules or None, default=None
            Further rules for these rows, which may differ from row to row.
        n_counterfactuals : int, default=1
            Answers per row: with different sets of features as far as there are, then with
            values that differ by at least half a standard deviation in one number.
        best_effort : bool, default=False
            Whether a row without an answer gets the change within the rules that comes closest
            to one, marked as not valid.
        callback : callable or None, default=None
            Called after every part of the rows with a `Progress`: how many are ``done`` of the
            ``total``, how many were ``found``, and the ``seconds``. Return a true value to stop.
            Also a callback of scikit-learn, since 1.9, such as `sklearn.callback.ProgressBar()`.
        time_limit : float or None, default=None
            Seconds of the whole call. No call of the model is begun after them but the check of
            what was found; the model gets few rows at a time where it is slow.
        progress : bool, default=False
            Whether a bar is shown, by tqdm if it is installed.
        checkpoint : str or path-like, default=None
            Folder that keeps the answers of every few seconds. The same call resumes with the
            rows that are missing in it; after a change of model, rules, parameters, rows or
            target it is refused. Delete it to begin again.
        n_jobs : int, default=None
            Number of worker processes, by joblib: None is this process, unless a
            ``joblib.parallel_config`` is active; -1 all processors.

        Returns
        -------
        Explanation
            ``n_counterfactuals`` entries per row, one after the other. A row without an answer
            has missing values and a status. Where the time limit, the callback or Ctrl-C ended
            the call, the rows that were not reached have the status "budget exhausted" and a
            reason that names the cause.

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
        result = self._explain(
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
        warn_unanswered(result)
        return result

    def _explain(
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
        """Explain without a warning about rows without an answer."""
        self._check_fitted()
        check_count(n_counterfactuals)
        check_best_effort(best_effort)
        workers = number_of_workers(n_jobs)
        monitor = ProgressMonitor(callback, time_limit, progress)
        question = self._question(X, target, rules, n_counterfactuals, best_effort)
        with contextlib.closing(monitor), one_thread(), keep_filters():
            if not question.is_divisible or question.n_rows == 0:
                # Nothing to search, or values of another length: an error that no limit hides.
                return self._explain_slice(question, ProgressMonitor(None, None, False))
            question = question.parse(self.space_)
            keeper = None if checkpoint is None else Checkpoint.of(checkpoint, self, question)
            if workers > 1:
                return answer_by_workers(self, question, monitor, workers, keeper)
            return answer_in_slices(
                lambda part, unreached: self._explain_slice(part, monitor, unreached),
                question,
                monitor,
                keeper,
            )

    def _explain_slice(
        self, question: Question, monitor: ProgressMonitor, unreached: str = ""
    ) -> Explanation:
        """Answer the rows of a slice; with a reason they are left out for it."""
        deadline = monitor.deadline
        if deadline is not None:
            deadline.rows = question.n_rows
        engine, judge, query = self._prepare(question, deadline, unreached)
        count, best_effort = question.count, question.best_effort
        if unreached:
            return self._report(engine, judge, query, Answers.none(query, count), question.X)
        exact = self._exact_solver(count) if self.solver_ == "milp" else None
        # The closest point is reported for unreachable rows, too.
        prover = None if best_effort else self._prover

        def answer_part(judge: Judge, query: Query) -> Answers:
            if exact is not None:
                answers = exact.within(monitor.left).answer(engine, judge, query)
            elif self.max_changes == "fewest":
                answers = answer_fewest(engine, judge, query, count, prover)
            else:
                answers = answer(engine, judge, query, count, prover)
            with contextlib.suppress(TimeUp):
                if exact is None:  # what is proved to be the cheapest does not move
                    shorten(engine, judge, query, answers)
                self._prove(judge, query, answers)
                if best_effort:
                    add_closest(engine, judge, query, answers)
            return answers

        size = self.chunk_size if exact is None else PROGRAMS
        largest = size if monitor.has_listener or exact is not None else PARTS * size
        query, answers = answer_in_parts(answer_part, judge, query, count, size, monitor, largest)
        return self._report(engine, judge, query, answers, question.X)

    def pareto(
        self,
        X: Any,
        target: Any = None,
        *,
        rules: Rules | None = None,
        factors: Sequence[float] = FACTORS,
        budgets: Sequence[int | None] = BUDGETS,
        callback: Callable[[Progress], Any] | None = None,
        time_limit: float | None = None,
        progress: bool = False,
    ) -> Explanation:
        """Find answers of which none is better than another in every respect.

        Every row is answered for several prices of plausibility and budgets of changes. Of all
        answers those are kept for which no other has no more changes, is no farther and is no
        less plausible (and is better in one of these).

        Parameters
        ----------
        X, target, rules
            As for `explain`.
        factors : sequence of float, default=(0, 0.3, 1, 3, 10)
            Multiples of `tau`.
        budgets : sequence of int or None, default=(1, 2, 3, None)
            Budgets of changed features, in place of `max_changes`.
        callback, time_limit, progress
            As for `explain`.

        Returns
        -------
        Explanation
            One or more entries per row, one after the other, the fewest changes first; `option`
            counts them.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> X, y = load_wine(return_X_y=True, as_frame=True)
        >>> model = RandomForestClassifier(20, random_state=0)
        >>> front = CounterfactualExplainer(model).fit(X, y).pareto(X[:1], target=1)
        >>> bool(front.success.all()), bool((front.n_changes[:-1] <= front.n_changes[1:]).all())
        (True, True)
        """
        self._check_fitted()
        factors, budgets = listed(factors), listed(budgets)
        check_trade_offs(factors, budgets)
        monitor = ProgressMonitor(callback, time_limit, progress)
        question = self._question(X, target, rules, 1)
        with contextlib.closing(monitor), one_thread(), keep_filters():
            settings = len(factors) * len(budgets)
            engine, judge, query = self._prepare_in_time(question, monitor, settings)

            def answer_part(judge: Judge, query: Query) -> Answers:
                answers = collect(engine, judge, query, factors, budgets)
                with contextlib.suppress(TimeUp):
                    shorten(engine, replace(judge, max_changes=None), query, answers)
                return answers

            first = FIRST if time_limit is not None else self.chunk_size
            query, answers = answer_in_parts(
                answer_part, judge, query, settings, self.chunk_size, monitor, first=first
            )
            everything = self._report(engine, judge, query, answers, question.X)
        return undominated(everything, len(query.Z))

    def score(self, X: Any, y: Any = None) -> float:
        r"""Score the counterfactuals of some rows for their nearest other class.

        For a regressor, for the other side of the median of its predictions in training.

        .. math::
            \frac1n \sum_{i\ \text{answered}} \Big( \max(p_i, 0.01)
            \cdot \frac{1}{n_i} \cdot \frac{1}{1 + d_i} \Big)^{1/3}

        with the plausibility quantile p_i, the number of changes n_i and the distance d_i: in
        [0, 1], 0 for a row without an answer, and never saturated by validity alone. As a
        geometric mean it is low where one part is: over a grid of `tau` it has its maximum
        inside, neither at 0 (near outliers) nor at the end (far typical rows). `RecourseScorer`
        measures the parts one by one.

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
        self._check_fitted()
        X = as_table(X)
        if X.shape[0] == 0:
            raise ValueError("X must have at least one row to be scored. Got none.")
        return recourse_score(self._explain(X, default_target(self, X)))

    def _prepared(
        self, X: Any, target: Any, rules: Rules | None, count: int
    ) -> tuple[Engine, Judge, Query]:
        """Read a query and build the engine and judge for it."""
        return self._prepare(self._question(X, target, rules, count))

    def _question(
        self, X: Any, target: Any, rules: Rules | None, count: int, best_effort: bool = False
    ) -> Question:
        """Read the rows, the target and the rules of a call, all of them in one order."""
        check_rules(rules)
        X = as_table(X)
        target = in_row_order(target, row_index(X))
        every = self._rules() if rules is None else self._rules().merged(rules)
        values = not hasattr(self, "classes_")
        return Question(X, target, every.in_row_order(X), None, count, best_effort, values)

    def _prepare_in_time(
        self, question: Question, monitor: ProgressMonitor, entries: int
    ) -> tuple[Engine, Judge, Query]:
        """Prepare some entries per row; where the time has run out, all rows are left out."""
        if monitor.deadline is not None:
            monitor.deadline.rows = question.n_rows * entries
        try:
            return self._prepare(question, monitor.deadline)
        except TimeUp:
            monitor.ended = "time limit"
            return self._prepare(question, unreached=monitor.ended)

    def _prepare(
        self, question: Question, deadline: Deadline | None = None, unreached: str = ""
    ) -> tuple[Engine, Judge, Query]:
        """Build the engine and judge of a question, and encode its rows."""
        target = question.target
        user_rows, X = question.X, self.inputs_.to_search(question.X)
        n = open_table(X).n_rows
        judge = replace(self._judge(n), rules=question.rules, known=question.parsed)

        def read_target(predicted: np.ndarray) -> ClassTarget | IntervalTarget:
            if not hasattr(self, "classes_"):
                return interval_target(target, n, self.training_values_)
            return class_target(target, predicted, self.classes_, self._probabilities)

        table = cached(in_order(X, self.space_))
        Z = self.space_.encode(table)
        functions = guarded(self._score_functions(table, Z), deadline)
        blocks, stale = self.inputs_.block_problems(user_rows, X), self.inputs_.stale(user_rows)
        scores = [function.scores for function in functions]
        query = build_query(judge, scores, X, Z, read_target, blocks, stale, deadline, unreached)
        sure = query.targets.uses_probability
        if sure and not all(function.has_probabilities for function in functions):
            # Use the models themselves: the scores have no probabilities.
            functions = guarded(self._score_functions(table, Z, with_proba=True), deadline)
        engine = self._engine(functions, query.targets, question.count)
        engine = replace(engine, deadline=deadline)
        if query.rows.strange.any():
            boxes = self._compiled.black_boxes_with_proba if sure else self._compiled.black_boxes
            whole = [whole_row_scores(model, self.space_, table, Z) for model in boxes]
            whole_engine = replace(
                engine,
                models=[function.scores for function in guarded(whole, deadline)],
                has_gradient=False,
                single_precision=False,
                guide=None,
            )
            engine = replace(engine, whole=whole_engine)
        return engine, judge, query

    def _check_fitted(self) -> None:
        """Raise if `fit` was not called."""
        if not hasattr(self, "solver_"):
            raise NotFittedError(UNFITTED % {"name": type(self).__name__})

    def _rules(self) -> Rules:
        """Return the rules for all rows."""
        return Rules(**{name: getattr(self, name) for name in PARAMETERS if hasattr(self, name)})

    def _judge(self, n_rows: int) -> Judge:
        """Return the judge of some rows."""
        model, *others = self._models()
        return Judge(
            model, self.space_, self._rules(), self._budget(), n_rows, others, self.shortfall
        )

    def _budget(self) -> int | None:
        """First budget of changes; the search for the fewest follows."""
        return (
            None
            if self.max_changes is None or isinstance(self.max_changes, str)
            else int(self.max_changes)
        )

    def _models(self) -> list[Any]:
        """The model that is explained and those that must agree, for rows of the search."""
        return [self.inputs_.wrap_model(model) for model in (self.estimator_, *self.ensemble_)]

    @property
    def _compiled(self) -> CompiledModels:
        """The models as score functions; built in `fit`, and again after loading."""
        if not hasattr(self, "_compiled_models"):
            classes = getattr(self, "classes_", None)
            self._compiled_models = CompiledModels(
                self._models(), self.space_, self.sample_, classes
            )
        return self._compiled_models

    def _score_functions(self, rows: Any, Z: Any, with_proba: bool = False) -> list[ScoreFunction]:
        """Return the models as functions of solver space, for rows with coordinates ``Z``."""
        if self.solver_ == "apg" and not with_proba:
            return self._compiled.torch_scores
        compiled = self._compiled
        boxes = compiled.black_boxes_with_proba if with_proba else compiled.black_boxes
        return [self._black_box_scores(model, rows, Z) for model in boxes]

    def _black_box_scores(self, model: BlackBox, rows: Table, Z: np.ndarray) -> ScoreFunction:
        """Return the scores of a black box; it gets whole rows if it may read a held column."""
        if self.space_.holds_ and not model.fast:
            return whole_row_scores(model, self.space_, rows, Z)
        return black_box_scores(model, self.space_)

    def _engine(
        self, functions: list[ScoreFunction], targets: ClassTarget | IntervalTarget, count: int
    ) -> Engine:
        """Return the search for ``count`` answers per row."""
        values = isinstance(targets, IntervalTarget)
        around, budget = self._reference_data(targets), self._budget()
        fixed = not isinstance(self.min_plausibility, str)
        engine = Engine(
            space=self.space_,
            density=around.density,
            models=[function.scores for function in functions],
            has_gradient=all(function.has_gradient for function in functions),
            reference_rows=around.reference_rows,
            extra_reference_rows=(
                None if values else [*self.extra_reference_rows_, *self._no_extra_rows(targets)]
            ),
            values=around.values,
            samples=self.training_rows_ if values else None,
            tau=self.tau,
            beta=self.beta,
            max_changes=budget,
            exponent=exponent_of(self.penalty, self.solver_),
            settings=GradientSettings.of(self.effort).several(count),
            searching=SearchSettings.of(self.effort).several(count),
            chunk_size=self.chunk_size,
            single_precision=any(function.single_precision for function in functions),
            unit=getattr(self, "unit_", 1.0),
            shortfall=float(self.shortfall),
            min_plausibility=float(self.min_plausibility) if fixed else 0.0,
            compared=not fixed and self.tau > 0 and self.max_changes is None,
            alphabets={} if around.values else getattr(self, "_alphabets", {}),
        )
        if self.solver_ == "apg" or not self.surrogate:
            return engine
        learned = [surrogate.scores() for surrogate in self.surrogates_]
        return replace(engine, guide=replace(engine, models=learned, has_gradient=True))

    def _reference_data(self, targets: ClassTarget | IntervalTarget) -> ReferenceData:
        """Return the training rows of each target, with their densities."""
        if isinstance(targets, IntervalTarget):
            return ReferenceData.of_values(
                self.density, targets, self.training_rows_, self.training_values_
            )
        around = ReferenceData(self.density_, self.reference_rows_)
        if not targets.uses_probability:
            return around
        Z, table = self._sample_points(), self._probabilities()
        return around.with_limits(self.density, targets, Z, table, self._limited())

    def _no_extra_rows(self, targets: ClassTarget | IntervalTarget) -> list[np.ndarray]:
        """Return the extra rows of groups of probabilities: none, since all rows are members."""
        return [np.empty((0, self.extra_reference_rows_[0].shape[1]))] * (
            targets.n_groups - len(self.extra_reference_rows_)
        )

    def _limited(self) -> dict[Any, Any]:
        """Return cached data about the training rows."""
        if not hasattr(self, "_limits"):
            self._limits = {}
        return self._limits

    def _sample_points(self) -> np.ndarray:
        """Coordinates (T, D) of the kept training rows."""
        known = self._limited()
        if "points" not in known:
            known["points"] = encode_without_gaps(self.space_, self.sample_)
        return np.asarray(known["points"])

    def _probabilities(self) -> np.ndarray:
        """Probabilities (T, C) of the kept training rows; raise if a model has none."""
        check_probabilities([self.estimator_, *self.ensemble_])
        known = self._limited()
        if "table" not in known:
            judge = self._judge(len(self.sample_))
            table = judge.outcome(self.sample_, with_proba=True).probability
            assert table is not None
            known["table"] = np.nan_to_num(table)
        return np.asarray(known["table"])

    def _exact_solver(self, count: int) -> ExactSolver:
        """Read the trees; raise if the program does not support a parameter."""
        refuse_unknown(
            {
                "'n_counterfactuals'": count > 1,
                "'ensemble'": bool(self.ensemble_),
                "'shortfall'": self.shortfall > 0,
                "'min_plausibility'": self.min_plausibility not in ("auto", 0),
            }
        )
        return ExactSolver(self._compiled.trees, self.max_changes == "fewest", self.milp_seconds)

    def _report(
        self, engine: Engine, judge: Judge, query: Query, answers: Answers, X: Any
    ) -> Explanation:
        """Return the result for the rows ``X`` of the user."""
        return report(
            engine, judge, query, answers, X, self.inputs_, self.solver_, self.background_
        )

    @property
    def _prover(self) -> LinearProver | None:
        """Return the prover of a linear model; None for other models."""
        scores = self._compiled.linear
        return None if scores is None else LinearProver(self.space_, scores, self.milp_seconds)

    def _prove(self, judge: Judge, query: Query, answers: Answers) -> None:
        """Prove for a linear model that rows have no answer."""
        if answers.found.all() or self.max_changes == "fewest":
            return
        if self._prover is not None:
            self._prover.prove(judge, query, answers)
