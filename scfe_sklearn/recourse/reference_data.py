"""Training rows and densities for each kind of target."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_memory

from scfe_sklearn.data import FeatureSpace
from scfe_sklearn.densities import ClassConditionalDensity, Density
from scfe_sklearn.densities.base import kept_rows
from scfe_sklearn.explanation.containers import take_rows
from scfe_sklearn.recourse.engine import Engine
from scfe_sklearn.recourse.judge import Candidates, Judge, Rows
from scfe_sklearn.recourse.query import STAND_IN, unset
from scfe_sklearn.rules import Actionability
from scfe_sklearn.solvers.problem import TOLERANCE
from scfe_sklearn.targets import ClassTarget, IntervalTarget

TRIED = 24
"""Training rows of each class that the judge checks, per row."""

CHUNK = 4_000_000
"""Coordinates compared at once."""

TOGETHER = 2**16
"""Training rows that are encoded or predicted at once."""

REFERENCE = 20_000
"""Training rows of each class that are kept: the search starts at the nearest of them."""


@dataclass(frozen=True, eq=False)
class ReferenceData:
    """Training rows of every kind of target, and their densities.

    Parameters
    ----------
    density : ClassConditionalDensity
        One density per kind.
    reference_rows : list of ndarray of shape (T, D)
        The rows of each kind.
    values : list of (ndarray of shape (T,) or None), or None
        Values that a regressor predicts for them, or the probabilities with limits.
    """

    density: ClassConditionalDensity
    reference_rows: list[np.ndarray]
    values: list[np.ndarray | None] | None = None

    @classmethod
    def of_rows(
        cls, density: str | Density, reference_rows: list[np.ndarray], memory: Any = None
    ) -> ReferenceData:
        """Fit a density on the rows of each kind, cached by ``memory``."""
        codes = np.repeat(np.arange(len(reference_rows)), [len(part) for part in reference_rows])
        fit = check_memory(memory).cache(_fitted_density)
        return cls(fit(density, np.concatenate(reference_rows), codes), reference_rows)

    @classmethod
    def of_values(
        cls, density: str | Density, targets: IntervalTarget, rows: np.ndarray, values: np.ndarray
    ) -> ReferenceData:
        """Fit a density for each group of intervals on the training rows (T, D) inside."""
        fitted = cls.of_rows(density, [rows[members] for members in targets.members])
        return replace(fitted, values=[values[members] for members in targets.members])

    def with_limits(
        self,
        density: str | Density,
        targets: ClassTarget,
        Z: np.ndarray,
        table: np.ndarray,
        known: dict[Any, Any],
    ) -> ReferenceData:
        """Add the training rows whose probabilities lie within limits.

        Parameters
        ----------
        density : str or Density
            Density of each group.
        targets : ClassTarget
            Targets whose further groups are added to those of the classes.
        Z : ndarray of shape (T, D)
            Training rows.
        table : ndarray of shape (T, C)
            Their probabilities.
        known : dict
            Densities of earlier calls, by the members of their group; new ones are added.
        """
        reference_rows, densities = list(self.reference_rows), []
        values: list[np.ndarray | None] = [None] * len(self.reference_rows)
        for about, members in zip(targets.about[targets.n_classes :], targets.members, strict=True):
            rows, key = Z[members], members.tobytes()
            if key not in known:
                known[key] = _fitted_density(density, rows, np.zeros(len(rows), dtype=np.intp))
            reference_rows.append(rows)
            values.append(table[members, about])
            densities.append(known[key])
        return ReferenceData(self.density.joined(densities), reference_rows, values)


def _fitted_density(
    density: str | Density, Z: np.ndarray, codes: np.ndarray
) -> ClassConditionalDensity:
    """Fit a density on the rows of each kind."""
    return ClassConditionalDensity(density).fit(Z, codes)


@dataclass(frozen=True, eq=False)
class PredictedRows:
    """Training rows that the model accepts.

    Parameters
    ----------
    position : ndarray of shape (T,), int
        Where they stand among all training rows.
    code : ndarray of shape (T,), int
        Position of the predicted class, -1 if the model's output is invalid.
    value : ndarray of shape (T,)
        Value that a regressor predicts.
    """

    position: np.ndarray
    code: np.ndarray
    value: np.ndarray


def predict_training_rows(judge: Judge, X: Any) -> PredictedRows:
    """Predict the training rows that the model accepts.

    Raises
    ------
    ValueError
        If there is none.
    """
    finite, usable = _usable(judge.space, X)
    output = None
    if usable.sum() > finite.sum():
        # Rows with missing numbers are kept if the model accepts them.
        with contextlib.suppress(ValueError):
            output = _predicted(judge, X, np.flatnonzero(usable))
    if output is None:
        output = _predicted(judge, X, np.flatnonzero(finite))
    if len(output.position) == 0:
        raise ValueError(
            "X must have at least one row without missing or infinite values. Got none."
        )
    if (output.code < 0).all():
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must be a classifier or a "
            f"regressor. Got {judge.estimator!r}, which gives no training row one of the classes."
        )
    return output


def _usable(space: FeatureSpace, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Whether all values of each row are finite, and whether a model may accept the row."""
    finite, problems = [], []
    for part in _parts(np.arange(len(X))):
        rows = take_rows(X, part)
        finite.append(np.isfinite(space.encode(rows)).all(axis=1))
        problems.append(space.input_problems(rows, missing=False))
    complete = np.concatenate(finite)
    return complete, complete | unset(np.concatenate(problems))


def _predicted(judge: Judge, X: Any, rows: np.ndarray) -> PredictedRows:
    """Predict some rows, few at a time: their copies are not in memory together."""
    output = [judge.outcome(take_rows(X, part)) for part in _parts(rows)]
    code = np.concatenate([part.code for part in output])
    value = np.concatenate([part.value for part in output])
    return PredictedRows(rows, code, value)


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    """Split positions of rows into parts that are in memory together."""
    return np.array_split(rows, max(1, -(-len(rows) // TOGETHER)))


def encode_without_gaps(space: FeatureSpace, X: Any) -> np.ndarray:
    """Coordinates of training rows, with a stand-in for what is missing."""
    Z = space.encode(X)
    return np.where(np.isnan(Z), STAND_IN, Z)


def rows_of_classes(
    learned: PredictedRows, labels: np.ndarray, classes: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return for every class the positions of rows that have it and are predicted to have it.

    If there are none, those that are predicted to have it; else those that have it. In
    addition, for every class, the other rows that are predicted to have it: possible answers,
    but no examples. Of more than `REFERENCE` rows that many are drawn.

    Raises
    ------
    ValueError
        If there is no training row for a class.
    """
    # An array compared with a text would lose a NUL at its end.
    known = {label: code for code, label in enumerate(classes.tolist())}
    own = np.array([known.get(label, -1) for label in labels.tolist()])[learned.position]
    groups, extra_rows = [], []
    for code in range(len(classes)):
        given, has = learned.code == code, own == code
        both = given & has
        groups.append(both if both.any() else given if given.any() else has)
        extra_rows.append(given & ~groups[-1])
    absent = ~np.array([group.any() for group in groups])
    if absent.any():
        raise ValueError(
            "Every class must have a training row without missing or infinite values. "
            f"Got none for {classes[absent].tolist()}."
        )
    return (
        [drawn(learned.position[group]) for group in groups],
        [drawn(learned.position[group]) for group in extra_rows],
    )


def drawn(rows: np.ndarray) -> np.ndarray:
    """Return at most `REFERENCE` of the rows, drawn uniformly with a fixed seed, in their order."""
    return rows[kept_rows(len(rows), REFERENCE, 0)]


def training_rows(engine: Engine, rows: Rows, count: int = TRIED) -> Candidates:
    """Return the nearest training rows of the targets that the rules of each row permit.

    They need no score: where scores and predictions of a model disagree, as they may for
    calibrated ones, they are still answers.

    Parameters
    ----------
    engine : Engine
        Feature space, training rows and budget.
    rows : Rows
        Encoded rows with their bounds and targets.
    count : int
        Training rows per row at most.

    Returns
    -------
    Candidates
        Nearest first.
    """
    Z, bounds, wanted = rows.Z, rows.bounds, rows.targets.wanted
    z = np.zeros((len(Z), count, Z.shape[1]))
    cost, code = np.full((len(Z), count), np.inf), np.zeros((len(Z), count), dtype=np.intp)
    for target in np.flatnonzero(wanted.any(axis=0)):
        anchors = engine.reference_rows[target]
        if engine.extra_reference_rows is not None:
            anchors = np.concatenate([anchors, engine.extra_reference_rows[target]])
        own = np.flatnonzero(wanted[:, target])
        for part in np.array_split(own, max(1, -(-len(own) * anchors.size // CHUNK))):
            here = bounds.take(part)
            distance = _distance(engine, Z[part], here, anchors)
            value = None if engine.values is None else engine.values[target]
            if value is not None:
                low, high = rows.targets.take(part).limits(int(target))
                inside = (value >= low[:, None]) & (value <= high[:, None])
                distance = np.where(inside, distance, np.inf)
            near = np.argsort(distance, axis=1, kind="stable")[:, :count]
            every = np.concatenate([cost[part], np.take_along_axis(distance, near, 1)], axis=1)
            best = np.argsort(every, axis=1, kind="stable")[:, :count]
            points = np.concatenate([z[part], anchors[near]], axis=1)
            codes = np.concatenate([code[part], np.full(near.shape, target)], axis=1)
            z[part] = np.take_along_axis(points, best[..., None], axis=1)
            cost[part] = np.take_along_axis(every, best, axis=1)
            code[part] = np.take_along_axis(codes, best, axis=1)
    return Candidates(z, cost, code)


def _distance(
    engine: Engine, Z: np.ndarray, bounds: Actionability, anchors: np.ndarray
) -> np.ndarray:
    """Squared distance plus price of the changes (n, T); infinite if the rules forbid it."""
    space = engine.space
    gap = anchors - Z[:, None]
    moved = abs(gap) > TOLERANCE
    scalar = np.array([space.kinds_[g] != "categorical" for g in space.groups_])
    inside = anchors >= bounds.lower[:, None] - TOLERANCE
    inside &= anchors <= bounds.upper[:, None] + TOLERANCE
    fits = np.where(scalar, inside, True) & bounds.allowed[:, None]
    # A level that a row leaves has no condition.
    forbidden = moved & ~fits & (scalar | (anchors > 0))
    starts = [part.start for part in space.slices_]
    features = np.logical_or.reduceat(moved, starts, axis=2)
    changes = features.sum(axis=2)
    squared = np.add.reduceat(gap**2, starts, axis=2)
    by_feature = squared + engine.penalty(squared, features)
    price = (bounds.cost[:, None] * by_feature).sum(axis=2)
    refused = forbidden.any(axis=2) | (changes == 0)
    if engine.max_changes is not None:
        refused |= changes > engine.max_changes
    return np.where(refused, np.inf, price)
