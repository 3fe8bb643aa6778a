"""The training rows that answers should look like, one set for each kind of answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_memory

from scfe_sklearn.answering.judge import Judge
from scfe_sklearn.answering.query import STAND_IN, unset
from scfe_sklearn.densities import ClassConditionalDensity, Density
from scfe_sklearn.presentation.containers import take_rows
from scfe_sklearn.targets import ClassTarget, IntervalTarget


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Training rows of every kind of answer, and their densities.

    Parameters
    ----------
    density : ClassConditionalDensity
        One density per kind.
    anchors : list of ndarray of shape (T, D)
        The rows of each kind.
    values : list of (ndarray of shape (T,) or None), or None
        What a regressor gives them, or the probabilities that limits are about.
    """

    density: ClassConditionalDensity
    anchors: list[np.ndarray]
    values: list[np.ndarray | None] | None = None

    @classmethod
    def of_rows(
        cls, density: str | Density, anchors: list[np.ndarray], memory: Any = None
    ) -> Surroundings:
        """Fit a density on the rows of each kind, unless ``memory`` has it already."""
        codes = np.repeat(np.arange(len(anchors)), [len(part) for part in anchors])
        fit = check_memory(memory).cache(_fitted_density)
        return cls(fit(density, np.concatenate(anchors), codes), anchors)

    @classmethod
    def of_values(
        cls, density: str | Density, targets: IntervalTarget, rows: np.ndarray, values: np.ndarray
    ) -> Surroundings:
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
    ) -> Surroundings:
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
        anchors, densities = list(self.anchors), []
        values: list[np.ndarray | None] = [None] * len(self.anchors)
        for about, members in zip(targets.about[targets.n_classes :], targets.members, strict=True):
            rows, key = Z[members], members.tobytes()
            if key not in known:
                known[key] = _fitted_density(density, rows, np.zeros(len(rows), dtype=np.intp))
            anchors.append(rows)
            values.append(table[members, about])
            densities.append(known[key])
        return Surroundings(self.density.joined(densities), anchors, values)


def _fitted_density(
    density: str | Density, Z: np.ndarray, codes: np.ndarray
) -> ClassConditionalDensity:
    """Fit a density on the rows of each kind."""
    return ClassConditionalDensity(density).fit(Z, codes)


@dataclass(frozen=True, eq=False)
class Learned:
    """Training rows that can be used, encoded.

    Parameters
    ----------
    position : ndarray of shape (T,), int
        Where they stand among all training rows.
    Z : ndarray of shape (T, D)
        Their coordinates, with a stand-in for what is missing.
    code : ndarray of shape (T,), int
        Position of the class that the model gives them, -1 if it has no sound answer.
    value : ndarray of shape (T,)
        What a regressor gives them.
    """

    position: np.ndarray
    Z: np.ndarray
    code: np.ndarray
    value: np.ndarray


def learn(judge: Judge, X: Any) -> Learned:
    """Encode the training rows that the model can read, and predict them.

    Raises
    ------
    ValueError
        If there is none.
    """
    space = judge.space
    Z = space.encode(X)
    finite = np.isfinite(Z).all(axis=1)
    rows = np.flatnonzero(finite | unset(space.input_problems(X, missing=False)))
    if len(rows) > finite.sum():
        try:  # rows with missing numbers are worth having if the model takes them
            judge.outcome(take_rows(X, rows))
        except ValueError:
            rows = np.flatnonzero(finite)
    if len(rows) == 0:
        raise ValueError(
            "X must have at least one row without missing or infinite values. Got none."
        )
    said = judge.outcome(take_rows(X, rows))
    if (said.code < 0).all():
        raise ValueError(
            "The 'estimator' parameter of CounterfactualExplainer must be a classifier or a "
            f"regressor. Got {judge.estimator!r}, which gives no training row one of the classes."
        )
    Z = Z[rows]
    return Learned(rows, np.where(np.isnan(Z), STAND_IN, Z), said.code, said.value)


def rows_of_classes(
    learned: Learned, labels: np.ndarray, classes: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training rows that have a class and are given it by the model, for every class.

    If there are none, those that are predicted to have it; else those that have it. In
    addition, for every class, the other rows that are predicted to have it: possible answers,
    but no examples.

    Raises
    ------
    ValueError
        If there is no training row for a class.
    """
    labels = labels[learned.position]
    groups, extra_reference_rows = [], []
    for code, label in enumerate(classes):
        given, has = learned.code == code, labels == label
        both = given & has
        groups.append(both if both.any() else given if given.any() else has)
        extra_reference_rows.append(learned.Z[given & ~groups[-1]])
    absent = ~np.array([group.any() for group in groups])
    if absent.any():
        raise ValueError(
            "Every class must have a training row without missing or infinite values. "
            f"Got none for {classes[absent].tolist()}."
        )
    return [learned.Z[group] for group in groups], extra_reference_rows
