"""Check of every answer by the user's own models and rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from scfe_sklearn._utils import RowBatch
from scfe_sklearn.data import FeatureSpace, cached
from scfe_sklearn.explanation.containers import columns_in_order, take_rows
from scfe_sklearn.models import are_probabilities, handed, probability_table
from scfe_sklearn.models.predictions import responses
from scfe_sklearn.recourse.model_calls import Deadline, isolated
from scfe_sklearn.recourse.preparation import several_outputs
from scfe_sklearn.rules import Actionability, ParsedRules, Rules
from scfe_sklearn.targets import ClassTarget, IntervalTarget, Outcome


@dataclass(frozen=True, eq=False)
class Verdict:
    """Verdicts of the judge on one point per row.

    Parameters
    ----------
    frame : DataFrame or ndarray of shape (n, d)
        The decoded rows.
    after : ndarray of shape (n, D)
        Their coordinates.
    good : ndarray of shape (n,), bool
        Whether the models give a row its target, every rule holds and something changed.
    keeps_rules : ndarray of shape (n,), bool
        Whether every rule holds and something changed, whatever the models predict.
    probability : ndarray of shape (n, C) or None
        Probabilities of the classes by the user's model, where a target needs them.
    """

    frame: Any
    after: np.ndarray
    good: np.ndarray
    keeps_rules: np.ndarray
    probability: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Judge:
    """Decodes points to raw rows and checks them independently of any solver.

    Parameters
    ----------
    estimator : classifier or regressor
        The user's fitted model.
    space : FeatureSpace
        The fitted feature space.
    rules : Rules
        What must hold between a factual and its counterfactual.
    max_changes : int or None
        Budget of changed features.
    n_rows : int
        Number of rows of the query, which the rules are for.
    others : sequence of estimators
        Further models that must agree.
    shortfall : float
        Share of every change of a number that may be left undone.
    part : ndarray of int or None
        Positions, among all rows that the rules are for, of those that are judged; None for all.
    known : ParsedRules or None
        The rules of all rows, if they are parsed already.
    """

    estimator: Any
    space: FeatureSpace
    rules: Rules
    max_changes: int | None
    n_rows: int
    others: Sequence[Any] = ()
    shortfall: float = 0.0
    part: np.ndarray | None = None
    known: ParsedRules | None = None

    @cached_property
    def _parsed(self) -> ParsedRules:
        return self.known or self.rules.parsed(self.space, self.n_rows)

    @property
    def parsed(self) -> ParsedRules:
        """The rules of the rows that are judged."""
        return self._parsed if self.part is None else self._parsed.take(self.part)

    @property
    def strict(self) -> bool:
        """Whether answers must end within all rules about values."""
        return self._parsed.strict and self._parsed.about_values

    def take(self, rows: np.ndarray) -> Judge:
        """Return the judge of some of the rows."""
        part = rows if self.part is None else self.part[rows]
        return replace(self, part=part, known=self._parsed)

    def __call__(
        self,
        Z: np.ndarray,
        Z0: np.ndarray,
        X: Any,
        rows: np.ndarray,
        group: np.ndarray,
        targets: ClassTarget | IntervalTarget,
        with_proba: bool = False,
    ) -> Verdict:
        """Judge points of some of the rows.

        Parameters
        ----------
        Z, Z0 : ndarray of shape (m, D)
            Points, and the coordinates of the factual rows; NaN where a value is missing.
        X : DataFrame, ndarray of shape (m, d) or Table
            The factual rows.
        rows : ndarray of shape (m,), int
            Their positions among all rows: rules and targets may differ from row to row.
        group : ndarray of shape (m,), int
            The kind of answer that each point is meant for: the position of a class.
        targets : ClassTarget or IntervalTarget
            Targets of all rows.
        with_proba : bool
            Whether the probabilities of a classifier are computed, whatever the targets.

        Returns
        -------
        Verdict
        """
        frame = self.space.decode(Z, X, reference=Z0)
        written = cached(frame)
        after = self.space.encode(written)
        count = self.space.changed(after, Z0).sum(axis=1)
        everywhere = rows if self.part is None else self.part[rows]
        broken = self._parsed.take(everywhere).violations(self.space, X, written)
        keeps_rules = ~broken.any(axis=1) & (count > 0)
        if self.max_changes is not None:
            keeps_rules &= count <= self.max_changes
        output, _ = self.isolated_outcome(frame, targets, with_proba=with_proba)
        answers = output if targets.uses_probability else output.without_probability()
        good = keeps_rules & targets.met(rows, group, answers)
        good &= self._agreed(frame, rows, group, targets, self.others)
        if self.shortfall:
            numbers = self.space.number_coordinates_
            short = Z.copy()
            short[:, numbers] += self.shortfall * (Z0 - Z)[:, numbers]
            nearly = self.space.decode(short, X, reference=Z0)
            every = (self.estimator, *self.others)
            good &= self._agreed(nearly, rows, group, targets, every)
        return Verdict(frame, after, good, keeps_rules, output.probability)

    def _agreed(
        self,
        frame: Any,
        rows: np.ndarray,
        group: np.ndarray,
        targets: ClassTarget | IntervalTarget,
        estimators: Sequence[Any],
    ) -> np.ndarray:
        """Whether the models' outputs reach the targets of rows."""
        good = np.ones(len(rows), dtype=bool)
        for estimator in estimators:
            output, _ = self.isolated_outcome(frame, targets, estimator)
            good &= targets.met(rows, group, output)
        return good

    def isolated_outcome(
        self,
        X: Any,
        targets: ClassTarget | IntervalTarget | None = None,
        estimator: Any = None,
        with_proba: bool = False,
        deadline: Deadline | None = None,
    ) -> tuple[Outcome, dict[int, str]]:
        """Return `outcome` of the rows that the model takes, and its messages for the others.

        Rows for which the model raises, or returns an array of a wrong shape, have the code -1
        and the value NaN. Their positions are the keys of the messages.
        """
        n = len(X)

        def call(rows: np.ndarray) -> Outcome:
            some = X if len(rows) == n else take_rows(X, rows)
            return self.outcome(some, targets, estimator, with_proba)

        done, failed = isolated(call, n, deadline)
        if len(done) == 1 and not failed:
            return done[0][1], failed
        estimator = self.estimator if estimator is None else estimator
        width = len(getattr(estimator, "classes_", ())) or 1
        code, value = np.full(n, -1), np.full(n, np.nan)
        probability = np.full((n, width), np.nan)
        has_probability = n == 0 or any(one.probability is not None for _, one in done)
        for rows, one in done:
            code[rows], value[rows] = one.code, one.value
            if one.probability is not None:
                probability[rows] = one.probability
        return Outcome(code, value, probability if has_probability else None), failed

    def outcome(
        self,
        X: Any,
        targets: ClassTarget | IntervalTarget | None = None,
        estimator: Any = None,
        with_proba: bool = False,
    ) -> Outcome:
        """Predict rows by the user's model, unless another one is given.

        Probabilities are computed if a target needs them, or if ``with_proba`` is set and the
        model has them.
        """
        estimator = self.estimator if estimator is None else estimator
        n = len(X)
        if n == 0:
            empty = np.empty(0)
            width = len(getattr(estimator, "classes_", ())) or 1
            return Outcome(empty.astype(np.intp), empty, np.empty((0, width)))
        X = in_order(X, self.space)
        proba = targets is not None and targets.uses_probability
        proba |= with_proba and hasattr(estimator, "predict_proba")
        proba &= hasattr(estimator, "classes_")
        with np.errstate(invalid="ignore"):
            names = ("predict", "predict_proba") if proba else ("predict",)
            answers = responses(estimator, X, names)
        predicted = _one_for_each(answers[0], n, estimator)
        if not hasattr(estimator, "classes_"):
            value = predicted.astype(np.float64)
            return Outcome(np.where(np.isfinite(value), 0, -1), value)
        match = predicted[:, None] == np.asarray(estimator.classes_)
        code = np.where(match.any(axis=1), match.argmax(axis=1), -1)
        probability = None
        if proba:
            probability = probability_table(estimator, answers[1], n)
            code = np.where(are_probabilities(probability), code, -1)
        return Outcome(code, np.full(n, np.nan), probability)

    def predict(self, X: Any) -> np.ndarray:
        """Position of the predicted class of each row; -1 if it is not in ``classes_``."""
        return self.isolated_outcome(X)[0].code

    def probability(self, X: Any, code: np.ndarray) -> np.ndarray:
        """Probability of the given class of each row; NaN if the model has none."""
        if len(code) == 0 or not hasattr(self.estimator, "predict_proba"):
            return np.full(len(code), np.nan)
        X = in_order(X, self.space)

        def call(rows: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore"):
                table = np.asarray(self.estimator.predict_proba(handed(take_rows(X, rows))))
            return table[np.arange(len(rows)), code[rows]]

        found = np.full(len(code), np.nan)
        for rows, values in isolated(call, len(code))[0]:
            found[rows] = values
        return found


def _one_for_each(answers: Any, n: int, estimator: Any) -> np.ndarray:
    """Labels or values (n,) of n rows; some models give them as a column."""
    predicted = np.asarray(answers)
    if predicted.ndim > 1 and len(predicted) == n and predicted[0].size > 1:
        raise several_outputs(estimator)
    if predicted.ndim == 0 or len(predicted) != n:
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must have one prediction for "
            f"each row. Got an array of shape {predicted.shape} for {n} rows instead."
        )
    return np.asarray(predicted.reshape(n, -1)[:, 0])


def in_order(X: Any, space: FeatureSpace) -> Any:
    """Return a data frame with its columns in the order of training, which models insist on."""
    return columns_in_order(X, space.names_) if space.labelled_ else X


@dataclass(frozen=True, eq=False)
class Rows(RowBatch):
    """Encoded rows with their bounds and targets.

    Parameters
    ----------
    Z : ndarray of shape (n, D)
        Coordinates, with a stand-in for missing values.
    missing : ndarray of shape (n, D), bool
        Values without coordinates: missing numbers, unseen levels, infinity.
    bounds : Actionability
        Permitted points of each row.
    targets : ClassTarget or IntervalTarget
        Targets of the rows.
    origin : ndarray of shape (n,), int
        Position of each row in the query.
    strange : ndarray of shape (n,), bool
        Rows with an unseen level or infinity, which only the model itself accepts.
    """

    Z: np.ndarray
    missing: np.ndarray
    bounds: Actionability
    targets: ClassTarget | IntervalTarget
    origin: np.ndarray = field(default=None)  # type: ignore[arg-type]
    strange: np.ndarray = field(default=None)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        """Default to the whole query, without strange rows."""
        if self.origin is None:
            object.__setattr__(self, "origin", np.arange(len(self.Z)))
        if self.strange is None:
            object.__setattr__(self, "strange", np.zeros(len(self.Z), dtype=bool))

    def __len__(self) -> int:
        return len(self.Z)


@dataclass(frozen=True, eq=False)
class Candidates(RowBatch):
    """Up to P answers a row, cheapest first.

    Parameters
    ----------
    z : ndarray of shape (n, P, D)
        Points.
    cost : ndarray of shape (n, P)
        Objective values, infinite where there is no point.
    code : ndarray of shape (n, P), int
        The kind of answer (class of a classifier) that each point is meant for.
    """

    z: np.ndarray
    cost: np.ndarray
    code: np.ndarray

    @classmethod
    def empty(cls, codes: np.ndarray, size: int, width: int) -> Candidates:
        """Return ``size`` places without a point for each of the kinds ``codes`` (n,)."""
        z, cost = np.zeros((len(codes), size, width)), np.full((len(codes), size), np.inf)
        return cls(z, cost, np.repeat(codes[:, None], size, axis=1))


def joined(n: int, parts: Sequence[tuple[np.ndarray, Candidates]]) -> Candidates:
    """Join the candidates of parts of n rows, each with its positions (m,)."""
    width = max(found.cost.shape[1] for _, found in parts)
    d = parts[0][1].z.shape[2]
    z, cost = np.zeros((n, width, d)), np.full((n, width), np.inf)
    code = np.zeros((n, width), dtype=np.intp)
    for rows, found in parts:
        own = slice(found.cost.shape[1])
        z[rows, own], cost[rows, own], code[rows, own] = found.z, found.cost, found.code
    return Candidates(z, cost, code)


def gathered(n: int, rows: np.ndarray, found: Candidates) -> Candidates:
    """Join the candidates of all classes of a row, cheapest first."""
    size, d = found.cost.shape[1], found.z.shape[2]
    rank = np.zeros(len(rows), dtype=np.intp)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered)
    rank[order] = np.arange(len(rows)) - first
    width = (int(rank.max()) + 1 if len(rows) else 1) * size
    z, cost = np.zeros((n, width, d)), np.full((n, width), np.inf)
    code = np.zeros((n, width), dtype=np.intp)
    columns = rank[:, None] * size + np.arange(size)
    z[rows[:, None], columns] = found.z
    cost[rows[:, None], columns] = found.cost
    code[rows[:, None], columns] = found.code
    best = np.argsort(cost, axis=1, kind="stable")
    return Candidates(
        np.take_along_axis(z, best[..., None], axis=1),
        np.take_along_axis(cost, best, axis=1),
        np.take_along_axis(code, best, axis=1),
    )
