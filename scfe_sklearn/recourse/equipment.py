"""Models, rules, judge and engine of a fitted explainer, built for each call."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from scfe_sklearn.background import Background
from scfe_sklearn.data import FeatureSpace, InputAdapter, Table, cached, open_table
from scfe_sklearn.densities import ClassConditionalDensity, Density
from scfe_sklearn.explanation import Explanation
from scfe_sklearn.models import BlackBox
from scfe_sklearn.recourse.answers import Answers
from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.exact import ExactSolver, refuse_unknown
from scfe_sklearn.recourse.judge import Judge, in_order
from scfe_sklearn.recourse.preparation import (
    CompiledModels,
    ScoreFunction,
    black_box_scores,
    check_probabilities,
    check_rules,
    exponent_of,
    whole_row_scores,
)
from scfe_sklearn.recourse.proofs import LinearProver
from scfe_sklearn.recourse.query import STAND_IN, Query, build_query
from scfe_sklearn.recourse.reference_data import ReferenceData
from scfe_sklearn.recourse.reporting import report
from scfe_sklearn.row_values import row_index
from scfe_sklearn.rules import PARAMETERS, Linear, Rules
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

UNFITTED = (
    "This %(name)s instance is not fitted yet. Call 'fit' with training rows and labels before "
    "using it; a model in a FrozenEstimator is explained as it is."
)
"""Message of a call before `fit`."""


class Equipped:
    """Parameters and fitted state of an explainer, and the parts that they build."""

    density: str | Density
    tau: float
    beta: float
    penalty: str
    effort: str
    max_changes: int | str | None
    immutable: Sequence[Hashable] | None
    increasing: Sequence[Hashable] | None
    decreasing: Sequence[Hashable] | None
    ranges: Mapping[Hashable, Any] | None
    transitions: Mapping[Hashable, Any] | None
    relations: Sequence[str | Linear] | None
    implications: Sequence[Any] | None
    costs: Mapping[Hashable, float] | None
    fillable: Sequence[Hashable] | None
    strict: bool
    min_plausibility: float | str
    shortfall: float
    surrogate: bool
    milp_seconds: float | None
    chunk_size: int

    estimator_: Any
    ensemble_: list[Any]
    classes_: np.ndarray
    inputs_: InputAdapter
    space_: FeatureSpace
    solver_: str
    sample_: Any
    density_: ClassConditionalDensity
    reference_rows_: list[np.ndarray]
    extra_reference_rows_: list[np.ndarray]
    training_rows_: np.ndarray
    training_values_: np.ndarray
    surrogates_: list[Any]
    background_: Background
    _alphabets: dict[int, Moves]
    _limits: dict[Any, Any]
    _compiled_models: CompiledModels

    def _prepared(
        self, X: Any, target: Any, rules: Rules | None, count: int
    ) -> tuple[Engine, Judge, Query]:
        """Read a query and build the engine and judge for it."""
        check_rules(rules)
        target = in_row_order(target, row_index(X))
        user_rows, X = X, self.inputs_.to_search(X)
        n = open_table(X).n_rows
        judge = self._judge(n, rules)
        judge = replace(judge, rules=judge.rules.in_row_order(X))

        def read_target(predicted: np.ndarray) -> ClassTarget | IntervalTarget:
            if not hasattr(self, "classes_"):
                return interval_target(target, n, self.training_values_)
            return class_target(target, predicted, self.classes_, self._probabilities)

        table = cached(in_order(X, self.space_))
        Z = self.space_.encode(table)
        functions = self._score_functions(table, Z)
        blocks, stale = self.inputs_.block_problems(user_rows, X), self.inputs_.stale(user_rows)
        scores = [function.scores for function in functions]
        query = build_query(judge, scores, X, Z, read_target, blocks, stale)
        sure = query.targets.uses_probability
        if sure and not all(function.has_probabilities for function in functions):
            # Use the models themselves: the scores have no probabilities.
            functions = self._score_functions(table, Z, with_proba=True)
        engine = self._engine(functions, query.targets, count)
        if query.rows.strange.any():
            boxes = self._compiled.black_boxes_with_proba if sure else self._compiled.black_boxes
            whole = [whole_row_scores(model, self.space_, table, Z).scores for model in boxes]
            whole_engine = replace(
                engine, models=whole, has_gradient=False, single_precision=False, guide=None
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

    def _judge(self, n_rows: int, rules: Rules | None = None) -> Judge:
        """Return the judge of some rows, with further rules if given."""
        every = self._rules() if rules is None else self._rules().merged(rules)
        model, *others = self._models()
        return Judge(model, self.space_, every, self._budget(), n_rows, others, self.shortfall)

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
            Z = self.space_.encode(self.sample_)
            known["points"] = np.where(np.isnan(Z), STAND_IN, Z)
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
